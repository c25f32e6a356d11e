"""The commands that a person pastes to commit, to amend or to reword, and then to export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.core.errors import Problem, UsageError, with_command
from scripts.core.model import Lock
from scripts.editing.begun import MESSAGES, Begun, begun_patches, without_commit
from scripts.editing.branch import (
    BranchCommit,
    WorkTree,
    commits_in,
    imported_ids,
    uncommitted,
)
from scripts.editing.import_record import IMPORTED


@dataclass(frozen=True)
class Progress:
    """How far a person's own patches are: the commits, what is begun, and what was imported.

    `begun` is in no commit yet. `imported` are the ids at the import, if they are known.
    """

    commits: tuple[BranchCommit, ...]
    begun: tuple[Begun, ...]
    imported: frozenset[str] | None

    def is_own(self, commit: BranchCommit) -> bool:
        """Return whether a commit is a patch, or a part of one, that is new since the import."""
        return self.imported is not None and commit.id not in self.imported


def read_progress(tree: WorkTree, lock: Lock) -> Progress:
    """Return how far the patches of a work tree are."""
    commits = tuple(commits_in(tree.place, lock) or ())
    begun = tuple(without_commit(begun_patches(tree.place), commits))
    return Progress(commits, begun, imported_ids(tree.place, lock))


def check_committed(tree: WorkTree, lock: Lock) -> None:
    """Raise UsageError if something of a work tree is in no commit."""
    dirty = uncommitted(tree.place)
    if dirty:
        raise UsageError(
            f"{tree.place} has changes that are in no commit:\n{dirty}",
            hint="\n".join(ways_to_commit(tree, read_progress(tree, lock))),
        )


def ways_to_commit(tree: WorkTree, progress: Progress) -> list[str]:
    """Return the commands that commit everything and export, the likeliest first.

    What is begun and in no commit is no part of a patch that was imported.
    """
    last = progress.commits[-1] if progress.commits else None
    own = last is not None and progress.is_own(last)
    new = [
        (f"if it is the patch `{item.id}`", f"commit --template={MESSAGES}/{item.id}")
        for item in progress.begun
    ] or [("if it is a patch of its own", "commit")]
    amend = (
        [(f"if it belongs to `{last.title}`", "commit --amend")]
        if last and (own or not progress.begun)
        else []
    )
    ways = [*amend, *new] if own else [*new, *amend]
    commands = [
        (when, f"{tree.git} add --all && {tree.git} {words} && {tree.export}")
        for when, words in ways
    ]
    return [with_command(when, command) if len(ways) > 1 else command for when, command in commands]


def reword_command(tree: WorkTree, wrong: Sequence[BranchCommit], last: BranchCommit) -> str:
    """Return the command that opens an editor for each message, and exports then."""
    if list(wrong) == [last]:
        return f"{tree.git} commit --amend && {tree.export}"
    # Such a commit changes the message of another one when the export folds it in.
    steps = [f"{tree.git} commit --fixup=reword:{item.commit}" for item in wrong]
    return " && ".join([*steps, tree.export])


def ways_to_reword(tree: WorkTree, wrong: Sequence[BranchCommit], progress: Progress) -> list[str]:
    """Return the command that opens each message, and the one that makes two commits one."""
    commits = progress.commits
    reword = reword_command(tree, wrong, commits[-1])
    before = commits[-2] if len(commits) > 1 else None
    # A change of one's own patch before, committed without --amend.
    if (
        before
        and progress.is_own(before)
        and list(wrong) == [commits[-1]]
        and wrong[0].id in {"", before.id}
    ):
        join = f"{tree.git} reset --soft HEAD^ && {tree.git} commit --amend --no-edit"
        return [
            with_command("if it is a patch of its own", reword),
            with_command(f"if it belongs to `{before.title}`", f"{join} && {tree.export}"),
        ]
    return [reword]


def begun_elsewhere(
    tree: WorkTree,
    lock: Lock,
    progress: Progress,
    touched: Sequence[BranchCommit],
    names: Sequence[str],
) -> Problem:
    """Return the warning that imported patches changed while what was begun has no commit."""
    begun = progress.begun[0].id
    text = f"{begun} was begun with `new` and has no commit; {', '.join(names)} changed"
    before = commits_in(tree.place, lock, IMPORTED) or []
    last = progress.commits[-1]
    # Only the end of the branch can be taken back without a conflict.
    if list(touched) != [last] or not before or before[-1].id != last.id:
        return Problem(text, f"if the change belongs to {begun}, take it out of that commit")
    back = f"{tree.git} reset --soft {before[-1].commit}"
    commit = f"{tree.git} commit --template={MESSAGES}/{begun}"
    command = f"{back} && {commit} && {tree.export}"
    return Problem(text, with_command(f"if the change belongs to {begun}", command))
