"""Which rows the ORM writes: every INSERT, UPDATE and DELETE is recorded where Django compiles it.

So nothing depends on the ORM method that was called, nor on its signals: each statement is a change
of one table. The old rows are selected by the statement's own WHERE, under a lock (see
`row_locks`). The new ones follow from the values, or are read again. What is unknown becomes a
coarser change: of any value of a column, or of the whole table.

The statement itself runs once, as Django compiles it. It is restricted to the locked rows if its
WHERE could match others a moment later. In autocommit mode it gets a transaction of its own. If
reading the old rows fails there, that transaction is rolled back and the statement runs in another
one, without reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.db.models import Q
from django.db.models.sql import compiler as compilers
from django.db.models.sql import constants
from django.db.models.sql.query import Query

from rover_overrides.core.switches import is_enabled
from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.statements import FAILURES, StatementError
from rover_overrides.invalidation import transaction_ends
from rover_overrides.rows import rows
from rover_overrides.rows.rows import Row
from rover_overrides.rows.table_fields import fields_of
from rover_overrides.writes import raw_sql, upserts
from rover_overrides.writes.cascades import tables_of_database_cascades
from rover_overrides.writes.recording import (
    in_own_transaction,
    is_tracking_enabled,
    needs_own_transaction,
    record_row,
    record_table,
    tracks_rows,
)

Execute = Callable[..., Any]

_IS_TRACKED = "_rover_tracked"  # of a hooked method
# The result type for which Django returns the number of rows.
_ROW_COUNT = getattr(constants, "ROW_COUNT", constants.CURSOR)


def install() -> None:
    """Install the hooks in Django's compilers and connections."""
    if hasattr(compilers.SQLInsertCompiler.execute_sql, _IS_TRACKED):
        return
    _track_method(compilers.SQLInsertCompiler, "execute_sql", _track_insert)
    _track_method(compilers.SQLUpdateCompiler, "execute_sql", _track_update)
    _track_method(compilers.SQLDeleteCompiler, "execute_sql", _track_delete)
    if hasattr(compilers.SQLUpdateCompiler, "execute_returning_sql"):  # Django 6.1
        _track_method(compilers.SQLUpdateCompiler, "execute_returning_sql", _track_update_returning)
    for compiler in (
        compilers.SQLInsertCompiler,
        compilers.SQLUpdateCompiler,
        compilers.SQLDeleteCompiler,
    ):
        _track_compilation(compiler)
    transaction_ends.install()
    raw_sql.install()


def _track_method(cls: Any, name: str, track: Execute) -> None:
    original = getattr(cls, name)

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = self.connection
        state = state_of(connection)

        def run(*others: Any) -> Any:
            # From here on the transaction holds what the application wrote.
            state.is_own_transaction = False
            before, state.running_compiler = state.running_compiler, self
            try:
                return original(self, *(others or args), **kwargs)
            finally:
                state.running_compiler = before

        # One hooked method of a compiler may call the other.
        if state.running_compiler is self or not is_tracking_enabled():
            return run()
        try:
            if not needs_own_transaction(connection):
                return track(self, run, *args, **kwargs)
            if track is _track_insert:
                _compile_in_advance(self, *args, **kwargs)
            return _in_own_transaction(connection, lambda: track(self, run, *args, **kwargs))
        finally:
            self.__dict__.pop("as_sql", None)  # which `_compile_in_advance` has set

    setattr(method, _IS_TRACKED, True)
    setattr(cls, name, method)


def _compile_in_advance(compiler: Any, *args: Any, **kwargs: Any) -> None:
    """Compile an INSERT before its transaction begins.

    A field's `pre_save()` may write or commit, or require that no transaction is open.
    """
    # The only argument of execute_sql(), which a caller may pass by its name.
    returned = next(iter((*args, *kwargs.values())), None)
    # Before Django 3.0 the attribute was `return_id`.
    setattr(
        compiler, "return_id" if hasattr(compiler, "return_id") else "returning_fields", returned
    )
    compiled = compiler.as_sql()
    compiler.as_sql = lambda: compiled


def _track_compilation(cls: Any) -> None:
    """Record what a field's `pre_save()` writes during compilation as a write of its own.

    It is not taken for the statement that is being compiled.
    """
    original = cls.as_sql

    @wraps(original)
    def as_sql(self: Any, *args: Any, **kwargs: Any) -> Any:
        state = state_of(self.connection)
        before, state.running_compiler = state.running_compiler, None
        try:
            return original(self, *args, **kwargs)
        finally:
            state.running_compiler = before

    cls.as_sql = as_sql


def _in_own_transaction(connection: Any, write: Callable[[], Any]) -> Any:
    """Write in a transaction of the write's own.

    If reading the old rows fails there, write again in another one, without reading them.
    """
    try:
        return in_own_transaction(connection, write)
    except StatementError:
        return in_own_transaction(connection, write, reads_old_rows=False)


def _read_old_rows(compiler: Any, fetch: Callable[[], list[Row] | None]) -> list[Row] | None:
    """Return the rows that a statement is about to write, under a lock; None if they are unknown.

    Raise StatementError in a transaction that was opened for the statement, which must then be
    rolled back. Raise the database's own error if the statement would only wait for as long once
    more.
    """
    # The module goes with its feature, so it is imported only where that is enabled.
    from rover_overrides.writes.row_locks import lock_database

    state = state_of(compiler.connection)
    if not state.reads_old_rows:
        return None
    try:
        lock_database(compiler.connection, compiler.query.get_meta())
        return fetch()
    except StatementError as error:
        if statements.would_wait_again(compiler.connection, error) and error.__cause__ is not None:
            raise error.__cause__ from None
        if state.is_own_transaction:
            raise
        return None


def _record(compiler: Any, record: Callable[..., None], *args: Any) -> None:
    """Record a change of the whole table if `record` finds that the rows after it are unknown."""
    try:
        record(compiler, *args)
    except (StatementError, *FAILURES):
        # The transaction is aborted, so the application gets the error.
        if state_of(compiler.connection).abort_error is not None:
            raise
        record_table(compiler)


def _track_insert(compiler: Any, run: Execute, returning_fields: Any = None) -> Any:
    query = compiler.query
    if getattr(getattr(query, "on_conflict", None), "name", "") == "UPDATE":
        return _track_upsert(compiler, run)
    returned = run()
    if not tracks_rows(query.model) or len(query.objs) > rows.MAX_STATEMENT_ROWS:
        record_table(compiler)
        return returned
    _record(compiler, _record_inserted, returned, returning_fields or ())
    return returned


def _record_inserted(compiler: Any, returned: Any, returning_fields: Iterable[Any]) -> None:
    query = compiler.query
    for number, obj in enumerate(query.objs):
        known = (
            rows.returned_values(returning_fields, returned[number])
            if number < len(returned)
            else {}
        )
        record_row(
            compiler, None, rows.row_after_insert(obj, query.fields, known, compiler.connection)
        )


def _track_upsert(compiler: Any, run: Execute) -> Any:
    query = compiler.query
    condition = upserts.conflict_condition(query) if _can_know_old_rows(compiler) else None
    fields = rows.fields_needed(query.model, [*query.fields, *upserts.updated_fields(query)])
    if condition is None:
        result = run()
        record_table(compiler)
        return result
    affected = rows.condition_query(query.model, condition)
    old_rows = _read_old_rows(
        compiler,
        lambda: rows.fetch_rows(
            upserts.lock_in_key_order(
                query, rows.matching_query(affected, fields, _row_lock(compiler))
            ),
            compiler.connection,
        ),
    )
    result = run()
    _record(compiler, _record_upserted, affected, fields, old_rows)
    return result


def _record_upserted(
    compiler: Any, affected: Query, fields: list[Any], old_rows: list[Row] | None
) -> None:
    new_rows = (
        None
        if old_rows is None
        else rows.fetch_rows(rows.matching_query(affected, fields), compiler.connection)
    )
    if old_rows is None or new_rows is None:
        record_table(compiler)
    else:
        for old, new in upserts.row_changes(compiler.query, old_rows, new_rows):
            record_row(compiler, old, new)


# `run` already passes `returning_fields`.
def _track_update_returning(
    compiler: Any,
    run: Execute,
    returning_fields: Any,  # noqa: ARG001
) -> Any:
    return _track_any_update(compiler, run, len)


# This requests the number of rows in place of `result_type`.
def _track_update(compiler: Any, run: Execute, result_type: Any = None) -> Any:  # noqa: ARG001
    return _track_any_update(compiler, lambda: run(_ROW_COUNT), int)


def _track_any_update(compiler: Any, run: Execute, count: Callable[[Any], int]) -> Any:
    """Run and record an UPDATE; `count` turns its result into a number of rows."""
    query = compiler.query
    # A child without values of its own: the tables of its parents have statements of their own.
    if not query.values:
        return run()
    if not _can_know_old_rows(compiler):
        result = run()
        if count(result):
            record_table(compiler)
        return result
    values = [
        # Django makes a value of an object that is given for a foreign key.
        (
            field,
            value.prepare_database_save(field)
            if hasattr(value, "prepare_database_save") and field.remote_field
            else value,
        )
        for field, _model, value in query.values
    ]
    written = [field for field, _ in values]
    fields = rows.fields_needed(query.model, written)
    old_rows = _read_old_rows(
        compiler,
        lambda: rows.fetch_matching(query, fields, _row_lock(compiler), compiler.connection),
    )
    old_rows, is_restricted = _restrict_to_rows(compiler, old_rows)
    result = run()
    if old_rows is None or not (is_restricted or count(result) == len(old_rows)):
        record_table(compiler)
    else:
        _record(compiler, _record_updated, old_rows, values, fields)
    return result


def _record_updated(
    compiler: Any, old_rows: list[Row], values: list[tuple[Any, Any]], fields: list[Any]
) -> None:
    model, connection = compiler.query.model, compiler.connection
    if not _needs_reread(compiler.query, old_rows, values):
        table = fields_of(model)
        for old in old_rows:
            record_row(compiler, old, rows.row_after_update(old, values, table, connection))
        return
    columns = rows.key_columns(model)
    if any(field.column in columns for field, _ in values) or not rows.is_key_readable(model):
        record_table(compiler)
        return
    keys = [rows.row_key(old, columns) for old in old_rows]
    after = {
        rows.row_key(new, columns): new
        for new in rows.fetch_by_keys(model, fields, keys, connection)
    }
    for key, old in zip(keys, old_rows):
        record_row(compiler, old, after.get(key))


def _needs_reread(query: Any, old_rows: list[Row], values: list[tuple[Any, Any]]) -> bool:
    """Return whether the database computed something that is worth another query.

    For `save()`, which passes its values without models, it is not: the result of an F() stays
    unknown.
    """
    if not (rows.generated_columns(query.model) or rows.has_expression(values)):
        return False
    return len(old_rows) != 1 or any(model is not None for _, model, _ in query.values)


def _track_delete(compiler: Any, run: Execute, *_args: Any) -> Any:
    if not _can_know_old_rows(compiler):
        result = run()
        _record_deleted(compiler, None, _matched_rows(result))
        return result
    query = compiler.query
    old_rows = _read_old_rows(
        compiler,
        lambda: rows.fetch_matching(
            query,
            rows.fields_needed(query.model),
            _row_lock(compiler, deletes=True),
            compiler.connection,
        ),
    )
    old_rows, is_restricted = _restrict_to_rows(compiler, old_rows)
    result = run()
    exact = old_rows is not None and (is_restricted or _matched_rows(result) == len(old_rows))
    _record(compiler, _record_deleted, old_rows if exact else None, _matched_rows(result))
    return result


def _matched_rows(result: Any) -> int:
    """Return how many rows a DELETE matched.

    Before Django 5.2 this is read from the cursor, which is None if no row can match.
    """
    return int(getattr(result, "rowcount", result) or 0)


def _record_deleted(compiler: Any, old_rows: list[Row] | None, count: int) -> None:
    if old_rows is None and count:
        record_table(compiler)
    for old in old_rows or ():
        record_row(compiler, old, None)
    if count:
        for table in tables_of_database_cascades(compiler.query.model):
            record_table(compiler, table)


def _can_know_old_rows(compiler: Any) -> bool:
    """Return whether the old rows can be known for certain."""
    if not (tracks_rows(compiler.query.model) and is_enabled("serial-saves")):
        return False
    from rover_overrides.writes.row_locks import can_lock

    return can_lock(compiler.connection)


def _row_lock(compiler: Any, *, deletes: bool = False) -> str | None:
    from rover_overrides.writes.row_locks import row_lock

    return row_lock(compiler.connection, deletes=deletes)


def _restrict_to_rows(compiler: Any, old_rows: list[Row] | None) -> tuple[list[Row] | None, bool]:
    """Restrict a statement to the rows that were read, if its WHERE could soon match others.

    Return the rows, and whether it is certain that no others match. Without a key to find them by,
    the rows are unknown.
    """
    query = compiler.query
    if old_rows is not None and compiler.connection.vendor == "sqlite":
        return old_rows, True  # one writer at a time
    if not old_rows or rows.has_plain_where(query):
        # The locked rows still match; the row count shows whether others do too.
        return old_rows, False
    if not rows.is_key_readable(query.model):
        return None, False
    columns = rows.key_columns(query.model)
    query.where = type(query.where)()
    query.add_q(Q(pk__in=[rows.row_key(row, columns) for row in old_rows]))
    return old_rows, True
