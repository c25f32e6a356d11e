"""The branch that `import` made, as a person left it: ready or not, and its commits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import UsageError
from scripts.core.git import Git, user_git
from scripts.core.model import Lock, Release
from scripts.core.repository import Repository
from scripts.editing.import_branch import BRANCH, branch_folder
from scripts.editing.import_record import BEGAN

REF = "refs/fork/exported"
"""The ref of the branch in the private repository."""

_LOG = (
    "log",
    "-z",
    "--reverse",
    "--topo-order",
    "--no-show-signature",
    "--format=%h%x00%s%x00%b%x00%(trailers:key=Id,valueonly)%x01",
)


@dataclass(frozen=True)
class WorkTree:
    """The folder of an imported tree, as the commands that a person pastes name it."""

    place: Path
    is_default: bool = False

    @property
    def git(self) -> str:
        """The beginning of a git command in it."""
        return f"git -C {shlex.quote(str(self.place))}"

    @property
    def export(self) -> str:
        """The command that exports it."""
        return "nox -s export" + ("" if self.is_default else f" -- {shlex.quote(str(self.place))}")


@dataclass(frozen=True)
class Branch:
    """A line of commits in the private repository: its work tree, its release and its end."""

    tree: WorkTree
    base: Release
    head: str

    @property
    def place(self) -> Path:
        """The folder of the work tree."""
        return self.tree.place


@dataclass(frozen=True)
class BranchCommit:
    """A commit of the branch: its short id, its message, and the `Id:` in it."""

    commit: str
    title: str
    body: str
    id: str

    @property
    def name(self) -> str:
        """The commit as git's short log names it."""
        return f"{self.commit} {self.title}"


def work_tree(repo: Repository, folder: Path | None) -> WorkTree:
    """Return the imported tree in the folder asked for, or in the default one."""
    place = branch_folder(repo, folder)
    return WorkTree(place, place.resolve() == branch_folder(repo, None).resolve())


def check_imported(place: Path, folder: Path | None) -> None:
    """Raise UsageError unless a place, which was asked for as `folder`, is a work tree."""
    if not (place / ".git").exists():
        raise UsageError(
            f"there is no imported tree in {place}",
            hint=f"nox -s import -- {shlex.quote(str(folder))}" if folder else "nox -s import",
        )


def check_on_branch(tree: WorkTree) -> None:
    """Raise UsageError unless a work tree is on the branch and in no rebase."""
    place = tree.place
    branch = user_git(place, "symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1)).text.strip()
    if branch != BRANCH:
        rebasing = any(
            (place / ".git" / name).exists() for name in ("rebase-merge", "rebase-apply")
        )
        raise UsageError(
            f"{place} is in the middle of a rebase"
            if rebasing
            else f"{place} is on {branch or 'no branch'}, not on `{BRANCH}`",
            hint=f"{tree.git} rebase --continue && {tree.export}\n{tree.git} rebase --abort"
            if rebasing
            else f"{tree.git} checkout {BRANCH} && {tree.export}",
        )


def uncommitted(place: Path) -> str:
    """Return what is in no commit of a work tree, as git's short status names it."""
    return user_git(place, "status", "--porcelain", "--untracked-files=normal").text.rstrip()


def fetch_branch(git: Git, lock: Lock, tree: WorkTree) -> Branch:
    """Fetch the branch into the private repository; raises UsageError unless it is a line."""
    place = tree.place
    git.run("fetch", "--quiet", "--no-tags", place.absolute(), f"+refs/heads/{BRANCH}:{REF}")
    base = base_of(place, lock, f"refs/heads/{BRANCH}")
    merges = git.text("rev-list", "--merges", f"{base.commit}..{REF}").splitlines()
    if merges:
        raise UsageError(
            f"the branch holds a merge ({merges[0][:12]}); a series is a line of commits",
            hint=f"{tree.git} rebase {base.version} && {tree.export}",
        )
    return Branch(tree, base, git.text("rev-parse", REF))


def base_of(place: Path, lock: Lock, commit: str = "HEAD") -> Release:
    """Return the newest release that a commit of the work tree is based on.

    Raises UsageError if there is none.
    """
    # Each release's commit is the parent of the next one, so the newest ancestor counts.
    for release in reversed(lock.releases):
        words = ("merge-base", "--is-ancestor", release.commit, commit)
        if user_git(place, *words, ok=(0, 1, 128)).code == 0:
            return release
    raise UsageError(f"{place} is on no pinned release", hint="nox -s import")


def read_commits(git: Git, branch: Branch) -> list[BranchCommit]:
    """Return the commits of the branch, in order."""
    return list(_parsed(git.run(*_LOG, f"{branch.base.commit}..{branch.head}").text))


def commits_in(place: Path, lock: Lock, ref: str = "HEAD") -> list[BranchCommit] | None:
    """Return the commits of a work tree up to a ref, or None if there is no such ref."""
    releases = [release.commit for release in lock.releases]
    if user_git(place, "rev-parse", "--verify", "--quiet", ref, ok=None).code:
        return None
    done = user_git(place, *_LOG, "--ignore-missing", ref, "--not", *releases, ok=None)
    return None if done.code else list(_parsed(done.text))


def imported_ids(place: Path, lock: Lock) -> frozenset[str] | None:
    """Return the ids of the patches that `import` wrote; None if that is not recorded."""
    commits = commits_in(place, lock, BEGAN)
    return None if commits is None else frozenset(item.id for item in commits)


def _parsed(log: str) -> Iterator[BranchCommit]:
    for text in log.split("\1")[:-1]:
        commit, title, body, name = text.lstrip("\0").split("\0")
        yield BranchCommit(commit, title, body, name.strip())
