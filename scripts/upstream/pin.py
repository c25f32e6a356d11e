"""pin: query the index for the tracked releases and write them to `upstream/lock.toml`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from packaging.version import InvalidVersion, Version

from scripts.core.config import Upstream
from scripts.core.console import Advance, info, progress
from scripts.core.errors import EnvironmentFailedError, UsageError
from scripts.core.lockfile import read_lock, write_lock
from scripts.core.model import Lock, Release
from scripts.core.repository import Repository
from scripts.upstream.index import Index, RemoteSdist, describe_release
from scripts.upstream.vendor import import_releases, matches_pin, sdist_path, tag


def pin(repo: Repository, version: str | None = None) -> Lock:
    """Pin every tracked release that the index has, and return the lock.

    `version` becomes the locked release. Without it the locked release stays; on the first run it
    is the newest. Raises EnvironmentFailedError if the index fails or serves other bytes for a
    release that is already pinned.
    """
    with repo.exclusive():
        lock = resolve_pins(repo, version)
        write_lock(repo.lock_file, lock)
    return lock


def resolve_pins(repo: Repository, version: str | None = None) -> Lock:
    """Return the pins that `pin` writes, with every release in the private repository."""
    wanted = _parse_version(version) if version is not None else None
    old = read_lock(repo.lock_file) if repo.lock_file.exists() else None
    index = Index(repo.index_settings)
    remotes = _select_sdists(repo, index, old, wanted)
    releases = import_releases(
        repo, repo.config.upstream.name, _make_pins(repo, index, remotes, old)
    )
    newest_or_same = old.locked if old else releases[-1].version
    # Compared as versions, because a release may be spelt in several ways.
    locked = next(
        (release.version for release in releases if release.parsed_version == wanted),
        newest_or_same,
    )
    lock = Lock(repo.config.upstream.name, locked, tuple(releases))
    tag(repo.git, lock.releases)
    return lock


def _parse_version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion as error:
        raise UsageError(
            f"not a release: {text!r}; what is not released is never pinned",
            hint="nox -s pin -- VERSION",
        ) from error


def _select_sdists(
    repo: Repository, index: Index, old: Lock | None, wanted: Version | None
) -> list[RemoteSdist]:
    """Return the sdists to pin, oldest first: tracked releases, the locked and the wanted one."""
    upstream = repo.config.upstream
    offered = index.sdists(upstream.name)
    named = {version for version in (wanted, Version(old.locked) if old else None) if version}
    _refuse_vanished(old, offered, index, upstream, named)
    chosen = [
        remote for remote in offered if upstream.tracks(remote.version) or remote.version in named
    ]
    for version in filter(upstream.tracks, index.wheel_only_versions(upstream.name)):
        info(f"warning: {version} has no sdist; left out")
    remotes = _without_yanked(chosen, old, named)
    if not remotes:
        raise UsageError(
            f"the index {index.address} has no release of {upstream.name}"
            f" that is {upstream.track or 'published as an sdist'}",
            hint="edit fork.toml: upstream.track",
        )
    if wanted and wanted not in {remote.version for remote in remotes}:
        versions = ", ".join(str(remote.version) for remote in remotes)
        raise UsageError(
            f"the index {index.address} has no {upstream.name} {wanted}; it has {versions}",
            hint="nox -s watch",
        )
    return remotes


def _refuse_vanished(
    old: Lock | None,
    offered: list[RemoteSdist],
    index: Index,
    upstream: Upstream,
    named: set[Version],
) -> None:
    """Raise EnvironmentFailedError if the index has lost a pinned release.

    That is a fault of the index, not a reason to forget the release.
    """
    here = {remote.version for remote in offered}
    pinned = [Version(version) for version in old.versions] if old else []
    # A release that `track` no longer covers is forgotten on purpose.
    lost = [
        version
        for version in pinned
        if version not in here and (upstream.tracks(version) or version in named)
    ]
    if lost:
        raise EnvironmentFailedError(
            f"the index {index.address} no longer has {', '.join(map(str, lost))}",
            hint="choose another index; to forget a release on purpose,"
            " exclude it in fork.toml: upstream.track = '!=...'",
        )


def _without_yanked(
    remotes: list[RemoteSdist], old: Lock | None, named: set[Version]
) -> list[RemoteSdist]:
    """Leave out yanked releases, unless they are already pinned or named; warn in either case."""
    pinned = set(old.versions) if old else set()
    kept = [
        remote
        for remote in remotes
        if not remote.yanked or str(remote.version) in pinned or remote.version in named
    ]
    for remote in remotes:
        if remote.yanked:
            what = "stays pinned" if remote in kept else "left out"
            info(
                f"warning: {remote.file} was yanked"
                f" ({remote.package.yanked_reason or 'no reason given'}); {what}"
            )
    return kept


def _make_pins(
    repo: Repository, index: Index, remotes: list[RemoteSdist], old: Lock | None
) -> list[Release]:
    """Download each missing sdist and describe it; a pinned release keeps its pin."""
    releases = []
    with progress(f"pinning {len(remotes)} releases", len(remotes)) as advance:
        for remote in remotes:
            known = old.release(str(remote.version)) if old else None
            path = sdist_path(repo, remote)
            if known is None:
                _download_new(index, remote, path, advance)
            elif matches_pin(path, known) and remote.sha256 in (None, known.sha256):
                advance()
            else:
                _download_again(index, remote, path, known, advance)
            # A pin stays as it is if another index says less, such as no upload time.
            releases.append(known or describe_release(remote, path))
    return releases


def _download_new(index: Index, remote: RemoteSdist, path: Path, advance: Advance) -> None:
    """Download a release that is not pinned yet, unless a stored file has the index's digest."""
    if path.exists() and remote.sha256 == hashlib.sha256(path.read_bytes()).hexdigest():
        advance()
    else:
        index.download(remote, path, advance)


def _download_again(
    index: Index, remote: RemoteSdist, path: Path, known: Release, advance: Advance
) -> None:
    """Download a pinned release again.

    Raises EnvironmentFailedError if the index does not have the pinned bytes.
    """
    served = remote.sha256
    if served in (None, known.sha256):
        index.download(remote, path, advance)
        served = hashlib.sha256(path.read_bytes()).hexdigest()
    if served != known.sha256:
        path.unlink(missing_ok=True)
        raise EnvironmentFailedError(
            f"{remote.file} ({index.address}) is not what is pinned:"
            f" sha256 {served} instead of {known.sha256}",
            hint="do not trust that index; find out who changed the file, or try another one",
        )
