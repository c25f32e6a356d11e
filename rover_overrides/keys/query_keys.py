"""The key of a queryset's result: it covers all that decides it. Computing it changes no query."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from cacheops.utils import stamp_fields
from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import query
from django.db.models.sql.query import Query

from rover_overrides.core.site_settings import site_settings
from rover_overrides.keys.compile_copies import compile_copy
from rover_overrides.keys.encoding import (
    digest,
    note_digest,
    short_name,
    statement_digest,
    unstorable_digest,
)
from rover_overrides.keys.made_objects import (
    language_and_time_zone,
    maker_names,
    runs_application_code,
)
from rover_overrides.keys.query_state import state_of

_IDENTITY_SETTINGS = ("ENGINE", "HOST", "PORT", "NAME", "OPTIONS", "TIME_ZONE")
"""The settings of a database that affect its rows and how they are read."""

_NEW_QUERY_STATE = vars(Query(None))


def result_key(queryset: Any) -> str:
    """Return the key of a queryset's result, without a prefix.

    A query that cannot be compiled, or whose result no key can name, gets a random key and its
    result is not stored. Django itself then raises or returns the result.
    """
    try:
        found = _digest(queryset)
    except Exception:  # noqa: BLE001 - compiling runs the code of fields and expressions
        found = unstorable_digest(queryset)  # Django's own attempt raises the error
    return "q:" + short_name(found)


def _digest(queryset: Any) -> str:
    alias, makes_objects = queryset.db, state_of(queryset.query).makes_objects
    names = given_names(queryset, alias, connections[alias], makes_objects=makes_objects)
    try:
        found = compile_statement(queryset, alias, names)
    except EmptyResultSet:
        # Without rows, a custom iterable may still return something.
        return (
            unstorable_digest(queryset)
            if makes_objects and not _is_djangos(queryset)
            else digest(names)
        )
    return note_digest(queryset, statement_digest(found.sql, found.params, found.names))


class Statement(NamedTuple):
    """What a key names: SQL, parameters, and the plain values that identify what makes objects."""

    sql: str
    params: tuple[Any, ...]
    names: tuple[Any, ...]
    compiler: Any


def compile_statement(queryset: Any, alias: str, names: tuple[Any, ...]) -> Statement:
    """Compile a copy of a queryset's query; raise what compiling raises, or UnnamedError."""
    compiler = compile_copy(queryset.query).get_compiler(alias)
    sql, params = compiler.as_sql()
    if state_of(queryset.query).makes_objects:
        names += maker_names(queryset, compiler)
    return Statement(sql, tuple(params), names, compiler)


def given_names(
    queryset: Any, alias: str, connection: Any, *, makes_objects: bool
) -> tuple[Any, ...]:
    """Return what a key names of a queryset that its structure does not decide."""
    salt = getattr(site_settings(), "CACHEOPS_ROVER_KEY_SALT", "")
    database = "" if len(connections.settings) == 1 else _database(queryset, alias)
    kinds, are_own = _kinds(queryset.__class__, queryset.model, queryset._iterable_class)
    # The driver returns times in the connection's time zone, which a deploy may change.
    names = kinds, database, connection.timezone_name, salt
    return names + language_and_time_zone() if are_own and makes_objects else names


def is_unmodified(queryset: Any) -> bool:
    """Return whether a queryset is as a manager makes it: whole objects of its model, no more."""
    if (
        queryset._iterable_class is not query.ModelIterable
        or queryset._prefetch_related_lookups
        or _has_fetch_mode(queryset)
    ):
        return False
    return all(
        name == "model" or (name in _NEW_QUERY_STATE and held == _NEW_QUERY_STATE[name])
        for name, held in vars(queryset.query).items()
    )


def _has_fetch_mode(queryset: Any) -> bool:
    return getattr(queryset, "_fetch_mode", None) is not getattr(query, "FETCH_ONE", None)


@lru_cache(maxsize=1024)
def _kinds(*kinds: Any) -> tuple[str, bool]:
    """Return the names of a queryset's class, model (with its fields) and iterable class.

    The second item is whether application code makes the objects.
    """
    names = " ".join(
        [*(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds), stamp_fields(kinds[1])]
    )
    return names, runs_application_code(kinds[1]) or kinds[2].__module__ != query.__name__


def _is_djangos(queryset: Any) -> bool:
    """Return whether no rows always result in an empty list: with Django's own iterables."""
    return bool(queryset._iterable_class.__module__ == query.__name__)


def _database(queryset: Any, alias: str) -> str:
    """Return the database that results belong to.

    Aliases of the same database share results. If `db_agnostic` is set, all databases share them
    (True) or each alias has its own (False).
    """
    profile = queryset._cacheprofile
    agnostic = profile["db_agnostic"] if profile else None
    if agnostic:
        return ""
    if agnostic is False:
        return alias
    return next(other for other in _aliases() if other == alias or _is_same(other, alias))


def _aliases() -> list[str]:
    return [
        DEFAULT_DB_ALIAS,
        *sorted(alias for alias in connections.settings if alias != DEFAULT_DB_ALIAS),
    ]


def _is_same(one: str, other: str) -> bool:
    first, second = _identity(one), _identity(other)
    # Each connection to an in-memory database has a different one.
    return first == second and ":memory:" not in str(first["NAME"])


def _identity(alias: str) -> dict[str, Any]:
    """Return the settings that identify an alias's database, or the database that it mirrors."""
    known = connections.settings
    mirrored = known[alias].get("TEST", {}).get("MIRROR")
    found = known[mirrored if mirrored in known else alias]
    return {name: found.get(name) or None for name in _IDENTITY_SETTINGS}
