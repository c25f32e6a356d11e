"""Temporary folders, which name their process: a later run removes those of killed ones alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "tmp-"


@contextmanager
def temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a new folder and remove it; None is the system's place for temporary files."""
    # What cannot be removed now is removed by a later run.
    with tempfile.TemporaryDirectory(
        prefix=_own_prefix(), dir=parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def make_temporary_folder(parent: Path) -> Path:
    """Return a new folder, which the caller moves or removes."""
    return Path(tempfile.mkdtemp(prefix=_own_prefix(), dir=parent))


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of processes that have ended."""
    for folder in parent.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not (owner.isdecimal() and is_running(int(owner))):
            shutil.rmtree(folder, ignore_errors=True)


def is_running(process: int) -> bool:
    """Return whether a process with this number exists, of whichever user."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _own_prefix() -> str:
    return f"{_PREFIX}{os.getpid()}-"
