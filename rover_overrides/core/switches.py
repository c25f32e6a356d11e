"""Which patches are at work: those in this tree, without those that a setting switches off.

`CACHEOPS_ROVER_OFF = ("join-conditions", ...)` names patches by their ids and is read at run time. A patch that is off makes
results depend on more rows than they need to, or leaves them out of the cache; it never lets an old one be read.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from django.conf import settings


def _series() -> frozenset[str] | None:
    """Return the ids of the patches in this tree, or None in the repository itself, where all of them are."""
    try:
        return frozenset(import_module("rover_overrides._series").SERIES)
    except ModuleNotFoundError:
        return None


_APPLIED = _series()


def applied(patch: str) -> bool:
    """Tell whether a patch is in this tree."""
    return _APPLIED is None or patch in _APPLIED


def on(patch: str) -> bool:
    """Tell whether a patch's behaviour is wanted and here."""
    return applied(patch) and patch not in off()


def off() -> Collection[str]:
    """Return the ids of the patches that the setting switches off."""
    found: Collection[str] = stated("CACHEOPS_ROVER_OFF", ())
    return found


def stated(name: str, default: Any) -> Any:
    """Return a setting that is asked for at each hit and mostly not set: `settings` itself raises and catches for that."""
    return getattr(settings._wrapped, name, default)
