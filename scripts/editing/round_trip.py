"""Check that patch files, applied again, give the branch that they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.model import Lock, Patch, State
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.editing.branch import Branch, BranchCommit
from scripts.editing.ways import reword_command
from scripts.series.apply import SeriesCommits, TreeBuilder, format_patch
from scripts.series.patch_file import read_patch
from scripts.series.series import Series


@dataclass(frozen=True)
class ExportedPatch:
    """A commit of the branch as a patch: its id, git's mail of it, and its file in `patches/`."""

    id: str
    mail: bytes
    name: str
    content: bytes


def check_round_trip(
    repo: Repository,
    lock: Lock,
    series: Series,
    branch: Branch,
    commits: Sequence[BranchCommit],
    written: Sequence[ExportedPatch],
    new: Path,
) -> None:
    """Raise AttentionError if the files, applied again, do not give the branch's own commits."""
    patches = {item.id: read_patch(new / item.name, State.ACTIVE)[0] for item in written}
    problems = _unreadable(lock, patches)
    if not problems:
        again = Series(tuple(patches.values()), series.retired)
        made = tree_builder(repo, lock, again).commits(again.active)
        problems = {name: step.detail for name, step in made.failed.items()} or dict(
            _differing_commits(repo.git, made, written)
        )
    if problems:
        wrong = [item for item in commits if item.id in problems]
        lines = [f"  {item.name}: {problems[item.id]}" for item in wrong]
        raise AttentionError(
            "refused: the files written would not give the branch again:\n" + "\n".join(lines),
            hint=reword_command(branch.tree, wrong, commits[-1]),
        )


def tree_builder(repo: Repository, lock: Lock, series: Series) -> TreeBuilder:
    """Return a builder of this series' commits."""
    return TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))


def _unreadable(lock: Lock, patches: dict[str, Patch]) -> dict[str, str]:
    return {
        name: "its trailers `Id:` and `Base:` cannot be read back"
        for name, patch in patches.items()
        if patch.id != name or lock.release(patch.base) is None
    }


def _differing_commits(
    git: Git, made: SeriesCommits, written: Sequence[ExportedPatch]
) -> Iterator[tuple[str, str]]:
    """Yield the patches whose rebuilt commit differs in text, author or change, and how."""
    for item in written:
        again = format_patch(git, made.ids[item.id])
        if again != item.mail:
            yield item.id, _describe_difference(item.mail, again)


def _describe_difference(mail: bytes, again: bytes) -> str:
    kept = set(again.splitlines())
    lost = next((line for line in mail.splitlines() if line not in kept), None)
    if lost is None:
        return "git reads it back as another commit"
    return f"git does not read the line {lost.decode(errors='replace')!r} back"
