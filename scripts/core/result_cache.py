"""What was found out before, kept by the content that it depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from scripts.core.repository import write_whole


def digest(*parts: object) -> str:
    """Return the sha256 of parts that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(*paths: Path) -> str:
    """Return the sha256 of the names and contents of files, and of all files in folders with their paths there."""
    found = [
        (file.relative_to(path.parent).as_posix(), _sha256(file, *_stat(file)))
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    ]
    return digest(*sorted(found))


def _stat(file: Path) -> tuple[int, int, int]:
    """Return what changes with a file's content: its inode, its size and when it was written (ns)."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@cache
def _sha256(file: Path, *_stat: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Store:
    """A folder of JSON records, each written whole; `fresh` reads nothing that an earlier run left."""

    folder: Path
    fresh: bool = False
    _written: set[str] = field(default_factory=set)

    def get(self, key: str) -> Any | None:
        """Return what is kept under a key, or None."""
        if self.fresh and key not in self._written:
            return None
        try:
            return json.loads(self._path(key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def put(self, key: str, value: Any) -> None:
        """Keep a value under a key; what is lost is found out again."""
        write_whole(self._path(key), json.dumps(value).encode(), durable=False)
        self._written.add(key)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"
