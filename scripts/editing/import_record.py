"""What `import` saw in `patches/`, so that `export` overwrites nothing that changed since.

The record is in the imported repository's `.git`: the digest of each file, a ref to the commit that
the branch began with, and one to what the last export wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from scripts.core.git import user_git
from scripts.core.repository import write_atomically

IMPORTED = "refs/fork/imported"
"""The ref, in the imported repository, of the branch as `import` made it or `export` wrote it."""

BEGAN = "refs/fork/began"
"""The ref, in the imported repository, of the branch as `import` made it; no export moves it."""

_RECORD = "fork-import.json"

Digests = Mapping[str, str]
"""The digests of the files of `patches/` that an export writes, by their names."""


def digests(patches: Path) -> Digests:
    """Return the digests of the live patches and of `series`, as far as they are there."""
    files = [path for path in sorted(patches.glob("*.patch")) if path.is_file()]
    listing = patches / "series"
    files += [listing] if listing.exists() else []
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_record(place: Path, seen: Digests, head: str) -> None:
    """Record what `patches/` holds now, which is the branch up to `head`."""
    user_git(place, "update-ref", IMPORTED, head)
    write_atomically(place / ".git" / _RECORD, json.dumps(dict(seen), indent=1).encode())


def read_record(place: Path) -> Digests:
    """Return what `import` saw; nothing, if an older version of the tool made the work tree."""
    try:
        return dict(json.loads((place / ".git" / _RECORD).read_bytes()))
    except (OSError, ValueError):
        return {}


def changed_names(seen: Digests, now: Digests, wanted: Digests | None = None) -> list[str]:
    """Return the files that differ from what `import` saw, those that are gone included.

    A file that is already as `wanted` loses nothing, so it does not count.
    """
    return [
        name
        for name in sorted({*seen, *now})
        if now.get(name) != seen.get(name) and (wanted is None or now.get(name) != wanted.get(name))
    ]
