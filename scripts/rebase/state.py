"""The state of a rebase: one readable file, written whole at each step, in the rebase's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.core.errors import AttentionError, UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock
from scripts.core.repository import Repository, write_atomically
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
    "compared",
    "deciding",
    "decided",
    "forgetting",
)
"""The named steps of a rebase, in order."""

_LISTS = ("queue", "skipped", "at", "again", "back", "reopened")
_RETIREMENTS = ("retire", "settled")


@dataclass(frozen=True)
class RebaseState:
    """What a rebase has decided, and how far it is.

    `head` is the commit up to which the series is replayed, `queue` the patches still to replay.
    `skipped` are the patches left out on request, `again` those whose conflict rerere resolved.
    `before` are the digests of what the rebase began with and will replace.
    `stopped` says why a person must act, and `at` names the patches concerned; both are empty
    while the tool works.
    `retire` are the patches that retire, `back` the retired patches that come back.
    `settled` are the features whose own record will say that upstream brings them, `reopened`
    those whose record will no longer say so.
    `waived` maps features to the reason why their faults are ignored.
    `done` is set by the last step; it is seen only if the rebase was killed before it cleaned up.
    A step `by_hand` moves nothing to another release.
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
        """The ids of the patches that leave the series."""
        return frozenset({item.id for item in self.retire}.union(self.skipped))

    @property
    def new_settings(self) -> dict[str, dict[str, object]]:
        """The settings that replace features from now on, by their ids in the profile."""
        return {
            item.id: item.settings.as_dict()
            for item in (*self.retire, *self.settled)
            if item.settings
        }

    def to_json(self) -> bytes:
        """Return the state as JSON, as it is written."""
        record = dataclasses.asdict(self) | {
            name: [item.record() for item in getattr(self, name)] for name in _RETIREMENTS
        }
        return json.dumps(record, indent=2).encode()

    def write(self, repo: Repository) -> None:
        """Write the state whole; a kill leaves the old one or the new one."""
        write_atomically(_file(repo), self.to_json())


def rebase_folder(repo: Repository) -> Path:
    """Return the folder that holds everything of a rebase under way."""
    return repo.work / "rebase"


def work_tree_path(repo: Repository) -> Path:
    """Return the path of the work tree where patches are replayed and conflicts resolved."""
    return rebase_folder(repo) / "tree"


def target_lock(repo: Repository) -> Lock:
    """Return the new pins, with the target locked."""
    return read_lock(rebase_folder(repo) / "lock.toml")


def read_state(repo: Repository) -> RebaseState | None:
    """Return the state of the rebase under way, or None.

    A rebase that was killed after its last step is not under way.
    """
    state = load_state(repo)
    return None if state is None or state.done else state


def under_way_note(repo: Repository) -> str:
    """Return a message about the rebase under way, or an empty string."""
    state = read_state(repo)
    if state is None:
        return ""
    why = f": {state.stopped.splitlines()[0]}" if state.stopped else ", killed or still at work"
    return (
        f"a rebase to {state.target} is under way{why} "
        f"({'--skip or --abort' if state.at else '--abort'} is the other way)"
    )


def load_state(repo: Repository) -> RebaseState | None:
    """Return the stored state, also of a rebase that was killed after its last step, or None."""
    try:
        record: dict[str, Any] = json.loads(_file(repo).read_text())
    except FileNotFoundError:
        return None
    lists = {name: tuple(record.get(name, ())) for name in _LISTS}  # JSON has no tuples
    retired = {name: tuple(map(Retirement.of, record.get(name, ()))) for name in _RETIREMENTS}
    return RebaseState(**(record | lists | retired))


def required_state(repo: Repository) -> RebaseState:
    """Return the stored state; raises UsageError if there is none."""
    state = load_state(repo)
    if state is None:
        raise UsageError("no rebase is under way", hint="nox -s rebase -- VERSION")
    return state


def input_digests(repo: Repository) -> dict[str, str]:
    """Return digests of the patches and pins, which a rebase replaces and does not read again."""
    return {
        "patches/": folder_digest(repo.root / "patches"),
        "upstream/lock.toml": folder_digest(repo.root / "upstream/lock.toml"),
    }


def check_unchanged(repo: Repository, state: RebaseState) -> None:
    """Raise AttentionError if the patches or the pins changed since the rebase began.

    Such a change would be lost, or mixed with the new files.
    """
    now = input_digests(repo)
    changed = [name for name, digest in state.before.items() if now[name] != digest]
    if changed:
        raise AttentionError(
            f"{' and '.join(changed)} changed since the rebase to {state.target} began; "
            "going on would lose that change",
            hint="take the change back, or nox -s rebase -- --abort, and begin again",
        )


def folder_digest(place: Path) -> str:
    """Return a sha256 of the paths, modes and contents of a file or folder, without byte code."""
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


def discard(repo: Repository) -> None:
    """Remove the folder of a rebase in one step, and git's record of its work tree."""
    if rebase_folder(repo).exists():
        with repo.scratch() as scratch:
            # One rename, so that a kill leaves the whole folder or nothing.
            rebase_folder(repo).rename(scratch / "rebase")
            checkpoint("forgetting")
            remove_worktree_record(repo)


def remove_worktree_record(repo: Repository) -> None:
    """Remove git's record of the work tree.

    `git worktree prune` does not, if the creation of the work tree was interrupted.
    """
    wanted = (work_tree_path(repo) / ".git").resolve()
    for folder in (repo.git.git_dir / "worktrees").glob("*"):
        place = folder / "gitdir"
        if not place.exists() or Path(place.read_text().strip()).resolve() == wanted:
            shutil.rmtree(folder)


def checkpoint(step: str) -> None:
    """Raise the audit event `scripts.rebase` with the name of a step.

    A test that listens to it kills the process there, to show that this leaves the old state or the
    new one, never a mixture.
    """
    assert step in STEPS, step
    sys.audit("scripts.rebase", step)


def _file(repo: Repository) -> Path:
    return rebase_folder(repo) / "state.json"
