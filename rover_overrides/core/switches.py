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

from rover_overrides.core.operator_warnings import warn
from rover_overrides.core.site_settings import site_settings

_FORMER_IDS = {
    "announced-commits": "two-phase-invalidation",
    "columns-read": "column-dependencies",
    "leased-fills": "leased-storage",
    "seen-writes": "track-all-writes",
    "told-reasons": "explain-invalidation",
    "unknown-fields": "deferred-fields",
}
"""Former ids of features, each with its current id: settings may still use the former."""


def _installed_features() -> frozenset[str] | None:
    """Return the features in this tree, or None in the repository itself, which has all."""
    try:
        return frozenset(import_module("rover_overrides._series").FEATURES)
    except ModuleNotFoundError:
        return None


_INSTALLED = _installed_features()


def is_installed(feature: str) -> bool:
    """Return whether a patch in this tree provides a feature."""
    return _INSTALLED is None or feature in _INSTALLED


def is_enabled(feature: str) -> bool:
    """Return whether a feature is in this tree and not disabled."""
    if _INSTALLED is not None and feature not in _INSTALLED:
        return False
    ids: Collection[str] = getattr(site_settings(), "CACHEOPS_ROVER_OFF", ())
    return not ids or feature not in _current_ids(tuple(ids))


def disabled_features() -> Collection[str]:
    """Return the features that the setting disables."""
    ids: Collection[str] = raw_setting("CACHEOPS_ROVER_OFF", ())
    return _current_ids(tuple(ids)) if ids else ids


@lru_cache(maxsize=16)
def _current_ids(ids: tuple[str, ...]) -> frozenset[str]:
    """Return the current ids of features that may be given by their former ids."""
    for id_ in ids:
        if id_ in _FORMER_IDS:
            warn(f"CACHEOPS_ROVER_OFF names {id_}, which is called {_FORMER_IDS[id_]} now")
    return frozenset(_FORMER_IDS.get(id_, id_) for id_ in ids)


def raw_setting(name: str, default: Any) -> Any:
    """Return a setting that is read often and usually not set."""
    return getattr(site_settings(), name, default)
