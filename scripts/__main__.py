"""The command line: one command for each step of the pipeline."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scripts.cli.forward import forward
from scripts.cli.init import init
from scripts.cli.new import new
from scripts.cli.probe import probe
from scripts.cli.report_options import ReportOptions, run_report, with_report_options
from scripts.cli.verb import REPO_HELP, Verb
from scripts.core.console import err, heartbeat, ignore_closed_pipes, info, out
from scripts.core.errors import Exit, ForkError
from scripts.core.repository import Repository
from scripts.core.subprocesses import stop_all

F = TypeVar("F", bound=Callable[..., Any])


class _Verbs(click.Group):
    command_class = Verb


@click.group(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--repo",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help=REPO_HELP,
)
@click.option(
    "-v", "--verbose", is_flag=True, help="Echo every command that is run, and show tracebacks."
)
@click.pass_context
def cli(context: click.Context, repo: Path, verbose: bool) -> None:
    """Maintain a fork as a series of patches, and find out by running probes which features
    upstream made unnecessary.

    Exit codes: 0 fine; 10 something can be dropped or refreshed (with --check); 20 somebody must
    look; 2 wrong use or configuration; 3 the environment failed; 130 stopped by Ctrl-C; 1 a bug.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr
    )
    # `-v` is about the commands that are run, not about locks and connections.
    for name in ("filelock", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    context.obj = Repository(repo.resolve())


@cli.command()
@click.pass_obj
@with_report_options
def status(repo: Repository, options: ReportOptions) -> Exit:
    """Report which features are still needed, by running their probes.

    \b
    Examples:
      nox -s status                                       every feature, every tracked release
      nox -s status -- --patch iexact-conditions --why    one feature, with the evidence
      nox -s status -- --upstream 7.1 --upstream 7.2      two releases, the series tried on both
      nox -s status -- --upstream git:../cacheops@master  what is not released yet
      nox -s status -- --format github                    a CI's jobs; each runs --cells '...'
                                                          --results FILE
      nox -s status -- --merge results/ --format html     one report from all of their files
      nox -s status -- --graph --suite                    what depends on what, and upstream's own
                                                          tests
      nox -s status -- --format json | jq .answer         for a program
      nox -s status -- --format html > status.html        one page: a heat map that opens to the
                                                          evidence
    """
    return run_report(repo, options, options.selection(matrix=False))


@cli.command()
@click.option(
    "--list",
    "listing",
    is_flag=True,
    help="Only list the cells, and what is left out with its reason.",
)
@click.pass_obj
@with_report_options
def matrix(repo: Repository, options: ReportOptions, listing: bool) -> Exit:
    """Do what `status` does in every cell of fork.toml's matrix, not only in the default cells.

    \b
    Examples:
      nox -s matrix -- --list
      nox -s matrix -- --format html > matrix.html
      nox -s matrix -- --upstream 7.2 --patch iexact-conditions
    """
    return (
        _list_matrix(repo) if listing else run_report(repo, options, options.selection(matrix=True))
    )


def _list_matrix(repo: Repository) -> Exit:
    # A verb imports what it needs in its function, so that `--help` is quick.
    from scripts.core.lockfile import read_lock

    lock = read_lock(repo.lock_file)
    for cell in repo.config.matrix_cells(lock):
        click.echo(cell.id)
    left_out = [reason for _, reason in repo.config.matrix_product(lock) if reason]
    for reason in dict.fromkeys(left_out):
        info(f"{left_out.count(reason)} left out: {reason}")
    for warning in repo.config.stale_exclusions(lock):
        info(f"warning: {warning}")
    return Exit.OK


@cli.command()
@click.argument("name")
@click.option("--fresh", is_flag=True, help="Ignore results of earlier runs.")
@click.pass_obj
def cell(repo: Repository, name: str, fresh: bool) -> Exit:
    """Run every probe in one cell and show each column; `nox -s matrix -- --list` names the cells.

    \b
    Example:
      nox -s cell -- 7.2@py311-django5.2@valkey9
    """
    from scripts.status.selection import Selection

    return run_report(repo, ReportOptions(why=True), Selection(cells=(name,), fresh=fresh))


cli.add_command(probe)


@cli.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown"]),
    default="terminal",
    show_default=True,
    help="markdown is the text of an issue or a merge request; its first line is the title.",
)
@click.pass_obj
def watch(repo: Repository, form: str) -> Exit:
    """Check the newest release on the index and fork.toml's upstream.watch, and report what changed
    since the last time.

    Exits with 20 if something changed and somebody must look, with 10 if something changed, with 0
    if nothing did. It remembers this in .fork/watch.json, and writes the evidence as pages to
    .fork/watch/. A CI can run it every night, and open an issue from --format markdown.

    \b
    Examples:
      nox -s watch
      nox -s watch -- --format markdown > news.md
    """
    from scripts.status.watch import as_markdown, as_text
    from scripts.status.watch import watch as look

    outlook = look(repo)
    for line in (as_markdown if form == "markdown" else as_text)(outlook):
        click.echo(line)
    for error in outlook.failed:
        info(f"error: {error}")
    return outlook.exit_code


@cli.command()
@click.argument("source", required=False)
@click.option(
    "--patch",
    "patches",
    multiple=True,
    metavar="ID",
    help="Only this feature, or all of this patch. Repeatable.",
)
@click.option("--fresh", is_flag=True, help="Ignore results of earlier runs.")
@click.pass_obj
def bisect(repo: Repository, source: str | None, patches: tuple[str, ...], fresh: bool) -> Exit:
    """Find since when upstream has a feature: the release, or in SOURCE (git:URL@A..B) the commit.

    \b
    Examples:
      nox -s bisect -- --patch iexact-conditions      over the tracked releases
      nox -s bisect -- git:../cacheops@7.1..master    down to the commit
    """
    from scripts.status.bisect import bisect as search

    found, steps, ran = search(repo, patches, source, fresh=fresh)
    for item in found:
        click.echo(f"{item.feature}: {item.text}")
    info(f"{steps} steps, {ran} processes of probes run")
    return Exit.OK


@cli.command()
@click.argument("version", required=False)
@click.pass_obj
def pin(repo: Repository, version: str | None) -> Exit:
    """Pin the tracked releases in upstream/lock.toml; VERSION becomes the locked one.

    \b
    Examples:
      nox -s pin           pin every tracked release the index has; the locked one stays
      nox -s pin -- 7.2    also lock 7.2
    """
    from scripts.upstream.pin import pin as write_pins

    lock = write_pins(repo, version)
    info(
        f"pinned {len(lock.releases)} releases of {lock.name}, "
        f"{lock.versions[0]} to {lock.versions[-1]}; locked: {lock.locked}"
    )
    return Exit.OK


@cli.command()
@click.option("--restore", is_flag=True, help="Overwrite edits in upstream/src/.")
@click.option(
    "--subtree",
    is_flag=True,
    help="Keep upstream in this repository's history: a real git subtree at upstream/src.",
)
@click.pass_obj
def vendor(repo: Repository, restore: bool, subtree: bool) -> Exit:
    """Download every pinned release, check it, and write the locked one to upstream/src/.

    \b
    Examples:
      nox -s vendor                 download what is missing, verify, write upstream/src/
      nox -s vendor -- --restore    discard edits in upstream/src/
      nox -s vendor -- --subtree    from now on upstream/src/ is committed as a git subtree
    """
    from scripts.upstream.vendor import vendor as run_vendor

    lock = run_vendor(repo, restore=restore, subtree=subtree)
    info(
        f"upstream/src/ is {lock.name} {lock.locked}; "
        f"{len(lock.releases)} releases are here and match their pins"
    )
    return Exit.OK


@cli.command("import")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def import_(repo: Repository, folder: Path | None) -> Exit:
    """Create a work tree in which the series is a branch, with one commit per patch, to edit with
    ordinary git.

    \b
    Examples:
      nox -s import                 into .fork/series
      nox -s import -- ../series    somewhere else
    """
    from scripts.editing.import_branch import import_series

    place = import_series(repo, folder)
    info(
        f"the series is the branch `series` in {place}\n"
        "  next: edit and commit there, then `nox -s export`\n"
        "    or: nox -s new -- ID"
    )
    return Exit.OK


@cli.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def export(repo: Repository, folder: Path | None) -> Exit:
    """Write the branch of `import` back to patches/; unchanged patches keep every byte.

    \b
    Examples:
      nox -s export
      nox -s export -- ../series
    """
    from scripts.editing.export_branch import export_series

    done = export_series(repo, folder)
    same = "nothing changed: patches/ is the same to the byte\n  next: nox -s lint -- --write"
    info("\n".join(done.changed) if done.changed else same)
    for warning in done.warnings:
        info(f"warning: {warning.with_advice()}")
    return Exit.OK


cli.add_command(new)
cli.add_command(forward)


def _waivers(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Return the reasons by id; raises click.BadParameter for an id without a reason."""
    pairs = [value.partition("=") for value in values]
    wrong = [name for name, _, reason in pairs if not reason.strip()]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} has no reason; give ID=reason")
    return {name.strip(): reason.strip() for name, _, reason in pairs}


def _waive(effect: str) -> Callable[[F], F]:
    """Return the option `--waive ID=REASON`, whose help starts with `effect`."""
    return click.option(
        "--waive",
        "waived",
        multiple=True,
        metavar="ID=REASON",
        callback=_waivers,
        help=f"{effect} Repeatable.",
    )


_WAIVE = _waive(
    "Ship although this feature's verdict is a fault; the wheel's record has the reason."
)


@cli.command()
@click.argument("version", required=False)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what would be retired and replayed, and what would conflict.",
)
@click.option(
    "--continue", "go_on", is_flag=True, help="Resume a rebase that stopped or was killed."
)
@click.option(
    "--skip",
    is_flag=True,
    help="Leave out the patch at which it stopped, and those that depend on it.",
)
@click.option("--abort", is_flag=True, help="Cancel the rebase; nothing else was touched.")
@_waive("Keep this feature although its verdict is a fault.")
@click.pass_obj
def rebase(
    repo: Repository,
    version: str | None,
    dry_run: bool,
    go_on: bool,
    skip: bool,
    abort: bool,
    waived: dict[str, str],
) -> Exit:
    """Move to another release: retire what it made unnecessary, replay the rest, prove the result,
    and replace everything at once.

    A retired feature that the release needs again is taken back. Exits with 20 if a patch
    conflicts, or with --dry-run if one would.

    \b
    Examples:
      nox -s rebase -- 7.2 --dry-run
      nox -s rebase -- 7.2
      nox -s rebase -- --continue     after resolving a conflict in .fork/rebase/tree
      nox -s rebase -- 7.2 --waive iexact-conditions='no release lacks it, see issue 12'
    """
    from scripts.rebase import rebase as verb
    from scripts.rebase.plan_text import print_plan

    if sum(map(bool, (version, go_on, skip, abort))) != 1 or (dry_run and not version):
        raise click.UsageError("give a release, or one of --continue, --skip and --abort")
    if waived and (skip or abort):
        raise click.UsageError("--waive goes with a release or with --continue")
    if abort:
        verb.abort(repo)
        info("aborted: everything is as it was before")
        return Exit.OK
    if version:
        plan = verb.rebase(repo, version, dry_run=dry_run, waived=waived)
    elif go_on:
        plan = verb.continue_rebase(repo, waived)
    else:
        plan = verb.skip(repo)
    print_plan(plan, out, dry_run=dry_run)
    return Exit.ATTENTION if plan.conflicting else Exit.OK


@cli.command()
@click.argument("patches", nargs=-1, required=True, metavar="ID...")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.pass_obj
def retire(repo: Repository, patches: tuple[str, ...], dry_run: bool) -> Exit:
    """Retire features that bare upstream makes unnecessary, with the proof. ID is a feature or a
    patch.

    A patch without a live feature moves to patches/retired/; the others stay on their release.

    Right after `unretire` it restores every byte. At a conflict it stops as `rebase` does.

    \b
    Examples:
      nox -s retire -- iexact-conditions --dry-run
      nox -s retire -- iexact-conditions
    """
    return _by_hand(repo, patches, back=False, dry_run=dry_run)


@cli.command()
@click.argument("patches", nargs=-1, required=True, metavar="ID...")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.pass_obj
def unretire(repo: Repository, patches: tuple[str, ...], dry_run: bool) -> Exit:
    """Take retired features back into the series, with their modules, on the release of the others.
    ID is a feature or a patch.

    Right after `retire` it restores every byte. At a conflict it stops as `rebase` does.

    \b
    Examples:
      nox -s unretire -- text-conditions --dry-run
      nox -s unretire -- text-conditions
    """
    return _by_hand(repo, patches, back=True, dry_run=dry_run)


def _by_hand(repo: Repository, patches: tuple[str, ...], *, back: bool, dry_run: bool) -> Exit:
    from scripts.rebase.plan_text import print_plan
    from scripts.rebase.rebase import retire_by_hand

    print_plan(
        retire_by_hand(repo, tuple(dict.fromkeys(patches)), back=back, dry_run=dry_run),
        out,
        dry_run=dry_run,
    )
    return Exit.OK


@cli.command()
@click.option(
    "--bump",
    is_flag=True,
    help="Increment N first: the wheel's content changed since N was published.",
)
@click.option("--no-verify", is_flag=True, help="Only build; do not install and test it.")
@click.option(
    "--compare",
    "old",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="OLD.whl",
    help="Say what differs from this wheel: files, metadata, patches, features, public names.",
)
@_WAIVE
@click.pass_obj
def wheel(
    repo: Repository, bump: bool, no_verify: bool, old: Path | None, waived: dict[str, str]
) -> Exit:
    """Build the locked release plus the series as one wheel in dist/, and test it when installed.

    Prints its name, its sha256 and N, one per line. Equal content gives equal bytes, on any day
    and in any folder.

    \b
    Examples:
      nox -s wheel              build and test
      nox -s wheel -- --bump    after a publish was refused because other bytes have that version
      nox -s wheel -- --no-verify --compare OLD.whl    what changes for those who have OLD.whl
    """
    from scripts.wheel.build import wheel as build
    from scripts.wheel.compare_text import report_comparison
    from scripts.wheel.contents import read_contents

    # Before the build, which may replace it.
    hint = "name one for every Python 3 (-none-any.whl)"
    before = read_contents(old, origin="--compare names", hint=hint) if old else None
    built = build(repo, waived=waived, bump=bump, verify=not no_verify)
    click.echo(f"{built.path.name}\nsha256 {built.sha256}\nN {built.number}")
    if before:
        report_comparison(repo, before, built.contents, out)
    return Exit.OK


@cli.command()
@click.option(
    "--index", "name", required=True, metavar="NAME", help="Which of fork.toml's [[indexes]]."
)
@click.option("--dry-run", is_flag=True, help="Do everything except upload and install.")
@_WAIVE
@click.pass_obj
def publish(repo: Repository, name: str, dry_run: bool, waived: dict[str, str]) -> Exit:
    """Upload the wheel to an index and install it from there; run it again if anything went wrong.

    Refuses if the tree is not committed or a verdict is a fault. The same bytes twice is a
    success, other bytes under a taken version are refused. Credentials: TWINE_USERNAME and
    TWINE_PASSWORD, .pypirc, keyring or netrc.

    \b
    Examples:
      nox -s publish -- --index local --dry-run
      nox -s publish -- --index local
      nox -s publish -- --index local --waive iexact-conditions='flaky on 3.12 alone, see issue 12'
    """
    from scripts.publish.publish import publish as send

    for line in send(repo, name, waived=waived, dry_run=dry_run):
        click.echo(line)
    return Exit.OK


@cli.command()
@click.argument("labels", nargs=-1)
@click.option(
    "--django",
    "version",
    default="",
    metavar="X.Y",
    help="Only this Django of fork.toml's [django].",
)
@click.option("--database", default="", metavar="NAME", help="Only sqlite or postgresql.")
@click.option(
    "--mode",
    default="",
    type=click.Choice(["", "as-they-are", "committing"]),
    help="Only this mode.",
)
@click.option("--shard", "share", default="", metavar="N/M", help="Only this share of the shards.")
@click.option("--short", is_flag=True, help="Run the labels that the repository's own tests run.")
@click.option(
    "--upstream",
    is_flag=True,
    help="Test bare upstream, in labels in which the gate must find wrong values.",
)
@click.option(
    "--tree",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Test this folder instead of the wheel.",
)
@click.option(
    "--setting",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A Django setting as a Python literal, besides the profile's. Repeatable.",
)
@click.option("--jobs", type=int, default=0, help="Processes at a time (default: one per core).")
@click.option("--fresh", is_flag=True, help="Ignore results of earlier runs.")
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal")
@click.pass_obj
def django(
    repo: Repository,
    labels: tuple[str, ...],
    version: str,
    database: str,
    mode: str,
    share: str,
    short: bool,
    upstream: bool,
    tree: Path | None,
    settings: tuple[str, ...],
    jobs: int,
    fresh: bool,
    form: str,
) -> Exit:
    """Run Django's own tests with the wheel and without it: nothing may fail that plain Django
    passes, and no cached answer may be wrong.

    Exits with 20 otherwise, unless the file that fork.toml names as django.excused excuses it.

    \b
    Examples:
      nox -s django                                                     everything (hours)
      nox -s django -- --django 5.2 --database sqlite                   one Django
      nox -s django -- --django 5.2 --mode committing update 'm2m_*'    some labels
      nox -s django -- update.tests.SimpleTest.test_update              one test
      nox -s django -- --shard 3/8                                      a CI's share
      nox -s django -- --upstream --django 5.2 --database sqlite        show that the gate works
    """
    from scripts.gates.django import django as gate
    from scripts.gates.django_plan import DjangoSelection, parse_settings

    selection = DjangoSelection(version, database, mode, labels, share, jobs, fresh)
    return gate(
        repo,
        selection,
        upstream=upstream,
        tree=tree,
        settings=parse_settings(settings),
        short=short,
        form=form,
    )


@cli.command()
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME", help="Only this kind of fault. Repeatable."
)
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="NAME",
    help="Only redis6.2, valkey9 or redis7 (from PATH). Repeatable.",
)
@click.option(
    "--place",
    "places",
    multiple=True,
    metavar="NAME",
    help="Only single, proxied, outbox, sentinel or cluster. Repeatable.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=5),
    help="How long on each server (default: an hour, and --times 20).",
)
@click.option(
    "--times",
    type=click.IntRange(min=1),
    help="Run until each fault happened so many times in each of its places.",
)
@click.option(
    "--seed", type=int, default=None, help="Make the same faults as a run that reported this seed."
)
@click.option(
    "--short", is_flag=True, help="Run what the repository's own tests run, under a minute."
)
@click.option(
    "--upstream",
    is_flag=True,
    help="Test bare upstream, to show that the gate detects stale reads.",
)
@click.option(
    "--tree",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Test this folder instead of the wheel.",
)
@click.option(
    "--list", "listing", is_flag=True, help="Only list the kinds of faults, with their bounds."
)
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal")
@click.pass_obj
def chaos(
    repo: Repository,
    faults: tuple[str, ...],
    servers: tuple[str, ...],
    places: tuple[str, ...],
    seconds: float | None,
    times: int | None,
    seed: int | None,
    short: bool,
    upstream: bool,
    tree: Path | None,
    listing: bool,
    form: str,
) -> Exit:
    """Read and write in processes of an application while servers and writers fail: no answer may
    be older than what was committed.

    Exits with 20 if one was, if an exception reached the application that plain Django does not
    raise, if a fault could not be made, or if fewer than half of the reads between faults were
    hits; with 3 if nothing could be run. Everything runs on loopback and ends with the run.

    \b
    Examples:
      nox -s chaos                                      every fault 20 times, and an hour at least,
                                                        on each server
      nox -s chaos -- --server valkey9 --seconds 600    ten minutes
      nox -s chaos -- --fault flushall --fault kill-writer --seconds 60
      nox -s chaos -- --place cluster --seed 4711       the same faults as with this seed before
      nox -s chaos -- --upstream --short                show that the gate works
      nox -s chaos -- --tree DIR --format json          another tree, for a program
      nox -s chaos -- --list                            the kinds of faults
    """
    from scripts.gates.chaos import ChaosSelection, list_faults
    from scripts.gates.chaos import chaos as gate

    if listing:
        list_faults(repo)
        return Exit.OK
    selection = ChaosSelection(servers, faults, places, seconds, times, seed, short)
    return gate(repo, selection, upstream=upstream, tree=tree, form=form)


@cli.command()
@click.option("--write", is_flag=True, help="Write README's table of patches.")
@click.pass_obj
def lint(repo: Repository, write: bool) -> Exit:
    """Check fork.toml, the lock, the series, its hunks and their base, the override modules, the
    profile, README's table and the tree of `import`, without running any of it.

    Everything that is wrong is printed at once, each with the command or the edit that mends it.
    `nox -s lint` runs ruff too, and with --write lets it mend what it can.

    \b
    Examples:
      nox -s lint
      nox -s lint -- --write
    """
    from scripts.core.lockfile import read_lock
    from scripts.lint.lint import lint as find_all

    found = find_all(repo, read_lock(repo.lock_file), write=write)
    if found.unchecked:
        info(f"not checked: {found.unchecked}\n  next: nox -s vendor && nox -s lint")
    for warning in found.warnings:
        info(f"warning: {warning.with_advice()}")
    if found.problems:
        raise found.error()
    series = found.series
    info(
        f"{len(series.active)} live and {len(series.retired)} retired patches are in order; "
        f"the live ones touch {series.lines} upstream lines"
    )
    return Exit.OK


cli.add_command(init)


def main() -> None:
    """Run the command line; expected errors are printed without a traceback."""
    ignore_closed_pipes()
    # So that `kill` ends a run as Ctrl-C does: nothing is left running, what is finished is kept.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    # A shell without job control starts background processes with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    verb = next((word for word in sys.argv[1:] if word in cli.commands), "")
    try:
        with heartbeat(verb):
            # In standalone mode, click would ignore the exit code that a verb returns.
            code = cli.main(standalone_mode=False)
    except ForkError as error:
        _fail(error, str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        raise SystemExit(Exit.USAGE) from None
    except (KeyboardInterrupt, click.Abort):
        stop_all()
        info("stopped; what was finished is kept, run it again to go on")
        raise SystemExit(Exit.INTERRUPTED) from None
    except OSError as error:
        _fail(
            error,
            f"{error.strerror or error}: {error.filename or ''}\n"
            "  next: check the disk and the permissions",
            Exit.ENVIRONMENT,
        )
    raise SystemExit(code if isinstance(code, int) else Exit.OK)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _fail(error: Exception, text: str, code: Exit) -> None:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        err.print_exception()
    info(f"error: {text}")
    raise SystemExit(code) from error


if __name__ == "__main__":
    main()
