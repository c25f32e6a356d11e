"""What `init` chooses: the releases to track, the Python to try them on, the build backend."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from scripts.core.errors import EnvironmentFailedError, UsageError
from scripts.probes.interpreters import find_interpreter
from scripts.upstream.index import Index, RemoteSdist

TRACKED = 5
"""How many releases are tracked, counted from the newest."""

_OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
_MINORS = range(20, 8, -1)
"""The minor versions of Python 3 that are looked for, newest first; the probes need 3.9."""


def published(index: Index, project: str) -> list[RemoteSdist]:
    """Return the sdists that can be tracked, oldest first; raise UsageError if there is none."""
    found = [
        remote
        for remote in index.sdists(project)
        if not remote.yanked and not remote.version.is_prerelease
    ]
    if not found:
        raise UsageError(
            f"the index {index.address} has no release of {project} that can be forked:"
            " it takes an sdist (.tar.gz) that is neither yanked nor a pre-release",
            hint="nox -s init -- --help",
        )
    return found


def choose_python(newest: RemoteSdist) -> str:
    """Return the Python to try releases on: the one that runs this, else the newest here.

    Raises EnvironmentFailedError if none here satisfies the newest release.
    """
    fitting = [python for python in _pythons() if supports(newest, python)]
    if _OWN in fitting:
        return _OWN
    for python in fitting:
        if find_interpreter(python):
            return python
    wanted = newest.package.requires_python
    raise EnvironmentFailedError(
        f"{newest.file} requires Python {wanted}, and no such Python is here",
        hint=f"uv python install {fitting[-1]}" if fitting else "choose another package",
    )


def newest_few(remotes: Sequence[RemoteSdist], python: str) -> list[RemoteSdist]:
    """Return the newest releases that run on a Python, oldest first."""
    return [remote for remote in remotes if supports(remote, python)][-TRACKED:]


def supports(remote: RemoteSdist, python: str) -> bool:
    """Return whether a release's Requires-Python includes the latest patch of a Python."""
    try:
        wanted = SpecifierSet(remote.package.requires_python or "")
    except InvalidSpecifier:  # old releases have anything here, and pip ignores it
        return True
    return wanted.contains(f"{python}.999")


def pinned_backend(index: Index, requires: Iterable[Requirement]) -> Iterator[str]:
    """Yield each build requirement at the newest version that the index has for this Python."""
    for need in requires:
        if need.marker is None or need.marker.evaluate():
            version = _newest(index, need)
            yield f"{need.name}=={version}" if version else str(need)


def _newest(index: Index, need: Requirement) -> Version | None:
    """Return the newest version that satisfies a requirement; None if the index has none."""
    if not index.files(need.name):
        return None
    fitting = [
        remote.version
        for remote in index.sdists(need.name)
        if need.specifier.contains(remote.version) and not remote.yanked and supports(remote, _OWN)
    ]
    return max(fitting, default=None)


def _pythons() -> list[str]:
    return [f"3.{minor}" for minor in _MINORS]
