"""Which features are enabled: those of the patches in this tree that no setting disables.

`CACHEOPS_ROVER_OFF = ("join-conditions", ...)` disables features by id and is read at run time.
A disabled feature makes results depend on more rows than necessary, or keeps them out of the
cache. It never lets a stale result be read.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from importlib import import_module
from typing import Any

from django.conf import settings

from rover_overrides.core.warned import warn

_FORMERLY = {
    "announced-commits": "two-phase-invalidation",
    "columns-read": "column-dependencies",
    "leased-fills": "leased-storage",
    "seen-writes": "track-all-writes",
    "told-reasons": "explain-invalidation",
    "unknown-fields": "deferred-fields",
}
"""Former ids of features, each with its current id: settings may still use the former."""


def _features() -> frozenset[str] | None:
    """Return the features in this tree, or None in the repository itself, which has all."""
    try:
        return frozenset(import_module("rover_overrides._series").FEATURES)
    except ModuleNotFoundError:
        return None


_APPLIED = _features()


def applied(feature: str) -> bool:
    """Return whether a patch in this tree provides a feature."""
    return _APPLIED is None or feature in _APPLIED


def on(feature: str) -> bool:
    """Return whether a feature is in this tree and not disabled."""
    return applied(feature) and feature not in off()


def off() -> Collection[str]:
    """Return the features that the setting disables."""
    found: Collection[str] = stated("CACHEOPS_ROVER_OFF", ())
    return _by_their_names(tuple(found)) if found else found


@lru_cache(maxsize=16)
def _by_their_names(names: tuple[str, ...]) -> frozenset[str]:
    """Return the current ids of features that may be given by their former ids."""
    for name in names:
        if name in _FORMERLY:
            warn(f"CACHEOPS_ROVER_OFF names {name}, which is called {_FORMERLY[name]} now")
    return frozenset(_FORMERLY.get(name, name) for name in names)


def stated(name: str, default: Any) -> Any:
    """Return a setting that is read at each cache hit and usually not set.

    `settings` itself would raise and catch an exception for a setting that is not set.
    """
    return getattr(settings._wrapped, name, default)
