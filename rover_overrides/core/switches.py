"""Which features are at work: those that the patches in this tree bring, without those that a setting switches off.

`CACHEOPS_ROVER_OFF = ("join-conditions", ...)` names features by their ids and is read at run time. A feature that is off makes
results depend on more rows than they need to, or leaves them out of the cache; it never lets an old one be read.
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
"""Ids that features had: settings may still name them."""


def _features() -> frozenset[str] | None:
    """Return the features in this tree, or None in the repository itself, where all of them are."""
    try:
        return frozenset(import_module("rover_overrides._series").FEATURES)
    except ModuleNotFoundError:
        return None


_APPLIED = _features()


def applied(feature: str) -> bool:
    """Return whether a patch in this tree brings a feature."""
    return _APPLIED is None or feature in _APPLIED


def on(feature: str) -> bool:
    """Return whether a feature is here and not switched off."""
    return applied(feature) and feature not in off()


def off() -> Collection[str]:
    """Return the features that the setting switches off."""
    found: Collection[str] = stated("CACHEOPS_ROVER_OFF", ())
    return _by_their_names(tuple(found)) if found else found


@lru_cache(maxsize=16)
def _by_their_names(names: tuple[str, ...]) -> frozenset[str]:
    """Return the ids of features, also of those that are named as they were called once."""
    for name in names:
        if name in _FORMERLY:
            warn(f"CACHEOPS_ROVER_OFF names {name}, which is called {_FORMERLY[name]} now")
    return frozenset(_FORMERLY.get(name, name) for name in names)


def stated(name: str, default: Any) -> Any:
    """Return a setting that is asked for at each hit and mostly not set: `settings` itself raises and catches for that."""
    return getattr(settings._wrapped, name, default)
