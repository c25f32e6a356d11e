"""A fork's repository: its paths, and the lock that keeps two runs apart."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from scripts.core.atomic_files import recover, replace_all
from scripts.core.config import Config, read_config
from scripts.core.console import info, progress, typed_command
from scripts.core.errors import EnvironmentFailedError, redact
from scripts.core.git import Git
from scripts.core.index_settings import IndexSettings, discover_index
from scripts.core.temporary import is_running, remove_abandoned, temporary_folder

_PRIVATE = "upstream.git"
_HOLDER = "holder.json"


@dataclass(frozen=True)
class Repository:
    """The folder of a fork: this one, or the one given with `--repo`."""

    root: Path

    @cached_property
    def config(self) -> Config:
        """The decoded `fork.toml`."""
        return read_config(self.root / "fork.toml")

    @cached_property
    def index_settings(self) -> IndexSettings:
        """The index that every client uses, computed once per run because pip is slow to answer."""
        return discover_index(self.root)

    @property
    def lock_file(self) -> Path:
        """The pins, written by `pin`."""
        return self.root / "upstream" / "lock.toml"

    @property
    def source(self) -> Path:
        """The files of the locked release, written by `vendor`."""
        return self.root / "upstream" / "src"

    @property
    def patches(self) -> Path:
        """The folder of the series."""
        return self.root / "patches"

    @property
    def overrides(self) -> Path:
        """The package that the fork adds."""
        return self.root / self.config.overrides.package

    def record_file(self, name: str) -> Path:
        """Return the file of a feature's record from its path relative to the repository."""
        return self.root / name

    @property
    def work(self) -> Path:
        """What can be recreated: downloads, the private git repository, trees and results."""
        return self.root / ".fork"

    @cached_property
    def git(self) -> Git:
        """The private repository, which holds one commit per release."""
        return Git.create(self.work / _PRIVATE)

    @property
    def has_git(self) -> bool:
        """Whether the private repository has been created."""
        return (self.work / _PRIVATE).exists()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock this folder against other runs, and clean up after runs that were killed.

        Waits for the current run to finish. A verb reads the repository only while it holds the
        lock.
        """
        self.work.mkdir(exist_ok=True)
        lock = FileLock(self.work / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            info("another run works on this folder; waiting for it to finish")
            with progress(f"  it is {self._holder()}", None):
                lock.acquire()
        try:
            self._record_holder()
            self._recover()
            yield
        finally:
            # While the lock is held, because afterwards it may be the record of the next run.
            (self.work / _HOLDER).unlink(missing_ok=True)
            lock.release()

    def lock_holder(self) -> str | None:
        """Return a description of the run that holds the lock, or None."""
        if not self.work.exists():
            return None
        lock = FileLock(self.work / "lock")
        try:
            with lock.acquire(timeout=0):
                return None
        except Timeout:
            return self._holder()

    def _record_holder(self) -> None:
        """Record which run holds the lock; on a full disk the work itself reports the error."""
        about = {
            "words": redact(typed_command()),
            "process": os.getpid(),
            "since": f"{datetime.now().astimezone():%H:%M}",
        }
        with suppress(OSError):
            (self.work / _HOLDER).write_text(json.dumps(about), encoding="utf-8")

    def _holder(self) -> str:
        """Describe the run that holds the lock, unless the record is of a run that was killed."""
        try:
            about = json.loads((self.work / _HOLDER).read_bytes())
            if is_running(about["process"]):
                return f"`{about['words']}` (process {about['process']}, since {about['since']})"
        except (OSError, ValueError, KeyError):
            pass
        return "one that has not named its command yet"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a temporary folder on the same disk, so that its content can be moved."""
        self.work.mkdir(exist_ok=True)
        with temporary_folder(self.work) as folder:
            yield folder

    def replace(self, changes: Mapping[Path, Path | None]) -> None:
        """Move finished files and folders into their places, all or none; None removes a place."""
        replace_all(self.root, self.work, changes)

    def _recover(self) -> None:
        """Complete a replacement that a killed run had committed, and remove temporary files."""
        for name in recover(self.root, self.work):
            info(f"an earlier run was killed while it replaced {name}; finished now")
        remove_abandoned(self.work)
        # temporary files of `write_atomically`
        for part in self.lock_file.parent.glob(f".{self.lock_file.name}-*"):
            part.unlink()
        if (self.work / _PRIVATE).exists():
            self.git.remove_stale_locks()


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file atomically: after a kill or on a full disk it is the old one or the new one.

    A file that is not `durable` may be lost or truncated when the machine crashes. Raises
    EnvironmentFailedError if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp lets only the owner read it
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise EnvironmentFailedError(
            f"cannot write {path}: {error.strerror}", hint="free some disk space"
        ) from error
