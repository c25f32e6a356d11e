"""Apply one patch to one tree, exactly on its base or by cherry-pick elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from scripts.core.git import Git
from scripts.core.line_endings import endings_differ, read_blob, restore_line_endings, tree_with_lf
from scripts.core.model import Applies, Patch, Release
from scripts.series.moved_files import CONTEXT_LINES, Move, find_moves, is_same_file, matching_paths

_MARKER = re.compile(r"^<<<<<<< ", re.MULTILINE)


@dataclass(frozen=True)
class ApplyResult:
    """How one patch applied to a tree, and where it conflicted."""

    applies: Applies
    detail: str = ""


class PickResult(NamedTuple):
    """The result of a pick: how the commit applied, and the commit and the tree after it."""

    step: ApplyResult
    commit: str
    tree: str


PickCache = dict[tuple[str, str], PickResult]
"""Earlier picks, by the tree that they were applied to and the commit that was picked."""


@dataclass
class PickSequence:
    """A sequence of picks on a release; a pick onto the same tree is not repeated."""

    git: Git
    commit: str
    tree: str
    picks: PickCache
    stack: ExitStack
    _work: Git | None = None
    _checked_out: str = ""

    def pick(self, commit: str, patch: Patch) -> ApplyResult:
        """Pick a patch's commit onto the end; a conflict leaves the tree unchanged."""
        key = self.tree, commit
        if key not in self.picks:
            work = self._checkout_end()
            step = pick_or_reset(work, commit, patch)
            self._checked_out = work.text("rev-parse", "HEAD")
            self.picks[key] = PickResult(step, self._checked_out, work.tree_of("HEAD"))
        step, self.commit, self.tree = self.picks[key]
        return step

    def _checkout_end(self) -> Git:
        """Return a work tree with the end of the sequence checked out."""
        if self._work is None:
            self._work = self.stack.enter_context(self.git.temporary_worktree(self.commit))
        elif self._checked_out != self.commit:
            self._work.run("checkout", "--quiet", "--detach", self.commit)
        return self._work


@contextmanager
def pick_sequence(release: Release, git: Git, picks: PickCache) -> Iterator[PickSequence]:
    """Yield a sequence that begins at a release, in the private repository."""
    with ExitStack() as stack:
        yield PickSequence(git, release.commit, release.tree, picks, stack)


def apply_exactly(work: Git, patch: Patch) -> ApplyResult:
    """Commit a patch with `git am` on its own base, where no hunk may have an offset."""
    diff = diff_of(patch)
    if diff:
        # `git am` accepts an offset silently, so `git apply` is asked first.
        trial = work.run("apply", "--check", "--verbose", "-", stdin=diff, ok=None)
        if trial.code != 0 or b"offset" in trial.stderr:
            return ApplyResult(
                Applies.CONFLICT,
                f"does not apply exactly on its own base {patch.base}:"
                f" {error_lines(trial.error_output)}",
            )
    done = work.run(
        "am",
        "--quiet",
        "--empty=keep",
        "--keep-non-patch",  # keeps other words in brackets in the subject
        "--no-3way",
        patch.path.absolute(),
        ok=None,
    )
    if done.code != 0:
        work.run("am", "--abort", ok=None)
        return ApplyResult(
            Applies.CONFLICT,
            f"git am refuses it on its own base {patch.base}: {error_lines(done.error_output)}",
        )
    return ApplyResult(Applies.CLEAN if patch.hunks else Applies.NO_HUNKS)


def pick_or_reset(work: Git, commit: str, patch: Patch) -> ApplyResult:
    """Cherry-pick a patch's commit onto HEAD; a conflict leaves HEAD and work tree unchanged."""
    head = work.text("rev-parse", "HEAD")
    step = cherry_pick(work, commit, patch)
    if step.applies is Applies.CONFLICT:
        work.run("cherry-pick", "--abort", ok=None)
        work.run("reset", "--quiet", "--hard", head)
    return step


def cherry_pick(work: Git, commit: str, patch: Patch) -> ApplyResult:
    """Cherry-pick a patch's commit onto HEAD, and compare the result with a plain application.

    With one line of context, a plain application can change the wrong function, so its result is
    never used. If it gives another tree, the place is ambiguous, which is a conflict. A conflict is
    left in the work tree.
    """
    head = work.text("rev-parse", "HEAD")
    diff = commit_diff(work, commit)
    plain, moved = _apply_plainly(work, head, diff) if diff else (work.tree_of(head), False)
    if not _git_cherry_pick(work, commit):
        return _retry_leniently(work, commit, patch, head, diff)
    if not diff:
        return ApplyResult(Applies.NO_HUNKS)
    if plain is None:
        return ApplyResult(Applies.THREE_WAY)
    if plain != work.tree_of("HEAD"):
        return _ambiguous_result(hunk.path for hunk in patch.hunks)
    return ApplyResult(Applies.OFFSET if moved else Applies.CLEAN)


def _retry_leniently(work: Git, commit: str, patch: Patch, head: str, diff: bytes) -> ApplyResult:
    """Cherry-pick again, with other line endings ignored and with moved files followed.

    This resolves conflicts of line endings alone, and of files that moved and changed more than git
    follows. Any other conflict is left in the work tree, at the new place of a moved file.
    """
    files = work.text("diff", "--name-only", "--diff-filter=U").splitlines()
    gone = {name for name in files if work.resolve(f"{head}:{name}") is None}
    found = find_moves(work, f"{commit}^", head, gone) if gone else {}
    context = commit_diff(work, commit, CONTEXT_LINES) if found else b""
    moved = {
        old: move for old, move in found.items() if is_same_file(work, head, move, context, old)
    }
    new_paths = {name: moved[name].new if name in moved else name for name in files}
    ignore_endings = any(
        _endings_differ(work, commit, head, old, new) for old, new in new_paths.items()
    )
    if not moved and not ignore_endings:
        return ApplyResult(Applies.CONFLICT, _describe_conflicts(work, patch, moved))
    work.run("cherry-pick", "--abort", ok=None)
    work.run("reset", "--quiet", "--hard", head)
    words = ["-Xignore-cr-at-eol"] if ignore_endings else []
    words += [f"-Xfind-renames={min(move.threshold for move in moved.values())}%"] if moved else []
    if not _git_cherry_pick(work, commit, *words):
        return ApplyResult(Applies.CONFLICT, _describe_conflicts(work, patch, moved))
    # The target keeps its own line endings, whatever the merge took.
    restore_line_endings(work, head)
    if moved:
        return _result_with_moves(work, commit, head, diff, moved)
    paths = {hunk.path for hunk in patch.hunks}
    plain = tree_with_lf(work, head, paths, diff)
    return (
        ApplyResult(Applies.THREE_WAY)
        if plain in {None, tree_with_lf(work, "HEAD", paths)}
        else _ambiguous_result(paths)
    )


def _git_cherry_pick(work: Git, commit: str, *words: str) -> bool:
    # A patch whose text upstream has stays as an empty commit: only its probes can retire it.
    return (
        work.run(
            "cherry-pick", "--allow-empty", "--keep-redundant-commits", *words, commit, ok=None
        ).code
        == 0
    )


def _endings_differ(work: Git, commit: str, head: str, old: str, new: str) -> bool:
    before, after, there = (
        read_blob(work, name) for name in (f"{commit}^:{old}", f"{commit}:{old}", f"{head}:{new}")
    )
    return bool(before and there) and endings_differ(before, after, there)


def _result_with_moves(
    work: Git, commit: str, head: str, diff: bytes, moved: Mapping[str, Move]
) -> ApplyResult:
    """Accept a moved file's hunks only if each of them fits in one place of all new files."""
    words = (
        "diff-tree",
        "-r",
        "-z",
        "--no-renames",
        "--diff-filter=A",
        "--name-only",
        f"{commit}^",
        head,
    )
    new = [path for path in work.text(*words).split("\0") if path]
    several = [
        places for places in matching_paths(work, head, new, diff, moved) if len(places) != 1
    ]
    if several:
        return _ambiguous_result(
            several[0] or [move.new for move in moved.values()], f"{_describe_moves(moved)}; "
        )
    return ApplyResult(Applies.THREE_WAY, _describe_moves(moved))


def _describe_moves(moved: Mapping[str, Move]) -> str:
    return ", ".join(f"{name} moved to {move}" for name, move in moved.items())


def _ambiguous_result(files: Iterable[str], before: str = "") -> ApplyResult:
    names = ", ".join(sorted(set(files)))
    return ApplyResult(
        Applies.CONFLICT, f"ambiguous: {before}its hunks fit in more than one place of {names}"
    )


def commit_diff(git: Git, commit: str, lines: int = 1) -> bytes:
    """Return a commit's change as a patch with `lines` lines of context."""
    return tree_diff(git, f"{commit}^", commit, lines)


def tree_diff(git: Git, before: str, after: str, lines: int = 1) -> bytes:
    """Return the change between two trees as a patch with `lines` lines of context."""
    words = ("-p", f"-U{lines}", "--full-index", "--binary", "--no-renames")
    return git.run("diff-tree", *words, before, after).stdout


def diff_of(patch: Patch) -> bytes:
    """Return the diff of a patch's file, byte for byte; empty if the patch has none."""
    content = patch.path.read_bytes()
    start = content.find(b"\ndiff --git ")
    return content[start + 1 :] if start >= 0 else b""


def _apply_plainly(work: Git, head: str, diff: bytes) -> tuple[str | None, bool]:
    """Return the tree of a plain application (None if it fails), and whether a hunk moved."""
    with work.temporary_index(head) as handle:
        done = handle.run("apply", "--cached", "--verbose", "-", stdin=diff, ok=None)
        return (handle.text("write-tree") if done.code == 0 else None), b"offset" in done.stderr


def _describe_conflicts(work: Git, patch: Patch, moved: Mapping[str, Move]) -> str:
    """Return the files and lines of a cherry-pick's conflicts, and the hunks that belong there."""
    assert work.work_tree is not None
    places = []
    for name in work.text("diff", "--name-only", "--diff-filter=U").splitlines():
        path = work.work_tree / name
        text = path.read_text(errors="replace") if path.exists() else ""
        lines = [str(text.count("\n", 0, match.start()) + 1) for match in _MARKER.finditer(text)]
        here = {name, *(old for old, move in moved.items() if move.new == name)}
        # If git followed a move, no hunk has this path, so all of them are named.
        own = [hunk for hunk in patch.hunks if hunk.path in here] or patch.hunks
        hunks = [f"@@ -{hunk.old[0]},{hunk.old[1]} +{hunk.new[0]},{hunk.new[1]} @@" for hunk in own]
        where = f"line {', '.join(lines)}" if lines else "the file is gone or binary"
        places.append(f"{name}: {where} (hunks {' '.join(hunks)})")
    return (
        "; ".join([*([_describe_moves(moved)] if moved else []), *places])
        or "cherry-pick refused it"
    )


def error_lines(text: str) -> str:
    """Return the lines of git's output that report an error or an offset."""
    lines = [line for line in text.splitlines() if line.startswith("error:") or "offset" in line]
    return "; ".join(lines) or text.strip()
