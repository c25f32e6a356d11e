"""The messages that `new` began, until a commit has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.editing.branch import BranchCommit
from scripts.series.templates import slug_of
from scripts.series.trailers import Trailers, read_trailers

MESSAGES = ".git/new-patches"
"""The folder, in the work tree, of the messages that `new` began."""


@dataclass(frozen=True)
class Begun:
    """A patch that `new` began: its id, its title, and the trailers of its message."""

    id: str
    title: str
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The ids of the features that it brings."""
        return Trailers(self.trailers).names("Features")

    @property
    def probes(self) -> tuple[str, ...]:
        """The files of its probes, if it is the record of its feature."""
        return Trailers(self.trailers).names("Probes")


def begun_patches(place: Path) -> list[Begun]:
    """Return the patches that `new` began in a work tree and that no export has written."""
    return [_read(path) for path in sorted((place / MESSAGES).glob("*"))]


def without_commit(begun: Iterable[Begun], commits: Collection[BranchCommit]) -> list[Begun]:
    """Return what was begun and is no commit yet."""
    there = {item.id for item in commits}
    return [item for item in begun if item.id not in there]


def _read(path: Path) -> Begun:
    text = path.read_text(encoding="utf-8", errors="replace")
    pairs, _ = read_trailers(text.strip().rpartition("\n\n")[2])
    return Begun(path.name, text.partition("\n")[0].strip(), tuple(pairs))


def meant_patches(
    commits: Sequence[BranchCommit], begun: Sequence[Begun]
) -> dict[BranchCommit, Begun]:
    """Return what each commit was begun as: the patch with its id, or else probably that.

    A commit without an id is probably the one with its title, or the only one that is left.
    """
    by_id = {item.id: item for item in begun}
    meant = {commit: by_id[commit.id] for commit in commits if commit.id in by_id}
    left = without_commit(begun, commits)
    nameless = [commit for commit in commits if not commit.id]
    for commit in nameless:
        slug = slug_of(commit.title)
        same = [item for item in left if slug in (item.id, slug_of(item.title))]
        for item in same[:1]:
            left.remove(item)
            meant[commit] = item
    for commit in nameless:
        if commit not in meant and len(left) == 1:
            meant[commit] = left.pop()
    return meant
