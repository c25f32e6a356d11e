"""SELECTs of raw columns, which a connection compiles once but for their WHERE.

To compile a whole SELECT takes many times as long as to compile the WHERE of a usual write.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql import Query

from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.statements import FAILURES, StatementError

MAX_SELECTS = 256
"""How many SELECTs a connection keeps; then it discards all of them."""

Run = Callable[[Any, str, Sequence[Any]], list[Any]]
"""A function of `statements`."""


class _Select(NamedTuple):
    """A compiled SELECT; without `head` and `tail` its WHERE cannot be replaced."""

    compiler: Any
    converters: Any
    head: str | None = None
    tail: str = ""


def fetch_values(
    query: Query, connection: BaseDatabaseWrapper, run: Run = statements.read
) -> list[Sequence[Any]]:
    """Return the rows of a query of raw columns.

    Raises StatementError, or the database's error if it ended the application's transaction.
    """

    def compile_query() -> tuple[_Select, str, Sequence[Any]]:
        compiler = query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        return _Select(compiler, _converters(compiler)), sql, params

    return _fetch(connection, compile_query, run)


def fetch_prepared(
    key: Hashable,
    where: Any,
    make_query: Callable[[], Query],
    connection: BaseDatabaseWrapper,
    run: Run = statements.read,
) -> list[Sequence[Any]]:
    """Return the rows of a query of raw columns with `where` as its whole WHERE.

    The query must depend on nothing but `key` otherwise. `where` must depend on the query's own
    table and on constants. Raises the same errors as `fetch_values`.
    """
    selects = state_of(connection).selects

    def compile_query() -> tuple[_Select, str, Sequence[Any]]:
        known = selects.get(key)
        if known is not None and known.head is not None:
            sql, params = known.compiler.compile(where)
            return known, f"{known.head}{sql}{known.tail}", params
        compiler = make_query().get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        select = _split(_Select(compiler, _converters(compiler)), sql, params, where)
        if known is None:
            if len(selects) >= MAX_SELECTS:
                selects.clear()
            selects[key] = select
        return select, sql, params

    return _fetch(connection, compile_query, run)


def _fetch(
    connection: BaseDatabaseWrapper,
    compile_query: Callable[[], tuple[_Select, str, Sequence[Any]]],
    run: Run,
) -> list[Sequence[Any]]:
    try:
        select, sql, params = compile_query()
        found = run(connection, sql, params)
        converters = select.converters
        return list(select.compiler.apply_converters(found, converters)) if converters else found
    except EmptyResultSet:
        return []
    except FAILURES as error:
        if state_of(connection).abort_error is not None:
            raise
        raise StatementError(str(error)) from error


def _converters(compiler: Any) -> Any:
    return compiler.get_converters([column for column, *_ in compiler.select])


def _split(select: _Select, sql: str, params: Sequence[Any], where: Any) -> _Select:
    """Return the SELECT without its WHERE, if that is where it is expected."""
    where_sql, where_params = select.compiler.compile(where)
    head, separator, tail = sql.partition(f" WHERE {where_sql}")
    if not separator or " WHERE " in head + tail or list(params) != list(where_params):
        return select
    return select._replace(head=head + " WHERE ", tail=tail)
