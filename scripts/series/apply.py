"""apply: build the series as commits on its base, cherry-pick it, and make trees to probe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.model import Applies, Feature, Lock, Patch, Release, State, TextPresence
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache, digest, file_digest
from scripts.series.cherry_pick import (
    ApplyResult,
    PickCache,
    apply_exactly,
    commit_diff,
    pick_or_reset,
    pick_sequence,
)
from scripts.series.override_files import (
    SERIES_FILE,
    files_by_patch,
    module_files,
    with_package_inits,
)
from scripts.series.series import Series
from scripts.series.text_check import check_texts
from scripts.upstream import import_folder

FORMAT_PATCH_OPTIONS = (
    "--always",
    "--zero-commit",
    "--no-signature",
    "--no-stat",
    "--full-index",
    "--no-numbered",
    "-U1",
)
"""How a patch is written: the least context, and nothing that depends on the machine."""


def format_patch(git: Git, commit: str) -> bytes:
    """Return a commit as the mail of a patch file."""
    return git.run("format-patch", *FORMAT_PATCH_OPTIONS, "-1", "--stdout", commit).stdout


_FILE_TIME = 1_000_000_000
"""The modification time of every module of a tree, in seconds since the epoch."""


@dataclass(frozen=True)
class PatchedTree:
    """A tree with some patches applied, and how each of them applied."""

    tree: str
    applied: tuple[str, ...]
    results: dict[str, ApplyResult]


@dataclass(frozen=True)
class SeriesCommits:
    """The series as commits on its base: each patch's commit, and what did not apply there."""

    ids: dict[str, str]
    failed: dict[str, ApplyResult]


@dataclass
class TreeBuilder:
    """Builds trees in the private repository, once for each content."""

    repo: Repository
    lock: Lock
    series: Series
    store: ResultCache
    _built: dict[str, PatchedTree] = field(default_factory=dict)
    _commits: dict[tuple[str, ...], SeriesCommits] = field(default_factory=dict)
    _diffs: dict[str, bytes] = field(default_factory=dict)
    _picks: PickCache = field(default_factory=dict)
    _blobs: dict[bytes, str] = field(default_factory=dict)
    _releases: dict[str, Release] = field(default_factory=dict)
    _places: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._releases |= {release.tree: release for release in self.lock.releases}

    @property
    def git(self) -> Git:
        """The private repository."""
        return self.repo.git

    def build(
        self, patches: Sequence[Patch], target: Release, *, without: Iterable[str] = ()
    ) -> PatchedTree:
        """Return the tree of `target` with `patches` applied, except those in `without`.

        A patch that conflicts is left out too, as are those that depend on it; its result
        names the place.
        """
        left_out = frozenset(without)
        key = digest(
            # The words change with the way trees are built, so that older records do not count.
            "patched tree, moved files followed",
            target.commit,
            [patch.sha256 for patch in patches],
            sorted(left_out),
            self._override_digests,
        )
        built = self._built.get(key) or self._cached_tree(key)
        if built is None:
            built = self._build(patches, target, left_out)
            self.store.put(key, dataclasses.asdict(built))
        self._built[key] = built
        # For `places`, which gets only the id of a tree.
        self._releases.setdefault(built.tree, target)
        return built

    def _cached_tree(self, key: str) -> PatchedTree | None:
        """Return what an earlier run built, if its tree still exists."""
        kept = self.store.get(key)
        if kept is None or not self.git.resolve(f"{kept['tree']}^{{tree}}"):
            return None
        results = {
            name: ApplyResult(Applies(result["applies"]), result["detail"])
            for name, result in kept["results"].items()
        }
        return PatchedTree(kept["tree"], tuple(kept["applied"]), results)

    def folder(self, tree: str) -> Path:
        """Return a folder that contains a tree's files, written only once."""
        place = self.repo.work / "trees" / tree
        if not place.exists():
            with self.repo.scratch() as scratch:
                new = scratch / tree
                new.mkdir()
                self.git.write_folder(tree, new)
                set_file_times(new)
                place.parent.mkdir(exist_ok=True)
                new.rename(place)
        return place

    def adopt(self, tree: str, release: Release) -> None:
        """Let a tree that was made elsewhere have the folders of a release."""
        self._releases.setdefault(tree, release)

    def places(self, tree: str) -> tuple[str, ...]:
        """Return the folders, relative to a tree, from which its modules are imported.

        These are upstream's folder, and the top folder with the fork's own package.
        """
        if tree not in self._places:
            self._places[tree] = tuple(
                dict.fromkeys((self.import_folder(self._releases[tree]), import_folder.TOP))
            )
        return self._places[tree]

    def folders(self, tree: str) -> tuple[Path, ...]:
        """Return the folders from which a tree's modules are imported, written only once."""
        folder = self.folder(tree)
        return tuple(folder / place for place in self.places(tree))

    def import_folder(self, release: Release) -> str:
        """Return the folder, relative to a release's tree, from which its modules are imported."""
        given = self.repo.config.upstream.configured_import_folder(release.version)
        # Other rules for finding the folder make older records invalid.
        key = digest("layout", release.tree, given, file_digest(Path(import_folder.__file__)))
        kept = self.store.get(key)
        if kept is None:
            names = self.git.text("ls-tree", "-r", "--name-only", release.tree).splitlines()
            read = partial(self._read_file, release.tree)
            kept = (
                given
                if given and import_folder.has_code(names, given)
                else import_folder.import_folder(names, read)
            )
            self.store.put(key, kept)
        return str(kept)

    def _read_file(self, tree: str, name: str) -> str:
        return self.git.run("cat-file", "blob", f"{tree}:{name}").text

    def commits(self, patches: Sequence[Patch]) -> SeriesCommits:
        """Build patches as commits, each on its base after the earlier ones, without any offset."""
        key = tuple(patch.sha256 for patch in patches)
        if key not in self._commits:
            self._commits[key] = self._commit_patches(patches)
        return self._commits[key]

    def mutated_tree(self, feature: Feature) -> str | None:
        """Return the base's tree with a feature's reverse mutation, or None if it conflicts."""
        base = self._release(feature.patch.base)
        with self.git.temporary_index(base.tree) as handle:
            mutation = (self.repo.root / feature.mutation).read_bytes()
            done = handle.run("apply", "--cached", "-", stdin=mutation, ok=None)
            if done.code != 0:
                return None
            tree = handle.text("write-tree")
            self._releases.setdefault(tree, base)
            return tree

    def text_presence(self, patches: Sequence[Patch], target: Release) -> dict[str, TextPresence]:
        """Return for each patch whether its change is already in a release's text.

        The changes are applied in reverse, the last patch first.
        """
        key = digest("text", target.commit, [patch.sha256 for patch in patches])
        kept = self.store.get(key)
        if kept is None:
            ids = self.commits(patches).ids
            known = {
                patch.id: self._commit_diff(ids[patch.id])
                for patch in patches
                if patch.hunks and patch.id in ids
            }
            unknown = dict.fromkeys((patch.id for patch in patches), TextPresence.UNKNOWN)
            kept = unknown | check_texts(self.git, known, target.tree)
            self.store.put(key, kept)
        return {name: TextPresence(value) for name, value in kept.items()}

    def override_files(self, patch: Patch) -> tuple[str, ...]:
        """Return the modules that a live patch brings, relative to the override package."""
        return self._override_files.get(patch.id, ())

    @cached_property
    def _override_files(self) -> dict[str, tuple[str, ...]]:
        return files_by_patch(self.series.active, module_files(self.repo.overrides))

    @cached_property
    def _override_digests(self) -> list[str]:
        names = sorted({*module_files(self.repo.overrides), *self.repo.config.overrides.common})
        return [
            digest(name, file_digest(self.repo.overrides / name))
            for name in with_package_inits(names, self.repo.overrides)
        ]

    def _release(self, version: str) -> Release:
        release = self.lock.release(version)
        assert release is not None, version
        return release

    def _commit_patches(self, patches: Sequence[Patch]) -> SeriesCommits:
        commits = SeriesCommits({}, {})
        if not patches:
            return commits
        base = patches[0].base
        with self.git.temporary_worktree(self._release(base).commit) as work:
            for patch in patches:
                # A retired patch and those that it depends on may have different bases.
                if patch.base != base:
                    base = patch.base
                    self._move_commits(work, patches, commits, self._release(base))
                result = apply_exactly(work, patch)
                if result.applies is Applies.CONFLICT:
                    commits.failed[patch.id] = result
                else:
                    commits.ids[patch.id] = work.text("rev-parse", "HEAD")
        return commits

    def _move_commits(
        self, work: Git, patches: Sequence[Patch], commits: SeriesCommits, base: Release
    ) -> None:
        """Cherry-pick the commits made so far onto the base of the next patch."""
        work.run("checkout", "--quiet", "--detach", base.commit)
        for patch in patches:
            if (
                patch.id in commits.ids
                and pick_or_reset(work, commits.ids[patch.id], patch).applies is Applies.CONFLICT
            ):
                raise AttentionError(
                    f"{patch.id} does not apply to {base.version},"
                    " where a patch that depends on it stands"
                )

    def _build(
        self, patches: Sequence[Patch], target: Release, left_out: frozenset[str]
    ) -> PatchedTree:
        commits = self.commits(patches)
        results: dict[str, ApplyResult] = dict(commits.failed)
        applied: list[Patch] = []
        with pick_sequence(target, self.git, self._picks) as sequence:
            for patch in patches:
                if patch.id in left_out or patch.id in results:
                    continue
                missing = [
                    name
                    for name in patch.depends
                    if name in results and results[name].applies is Applies.CONFLICT
                ]
                if missing:
                    results[patch.id] = ApplyResult(
                        Applies.CONFLICT, f"depends on {', '.join(missing)}, which conflicts"
                    )
                    continue
                results[patch.id] = sequence.pick(commits.ids[patch.id], patch)
                if results[patch.id].applies is not Applies.CONFLICT:
                    applied.append(patch)
        return PatchedTree(
            self._add_override_package(sequence.tree, applied),
            tuple(patch.id for patch in applied),
            results,
        )

    def _add_override_package(self, tree: str, applied: Sequence[Patch]) -> str:
        """Add the override modules and the list of the applied patches to a patched tree."""
        if not applied:
            return tree
        package = self.repo.config.overrides.package
        files = {f"{package}/{SERIES_FILE}": series_module(applied)}
        modules = [
            name
            for patch in applied
            if patch.state is State.ACTIVE  # a retired patch has its modules in its own hunks
            for name in self.override_files(patch)
        ]
        for name in with_package_inits(
            [*self.repo.config.overrides.common, *modules], self.repo.overrides
        ):
            files[f"{package}/{name}"] = (self.repo.overrides / name).read_bytes()
        lines = "".join(
            f"100644 {self._blob(content)}\t{path}\n" for path, content in files.items()
        )
        with self.git.temporary_index(tree) as handle:
            handle.run("update-index", "--add", "--index-info", stdin=lines.encode())
            return handle.text("write-tree")

    def _blob(self, content: bytes) -> str:
        """Return the id of a blob with that content, written only once."""
        if content not in self._blobs:
            self._blobs[content] = self.git.text("hash-object", "-w", "--stdin", stdin=content)
        return self._blobs[content]

    def _commit_diff(self, commit: str) -> bytes:
        if commit not in self._diffs:
            self._diffs[commit] = commit_diff(self.git, commit)
        return self._diffs[commit]


def set_file_times(folder: Path) -> None:
    """Set one modification time, so that equal files of two trees share their bytecode.

    `probes/cell/fork_server.py` relies on it.
    """
    for path in folder.rglob("*.py"):
        os.utime(path, (_FILE_TIME, _FILE_TIME))


def series_module(applied: Sequence[Patch], under_way: Iterable[str] = ()) -> bytes:
    """Return the source of the module that lists the patches in a tree and their features.

    `under_way` are features that no patch names yet.
    """
    patches = "".join(f"    {patch.id!r},\n" for patch in applied)
    names = [name for patch in applied for name in patch.features or (patch.id,)]
    features = "".join(f"    {name!r},\n" for name in (*names, *under_way))
    head = '"""The patches in this tree and their features; written when the tree was built."""'
    return f"{head}\n\nSERIES = (\n{patches})\nFEATURES = (\n{features})\n".encode()
