"""A content-addressed cache of earlier results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from scripts.core.repository import write_atomically


def digest(*parts: object) -> str:
    """Return the sha256 of values that can be serialised as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(*paths: Path) -> str:
    """Return the sha256 of the names and contents of files, and of all files in folders.

    A file in a folder counts with its path below that folder.
    """
    found = [
        (file.relative_to(path.parent).as_posix(), _sha256(file, *_stat(file)))
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    ]
    return digest(*sorted(found))


def _stat(file: Path) -> tuple[int, int, int]:
    """Return what changes with a file's content: its inode, size and modification time (ns)."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@cache
def _sha256(file: Path, *_stat: int) -> str:
    # `_stat` is only part of the cache key, so that a changed file is read again.
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class ResultCache:
    """A folder of JSON records, each written atomically; `fresh` ignores earlier runs' records."""

    folder: Path
    fresh: bool = False
    _written: set[str] = field(default_factory=set)

    def get(self, key: str) -> Any | None:
        """Return the value stored under a key, or None."""
        if self.fresh and key not in self._written:
            return None
        try:
            return json.loads(self._path(key).read_bytes())
        except (FileNotFoundError, ValueError):  # `put` is not durable: a record may be truncated
            return None

    def put(self, key: str, value: Any) -> None:
        """Store a value under a key; a value that is lost is computed again."""
        write_atomically(self._path(key), json.dumps(value).encode(), durable=False)
        self._written.add(key)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"
