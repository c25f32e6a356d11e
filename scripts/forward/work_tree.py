"""The work tree of a forwarded patch: a repository of its own, in `.fork/forward/ID`.

Its branch has upstream's history and one commit. A person works there with ordinary git.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import AttentionError, EnvironmentFailedError, UsageError
from scripts.core.git import Git, disable_conversions, sealed_environment, user_git
from scripts.core.repository import Repository
from scripts.core.subprocesses import run
from scripts.forward.source import UpstreamSource, record_source

_BASE, _MADE = "refs/fork/base", "refs/fork/made"
"""Refs of the work tree: the commit that it begins at, and the commit that was made."""


@dataclass(frozen=True)
class Identity:
    """Who writes the commit, as git's variables."""

    variables: dict[str, str]


@dataclass(frozen=True)
class ForwardTree:
    """A work tree under construction: its sealed git, and the branch."""

    git: Git
    branch: str
    source: UpstreamSource

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        assert self.git.work_tree is not None
        return self.git.work_tree

    def changed_files(self) -> list[str]:
        """Return the files that differ from the source, those that are gone apart."""
        words = ("diff", "--name-only", "-z", "--no-renames", "--diff-filter=d", "--cached")
        return [name for name in self.git.text(*words, self.source.commit).split("\0") if name]

    def uncommit(self) -> None:
        """Take the branch back to the source; its changes stay in the files and the index."""
        self.git.run("reset", "--quiet", "--soft", self.source.commit)

    def stage(self) -> None:
        """Take every file, also one that upstream's own .gitignore excludes."""
        self.git.run("add", "--all", "--force")

    def commit(self, identity: Identity, message: str) -> str:
        """Commit everything as a person, and return the commit."""
        self.stage()
        handle = Git(self.git.git_dir, self.folder, identity.variables, self.git.scratch)
        handle.run("commit", "--quiet", "--file", "-", stdin=message.encode())
        made = self.git.text("rev-parse", "HEAD")
        self.git.run("update-ref", _MADE, made)
        return made


def place_of(repo: Repository, patch_id: str) -> Path:
    """Return the folder of a patch's work tree."""
    return repo.work / "forward" / patch_id


def shown(repo: Repository, path: Path) -> str:
    """Return a path as a person types it: relative, if this runs in the repository's folder."""
    near = repo.root == Path.cwd() and path.is_relative_to(repo.root)
    return shlex.quote(str(path.relative_to(repo.root) if near else path))


def read_identity(repo: Repository) -> Identity:
    """Return the user's identity for git; raise EnvironmentFailedError if git has none."""
    variables: dict[str, str] = {}
    for who in ("AUTHOR", "COMMITTER"):
        # Without the option, git would make up an address from the name of the machine.
        words = ("-c", "user.useConfigOnly=true", "var", f"GIT_{who}_IDENT")
        done = user_git(repo.root, *words, ok=None)
        if done.code != 0:
            raise EnvironmentFailedError(
                "git does not know who you are, and the commit is in your name",
                hint="git config --global user.name NAME && git config --global user.email ADDRESS",
            )
        name, _, rest = done.text.strip().partition(" <")
        mail, _, date = rest.partition("> ")
        values = {"NAME": name, "EMAIL": mail, "DATE": f"@{date}"}
        variables |= {f"GIT_{who}_{key}": value for key, value in values.items()}
    return Identity(variables)


@contextmanager
def new_tree(repo: Repository, source: UpstreamSource, branch: str) -> Iterator[ForwardTree]:
    """Yield a new repository with the source checked out; `keep` moves it into its place."""
    with repo.scratch() as scratch:
        folder = scratch / "tree"
        env = sealed_environment()
        run(
            ["git", "init", "--quiet", "--template=", f"--initial-branch={branch}", folder], env=env
        )
        # A person's own git works here, whose settings may convert line endings.
        (folder / ".git" / "info").mkdir(exist_ok=True)
        disable_conversions(folder / ".git")
        (folder / ".git" / "info" / "exclude").write_text("__pycache__/\n", encoding="utf-8")
        tree = ForwardTree(Git(folder / ".git", folder, scratch=repo.work), branch, source)
        tree.git.run("config", "core.autocrlf", "false")
        _fetch_into(repo, tree, source.commit, _BASE)
        tree.git.run("reset", "--quiet", "--hard", source.commit)
        if source.location:
            tree.git.run("remote", "add", "upstream", source.location)
        record_source(folder, source)
        yield tree


def fetch_commit(repo: Repository, tree: ForwardTree, commit: str) -> None:
    """Bring a commit of the private repository, without a branch for it."""
    _fetch_into(repo, tree, commit, "refs/fork/patch")


def fetch_made(repo: Repository, place: Path, patch_id: str) -> str:
    """Fetch a work tree's branch into the private repository, and return its commit."""
    ref = f"refs/fork/forwarded/{patch_id}"
    specs = (f"+refs/heads/{patch_id}:{ref}", f"+{_BASE}:{ref}-base")
    repo.git.run("fetch", "--quiet", "--no-tags", place.absolute(), *specs)
    return repo.git.text("rev-parse", ref)


def check_replaceable(repo: Repository, patch_id: str) -> None:
    """Raise AttentionError if a work tree has something that this tool did not make."""
    place = place_of(repo, patch_id)
    if not place.exists():
        return
    done = user_git(place, "rev-parse", "--verify", "--quiet", _MADE, ok=None)
    made, head = done.text.strip(), user_git(place, "rev-parse", "HEAD", ok=None).text.strip()
    dirty = user_git(place, "status", "--porcelain", ok=None).text.strip()
    if done.code != 0 or made != head or dirty:
        there = shown(repo, place)
        raise AttentionError(
            f"{there} has work of yours, which a new start would overwrite",
            hint=f"{resume_command(patch_id)}\nrm -r {there} && nox -s forward -- {patch_id}",
        )


def check_resumable(repo: Repository, patch_id: str) -> None:
    """Raise UsageError unless a work tree has one commit on its branch, and nothing else."""
    place = place_of(repo, patch_id)
    there = shown(repo, place)
    if not (place / ".git").exists():
        raise UsageError(
            f"there is nothing to go on with in {there}", hint=f"nox -s forward -- {patch_id}"
        )
    dirty = user_git(place, "status", "--porcelain").text.rstrip()
    if dirty or (place / ".git" / "CHERRY_PICK_HEAD").exists():
        raise UsageError(
            f"{there} has changes that are in no commit:\n{dirty}",
            hint=f"git -C {there} add --all && git -C {there} commit --no-edit"
            f" && {resume_command(patch_id)}",
        )
    count = user_git(place, "rev-list", "--count", f"{_BASE}..{patch_id}", ok=None).text.strip()
    if count != "1":
        raise UsageError(
            f"the branch {patch_id} in {there} has {count or 'no'} commits of its own, not one",
            hint=f"git -C {there} rebase --interactive {_BASE} {patch_id}",
        )


def resume_command(patch_id: str) -> str:
    """Return the command that goes on from what a person did in the work tree."""
    return f"nox -s forward -- {patch_id} --continue"


def _fetch_into(repo: Repository, tree: ForwardTree, commit: str, ref: str) -> None:
    # A repository hands out by name only what a ref of its own points at.
    handed = "refs/fork/handed-over"
    repo.git.run("update-ref", handed, commit)
    words = ("--quiet", "--no-tags", "--no-write-fetch-head", repo.git.git_dir.absolute())
    tree.git.run("fetch", *words, f"+{handed}:{ref}")
