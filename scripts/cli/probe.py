"""probe: try features on the imported tree, once or at each save."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from scripts.cli.verb import Verb, tree_option
from scripts.core.console import info, out, progress, typed_command
from scripts.core.errors import Exit, ForkError, ways_text
from scripts.core.repository import Repository

if TYPE_CHECKING:
    from scripts.status.trial import Trial, TrialOptions


@click.command(cls=Verb)
@click.argument("names", nargs=-1, required=True, metavar="ID...")
@tree_option
@click.option(
    "--cell",
    default="",
    metavar="NAME",
    help="Another cell than the first default one that can run here.",
)
@click.option("--no-bare", is_flag=True, help="Do not show that the probes fail on bare upstream.")
@click.option("--watch", is_flag=True, help="Run again at each save, until Ctrl-C.")
@click.pass_obj
def probe(
    repo: Repository,
    names: tuple[str, ...],
    folder: Path | None,
    cell: str,
    no_bare: bool,
    watch: bool,
) -> Exit:
    """Run the probes of features on the tree of `import` as it stands, before any export, with the
    override modules of this work tree beside it.

    ID is a feature, a patch (all of its features), or a new probe file: `new-thing` for
    test_new_thing.py. Exits with 20 unless they pass there and fail on the bare release.

    \b
    Examples:
      nox -s probe -- iexact-conditions
      nox -s probe -- iexact-conditions --watch
      nox -s probe -- iexact-conditions --cell 7.2@py311-django5.2@valkey9 --no-bare
    """
    from scripts.status.trial import TrialOptions
    from scripts.status.trial_text import ways_to_prove

    options = TrialOptions(names, folder, cell, bare=not no_bare)
    if watch:
        _watch(repo, options)
    trial, code = _probe(repo, options)
    proven = code is Exit.OK
    ways = _ways_on(repo, folder, trial) if proven else ways_to_prove(trial, typed_command())
    info(f"\n{ways_text(chr(10).join(ways), 'next')}")
    return code


def _ways_on(repo: Repository, folder: Path | None, trial: Trial) -> list[str]:
    """Return the commands that write what was tried to patches/, or prove it if it is there."""
    from scripts.core.lockfile import read_lock
    from scripts.editing.branch import uncommitted, work_tree
    from scripts.editing.unexported import has_new_commits
    from scripts.editing.ways import read_progress, ways_to_commit

    tree, lock = work_tree(repo, folder), read_lock(repo.lock_file)
    if tree.place.is_relative_to(Path.cwd()):
        tree = replace(tree, place=tree.place.relative_to(Path.cwd()))
    if uncommitted(tree.place):
        return ways_to_commit(tree, read_progress(tree, lock))
    features = [found.feature for found in trial.features]
    # Only a patch that is in patches/ has a base.
    if has_new_commits(tree.place, lock) or not all(item.patch.base for item in features):
        return [tree.export]
    return [f"nox -s status -- {' '.join(f'--patch {item.id}' for item in features)}"]


def _probe(repo: Repository, options: TrialOptions) -> tuple[Trial, Exit]:
    """Run the probes once, and print what they show."""
    from scripts.status.trial import run_trial
    from scripts.status.trial_text import is_proven, print_trial

    trial = run_trial(repo, options)
    print_trial(trial, repo.root, out)
    return trial, Exit.OK if all(map(is_proven, trial.features)) else Exit.ATTENTION


def _watch(repo: Repository, options: TrialOptions) -> NoReturn:
    """Run the probes again at each save; ends at Ctrl-C or with its parent.

    Wrong use at the first run ends it, too.
    """
    from scripts.core.parent import end_with_parent
    from scripts.core.saves import file_stamps, wait_for_save
    from scripts.status.trial import files_to_watch

    end_with_parent()
    watched = files_to_watch(repo, options)
    before = file_stamps(watched)
    _probe(repo, options)
    while True:
        info("")
        with progress("waiting for a save (Ctrl-C ends this)", None):
            saved = wait_for_save(watched, before)
        info(f"{datetime.now().astimezone():%H:%M:%S} saved: {_named(saved, repo.root)}")
        # Taken before the run, so that a save during it is followed by another run.
        before = file_stamps(watched)
        try:
            _probe(repo, options)
        except ForkError as error:
            info(f"error: {error}")


def _named(saved: list[Path], root: Path) -> str:
    """Return the first saved files, relative to the repository where they are in it."""
    names = [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in saved]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
