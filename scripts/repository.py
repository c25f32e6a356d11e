"""A fork's repository: where its files are, and the lock that keeps two runs apart."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from scripts.config import Config, read_config
from scripts.errors import EnvironmentFailedError
from scripts.git import Git
from scripts.terminal import say


@dataclass(frozen=True)
class Repository:
    """The folder of a fork, this one or the one given with `--repo`."""

    root: Path

    @cached_property
    def config(self) -> Config:
        """The decoded `fork.toml`."""
        return read_config(self.root / "fork.toml")

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

    @property
    def work(self) -> Path:
        """What can be made again: downloads, the private git repository, trees and results."""
        return self.root / ".fork"

    @cached_property
    def git(self) -> Git:
        """The private repository that holds one commit a release."""
        return Git.create(self.work / "upstream.git")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs on this folder out, waiting for the one under way."""
        self.work.mkdir(exist_ok=True)
        lock = FileLock(self.work / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("another run works on this folder; waiting for it to finish")
            lock.acquire()
        with lock:
            yield

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a temporary folder on the same disk, so that what it holds can be moved into place."""
        self.work.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self.work) as folder:
            yield Path(folder)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise EnvironmentFailedError(f"cannot write {path}: {error.strerror}", hint="free some disk space") from error


def replace_folder(new: Path, old: Path) -> None:
    """Put a finished folder into the place of another, on the same disk."""
    if old.exists():
        aside = new.with_name(new.name + ".old")
        old.replace(aside)
        new.replace(old)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        old.parent.mkdir(parents=True, exist_ok=True)
        new.replace(old)
