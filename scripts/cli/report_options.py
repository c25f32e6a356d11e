"""What the reporting commands share: their options, and how they run or merge, and print."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts.core.console import out, say
from scripts.core.errors import Exit
from scripts.core.repository import Repository

if TYPE_CHECKING:
    from scripts.status.selection import Choice
    from scripts.verdicts.aggregate import Report
    from scripts.verdicts.summary import Findings, Scope

_OPTIONS = (
    click.option(
        "--upstream",
        "releases",
        multiple=True,
        metavar="RELEASE|SOURCE",
        help="Only this release, or path:DIR, git:URL@REF, git:URL@A..B; "
        "tries the series on it too. Repeatable.",
    ),
    click.option(
        "--patch",
        "patches",
        multiple=True,
        metavar="ID",
        help="Only this feature, or all of this patch. Repeatable.",
    ),
    click.option("--why", is_flag=True, help="Show the evidence: every column of every cell."),
    click.option(
        "--format",
        "form",
        type=click.Choice(["terminal", "json", "markdown", "html", "junit", "github"]),
        default="terminal",
        show_default=True,
        help="All but terminal go to stdout alone: redirect them. "
        "github runs nothing: it prints a CI's jobs.",
    ),
    click.option(
        "--graph",
        is_flag=True,
        help="Leave out each patch in turn, and find what it depends on by applying it.",
    ),
    click.option(
        "--suite",
        is_flag=True,
        help="Run upstream's own tests, bare and with the series; new failures count.",
    ),
    click.option(
        "--cells",
        metavar="CELLS",
        default="",
        help="Only these cells, one job's share as github prints it.",
    ),
    click.option(
        "--results",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write what was found, for --merge.",
    ),
    click.option(
        "--merge",
        "merged",
        multiple=True,
        type=click.Path(exists=True, path_type=Path),
        metavar="PATH",
        help="Run nothing: report on result files, or folders of them. Repeatable.",
    ),
    click.option(
        "--check", is_flag=True, help="Exit with 10 where a patch can be dropped or refreshed."
    ),
    click.option("--fresh", is_flag=True, help="Ignore results of earlier runs."),
)


@dataclass(frozen=True)
class Asked:
    """The options of a report on the command line, one field for each."""

    releases: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    why: bool = False
    form: str = "terminal"
    graph: bool = False
    suite: bool = False
    cells: str = ""
    results: Path | None = None
    merged: tuple[Path, ...] = ()
    check: bool = False
    fresh: bool = False

    def choice(self, *, matrix: bool) -> Choice:
        """Return what must be run for these options."""
        from scripts.status.selection import Choice

        return Choice(
            self.releases,
            self.patches,
            tuple(self.cells.split()),
            fresh=self.fresh,
            matrix=matrix,
            graph=self.graph,
            suite=self.suite,
            part=bool(self.cells and self.results),
        )


def reporting(command: Callable[..., Exit]) -> Callable[..., Exit]:
    """Add the options of a report to a command, which gets their values as one `Asked`."""

    @wraps(command)
    def packed(repo: Repository, **options: Any) -> Exit:
        asked = Asked(**{item.name: options.pop(item.name) for item in fields(Asked)})
        return command(repo, asked, **options)

    for option in reversed(_OPTIONS):
        packed = option(packed)
    return packed


def answer(repo: Repository, asked: Asked, choice: Choice) -> Exit:
    """Run or merge, print the report alone to stdout, and return the exit code."""
    from scripts.rebase.state import under_way
    from scripts.status.ci_shards import merge
    from scripts.status.status import status

    if asked.form == "github":
        return _print_jobs(repo, choice)
    start = time.monotonic()
    if asked.merged:
        report = merge(repo, asked.merged)
        _show(report, asked)
    elif (found := _while_busy(repo, asked, choice)) is not None:
        report = found
        _show(report, asked)
    else:
        report, prober = status(
            repo, choice, _keeper(repo, asked, choice), under_way=under_way(repo)
        )
        _show(report, asked)
        say(
            f"\n{prober.ran} processes of probes run, {prober.kept} results kept from before, "
            f"{time.monotonic() - start:.1f} s"
        )
    if report.must_look:
        return Exit.LOOK
    return Exit.REFRESH if asked.check and report.can_drop else Exit.FINE


def _while_busy(repo: Repository, asked: Asked, choice: Choice) -> Report | None:
    """Return the last report if another command is running, for a plain report on the terminal.

    Return None for anything that wants a run of its own, which waits for the other command.
    """
    from scripts.status.ci_shards import last
    from scripts.upstream.unreleased import parse

    wants_run = (
        asked.check or asked.fresh or asked.graph or asked.suite or asked.results or asked.cells
    )
    if asked.form != "terminal" or wants_run or choice.cells or any(map(parse, choice.releases)):
        return None
    holder = repo.busy()
    report = last(repo, choice) if holder else None
    if report is not None:
        say(f"{holder} works on this folder, so nothing is run")
    return report


def _keeper(repo: Repository, asked: Asked, choice: Choice) -> Callable[[Scope, Findings], None]:
    """Return the function that stores the findings of a run.

    It writes them to the `--results` file. A run on every release, cell and feature is also kept
    for reports while another command is running.
    """
    from scripts.status.ci_shards import keep_last, write_results

    def keep(scope: Scope, found: Findings) -> None:
        if asked.results:
            write_results(repo, scope, found, asked.results)
        if choice.whole and not choice.features:
            keep_last(repo, scope, found)

    return keep


def _print_jobs(repo: Repository, choice: Choice) -> Exit:
    """Print the jobs that a CI runs in parallel, as JSON."""
    from scripts.core.lockfile import read_lock
    from scripts.status.ci_shards import jobs
    from scripts.status.selection import scope_of

    scope = scope_of(repo, read_lock(repo.lock_file), choice)
    click.echo(json.dumps(jobs(repo, scope.cells)))
    return Exit.FINE


def _show(report: Report, asked: Asked) -> None:
    """Print a report in the requested format."""
    from scripts.report.pages import render
    from scripts.report.terminal import as_json, print_report

    if asked.form == "json":
        click.echo(json.dumps(as_json(report), indent=2, ensure_ascii=False))
    elif asked.form != "terminal":
        click.echo(render(report, asked.form), nl=False)
    else:
        print_report(report, out, why=asked.why)
