"""Fold `fixup!` commits into the commits that they mend, without touching the work tree."""

from __future__ import annotations

import re

from scripts.core.errors import AttentionError, UsageError
from scripts.core.git import Git
from scripts.editing.branch import Branch

_FIXUP = re.compile(r"^(fixup|squash|amend)! ")
_SQUASH = re.compile(r"^squash! ")


def fold_fixups(git: Git, branch: Branch) -> tuple[str, list[str]]:
    """Return the branch's end without `fixup!` and `amend!` commits, and the folded commits.

    Raises UsageError for a `squash!`, about whose message only a person can decide, and for a
    commit whose target is not there; AttentionError for one that does not apply to its target.
    """
    fixups = _fixups(git, branch, branch.head)
    squashes = [line for line in fixups if _SQUASH.match(line.partition(" ")[2])]
    if squashes:
        text = "a `squash!` commit needs a message that you write:"
        raise UsageError("\n  ".join([text, *squashes]), hint=_by_hand(branch))
    if not fixups:
        return branch.head, []
    head = _rebase(git, branch)
    left = _fixups(git, branch, head)
    if left:
        text = "no earlier commit of the branch has the subject that these mend:"
        raise UsageError(
            "\n  ".join([text, *left]),
            hint="move each below the commit that it mends, and write `fixup` for `pick`: "
            + _interactive(branch),
        )
    return head, fixups


def _fixups(git: Git, branch: Branch, head: str) -> list[str]:
    """Return the commits that mend another one, as their short id and subject."""
    log = git.text("log", "--reverse", "--format=%h %s", f"{branch.base.commit}..{head}")
    return [line for line in log.splitlines() if _FIXUP.match(line.partition(" ")[2])]


def _rebase(git: Git, branch: Branch) -> str:
    """Return the end of the branch with everything folded in, made in a temporary work tree."""
    words = ("--quiet", "--interactive", "--autosquash", "--keep-empty", "--empty=keep")
    with git.temporary_worktree(branch.head) as work:
        done = work.run("rebase", *words, branch.base.commit, ok=None)
        if done.code != 0:
            raise AttentionError(
                f"{_stopped_at(work)} does not apply to the commit that it mends",
                hint=_by_hand(branch),
            )
        head = work.text("rev-parse", "HEAD")
    # The branch is moved without touching its work tree, so both must be the same.
    if git.tree_of(head) != git.tree_of(branch.head):
        raise AttentionError(
            "folding in the `fixup!` commits would change what the branch holds",
            hint=_by_hand(branch),
        )
    return head


def _stopped_at(work: Git) -> str:
    commit = work.resolve("REBASE_HEAD")
    return work.text("log", "-1", "--format=%h %s", commit) if commit else "a `fixup!` commit"


def _by_hand(branch: Branch) -> str:
    """Return the command that folds in everything, stopping only where a person must decide."""
    tree = branch.tree
    return (
        f"{tree.git} -c sequence.editor=true rebase --interactive --autosquash --keep-empty"
        f" {branch.base.version} && {tree.export}"
    )


def _interactive(branch: Branch) -> str:
    tree = branch.tree
    return f"{tree.git} rebase --interactive --keep-empty {branch.base.version} && {tree.export}"
