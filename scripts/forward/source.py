"""The upstream that a patch is forwarded to: its newest commit, or a release."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from scripts.core.config import did_you_mean
from scripts.core.errors import EnvironmentFailedError, UsageError, redact
from scripts.core.model import Lock, Release
from scripts.core.repository import Repository, write_atomically
from scripts.upstream.unreleased import parse_source, source_releases

_FORMS = "give a pinned release, path:DIR or git:URL@REF"
_RECORD = "fork-forward.json"


@dataclass(frozen=True)
class UpstreamSource:
    """What is forwarded to: a release or a commit, its words, and where its history is.

    `location` is empty if there is no history, so that the branch begins with one commit.
    """

    release: Release
    words: str
    location: str = ""

    @property
    def commit(self) -> str:
        """The commit that the branch begins at."""
        return self.release.commit


def find_source(repo: Repository, lock: Lock, patch_id: str, text: str | None) -> UpstreamSource:
    """Return the source of a name; without one the first git source that is watched.

    If none is watched, it is the locked release.
    """
    if text:
        return _named_source(repo, lock, text)
    watched = [name for name in repo.config.upstream.watch if name.startswith("git:")]
    try:
        return _named_source(repo, lock, next(iter(watched), lock.locked))
    except EnvironmentFailedError as error:
        hint = f"nox -s forward -- {patch_id} {lock.locked}"
        raise EnvironmentFailedError(error.message, hint=hint) from error


def _named_source(repo: Repository, lock: Lock, name: str) -> UpstreamSource:
    source = parse_source(name)
    if source is None:
        return _of_release(repo, lock, name)
    if source.is_range:
        raise UsageError(f"{source} is a range, and a branch begins at one commit", hint=_FORMS)
    (release,) = source_releases(repo, lock, source)
    if source.kind == "path":
        return UpstreamSource(release, _words(lock, f"in {source.location}"))
    words = f"commit {release.commit[:10]} ({source.last} of {redact(source.location)})"
    return UpstreamSource(release, _words(lock, words), source.location)


def _words(lock: Lock, text: str) -> str:
    return f"{lock.name}, {text}"


def _of_release(repo: Repository, lock: Lock, version: str) -> UpstreamSource:
    release = lock.release(version)
    if release is None:
        known = did_you_mean(version, lock.versions)
        raise UsageError(f"there is no pinned release {version}{known}", hint=_FORMS)
    # Without the releases before it, which are no history of upstream's.
    message = f"{lock.name} {version}"
    alone = repo.git.text("commit-tree", release.tree, "-m", message)
    return UpstreamSource(replace(release, commit=alone), message)


def record_source(place: Path, source: UpstreamSource) -> None:
    """Record in a work tree which source it begins at."""
    about = {
        "version": source.release.version,
        "commit": source.commit,
        "words": source.words,
        "location": source.location,
    }
    write_atomically(place / ".git" / _RECORD, json.dumps(about, indent=1).encode())


def recorded_source(repo: Repository, place: Path) -> UpstreamSource:
    """Return the source that a work tree begins at; its commits are in the private repository."""
    try:
        about = json.loads((place / ".git" / _RECORD).read_bytes())
        commit = about["commit"]
        tree = repo.git.tree_of(commit)
        release = Release(about["version"], "", 0, "", datetime.fromtimestamp(0, UTC), tree, commit)
        return UpstreamSource(release, about["words"], about["location"])
    except (OSError, ValueError, KeyError) as error:
        there = shlex.quote(str(place))
        raise UsageError(f"this verb did not make {place}", hint=f"rm -r {there}") from error
