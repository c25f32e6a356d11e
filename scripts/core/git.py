"""Git, sealed: no user or system configuration, attributes, excludes or hooks affect it."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.core.errors import EnvironmentFailedError
from scripts.core.subprocesses import Completed, command_error, run
from scripts.core.temporary import temporary_folder

MINIMUM_VERSION = (2, 34)
"""The oldest supported version: `git am --empty=keep` came with 2.34."""

# No setting may change an id or a byte: a clone on another machine must get the same ones.
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.autocrlf": "false",
    "core.quotePath": "false",
    "core.fileMode": "true",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    # `git am` would otherwise strip the CR of CRLF.
    "am.keepcr": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "merge.conflictStyle": "merge",
    "merge.renames": "true",
    "rerere.enabled": "false",
    "diff.algorithm": "myers",
    "safe.directory": "*",
    "protocol.file.allow": "always",
}
# In `info/attributes`, which overrides every .gitattributes of a release.
_NO_ATTRIBUTES = (
    "* -text -eol -filter -ident -working-tree-encoding -export-ignore -export-subst !diff !merge\n"
)
_REPOSITORY_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)
"""Variables that git sets for a hook or an alias, about its own repository."""

_DUBIOUS_OWNERSHIP = re.compile(r"detected dubious ownership in repository at '(.+)'")
"""How git reports that a repository belongs to another user."""

# Fixed, so that equal commits have equal ids on every machine.
_IDENTITY = ("fork", "fork@localhost.invalid", "2000-01-01T00:00:00Z")


def sealed_environment() -> dict[str, str]:
    """Return an environment in which git reads no settings of the user or the machine."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    settings = {f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(_SETTINGS)}
    settings |= {
        f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(_SETTINGS.values())
    }
    name, mail, date = _IDENTITY
    return {
        **kept,
        **settings,
        "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
        # The lock pins SHA-1 ids, and `remove_stale_locks` looks for the locks of refs in files.
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_DEFAULT_REF_FORMAT": "files",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        # git's messages are parsed, such as the word "offset" of `git apply`.
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
        "GIT_COMMITTER_DATE": date,
    }


@functools.cache
def check_version() -> None:
    """Raise EnvironmentFailedError (exit 3) if git is too old for the series."""
    text = run(["git", "--version"]).text
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM_VERSION:
        wanted = ".".join(map(str, MINIMUM_VERSION))
        raise EnvironmentFailedError(
            f"git {wanted} or newer is needed, found: {text.strip()}", hint="install a newer git"
        )


@dataclass(frozen=True)
class Git:
    """A repository to run git commands in, optionally with its own work tree or index."""

    git_dir: Path
    work_tree: Path | None = None
    extra_env: Mapping[str, str] = field(default_factory=dict)
    scratch: Path | None = None

    @classmethod
    def create(cls, git_dir: Path) -> Git:
        """Open the private bare repository at `git_dir`, and create it first if it is missing."""
        check_version()
        if not (git_dir / "objects" / "info").exists():  # `git init` creates it last
            git_dir.parent.mkdir(parents=True, exist_ok=True)
            run(
                [
                    "git",
                    "init",
                    "--quiet",
                    "--bare",
                    "--template=",
                    "--initial-branch=main",
                    git_dir,
                ],
                env=sealed_environment(),
            )
        disable_conversions(git_dir)
        return cls(git_dir, scratch=git_dir.parent)

    def run(
        self, *words: str | Path, ok: Collection[int] | None = (0,), stdin: bytes = b""
    ) -> Completed:
        """Run one git command in this repository; see `scripts.core.subprocesses.run` for `ok`."""
        env = (
            sealed_environment() | {"GIT_DIR": str(self.git_dir.absolute())} | dict(self.extra_env)
        )
        if self.work_tree is not None:
            env["GIT_WORK_TREE"] = str(self.work_tree.absolute())
        return run(["git", *words], ok=ok, stdin=stdin, env=env, cwd=self.work_tree)

    def with_settings(self, settings: Mapping[str, str]) -> Git:
        """Return a handle with these settings in addition to the sealed ones."""
        more = {"GIT_CONFIG_COUNT": str(len(_SETTINGS) + len(settings))}
        for number, (key, value) in enumerate(settings.items(), len(_SETTINGS)):
            more |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return replace(self, extra_env={**self.extra_env, **more})

    def text(self, *words: str | Path, stdin: bytes = b"") -> str:
        """Run one git command that must succeed, and return its output, stripped."""
        return self.run(*words, stdin=stdin).text.strip()

    def resolve(self, revision: str) -> str | None:
        """Return the object id that a revision names, or None."""
        done = self.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", revision, ok=(0, 1, 128)
        )
        return done.text.strip() if done.code == 0 else None

    def tree_of(self, commit: str) -> str:
        """Return the tree id of a commit."""
        return self.text("rev-parse", "--verify", f"{commit}^{{tree}}")

    @contextmanager
    def temporary_index(self, tree: str | None = None) -> Iterator[Git]:
        """Yield a handle with a temporary index, filled from `tree` or empty."""
        with self._temporary() as folder:
            handle = replace(
                self, extra_env={**self.extra_env, "GIT_INDEX_FILE": str(folder / "index")}
            )
            handle.run("read-tree", tree if tree is not None else "--empty")
            yield handle

    @contextmanager
    def temporary_worktree(self, commit: str) -> Iterator[Git]:
        """Yield a handle with a temporary linked work tree, detached at `commit`."""
        with self._temporary() as folder:
            place = folder / "tree"
            self.run("worktree", "add", "--quiet", "--detach", "--force", place, commit)
            # In a linked work tree, `.git` is a file that holds the path of its git directory.
            inner = Path(
                (place / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            )
            try:
                yield Git(inner, place, scratch=self.scratch)
            finally:
                self.run("worktree", "remove", "--force", place, ok=None)

    def write_folder(self, tree: str, folder: Path) -> None:
        """Write the files of a tree into an existing, empty folder."""
        with replace(self, work_tree=folder).temporary_index(tree) as handle:
            handle.run("checkout-index", "--all", "--force")

    def remove_stale_locks(self) -> None:
        """Remove what a killed git left: its locks, and work trees whose folder is gone."""
        for lock in (*self.git_dir.glob("*.lock"), *self.git_dir.glob("refs/**/*.lock")):
            lock.unlink(missing_ok=True)
        for lock in self.git_dir.glob("worktrees/*/locked"):
            place = lock.with_name("gitdir")
            if not place.exists() or not Path(place.read_text(encoding="utf-8").strip()).exists():
                lock.unlink()  # `prune` skips a work tree that is still locked from its creation
        if (self.git_dir / "worktrees").exists():
            self.run("worktree", "prune")

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """Yield a temporary folder; the next run removes it if this one is killed.

        `Repository.exclusive` does that.
        """
        with temporary_folder(self.scratch) as folder:
            yield folder


def disable_conversions(git_dir: Path) -> None:
    """Make a repository write and read files byte for byte, whatever attributes the files set."""
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text(_NO_ATTRIBUTES)


def git_of(folder: Path, *words: str | Path) -> Completed:
    """Run git, sealed, in a folder that may be in no repository; the caller checks the exit code.

    It is for questions about the repository in which the fork itself is kept.
    """
    return run(["git", *words], cwd=folder, env=sealed_environment(), ok=None)


def user_git(
    folder: Path, *words: str | Path, ok: Collection[int] | None = (0,), hint: str = ""
) -> Completed:
    """Run git in a folder with the user's settings and identity, but without a caller's GIT_DIR.

    Raises EnvironmentFailedError if another user owns the folder, whatever `ok` is, because git
    then reads nothing of the repository.
    """
    env = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    # `_DUBIOUS_OWNERSHIP` matches the English message.
    done = run(["git", *words], cwd=folder, env=env | {"LC_ALL": "C"}, ok=None)
    foreign = _DUBIOUS_OWNERSHIP.search(done.error_output) if done.code else None
    if foreign:
        raise EnvironmentFailedError(
            f"{foreign[1]} belongs to another user, so git reads nothing of it",
            hint=f"git config --global --add safe.directory {shlex.quote(foreign[1])}",
        )
    if ok is not None and done.code not in ok:
        raise command_error(done, hint)
    return done
