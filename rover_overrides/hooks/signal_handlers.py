"""What upstream's handlers of signals still do where every write is seen as it is compiled: nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cacheops import invalidation
from django.db import DEFAULT_DB_ALIAS
from django.db.models.signals import post_delete, pre_save
from django.dispatch import Signal

from rover_overrides.core.modes import done_already, sees_writes


def is_idle(signal: Signal) -> bool:
    """Return whether upstream's handler of a signal would have nothing to do.

    A listener, even one with nothing to do, takes fast deletes and adds without conflicts away from Django.
    """
    return sees_writes() and signal in (pre_save, post_delete)


def invalidate_obj(obj: Any, using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate what a handler asks for, unless that is done."""
    _ask(invalidation.invalidate_obj, obj, using=using)


def invalidate_dict(model: Any, obj_dict: dict[str, Any], using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate what a handler asks for, unless that is done."""
    _ask(invalidation.invalidate_dict, model, obj_dict, using=using)


def keep_saved(queryset: Any, instance: Any) -> None:
    """Store a saved object where `cache_on_save` wants it; what we hold may be old by now, so a read takes its lease first."""
    if sees_writes():
        queryset.cache()._fetch_all()
    else:
        queryset._cache_results(queryset._cache_key(), [instance])


def _ask(invalidate: Callable[..., None], *args: Any, using: str) -> None:
    """Go the handlers' way also where it leads to nothing: others may have put themselves in it."""
    if not sees_writes():
        invalidate(*args, using=using)
        return
    with done_already():
        invalidate(*args, using=using)
