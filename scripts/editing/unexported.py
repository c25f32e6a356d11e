"""What the imported tree holds that `patches/` does not: commits, and changes in no commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.core.git import user_git
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.editing.branch import BranchCommit, commits_in, uncommitted, work_tree
from scripts.editing.commit_message import ADDED
from scripts.editing.import_branch import BRANCH
from scripts.editing.import_record import IMPORTED


@dataclass(frozen=True)
class CommitContent:
    """What a patch is compared by: the words of its message, and the tree after it."""

    words: tuple[str, ...]
    tree: str


def unexported_work(repo: Repository, lock: Lock) -> str:
    """Return in a few words what the imported tree holds that is not exported, or nothing.

    Nothing is said of an old import, which does not record what was exported.
    """
    place = work_tree(repo, None).place
    if not (place / ".git").exists():
        return ""
    parts = ["commits that are not exported"] if has_new_commits(place, lock) else []
    parts += ["changes that are in no commit"] if uncommitted(place) else []
    return " and ".join(parts)


def has_new_commits(place: Path, lock: Lock) -> bool:
    """Return whether the branch holds something else than at the last import or export."""
    exported = commit_contents(place, lock, IMPORTED)
    return exported not in (None, commit_contents(place, lock, f"refs/heads/{BRANCH}"))


def reworded(place: Path, lock: Lock) -> list[BranchCommit]:
    """Return the commits whose message is not the exported one."""
    exported = {words_of(item) for item in commits_in(place, lock, IMPORTED) or ()}
    return [item for item in commits_in(place, lock) or () if words_of(item) not in exported]


def commit_contents(place: Path, lock: Lock, ref: str) -> list[CommitContent] | None:
    """Return the commits of a branch since its release, or None if there is no such branch."""
    releases = [release.commit for release in lock.releases]
    words = ("--format=%T%x00%B%x00", "--reverse", "--topo-order", "--ignore-missing")
    done = user_git(place, "log", *words, ref, "--not", *releases, ok=None)
    if done.code or user_git(place, "rev-parse", "--verify", "--quiet", ref, ok=None).code:
        return None
    parts = done.text.split("\0")
    return [
        CommitContent(message_words(message), tree.strip())
        for tree, message in zip(parts[::2], parts[1::2], strict=False)
    ]


def words_of(item: BranchCommit) -> tuple[str, ...]:
    """Return the words of a commit's message."""
    return message_words(f"{item.title}\n\n{item.body}")


def message_words(message: str) -> tuple[str, ...]:
    """Return the words of a message without the trailers that an export writes itself."""
    added = tuple(f"{name}: " for name in ADDED)
    lines = (line for line in message.splitlines() if not line.startswith(added))
    return tuple(word for line in lines for word in line.split())
