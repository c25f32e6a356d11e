"""The release that the live patches are based on, and patches that name another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from scripts.core.errors import Problem
from scripts.core.model import Lock, Patch, Release
from scripts.series.patch_series import Series

ONE_BASE = "nox -s import && nox -s export"
"""The way to give all patches one base, whatever they name."""


def series_base(series: Series, lock: Lock) -> Release:
    """Return the release that most live patches name as their base.

    Among equals it is the locked release, then the newest; without any it is the locked one.
    """
    named = [release for patch in series.active if (release := lock.release(patch.base))]
    counts = Counter(release.version for release in named)
    ranks = {release.version: rank for rank, release in enumerate(lock.releases)}
    return max(
        named,
        key=lambda release: (
            counts[release.version],
            release.version == lock.locked,
            ranks[release.version],
        ),
        default=lock.locked_release,
    )


def with_another_base(series: Series, lock: Lock) -> list[Patch]:
    """Return the live patches that name another pinned release than most of them."""
    base = series_base(series, lock).version
    return [patch for patch in series.active if lock.release(patch.base) and patch.base != base]


def several_bases(series: Series, lock: Lock) -> Iterator[Problem]:
    """Yield the patches whose base is not that of the others."""
    base = series_base(series, lock).version
    for patch in with_another_base(series, lock):
        where = f"{patch.path.parent.name}/{patch.path.name}"
        yield Problem(f"Base: {patch.base}, but the series is based on {base}", ONE_BASE, where)
