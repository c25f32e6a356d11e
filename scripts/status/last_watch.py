"""The last result of `watch` for each source, for other verbs to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from packaging.version import Version

from scripts.core.model import Lock
from scripts.core.repository import Repository, write_atomically

NEWEST = "the newest release"
_FILE = "watch.json"


@dataclass(frozen=True)
class SourceCheck:
    """A source when it was last checked: its version, and each feature's verdict on it."""

    at: str
    verdicts: dict[str, str]


def read_checks(repo: Repository) -> dict[str, SourceCheck]:
    """Return the last check of each source; empty if there is no valid file."""
    try:
        content = json.loads((repo.work / _FILE).read_bytes())
        return {name: SourceCheck(**item) for name, item in content.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def write_checks(repo: Repository, sights: dict[str, SourceCheck]) -> None:
    """Store the last check of each source."""
    content = {name: asdict(sight) for name, sight in sights.items()}
    write_atomically(repo.work / _FILE, json.dumps(content, indent=1).encode())


def newer_release(repo: Repository, lock: Lock) -> str:
    """Return the newest release beyond the locked one, or an empty string.

    It is a pinned release or one that `watch` has reported.
    """
    seen = read_checks(repo).get(NEWEST)
    known = [*lock.versions, *([seen.at] if seen else [])]
    beyond = [
        version
        for version in known
        # A source that is not released has a local version.
        if not Version(version).local and Version(version) > Version(lock.locked)
    ]
    return max(beyond, key=Version, default="")
