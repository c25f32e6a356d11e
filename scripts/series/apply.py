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
from scripts.core.model import Applies, Feature, Lock, Patch, Release, State, Text
from scripts.core.repository import Repository
from scripts.core.result_cache import Store, digest, file_digest
from scripts.series.cherry_pick import Picks, Step, apply_exactly, difference, line_on, pick
from scripts.series.override_files import brought_by, module_files, with_packages
from scripts.series.series import Series
from scripts.series.text_check import texts
from scripts.upstream import import_folder

FORMAT = (
    "--always",
    "--zero-commit",
    "--no-signature",
    "--no-stat",
    "--full-index",
    "--no-numbered",
    "-U1",
)
"""How a patch is written: the least context, and nothing that depends on the machine."""


_WRITTEN = 1_000_000_000
"""The modification time of every module of a tree, in seconds since the epoch."""


@dataclass(frozen=True)
class Built:
    """A tree with some patches applied, and how each of them applied."""

    tree: str
    applied: tuple[str, ...]
    steps: dict[str, Step]


@dataclass(frozen=True)
class Commits:
    """The series as commits on its base: each patch's commit, and what did not apply there."""

    ids: dict[str, str]
    failed: dict[str, Step]


@dataclass
class Workshop:
    """Builds trees in the private repository, once for each content."""

    repo: Repository
    lock: Lock
    series: Series
    store: Store
    _built: dict[str, Built] = field(default_factory=dict)
    _commits: dict[tuple[str, ...], Commits] = field(default_factory=dict)
    _differences: dict[str, bytes] = field(default_factory=dict)
    _picks: Picks = field(default_factory=dict)
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
    ) -> Built:
        """Return the tree of `target` with `patches` applied, except those in `without`.

        A patch that conflicts is left out too, as are those that depend on it; its step names the
        place.
        """
        left_out = frozenset(without)
        key = digest(
            "built, moved files followed",
            target.commit,
            [patch.sha256 for patch in patches],
            sorted(left_out),
            self._override_digests,
        )
        built = self._built.get(key) or self._kept(key)
        if built is None:
            built = self._build(patches, target, left_out)
            self.store.put(key, dataclasses.asdict(built))
        self._built[key] = built
        self._releases.setdefault(built.tree, target)
        return built

    def _kept(self, key: str) -> Built | None:
        """Return what an earlier run built, if its tree still exists."""
        kept = self.store.get(key)
        if kept is None or not self.git.resolve(f"{kept['tree']}^{{tree}}"):
            return None
        steps = {
            name: Step(Applies(step["applies"]), step["detail"])
            for name, step in kept["steps"].items()
        }
        return Built(kept["tree"], tuple(kept["applied"]), steps)

    def folder(self, tree: str) -> Path:
        """Return a folder that contains a tree's files, written only once."""
        place = self.repo.work / "trees" / tree
        if not place.exists():
            with self.repo.scratch() as scratch:
                new = scratch / tree
                new.mkdir()
                self.git.write_folder(tree, new)
                _make_alike(new)
                place.parent.mkdir(exist_ok=True)
                new.rename(place)
        return place

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
        given = self.repo.config.upstream.import_path(release.version)
        key = digest("layout", release.tree, given, file_digest(Path(import_folder.__file__)))
        kept = self.store.get(key)
        if kept is None:
            names = self.git.text("ls-tree", "-r", "--name-only", release.tree).splitlines()
            read = partial(self._file, release.tree)
            kept = (
                given
                if given and import_folder.has_code(names, given)
                else import_folder.import_folder(names, read)
            )
            self.store.put(key, kept)
        return str(kept)

    def _file(self, tree: str, name: str) -> str:
        return self.git.run("cat-file", "blob", f"{tree}:{name}").text

    def commits(self, patches: Sequence[Patch]) -> Commits:
        """Build patches as commits, each on its base after the earlier ones, without any offset."""
        key = tuple(patch.sha256 for patch in patches)
        if key not in self._commits:
            self._commits[key] = self._commit_all(patches)
        return self._commits[key]

    def mutated(self, feature: Feature) -> str | None:
        """Return the base's tree with a feature's reverse mutation, or None if it conflicts."""
        base = self._release(feature.patch.base)
        with self.git.index(base.tree) as handle:
            mutation = (self.repo.root / feature.mutation).read_bytes()
            done = handle.run("apply", "--cached", "-", stdin=mutation, ok=None)
            if done.code != 0:
                return None
            tree = handle.text("write-tree")
            self._releases.setdefault(tree, base)
            return tree

    def text(self, patches: Sequence[Patch], target: Release) -> dict[str, Text]:
        """Return for each patch whether its change is already in a release's text.

        The changes are applied in reverse, the last patch first.
        """
        key = digest("text", target.commit, [patch.sha256 for patch in patches])
        kept = self.store.get(key)
        if kept is None:
            ids = self.commits(patches).ids
            known = {
                patch.id: self._difference(ids[patch.id])
                for patch in patches
                if patch.hunks and patch.id in ids
            }
            unknown = dict.fromkeys((patch.id for patch in patches), Text.UNKNOWN)
            kept = unknown | texts(self.git, known, target.tree)
            self.store.put(key, kept)
        return {name: Text(value) for name, value in kept.items()}

    def override_files(self, patch: Patch) -> tuple[str, ...]:
        """Return the modules that a live patch brings, relative to the override package."""
        return self._override_files.get(patch.id, ())

    @cached_property
    def _override_files(self) -> dict[str, tuple[str, ...]]:
        return brought_by(self.series.active, module_files(self.repo.overrides))

    @cached_property
    def _override_digests(self) -> list[str]:
        names = sorted({*module_files(self.repo.overrides), *self.repo.config.overrides.common})
        return [
            digest(name, file_digest(self.repo.overrides / name))
            for name in with_packages(names, self.repo.overrides)
        ]

    def _release(self, version: str) -> Release:
        release = self.lock.release(version)
        assert release is not None, version
        return release

    def _commit_all(self, patches: Sequence[Patch]) -> Commits:
        made = Commits({}, {})
        if not patches:
            return made
        base = patches[0].base
        with self.git.checkout(self._release(base).commit) as work:
            for patch in patches:
                if patch.base != base:
                    base = patch.base
                    self._replay(work, patches, made, self._release(base))
                step = apply_exactly(work, patch)
                if step.applies is Applies.CONFLICT:
                    made.failed[patch.id] = step
                else:
                    made.ids[patch.id] = work.text("rev-parse", "HEAD")
        return made

    def _replay(self, work: Git, patches: Sequence[Patch], made: Commits, base: Release) -> None:
        """Cherry-pick the commits made so far onto the base of the next patch."""
        work.run("checkout", "--quiet", "--detach", base.commit)
        for patch in patches:
            if (
                patch.id in made.ids
                and pick(work, made.ids[patch.id], patch).applies is Applies.CONFLICT
            ):
                raise AttentionError(
                    f"{patch.id} does not go onto {base.version},"
                    " where a patch that depends on it stands"
                )

    def _build(self, patches: Sequence[Patch], target: Release, left_out: frozenset[str]) -> Built:
        commits = self.commits(patches)
        steps: dict[str, Step] = dict(commits.failed)
        applied: list[Patch] = []
        with line_on(target, self.git, self._picks) as line:
            for patch in patches:
                if patch.id in left_out or patch.id in steps:
                    continue
                missing = [
                    name
                    for name in patch.depends
                    if name in steps and steps[name].applies is Applies.CONFLICT
                ]
                if missing:
                    steps[patch.id] = Step(
                        Applies.CONFLICT, f"depends on {', '.join(missing)}, which conflicts"
                    )
                    continue
                steps[patch.id] = line.pick(commits.ids[patch.id], patch)
                if steps[patch.id].applies is not Applies.CONFLICT:
                    applied.append(patch)
        return Built(self._compose(line.tree, applied), tuple(patch.id for patch in applied), steps)

    def _compose(self, tree: str, applied: Sequence[Patch]) -> str:
        """Add the override modules and the list of the applied patches to a patched tree."""
        if not applied:
            return tree
        package = self.repo.config.overrides.package
        files = {f"{package}/_series.py": listing(applied)}
        modules = [
            name
            for patch in applied
            if patch.state is State.ACTIVE  # a retired patch has its modules in its own hunks
            for name in self.override_files(patch)
        ]
        for name in with_packages(
            [*self.repo.config.overrides.common, *modules], self.repo.overrides
        ):
            files[f"{package}/{name}"] = (self.repo.overrides / name).read_bytes()
        lines = "".join(
            f"100644 {self._blob(content)}\t{path}\n" for path, content in files.items()
        )
        with self.git.index(tree) as handle:
            handle.run("update-index", "--add", "--index-info", stdin=lines.encode())
            return handle.text("write-tree")

    def _blob(self, content: bytes) -> str:
        """Return the id of a blob with that content, written only once."""
        if content not in self._blobs:
            self._blobs[content] = self.git.text("hash-object", "-w", "--stdin", stdin=content)
        return self._blobs[content]

    def _difference(self, commit: str) -> bytes:
        if commit not in self._differences:
            self._differences[commit] = difference(self.git, commit)
        return self._differences[commit]


def _make_alike(folder: Path) -> None:
    """Set one modification time, so that equal files of two trees share their bytecode.

    `probes/cell/serve.py` relies on it.
    """
    for path in folder.rglob("*.py"):
        os.utime(path, (_WRITTEN, _WRITTEN))


def listing(applied: Sequence[Patch]) -> bytes:
    """Return the source of the module that lists the patches in a tree and their features."""
    patches = "".join(f"    {patch.id!r},\n" for patch in applied)
    features = "".join(
        f"    {name!r},\n" for patch in applied for name in patch.features or (patch.id,)
    )
    head = '"""The patches in this tree and their features; written when the tree was built."""'
    return f"{head}\n\nSERIES = (\n{patches})\nFEATURES = (\n{features})\n".encode()
