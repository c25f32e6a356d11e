"""The branch that `import` made, as a person left it: ready or not, and its commits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import Problem, UsageError, problems_error
from scripts.core.git import Git, user_git
from scripts.core.model import Lock, Release
from scripts.editing.commit_message import message_problems
from scripts.editing.import_branch import BRANCH

REF = "refs/fork/exported"
"""The ref of the branch in the private repository."""

MESSAGES = ".git/new-patches"
"""The folder, in the work tree, of the messages that `new` began."""


@dataclass(frozen=True)
class Branch:
    """A line of commits in the private repository: its work tree, its release and its end."""

    place: Path
    base: Release
    head: str


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


def check_imported(place: Path, folder: Path | None) -> None:
    """Raise UsageError unless a place, which was asked for as `folder`, is a work tree."""
    if not (place / ".git").exists():
        raise UsageError(
            f"there is no imported tree in {place}",
            hint=f"nox -s import -- {shlex.quote(str(folder))}" if folder else "nox -s import",
        )


def check_ready(place: Path, folder: Path | None) -> None:
    """Raise UsageError unless `check_imported`'s place is clean, on the branch and in no rebase."""
    check_imported(place, folder)
    export, there = export_command(place), shlex.quote(str(place))
    branch = user_git(place, "symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1)).text.strip()
    if branch != BRANCH:
        rebasing = any(
            (place / ".git" / name).exists() for name in ("rebase-merge", "rebase-apply")
        )
        raise UsageError(
            f"{place} is in the middle of a rebase"
            if rebasing
            else f"{place} is on {branch or 'no branch'}, not on `{BRANCH}`",
            hint=f"git -C {there} rebase --continue && {export}\ngit -C {there} rebase --abort"
            if rebasing
            else f"git -C {there} checkout {BRANCH} && {export}",
        )
    dirty = uncommitted(place)
    if dirty:
        raise UsageError(
            f"{place} has changes that are in no commit:\n{dirty}",
            hint="\n".join(ways_to_commit(place)),
        )


def uncommitted(place: Path) -> str:
    """Return what is in no commit of a work tree, as git's short status names it."""
    return user_git(place, "status", "--porcelain", "--untracked-files=normal").text.rstrip()


def ways_to_commit(place: Path) -> Iterator[str]:
    """Yield the commands that commit everything and export: as what `new` began, or by amending."""
    git, export = f"git -C {shlex.quote(str(place))}", export_command(place)
    began = [f"commit --template={MESSAGES}/{name}" for name in begun_patches(place)]
    for commit in (*(began or ["commit"]), "commit --amend"):
        yield f"{git} add --all && {git} {commit} && {export}"


def begun_patches(place: Path) -> list[str]:
    """Return the ids of the patches that `new` began and no export has written yet."""
    return sorted(path.name for path in (place / MESSAGES).glob("*"))


def export_command(place: Path) -> str:
    """Return the command that exports this work tree."""
    return f"nox -s export -- {shlex.quote(str(place))}"


def fetch_branch(git: Git, lock: Lock, place: Path) -> Branch:
    """Fetch the branch into the private repository; raises UsageError unless it is a line."""
    git.run("fetch", "--quiet", "--no-tags", place.absolute(), f"+refs/heads/{BRANCH}:{REF}")
    base = base_of(place, lock, f"refs/heads/{BRANCH}")
    merges = git.text("rev-list", "--merges", f"{base.commit}..{REF}").splitlines()
    if merges:
        there = shlex.quote(str(place))
        raise UsageError(
            f"the branch holds a merge ({merges[0][:12]}); a series is a line of commits",
            hint=f"git -C {there} rebase {base.version} && {export_command(place)}",
        )
    return Branch(place, base, git.text("rev-parse", REF))


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
    form = "--format=%h%x00%s%x00%b%x00%(trailers:key=Id,valueonly)%x01"
    words = ("log", "-z", "--reverse", "--topo-order", form)
    log = git.run(*words, f"{branch.base.commit}..{branch.head}").text
    parts = [text.lstrip("\0").split("\0") for text in log.split("\1")[:-1]]
    return [BranchCommit(commit, title, body, name.strip()) for commit, title, body, name in parts]


def check_messages(
    place: Path, commits: Sequence[BranchCommit], retired: Mapping[str, str]
) -> None:
    """Raise one UsageError with everything that the messages of all commits lack.

    `retired` are the files of the retired patches, by the ids that no commit may have.
    """
    wrong = {item: list(_problems(commits, item, retired)) for item in commits}
    found = [problem.at(item.name) for item, problems in wrong.items() for problem in problems]
    if found:
        lacking = [item for item in commits if wrong[item]]
        ways = [*_ways(place, lacking, commits)]
        ways += [f"nox -s unretire -- {item.id}" for item in lacking if item.id in retired]
        raise problems_error(
            "these commits cannot become patches yet:", found, hint="\n".join(ways)
        )


def _problems(
    commits: Sequence[BranchCommit], item: BranchCommit, retired: Mapping[str, str]
) -> Iterator[Problem]:
    yield from message_problems(item.title, item.body)
    earlier, another = commits[: commits.index(item)], f"write `Id: {item.id}-2`"
    if item.id and item.id in {other.id for other in earlier}:
        yield Problem(f"another commit has Id: {item.id} too", another)
    if item.id in retired:
        text = f"Id: {item.id} is that of {retired[item.id]}, which is retired"
        yield Problem(text, another)


def _ways(
    place: Path, wrong: Sequence[BranchCommit], commits: Sequence[BranchCommit]
) -> Iterator[str]:
    """Yield the command that opens each message, and the one that makes two commits one."""
    yield reword_command(place, wrong, commits[-1])
    before = commits[-2] if len(commits) > 1 else None
    # A change of the patch before, committed without --amend.
    if list(wrong) == [commits[-1]] and before and wrong[0].id in {"", before.id}:
        git = f"git -C {shlex.quote(str(place))}"
        yield (
            f"{git} reset --soft HEAD^ && {git} commit --amend --no-edit && {export_command(place)}"
        )


def reword_command(place: Path, wrong: Sequence[BranchCommit], last: BranchCommit) -> str:
    """Return the command that opens an editor for each message, and exports then."""
    git = f"git -C {shlex.quote(str(place))}"
    if list(wrong) == [last]:
        return f"{git} commit --amend && {export_command(place)}"
    # Such a commit changes the message of another one when the export folds it in.
    steps = [f"{git} commit --fixup=reword:{item.commit}" for item in wrong]
    return " && ".join([*steps, export_command(place)])
