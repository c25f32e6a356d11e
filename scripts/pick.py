"""pick: put one patch onto one tree, exactly on its base or by cherry-pick elsewhere, and say how that went."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from scripts.git import Git
from scripts.model import Applies, Patch, Release

_MARKER = re.compile(r"^<<<<<<< ", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """How one patch went onto a tree, and where it did not."""

    applies: Applies
    detail: str = ""


class Picked(NamedTuple):
    """What picking a commit onto a tree came to: how it went on, and the commit and the tree after it."""

    step: Step
    commit: str
    tree: str


Picks = dict[tuple[str, str], Picked]
"""What was picked before, by the tree that it went onto and the commit."""


@dataclass
class Line:
    """A line of picks on a release; what was picked onto the same tree before is not picked again."""

    git: Git
    commit: str
    tree: str
    picks: Picks
    stack: ExitStack
    _work: Git | None = None
    _checked_out: str = ""

    def pick(self, commit: str, patch: Patch) -> Step:
        """Pick a patch's commit onto the end of the line; a conflict leaves its tree as it was."""
        key = self.tree, commit
        if key not in self.picks:
            work = self._at_end()
            step = pick(work, commit, patch)
            self._checked_out = work.text("rev-parse", "HEAD")
            self.picks[key] = Picked(step, self._checked_out, work.tree_of("HEAD"))
        step, self.commit, self.tree = self.picks[key]
        return step

    def _at_end(self) -> Git:
        """Return a work tree in which the end of the line is checked out."""
        if self._work is None:
            self._work = self.stack.enter_context(self.git.checkout(self.commit))
        elif self._checked_out != self.commit:
            self._work.run("checkout", "--quiet", "--detach", self.commit)
        return self._work


@contextmanager
def line_on(release: Release, git: Git, picks: Picks) -> Iterator[Line]:
    """Give a line that begins at a release, in the private repository."""
    with ExitStack() as stack:
        yield Line(git, release.commit, release.tree, picks, stack)


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
