"""`refresh_from_db()` reads the database: whoever calls it wants to know what is there now."""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db.models import Model

from rover_overrides.core.switches import on

_refreshing: ContextVar[bool] = ContextVar("refreshing", default=False)


def is_refreshing() -> bool:
    """Tell whether an object is being refreshed, so that a read bypasses the cache."""
    return _refreshing.get()


def install() -> None:
    """Have every model's `refresh_from_db()` bypass the cache, those included that override it and call their parent's."""
    model: Any = Model
    original = model.refresh_from_db
    if hasattr(original, "_rover_refreshes"):
        return

    @wraps(original)
    def refresh_from_db(self: Any, *args: Any, **kwargs: Any) -> None:
        token = _refreshing.set(on("refreshed-from-database"))
        try:
            original(self, *args, **kwargs)
        finally:
            _refreshing.reset(token)

    refresh_from_db._rover_refreshes = True  # type: ignore[attr-defined]
    model.refresh_from_db = refresh_from_db
