"""apply: build the series as commits on its base, move it by cherry-pick, and make trees that probes can run against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scripts.errors import AttentionError
from scripts.git import Git
from scripts.model import Applies, Lock, Patch, Release, State, Text
from scripts.repository import Repository
from scripts.series import Series
from scripts.store import Store, digest, file_digest

FORMAT = (
    "--always",
    "--zero-commit",
    "--no-signature",
    "--no-stat",
    "--full-index",
    "--no-numbered",
    "-U1",
)
"""How a patch is written: the least context, nothing that depends on the machine."""

_MARKER = re.compile(r"^<<<<<<< ", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """How one patch went onto a tree, and where it did not."""

    applies: Applies
    detail: str = ""


@dataclass(frozen=True)
class Built:
    """A tree with some patches applied, and how each of them went on."""

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
    """Makes trees in the private repository, once for each content."""

    repo: Repository
    lock: Lock
    series: Series
    store: Store
    _commits: dict[tuple[str, ...], Commits] = field(default_factory=dict)

    @property
    def git(self) -> Git:
        """The private repository."""
        return self.repo.git

    def build(self, patches: Sequence[Patch], target: Release, *, without: Iterable[str] = ()) -> Built:
        """Return the tree of `target` with `patches` applied, those in `without` left out.

        A patch that conflicts is left out too, with what depends on it; its step says where.
        """
        left_out = frozenset(without)
        key = digest("build", target.commit, [patch.sha256 for patch in patches], sorted(left_out), self._override_digests)
        kept = self.store.get(key)
        if kept is not None and self.git.resolve(f"{kept['tree']}^{{tree}}"):
            steps = {name: Step(Applies(applies), detail) for name, (applies, detail) in kept["steps"].items()}
            return Built(kept["tree"], tuple(kept["applied"]), steps)
        built = self._build(patches, target, left_out)
        steps_record = {name: (step.applies, step.detail) for name, step in built.steps.items()}
        self.store.put(key, {"tree": built.tree, "applied": built.applied, "steps": steps_record})
        return built

    def folder(self, tree: str) -> Path:
        """Return a folder that holds a tree's files, written once."""
        place = self.repo.work / "trees" / tree
        if not place.exists():
            with self.repo.scratch() as scratch:
                new = scratch / tree
                new.mkdir()
                self.git.write_folder(tree, new)
                place.parent.mkdir(exist_ok=True)
                new.rename(place)
        return place

    def commits(self, patches: Sequence[Patch]) -> Commits:
        """Build patches as commits, each on its base on top of those before it, without any offset."""
        key = tuple(patch.sha256 for patch in patches)
        if key not in self._commits:
            self._commits[key] = self._commit_all(patches)
        return self._commits[key]

    def mutated(self, patch: Patch) -> str | None:
        """Return the tree of a patch's base with its reverse mutation, or None where that does not apply."""
        with self.git.index(self._release(patch.base).tree) as handle:
            mutation = (self.repo.root / patch.mutation).read_bytes()
            done = handle.run("apply", "--cached", "-", stdin=mutation, ok=None)
            return handle.text("write-tree") if done.code == 0 else None

    def text(self, patches: Sequence[Patch], target: Release) -> dict[str, Text]:
        """Compare texts: whether each patch's change already stands in a release, by reverse application, last patch first."""
        key = digest("text", target.commit, [patch.sha256 for patch in patches])
        kept = self.store.get(key)
        if kept is None:
            kept = self._texts(patches, target)
            self.store.put(key, kept)
        return {name: Text(value) for name, value in kept.items()}

    @cached_property
    def _override_digests(self) -> list[str]:
        return [file_digest(path) for path in sorted(self.repo.overrides.glob("*")) if path.is_file()]

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
        """Move what is committed so far to the base of the next patch."""
        work.run("checkout", "--quiet", "--detach", base.commit)
        for patch in patches:
            if patch.id in made.ids and pick(work, made.ids[patch.id], patch).applies is Applies.CONFLICT:
                raise AttentionError(f"{patch.id} does not go onto {base.version}, where a patch that depends on it stands")

    def _build(self, patches: Sequence[Patch], target: Release, left_out: frozenset[str]) -> Built:
        commits = self.commits(patches)
        steps: dict[str, Step] = dict(commits.failed)
        applied: list[Patch] = []
        with self.git.checkout(target.commit) as work:
            for patch in patches:
                if patch.id in left_out or patch.id in steps:
                    continue
                missing = [name for name in patch.depends if name in steps and steps[name].applies is Applies.CONFLICT]
                if missing:
                    steps[patch.id] = Step(Applies.CONFLICT, f"depends on {', '.join(missing)}, which conflicts")
                    continue
                steps[patch.id] = pick(work, commits.ids[patch.id], patch)
                if steps[patch.id].applies is not Applies.CONFLICT:
                    applied.append(patch)
            tree = work.tree_of("HEAD")
        return Built(self._compose(tree, applied), tuple(patch.id for patch in applied), steps)

    def _compose(self, tree: str, applied: Sequence[Patch]) -> str:
        """Add to a patched tree the override modules that its patches name, and the list of the patches."""
        if not applied:
            return tree
        package = self.repo.config.overrides.package
        files = {f"{package}/_series.py": listing(applied)}
        modules = [f"{module}.py" for patch in applied if patch.state is State.ACTIVE for module in patch.overrides]
        for name in (*self.repo.config.overrides.common, *modules):
            files[f"{package}/{name}"] = (self.repo.overrides / name).read_bytes()
        with self.git.index(tree) as handle:
            for path, content in files.items():
                blob = handle.text("hash-object", "-w", "--stdin", stdin=content)
                handle.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
            return handle.text("write-tree")

    def _texts(self, patches: Sequence[Patch], target: Release) -> dict[str, Text]:
        commits = self.commits(patches)
        found: dict[str, Text] = {}
        with self.git.index(target.tree) as handle:
            for patch in reversed(patches):
                if not patch.hunks or patch.id not in commits.ids:
                    found[patch.id] = Text.UNKNOWN
                    continue
                commit = commits.ids[patch.id]
                done = handle.run("apply", "--cached", "--reverse", "-", stdin=difference(self.git, commit), ok=None)
                found[patch.id] = Text.PRESENT if done.code == 0 else Text.ABSENT
        return found


def listing(applied: Sequence[Patch]) -> bytes:
    """Return the module that names the patches in a tree."""
    ids = "".join(f"    {patch.id!r},\n" for patch in applied)
    return f'"""The patches in this tree; written when the tree was built."""\n\nSERIES = (\n{ids})\n'.encode()


def apply_exactly(work: Git, patch: Patch) -> Step:
    """Commit a patch with `git am` on its own base, where no hunk may be moved or ambiguous."""
    diff = _diff_of(patch)
    if diff:
        trial = work.run("apply", "--check", "--verbose", "-", stdin=diff, ok=None)
        if trial.code != 0 or b"offset" in trial.stderr:
            return Step(Applies.CONFLICT, f"does not apply exactly on its own base {patch.base}: {_complaints(trial.complaint)}")
    done = work.run("am", "--quiet", "--empty=keep", "--keep-non-patch", "--no-3way", patch.path.absolute(), ok=None)
    if done.code != 0:
        work.run("am", "--abort", ok=None)
        return Step(Applies.CONFLICT, f"git am refuses it on its own base {patch.base}: {_complaints(done.complaint)}")
    return Step(Applies.CLEAN if patch.hunks else Applies.NO_HUNKS)


def pick(work: Git, commit: str, patch: Patch) -> Step:
    """Cherry-pick a patch's commit onto HEAD; on a conflict HEAD and the work tree stay as they were."""
    head = work.text("rev-parse", "HEAD")
    step = cherry(work, commit, patch)
    if step.applies is Applies.CONFLICT:
        work.run("cherry-pick", "--abort", ok=None)
        work.run("reset", "--quiet", "--hard", head)
    return step


def cherry(work: Git, commit: str, patch: Patch) -> Step:
    """Cherry-pick a patch's commit onto HEAD, and hold the result against what a plain application would give.

    With one line of context a plain application can land in the wrong function, so it is never used; where it gives
    another tree the place is ambiguous, which is a conflict. A conflict is left in the work tree.
    """
    head = work.text("rev-parse", "HEAD")
    diff = difference(work, commit)
    plain, moved = _plain(work, head, diff) if diff else (work.tree_of(head), False)
    done = work.run("cherry-pick", "--allow-empty", "--keep-redundant-commits", commit, ok=None)
    if done.code != 0:
        return Step(Applies.CONFLICT, _conflicts(work, patch))
    if not diff:
        return Step(Applies.NO_HUNKS)
    if plain is None:
        return Step(Applies.THREE_WAY)
    if plain != work.tree_of("HEAD"):
        files = ", ".join(sorted({hunk.path for hunk in patch.hunks}))
        return Step(Applies.CONFLICT, f"ambiguous: its hunks fit in more than one place of {files}")
    return Step(Applies.OFFSET if moved else Applies.CLEAN)


def difference(git: Git, commit: str) -> bytes:
    """Return a commit's change as a patch with the least context."""
    return git.run("diff-tree", "-p", "-U1", "--full-index", "--binary", "--no-renames", f"{commit}^", commit).stdout


def _diff_of(patch: Patch) -> bytes:
    content = patch.path.read_bytes()
    start = content.find(b"\ndiff --git ")
    return content[start + 1 :] if start >= 0 else b""


def _plain(work: Git, head: str, diff: bytes) -> tuple[str | None, bool]:
    """Return the tree that a plain application gives (None where it fails), and whether a hunk moved."""
    with work.index(head) as handle:
        done = handle.run("apply", "--cached", "--verbose", "-", stdin=diff, ok=None)
        return (handle.text("write-tree") if done.code == 0 else None), b"offset" in done.stderr


def _conflicts(work: Git, patch: Patch) -> str:
    """Name the files and places of a cherry-pick's conflicts, and the hunks that wanted to go there."""
    assert work.work_tree is not None
    places = []
    for name in work.text("diff", "--name-only", "--diff-filter=U").splitlines():
        path = work.work_tree / name
        text = path.read_text(errors="replace") if path.exists() else ""
        lines = [str(text.count("\n", 0, match.start()) + 1) for match in _MARKER.finditer(text)]
        own = [hunk for hunk in patch.hunks if hunk.path == name] or patch.hunks  # all of them where upstream moved the file
        hunks = [f"@@ -{hunk.old[0]},{hunk.old[1]} +{hunk.new[0]},{hunk.new[1]} @@" for hunk in own]
        where = f"line {', '.join(lines)}" if lines else "the file is gone or binary"
        places.append(f"{name}: {where} (hunks {' '.join(hunks)})")
    return "; ".join(places) or "cherry-pick refused it"


def _complaints(text: str) -> str:
    """Return the lines of git's words that say what is wrong."""
    lines = [line for line in text.splitlines() if line.startswith("error:") or "offset" in line]
    return "; ".join(lines) or text.strip()
