"""pin: ask the index for the tracked releases and write what they are into `upstream/lock.toml`."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from scripts.clients import choose
from scripts.errors import EnvironmentFailedError, UsageError
from scripts.index import Index, Remote, described
from scripts.lock import read_lock, write_lock
from scripts.model import Lock, Release
from scripts.repository import Repository
from scripts.terminal import progress
from scripts.vendor import import_releases, sdist_path, tag


def pin(repo: Repository, version: str | None = None) -> Lock:
    """Pin every tracked release that the index has; `version` becomes the locked one, else it stays (first: the newest).

    Raises EnvironmentFailedError where the index fails or serves other bytes for a release that is already pinned.
    """
    old = read_lock(repo.lock_file) if repo.lock_file.exists() else None
    name = repo.config.upstream.name
    with repo.alone():
        index = Index(choose(repo.root))
        remotes = _tracked(repo, index, version)
        _refuse_vanished(old, remotes, index)
        releases = import_releases(repo, name, _described(repo, index, remotes, old))
        locked = version or (old.locked if old else releases[-1].version)
        lock = Lock(name, locked, tuple(releases))
        tag(repo.git, lock.releases)
        write_lock(repo.lock_file, lock)
    return lock


def _tracked(repo: Repository, index: Index, version: str | None) -> list[Remote]:
    """List the sdists that `track` in fork.toml asks for, oldest first."""
    upstream = repo.config.upstream
    tracked = SpecifierSet(upstream.track)
    remotes = [
        remote for remote in index.sdists(upstream.name) if tracked.contains(remote.version) or str(remote.version) == version
    ]
    if not remotes:
        raise UsageError(
            f"the index {index.address} has no release of {upstream.name} that is {upstream.track}",
            hint="edit fork.toml: upstream.track",
        )
    if version is not None and version not in {str(remote.version) for remote in remotes}:
        offered = ", ".join(str(remote.version) for remote in remotes)
        raise UsageError(
            f"the index {index.address} has no {upstream.name} {version}; it has {offered}",
            hint="nox -s pin -- VERSION",
        )
    return remotes


def _refuse_vanished(old: Lock | None, remotes: list[Remote], index: Index) -> None:
    """Refuse an index that lost a pinned release: that is a fault of the index, not a reason to forget it."""
    offered = {str(remote.version) for remote in remotes}
    lost = [version for version in old.versions if version not in offered] if old else []
    if lost:
        raise EnvironmentFailedError(
            f"the index {index.address} no longer has (or fork.toml no longer tracks): {', '.join(lost)}",
            hint="choose another index; to forget a release on purpose, remove upstream/lock.toml and pin again",
        )


def _described(repo: Repository, index: Index, remotes: list[Remote], old: Lock | None) -> list[Release]:
    """Download each sdist that is not here and describe it; one that is pinned must still have its bytes."""
    releases = []
    with progress(f"pinning {len(remotes)} releases", len(remotes)) as advance:
        for remote in remotes:
            path = sdist_path(repo, remote)
            if path.exists():
                advance()
            else:
                index.download(remote, path, advance)
            release = described(remote, path)
            _refuse_changed(old, release, index)
            releases.append(release)
    return releases


def _refuse_changed(old: Lock | None, release: Release, index: Index) -> None:
    known = old.release(release.version) if old else None
    if known is not None and known.sha256 != release.sha256:
        raise EnvironmentFailedError(
            f"{release.file} ({index.address}) is not what is pinned: sha256 {release.sha256} instead of {known.sha256}",
            hint="remove it from .fork/sdists and run again; if the index serves it so, do not trust that index",
        )
