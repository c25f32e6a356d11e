"""Wait until a file is saved.

The files are looked at again and again instead of subscribing to the system's events. They are a
few hundred, so this costs a millisecond or two, works on every file system, and needs no library
with a compiled part.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

POLL_SECONDS = 0.3

Stamps = Mapping[Path, tuple[int, int, int]]
"""What a save changes, by file: inode, size and modification time (ns)."""


def file_stamps(paths: Iterable[Path]) -> Stamps:
    """Return the stamps of files, and of all files in folders that are not hidden or bytecode."""
    found = {}
    for path in paths:
        for file in _files(path):
            try:
                stat = file.stat()
            except FileNotFoundError:  # removed meanwhile, as editors do with the old content
                continue
            found[file] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def wait_for_save(paths: Iterable[Path], before: Stamps) -> list[Path]:
    """Wait until files differ from their stamps, and return them once no further save follows."""
    watched = list(paths)
    last = before
    while True:
        now = file_stamps(watched)
        changed = [file for file in {**before, **now} if before.get(file) != now.get(file)]
        # Two looks that agree: saving several files takes a moment.
        if changed and now == last:
            return sorted(changed)
        last = now
        time.sleep(POLL_SECONDS)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [
            name for name in folders if not name.startswith(".") and name != "__pycache__"
        ]
        yield from (Path(folder, name) for name in names if not name.startswith("."))
