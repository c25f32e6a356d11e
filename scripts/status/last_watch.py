"""sights: what `watch` saw the last time, which other verbs may know."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from packaging.version import Version

from scripts.core.model import Lock
from scripts.core.repository import Repository, write_whole

NEWEST = "the newest release"
_FILE = "watch.json"


@dataclass(frozen=True)
class Sight:
    """What a source was when it was looked at: its version, and each patch's verdict on it."""

    at: str
    verdicts: dict[str, str]


def read_sights(repo: Repository) -> dict[str, Sight]:
    """Return what was seen, by source; nothing where nobody looked or the file is none."""
    try:
        content = json.loads((repo.work / _FILE).read_bytes())
        return {name: Sight(**item) for name, item in content.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def write_sights(repo: Repository, sights: dict[str, Sight]) -> None:
    """Keep what was seen."""
    content = {name: asdict(sight) for name, sight in sights.items()}
    write_whole(repo.work / _FILE, json.dumps(content, indent=1).encode())


def newer_release(repo: Repository, lock: Lock) -> str:
    """Return the newest release, pinned or seen by `watch`, that is beyond the locked one; empty where none is."""
    seen = read_sights(repo).get(NEWEST)
    known = [*lock.versions, *([seen.at] if seen else [])]
    beyond = [
        version
        for version in known
        if not Version(version).local and Version(version) > Version(lock.locked)
    ]
    return max(beyond, key=Version, default="")
