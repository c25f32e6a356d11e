"""Where a rebase stands: one readable file, written whole at each step, and the folder that holds everything of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.core.errors import AttentionError, UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock
from scripts.core.repository import Repository, write_whole
from scripts.verdicts.retirement import Retirement

STEPS = (
    "pinned",
    "planned",
    "replaying",
    "picked",
    "stopping",
    "resolved",
    "replayed",
    "exported",
    "proven",
    "deciding",
    "decided",
    "forgetting",
)
"""The named steps of a rebase, in order."""

_LISTS = ("queue", "skipped", "at", "again", "back", "reopened")
_RETIREMENTS = ("retire", "settled")


@dataclass(frozen=True)
class RebaseState:
    """What is decided and how far it is.

    `head` is the commit up to which the series is replayed, `queue` who waits, `again` whose conflict was resolved as once
    before. `before` is the digest of what the rebase began with and will replace. `stopped` says why a person is asked, `at`
    names the patches that this is about; both are empty while the tool works. `back` are retired patches that are needed again,
    `settled` the features whose own records say from now on that upstream brings them, `reopened` those whose no longer do,
    `waived` the reasons for which faults count for nothing. `done` is only left over after the last step. A step `by_hand` moves
    nothing to another release.
    """

    target: str
    origin: str
    head: str
    before: Mapping[str, str] = field(default_factory=dict)
    retire: tuple[Retirement, ...] = ()
    settled: tuple[Retirement, ...] = ()
    queue: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()
    waived: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""
    at: tuple[str, ...] = ()
    done: bool = False
    by_hand: bool = False

    @property
    def gone(self) -> frozenset[str]:
        """The patches that leave the series."""
        return frozenset({item.id for item in self.retire}.union(self.skipped))

    @property
    def new_settings(self) -> dict[str, dict[str, object]]:
        """The settings that replace features from now on, by whom they stand for in the profile."""
        return {
            item.id: item.settings.mapping()
            for item in (*self.retire, *self.settled)
            if item.settings
        }

    def content(self) -> bytes:
        """Return the state as it is written."""
        record = dataclasses.asdict(self) | {
            name: [item.record() for item in getattr(self, name)] for name in _RETIREMENTS
        }
        return json.dumps(record, indent=2).encode()

    def write(self, repo: Repository) -> None:
        """Write the state whole."""
        write_whole(_file(repo), self.content())


def home(repo: Repository) -> Path:
    """Return the one folder that holds everything of a rebase under way."""
    return repo.work / "rebase"


def work_tree(repo: Repository) -> Path:
    """Return the work tree in which patches are replayed and conflicts resolved."""
    return home(repo) / "tree"


def target_lock(repo: Repository) -> Lock:
    """Return the pins as they will be."""
    return read_lock(home(repo) / "lock.toml")


def read_state(repo: Repository) -> RebaseState | None:
    """Return the state of the rebase under way, or None; one that was killed after its last step is not under way."""
    state = left_state(repo)
    return None if state is None or state.done else state


def under_way(repo: Repository) -> str:
    """Return a sentence about the rebase under way, or an empty text."""
    state = read_state(repo)
    if state is None:
        return ""
    why = f": {state.stopped.splitlines()[0]}" if state.stopped else ", killed or still at work"
    return f"a rebase to {state.target} is under way{why} ({'--skip or --abort' if state.at else '--abort'} is the other way)"


def left_state(repo: Repository) -> RebaseState | None:
    """Return the state that is there, also of a rebase that was killed after its last step."""
    try:
        record: dict[str, Any] = json.loads(_file(repo).read_text())
    except FileNotFoundError:
        return None
    lists = {name: tuple(record.get(name, ())) for name in _LISTS}
    retired = {name: tuple(map(Retirement.of, record.get(name, ()))) for name in _RETIREMENTS}
    return RebaseState(**(record | lists | retired))


def required_state(repo: Repository) -> RebaseState:
    """Return the state, or refuse where no rebase is under way."""
    state = left_state(repo)
    if state is None:
        raise UsageError("no rebase is under way", hint="nox -s rebase -- VERSION")
    return state


def fingerprint(repo: Repository) -> dict[str, str]:
    """Return digests of what a rebase replaces and does not read again: the patches and the pins."""
    return {
        "patches/": folder_digest(repo.root / "patches"),
        "upstream/lock.toml": folder_digest(repo.root / "upstream/lock.toml"),
    }


def check_unchanged(repo: Repository, state: RebaseState) -> None:
    """Refuse to go on where somebody changed what the rebase began with: it would be lost, or mixed with the new."""
    now = fingerprint(repo)
    changed = [name for name, digest in state.before.items() if now[name] != digest]
    if changed:
        raise AttentionError(
            f"{' and '.join(changed)} changed since the rebase to {state.target} began; going on would lose that change",
            hint="take the change back, or nox -s rebase -- --abort, and begin again",
        )


def folder_digest(place: Path) -> str:
    """Return the sha256 of a file, or of the names, modes and contents of all that is in a folder but byte code."""
    files = (
        sorted(path for path in place.rglob("*") if "__pycache__" not in path.parts)
        if place.is_dir()
        else [place]
    )
    about = hashlib.sha256()
    for path in files:
        content = (
            str(path.readlink()).encode()
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else b""
        )
        about.update(
            f"{path.relative_to(place)} {path.lstat().st_mode} {len(content)}\n".encode() + content
        )
    return about.hexdigest()


def forget(repo: Repository) -> None:
    """Remove everything of a rebase, in one step; what it would have replaced was never touched."""
    if home(repo).exists():
        with repo.scratch() as scratch:
            home(repo).rename(scratch / "rebase")
            reached("forgetting")
            unregister(repo)


def unregister(repo: Repository) -> None:
    """Make git forget the work tree, which `git worktree prune` does not do where making it was interrupted."""
    wanted = (work_tree(repo) / ".git").resolve()
    for folder in (repo.git.git_dir / "worktrees").glob("*"):
        place = folder / "gitdir"
        if not place.exists() or Path(place.read_text().strip()).resolve() == wanted:
            shutil.rmtree(folder)


def reached(step: str) -> None:
    """Mark a named step; a test may ask to be killed here, to show that nothing is left between old and new."""
    assert step in STEPS, step
    if os.environ.get("FORK_KILL_AT") == step:
        os.kill(os.getpid(), signal.SIGKILL)


def _file(repo: Repository) -> Path:
    return home(repo) / "state.json"
