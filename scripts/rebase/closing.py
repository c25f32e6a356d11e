"""What a rebase leaves besides the fork itself: a changelog entry and a comparison of wheels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from scripts.core.errors import ForkError
from scripts.core.repository import Repository
from scripts.rebase.changelog import Draft, ForkState
from scripts.rebase.replay import tree_builder
from scripts.rebase.staging import staged_repository
from scripts.rebase.state import RebaseState, rebase_folder, target_lock
from scripts.series.override_files import module_files
from scripts.series.profile import read_profile
from scripts.series.series import Series, read_series
from scripts.wheel.assembly import build_contents
from scripts.wheel.build_number import read_number
from scripts.wheel.compare import Comparison, compare
from scripts.wheel.compare_text import full_text
from scripts.wheel.contents import WheelContents

_CHANGELOG = "CHANGELOG.md"
_DRAFT = "changelog.md"
_WHEEL = "wheel.txt"
_UPSTREAM_CHANGELOG = re.compile(r"(change|history|news|release)[\w-]*(\.\w+)?", re.IGNORECASE)


def compare_wheels(repo: Repository, state: RebaseState) -> Comparison | ForkError:
    """Return what a rebase changes in the wheel, or why the two could not be built.

    That is no reason to stop, because the series is proven; `wheel` fails with the same message.
    """
    staged = staged_repository(repo)
    try:
        old = _contents(repo, repo, state.origin, tree_builder(repo).series)
        new = _contents(repo, staged, state.target, read_series(staged, target_lock(repo)))
    except ForkError as error:
        return error
    return compare(old, new)


def _contents(repo: Repository, at: Repository, release: str, series: Series) -> WheelContents:
    """Return the contents of the wheel of `at`, which is the current or the staged repository."""
    lock = dataclasses.replace(target_lock(repo), locked=release)
    return build_contents(at, lock, series, read_number(repo, release), {})


def stage_closing(
    repo: Repository, state: RebaseState, comparison: Comparison | ForkError
) -> dict[Path, Path]:
    """Write the files that a rebase leaves besides the fork; return the staged file of each place.

    The entry goes into CHANGELOG.md if that has a heading for what is not released, else it stays
    in `.fork/`.
    """
    stage, folder = rebase_folder(repo) / "stage", rebase_folder(repo) / "stage" / "closing"
    folder.mkdir()
    text = str(comparison) if isinstance(comparison, ForkError) else full_text(comparison)
    (folder / _WHEEL).write_text(text, encoding="utf-8")
    draft, changelog = _draft(repo, state), repo.root / _CHANGELOG
    written = draft.put_into(_read(changelog))
    changes = {_folder(repo): folder}
    if written is None:
        (folder / _DRAFT).write_text(draft.text(), encoding="utf-8")
    else:
        (stage / _CHANGELOG).write_bytes(written.encode())
        changes[changelog] = stage / _CHANGELOG
    return changes


def closing_notes(repo: Repository, state: RebaseState) -> Iterator[str]:
    """Yield where a finished rebase has left its files, and what a person is still to write."""
    draft = _folder(repo) / _DRAFT
    place = draft.relative_to(repo.root) if draft.exists() else _CHANGELOG
    yield (
        f"{place} has a draft of the changelog entry; "
        "the line in <angle brackets> is yours to write"
    )
    names = repo.git.text("ls-tree", "--name-only", state.target).splitlines()
    for name in filter(_UPSTREAM_CHANGELOG.fullmatch, names):
        git = f"git --git-dir {repo.git.git_dir.relative_to(repo.root)}"
        yield f"what upstream says: {git} diff {state.origin} {state.target} -- {name}"


def wheel_changes_file(repo: Repository) -> str:
    """Return the path of the file in which the last rebase names what changed in the wheel."""
    return str((_folder(repo) / _WHEEL).relative_to(repo.root))


def _folder(repo: Repository) -> Path:
    return repo.work / "last-rebase"


def _draft(repo: Repository, state: RebaseState) -> Draft:
    lock, staged = target_lock(repo), staged_repository(repo)
    old, new = tree_builder(repo).series, read_series(staged, lock)
    return Draft(
        lock.name,
        _fork_state(repo, state.origin, old),
        _fork_state(staged, state.target, new),
        state.waived,
    )


def _fork_state(repo: Repository, release: str, series: Series) -> ForkState:
    package = repo.config.overrides.package
    modules = {f"{package}/{name}" for name in module_files(repo.overrides)}
    return ForkState(release, series.features, read_profile(repo), modules)


def _read(path: Path) -> str:
    """Return the text of a file that can be replaced with another one, else an empty text."""
    try:
        return "" if path.is_symlink() else path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return ""
