"""`refresh_from_db()` reads from the database, because its caller wants the current values."""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db.models import Model

from rover_overrides.core.switches import is_enabled

_refreshing: ContextVar[bool] = ContextVar("refreshing", default=False)


is_refreshing = _refreshing.get
"""Return whether an object is being refreshed, so that reads bypass the cache."""


def install() -> None:
    """Make `refresh_from_db()` of every model bypass the cache.

    This includes models that override it and call the method of their parent.
    """
    model: Any = Model
    original = model.refresh_from_db
    if hasattr(original, "_rover_refreshes"):  # installed already
        return

    @wraps(original)
    def refresh_from_db(self: Any, *args: Any, **kwargs: Any) -> None:
        token = _refreshing.set(is_enabled("refreshed-from-database"))
        try:
            original(self, *args, **kwargs)
        finally:
            _refreshing.reset(token)

    refresh_from_db._rover_refreshes = True  # type: ignore[attr-defined]
    model.refresh_from_db = refresh_from_db
