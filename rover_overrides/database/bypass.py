"""Whether a thread's reads bypass the cache, due to its writes or what its transaction sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from rover_overrides.database import snapshots
from rover_overrides.database.connection_state import KEY

_SAME_DATABASE = ("ENGINE", "HOST", "PORT", "NAME")


def reads_bypass_cache(using: str | None) -> bool:
    """Return whether this thread's reads of a database bypass the cache.

    They do if they may see uncommitted changes, or only what their snapshot contains. An alias of
    the same database as one with an open transaction counts too: a test mirror shares its
    connection, and in other cases a reader expects to see the writes of its own thread.
    """
    alias = using or DEFAULT_DB_ALIAS
    if _bypasses_cache(alias):
        return True
    # Most sites have one database, and this is asked twice at a hit.
    return len(connections.settings) > 1 and any(
        _bypasses_cache(other) and _same_database(alias, other) for other in _used_aliases(alias)
    )


def _bypasses_cache(alias: str) -> bool:
    for context in transaction.transaction_states[alias]:
        if context["dirty"]:
            return True
    connection = getattr(connections._connections, alias, None)  # type: ignore[attr-defined]
    if connection is None:
        return False
    state = connection.__dict__.get(KEY)  # not `state_of`, because every hit gets here twice
    if state is not None and (state.has_uncommitted_writes or state.batch is not None):
        return True
    is_in_transaction = (
        connection.in_atomic_block
        or not connection.autocommit
        or (state is not None and state.has_explicit_isolation_level)
    )
    # PostgreSQL detects write skew between SERIALIZABLE transactions only by reads it has seen.
    return bool(is_in_transaction and snapshots.is_bound_to_snapshot(alias))


def existing_connection(alias: str) -> Any:
    """Return the thread's connection of an alias, or None; never create one."""
    return getattr(connections._connections, alias, None)  # type: ignore[attr-defined]


def _used_aliases(alias: str) -> Iterator[str]:
    yield alias
    yield from (other for other in connections if other != alias)


def _same_database(alias: str, other: str) -> bool:
    if alias == other:
        return True
    one, two = _database_settings(alias), _database_settings(other)
    return one == two


def _database_settings(alias: str) -> tuple[Any, ...]:
    connection = existing_connection(alias)
    # An alias that does not exist has none: Django raises the error when it reads.
    values: Any = (
        connections.settings.get(alias, {}) if connection is None else connection.settings_dict
    )
    return tuple(str(values.get(name) or "") for name in _SAME_DATABASE)


# At the end, because upstream's module imports this one while it is imported itself.
from cacheops import transaction  # noqa: E402
