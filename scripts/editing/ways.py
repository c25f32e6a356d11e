"""The commands that a person pastes to commit, to amend or to reword, and then to export."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from scripts.core.errors import Problem, UsageError, with_command
from scripts.core.model import Lock
from scripts.editing.begun import (
    MESSAGES,
    Begun,
    begun_patches,
    meant_patches,
    without_commit,
)
from scripts.editing.branch import (
    BranchCommit,
    WorkTree,
    commits_in,
    imported_ids,
    uncommitted,
)
from scripts.editing.commit_message import missing_trailers
from scripts.editing.import_record import IMPORTED


@dataclass(frozen=True)
class Progress:
    """How far a person's own patches are: the commits, what is begun, and what was imported.

    `messages` are those that `new` began and that no export has written. `imported` are the ids at
    the import, if they are known.
    """

    commits: tuple[BranchCommit, ...]
    messages: tuple[Begun, ...]
    imported: frozenset[str] | None

    @property
    def begun(self) -> list[Begun]:
        """What is begun and in no commit yet."""
        return without_commit(self.messages, self.commits)

    @property
    def meant(self) -> dict[BranchCommit, Begun]:
        """What each commit was begun as."""
        return meant_patches(self.commits, self.messages)

    def is_own(self, commit: BranchCommit) -> bool:
        """Return whether a commit is a patch, or a part of one, that is new since the import."""
        return self.imported is not None and commit.id not in self.imported


def read_progress(tree: WorkTree, lock: Lock) -> Progress:
    """Return how far the patches of a work tree are."""
    commits = tuple(commits_in(tree.place, lock) or ())
    return Progress(commits, tuple(begun_patches(tree.place)), imported_ids(tree.place, lock))


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
        [(f"if it belongs to `{last.title}`", f"commit --amend{_lacking(last, progress.meant)}")]
        if last and (own or not progress.begun)
        else []
    )
    ways = [*amend, *new] if own else [*new, *amend]
    commands = [
        (when, f"{tree.git} add --all && {tree.git} {words} && {tree.export}")
        for when, words in ways
    ]
    return [with_command(when, command) if len(ways) > 1 else command for when, command in commands]


def _lacking(commit: BranchCommit, meant: Mapping[BranchCommit, Begun]) -> str:
    """Return the options that add the trailers which a message lacks of those that `new` began."""
    return "".join(
        f" --trailer {shlex.quote(f'{name}: {value}')}"
        for name, value in missing_trailers(commit.body, meant.get(commit))
    )


def reword_command(
    tree: WorkTree,
    wrong: Sequence[BranchCommit],
    last: BranchCommit,
    meant: Mapping[BranchCommit, Begun] = MappingProxyType({}),
) -> str:
    """Return the command that opens an editor for each message, and exports then.

    The message has the trailers already that it lacks of what it was begun as.
    """
    if list(wrong) == [last]:
        return f"{tree.git} commit --amend{_lacking(last, meant)} && {tree.export}"
    titles = [item.title for item in wrong]
    if len({*titles}) < len(titles):
        # git finds the commit that another one mends by its title.
        each = "rebase --keep-empty --exec 'git commit --amend --allow-empty'"
        return f"{tree.git} {each} {wrong[0].commit}^ && {tree.export}"
    # Such a commit changes the message of another one when the export folds it in.
    steps = [
        f"{tree.git} commit --fixup=reword:{item.commit}{_lacking(item, meant)}" for item in wrong
    ]
    return " && ".join([*steps, tree.export])


def ways_to_reword(tree: WorkTree, wrong: Sequence[BranchCommit], progress: Progress) -> list[str]:
    """Return the command that opens each message, and the one that joins commits with another."""
    commits = progress.commits
    reword = reword_command(tree, wrong, commits[-1], progress.meant)
    count = len(wrong)
    before = commits[-count - 1] if len(commits) > count else None
    # Changes of one's own patch before, committed without --amend.
    if (
        before
        and progress.is_own(before)
        and list(wrong) == list(commits[-count:])
        and all(item.id in {"", before.id} for item in wrong)
    ):
        join = f"{tree.git} reset --soft HEAD~{count} && {tree.git} commit --amend --no-edit"
        own, part = ("it is", "it belongs") if count == 1 else ("each is", "they belong")
        return [
            with_command(f"if {own} a patch of its own", reword),
            with_command(f"if {part} to `{before.title}`", f"{join} && {tree.export}"),
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
