"""Where a rebase stands: one readable file, written whole at each step, and the repository as it will be."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import UsageError
from scripts.lock import read_lock
from scripts.model import Lock
from scripts.repository import Repository, write_whole
from scripts.retire import Retirement

STEPS = ("pinned", "planned", "replaying", "replayed", "exported", "proven", "deciding", "decided")
"""The named steps of a rebase, in order."""


@dataclass(frozen=True)
class Staged(Repository):
    """The repository as it will be: what the rebase has written stands before what is there now."""

    stage: Path = Path()

    @property
    def lock_file(self) -> Path:
        """The new pins."""
        return self._new("upstream/lock.toml")

    @property
    def patches(self) -> Path:
        """The new series."""
        return self._new("patches")

    @property
    def overrides(self) -> Path:
        """The new override package."""
        return self._new(self.config.overrides.package)

    def _new(self, name: str) -> Path:
        staged = self.stage / name
        return staged if staged.exists() else self.root / name


@dataclass(frozen=True)
class RebaseState:
    """What is decided and how far it is: the releases, who retires, who waits (the first is under way), who was skipped.

    `stopped` says why a person is asked; empty while the tool works.
    """

    target: str
    origin: str
    retire: tuple[Retirement, ...] = ()
    queue: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    stopped: str = ""
    replayed: bool = False

    def write(self, repo: Repository) -> None:
        """Write the state whole."""
        record = dataclasses.asdict(self) | {"retire": [item.record() for item in self.retire]}
        write_whole(home(repo) / "state.json", json.dumps(record, indent=2).encode())


def home(repo: Repository) -> Path:
    """Return the one folder that holds everything of a rebase under way."""
    return repo.work / "rebase"


def work_tree(repo: Repository) -> Path:
    """Return the work tree in which patches are replayed and conflicts resolved."""
    return home(repo) / "tree"


def target_lock(repo: Repository) -> Lock:
    """Return the pins as they will be."""
    return read_lock(home(repo) / "lock.toml")


def staged(repo: Repository) -> Staged:
    """Return the repository as it will be."""
    return Staged(repo.root, stage=home(repo) / "stage")


def read_state(repo: Repository) -> RebaseState | None:
    """Return the state of the rebase under way, or None."""
    path = home(repo) / "state.json"
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    lists = {name: tuple(record[name]) for name in ("queue", "skipped")}
    return RebaseState(**(record | lists | {"retire": tuple(map(Retirement.of, record["retire"]))}))


def is_decided(repo: Repository, state: RebaseState) -> bool:
    """Tell whether the last step has happened, so that only the state is left over."""
    return not (home(repo) / "stage" / "upstream").exists() and read_lock(repo.lock_file).locked == state.target


def required_state(repo: Repository) -> RebaseState:
    """Return the state, or refuse where no rebase is under way."""
    state = read_state(repo)
    if state is None:
        raise UsageError("no rebase is under way", hint="nox -s rebase -- VERSION")
    return state


def forget(repo: Repository) -> None:
    """Remove everything of a rebase; what it would have replaced was never touched."""
    folder = home(repo)
    if folder.exists():
        (folder / "state.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
        repo.git.run("worktree", "prune")


def reached(step: str) -> None:
    """Mark a named step; a test may ask to be killed here, to show that nothing is left between old and new."""
    assert step in STEPS, step
    if os.environ.get("FORK_KILL_AT") == step:
        os.kill(os.getpid(), signal.SIGKILL)
