"""A fork's repository: where its files are, and the lock that keeps two runs apart."""

from __future__ import annotations

import json
import os
import shutil
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
from scripts.core.console import progress, say, typed
from scripts.core.errors import EnvironmentFailedError, without_secret
from scripts.core.git import Git
from scripts.core.index_settings import Clients, choose

_PRIVATE = "upstream.git"
_HOLDER = "holder.json"


@dataclass(frozen=True)
class Repository:
    """The folder of a fork, this one or the one given with `--repo`."""

    root: Path

    @cached_property
    def config(self) -> Config:
        """The decoded `fork.toml`."""
        return read_config(self.root / "fork.toml")

    @cached_property
    def clients(self) -> Clients:
        """The one index that every client uses; asked once a run, for pip takes its time to answer."""
        return choose(self.root)

    @property
    def lock_file(self) -> Path:
        """The pins, written by `pin`."""
        return self.root / "upstream" / "lock.toml"

    @property
    def source(self) -> Path:
        """The locked release's files, brought by `vendor`."""
        return self.root / "upstream" / "src"

    @property
    def patches(self) -> Path:
        """The folder of the series."""
        return self.root / "patches"

    @property
    def overrides(self) -> Path:
        """The package that the fork adds."""
        return self.root / self.config.overrides.package

    def record(self, name: str) -> Path:
        """Return the file that a feature's record is in, by its path relative to the repository."""
        return self.root / name

    @property
    def work(self) -> Path:
        """What can be made again: downloads, the private git repository, trees and results."""
        return self.root / ".fork"

    @cached_property
    def git(self) -> Git:
        """The private repository that holds one commit a release."""
        return Git.create(self.work / _PRIVATE)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs on this folder out, waiting for the one under way, and tidy up after those that were killed.

        What a verb reads of the repository it reads inside.
        """
        self.work.mkdir(exist_ok=True)
        lock = FileLock(self.work / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("another run works on this folder; waiting for it to finish")
            with progress(f"  it is {self._holder()}", None):
                lock.acquire()
        try:
            self._sign()
            self._tidy()
            yield
        finally:
            (self.work / _HOLDER).unlink(missing_ok=True)
            lock.release()

    def busy(self) -> str | None:
        """Return the run that has this folder to itself, as a person would name it, or None where there is none."""
        if not self.work.exists():
            return None
        lock = FileLock(self.work / "lock")
        try:
            with lock.acquire(timeout=0):
                return None
        except Timeout:
            return self._holder()

    def _sign(self) -> None:
        """Write down who has the lock; where the disk is full the work itself will say so."""
        about = {
            "words": without_secret(typed()),
            "process": os.getpid(),
            "since": f"{datetime.now().astimezone():%H:%M}",
        }
        with suppress(OSError):
            (self.work / _HOLDER).write_text(json.dumps(about), encoding="utf-8")

    def _holder(self) -> str:
        """Name the run that holds the lock, unless what is written down is of one that was killed."""
        try:
            about = json.loads((self.work / _HOLDER).read_bytes())
            if _lives(about["process"]):
                return f"`{about['words']}` (process {about['process']}, since {about['since']})"
        except (OSError, ValueError, KeyError):
            pass
        return "one that has not said which yet"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a temporary folder on the same disk, so that what it holds can be moved into place."""
        self.work.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix="tmp-", dir=self.work, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)

    def replace(self, changes: Mapping[Path, Path | None]) -> None:
        """Put finished files and folders of `scratch` into their places, all or none; None removes a place."""
        replace_all(self.root, self.work, changes)

    def _tidy(self) -> None:
        """Finish what a killed run had decided, and remove what it left behind."""
        for name in recover(self.root, self.work):
            say(f"an earlier run was killed while it replaced {name}; finished now")
        for folder in self.work.glob("tmp-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for part in self.lock_file.parent.glob(f".{self.lock_file.name}-*"):
            part.unlink()
        if (self.work / _PRIVATE).exists():
            self.git.tidy()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file so that a kill or a full disk leaves the old one or the new one, never a part.

    One that is not `durable` may be lost or cut when the machine goes down.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise EnvironmentFailedError(
            f"cannot write {path}: {error.strerror}", hint="free some disk space"
        ) from error
