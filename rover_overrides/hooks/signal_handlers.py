"""What is left for upstream's signal handlers if every write is recorded where it is compiled.

No write is invalidated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cacheops import invalidation
from django.db import DEFAULT_DB_ALIAS
from django.db.models.signals import post_delete, pre_save
from django.dispatch import Signal

from rover_overrides.core.modes import is_tracking_writes, write_already_tracked

_UPSTREAM_FUNCTIONS = invalidation.invalidate_obj, invalidation.invalidate_dict


def is_handler_redundant(signal: Signal) -> bool:
    """Return whether upstream's handler of a signal would have nothing to do.

    Even an idle listener makes Django give up fast deletes, and adding that ignores conflicts.
    """
    return is_tracking_writes() and signal in (pre_save, post_delete)


def invalidate_obj(obj: Any, using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate the object of a handler, unless its write was recorded."""
    _call_invalidation(invalidation.invalidate_obj, obj, using=using)


def invalidate_dict(model: Any, obj_dict: dict[str, Any], using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate the row of a handler, unless its write was recorded."""
    _call_invalidation(invalidation.invalidate_dict, model, obj_dict, using=using)


def cache_saved(queryset: Any, instance: Any) -> None:
    """Store a saved object if `cache_on_save` asks for it.

    The object may be outdated by now, so it is read again, under a lease.
    """
    if is_tracking_writes():
        queryset.cache()._fetch_all()
    else:
        queryset._cache_results(queryset._cache_key(), [instance])


def _call_invalidation(invalidate: Callable[..., None], *args: Any, using: str) -> None:
    """Call an invalidation, even if it has nothing to do, where other code replaced a function."""
    if not is_tracking_writes():
        invalidate(*args, using=using)
    elif (invalidation.invalidate_obj, invalidation.invalidate_dict) != _UPSTREAM_FUNCTIONS:
        with write_already_tracked():
            invalidate(*args, using=using)
