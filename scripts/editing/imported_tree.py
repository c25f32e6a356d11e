"""The work tree that `import` made, as it stands: what is in no commit yet counts, too.

It is copied with the override package beside it, so that a later save changes nothing in a run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.core.git import Git, user_git
from scripts.core.model import Patch, Release, State
from scripts.core.repository import Repository
from scripts.editing.branch import base_of
from scripts.series.apply import TreeBuilder, series_module, set_file_times
from scripts.series.override_files import module_files, with_package_inits
from scripts.series.trailers import Trailers, read_trailers


@dataclass(frozen=True)
class ImportedTree:
    """A copy of the imported tree with the override package: its content's id, folder and release.

    `builder` provides every other tree, as `TreeFolders` of the prober.
    """

    tree: str
    folder: Path
    release: Release
    builder: TreeBuilder

    def places(self, tree: str) -> tuple[str, ...]:
        """Return the folders, relative to the tree, from which its modules are imported."""
        return self.builder.places(self.release.tree if tree == self.tree else tree)

    def folders(self, tree: str) -> tuple[Path, ...]:
        """Return the folders, which contain the tree's files."""
        if tree != self.tree:
            return self.builder.folders(tree)
        return tuple(self.folder / place for place in self.places(tree))


def copy_imported(
    repo: Repository, builder: TreeBuilder, place: Path, folder: Path, under_way: Iterable[str]
) -> ImportedTree:
    """Copy the imported tree into a new folder, with the override package of the repository.

    Unlike in a tree that `status` builds, every module of the package is there, also one that no
    patch names yet. The list of the features names those that are `under_way`, too.
    """
    release = base_of(place, builder.lock)
    _copy_files(place, folder, _listed_files(place))
    package = folder / repo.config.overrides.package
    _copy_files(repo.overrides, package, _override_files(repo))
    package.mkdir(exist_ok=True)
    (package / "_series.py").write_bytes(series_module(_patches(place, release), under_way))
    set_file_times(folder)
    return ImportedTree(_tree_id(repo.git, folder), folder, release, builder)


def _listed_files(place: Path) -> set[str]:
    """Return the files that git tracks, and those that `git add --all` would add."""
    words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return set(os.fsdecode(user_git(place, *words).stdout).split("\0")) - {""}


def _override_files(repo: Repository) -> list[str]:
    names = {*module_files(repo.overrides), *repo.config.overrides.common}
    return with_package_inits(names, repo.overrides)


def _copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        # git also lists a file that is removed, and the folder of another repository.
        with suppress(FileNotFoundError, IsADirectoryError):
            shutil.copy(source / name, target / name, follow_symlinks=False)


def _patches(place: Path, base: Release) -> list[Patch]:
    """Return the patches that the commits of the branch are, by their trailers alone.

    A commit without an id, such as a fixup, is part of another patch.
    """
    words = ("log", "--reverse", "--topo-order", "--no-show-signature", "--format=%B%x00")
    bodies = user_git(place, *words, f"{base.commit}..HEAD").text.split("\0")
    return list({patch.id: patch for patch in _with_ids(bodies)}.values())


def _with_ids(messages: Iterable[str]) -> Iterator[Patch]:
    for message in messages:
        pairs, _ = read_trailers(message.strip().rpartition("\n\n")[2])
        found = Trailers(pairs)
        if found.value("Id"):
            yield Patch(
                path=Path(),
                state=State.ACTIVE,
                id=found.value("Id"),
                title="",
                base="",
                sha256="",
                features=found.names("Features"),
            )


def _tree_id(git: Git, folder: Path) -> str:
    """Return git's id of a folder's content, which is that of the tree that an export gives."""
    with replace(git, work_tree=folder).temporary_index() as index:
        index.run("add", "--all", "--force", ".")
        return index.text("write-tree")
