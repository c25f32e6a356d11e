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

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.db.models import Q
from django.db.models.sql import compiler as compilers
from django.db.models.sql import constants
from django.db.models.sql.query import Query

from rover_overrides.core.switches import on
from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.statements import FAILURES, StatementError
from rover_overrides.invalidation import transaction_ends
from rover_overrides.rows import rows
from rover_overrides.rows.rows import Row
from rover_overrides.writes import raw_sql, upserts
from rover_overrides.writes.cascades import tables_of_database_cascades
from rover_overrides.writes.recording import (
    is_precise,
    is_watched,
    needs_own_transaction,
    own_transaction,
    record_row,
    record_table,
)

Run = Callable[..., Any]

_SEEN = "_rover_seen"
# The result type for which Django returns the number of rows.
_COUNT = getattr(constants, "ROW_COUNT", constants.CURSOR)


def install() -> None:
    """Install the hooks in Django's compilers and connections."""
    if hasattr(compilers.SQLInsertCompiler.execute_sql, _SEEN):
        return
    _hook(compilers.SQLInsertCompiler, "execute_sql", _insert)
    _hook(compilers.SQLUpdateCompiler, "execute_sql", _update)
    _hook(compilers.SQLDeleteCompiler, "execute_sql", _delete)
    if hasattr(compilers.SQLUpdateCompiler, "execute_returning_sql"):  # Django 6.1
        _hook(compilers.SQLUpdateCompiler, "execute_returning_sql", _update_returning)
    for compiler in (
        compilers.SQLInsertCompiler,
        compilers.SQLUpdateCompiler,
        compilers.SQLDeleteCompiler,
    ):
        _compile_apart(compiler)
    transaction_ends.install()
    raw_sql.install()


def _hook(cls: Any, name: str, see: Run) -> None:
    original = getattr(cls, name)

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        def run(*others: Any) -> Any:
            # From here on the transaction holds what the application wrote.
            state_of(self.connection).is_own_transaction = False
            with _issuing(self.connection, issues=True):
                return original(self, *(others or args), **kwargs)

        # One hooked method of a compiler may call the other.
        if _SEEN in self.__dict__ or not is_watched():
            return run()
        self.__dict__[_SEEN] = True
        try:
            if see is _insert and needs_own_transaction(self.connection):
                _compile_before(self, *args, **kwargs)
            return _in_transaction(self.connection, lambda: see(self, run, *args, **kwargs))
        finally:
            self.__dict__.pop("as_sql", None)  # which `_compile_before` has set
            del self.__dict__[_SEEN]

    setattr(method, _SEEN, True)
    setattr(cls, name, method)


def _compile_before(compiler: Any, *args: Any, **kwargs: Any) -> None:
    """Compile an INSERT before its transaction begins.

    A field's `pre_save()` may write or commit, or require that no transaction is open.
    """
    returned = next(iter((*args, *kwargs.values())), None)
    # Before Django 3.0 the attribute was `return_id`.
    setattr(
        compiler, "return_id" if hasattr(compiler, "return_id") else "returning_fields", returned
    )
    compiled = compiler.as_sql()
    compiler.as_sql = lambda: compiled


def _compile_apart(cls: Any) -> None:
    """Record what a field's `pre_save()` writes during compilation as a write of its own.

    It is not taken for the statement that is being compiled.
    """
    original = cls.as_sql

    @wraps(original)
    def as_sql(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _issuing(self.connection, issues=False):
            return original(self, *args, **kwargs)

    cls.as_sql = as_sql


@contextmanager
def _issuing(connection: Any, *, issues: bool) -> Iterator[None]:
    state = state_of(connection)
    before, state.is_issuing = state.is_issuing, issues
    try:
        yield
    finally:
        state.is_issuing = before


def _in_transaction(connection: Any, write: Callable[[], Any]) -> Any:
    """Write in the open transaction, or in one of its own.

    If reading the old rows fails in the latter, write again in another one, without reading them.
    """
    if not needs_own_transaction(connection):
        return write()
    try:
        with own_transaction(connection):
            return write()
    except StatementError:
        with own_transaction(connection, looks=False):
            return write()


def _before(compiler: Any, query: Callable[[], Query]) -> list[Row] | None:
    """Return the rows that a statement is about to write, under a lock; None if they are unknown.

    Raise StatementError in a transaction that was opened for the statement, which must then be
    rolled back. Raise the database's own error if the statement would only wait for as long once
    more.
    """
    from rover_overrides.writes.row_locks import lock_database

    state = state_of(compiler.connection)
    if not state.looks:
        return None
    try:
        lock_database(compiler.connection, compiler.query.get_meta())
        return rows.read(query(), compiler.connection)
    except StatementError as error:
        if statements.would_wait_again(compiler.connection, error) and error.__cause__ is not None:
            raise error.__cause__ from None
        if state.is_own_transaction:
            raise
        return None


@contextmanager
def _coarse_on_failure(compiler: Any) -> Iterator[None]:
    """Record a change of the whole table if the rows after a write are unknown."""
    try:
        yield
    except (StatementError, *FAILURES):
        # The transaction is aborted, so the application gets the error.
        if state_of(compiler.connection).aborted is not None:
            raise
        record_table(compiler)


def _insert(compiler: Any, run: Run, returning_fields: Any = None) -> Any:
    query = compiler.query
    if getattr(getattr(query, "on_conflict", None), "name", "") == "UPDATE":
        return _upsert(compiler, run)
    returned = run()
    if not is_precise(query.model) or len(query.objs) > rows.LIMIT:
        record_table(compiler)
        return returned
    with _coarse_on_failure(compiler):
        for number, obj in enumerate(query.objs):
            known = (
                rows.returned(returning_fields or (), returned[number])
                if number < len(returned)
                else {}
            )
            record_row(compiler, None, rows.inserted(obj, query.fields, known, compiler.connection))
    return returned


def _upsert(compiler: Any, run: Run) -> Any:
    query = compiler.query
    condition = upserts.conflicts(query) if _is_exact(compiler) else None
    fields = rows.fields_needed(query.model, [*query.fields, *upserts.updated_fields(query)])
    if condition is None:
        done = run()
        record_table(compiler)
        return done
    found = rows.by_condition(query.model, condition)
    before = _before(
        compiler, lambda: upserts.in_order(query, rows.matching(found, fields, _row_lock(compiler)))
    )
    done = run()
    with _coarse_on_failure(compiler):
        after = (
            None if before is None else rows.read(rows.matching(found, fields), compiler.connection)
        )
        if before is None or after is None:
            record_table(compiler)
        else:
            for old, new in upserts.changes(query, before, after):
                record_row(compiler, old, new)
    return done


# `run` already passes `returning_fields`.
def _update_returning(compiler: Any, run: Run, returning_fields: Any) -> Any:  # noqa: ARG001
    return _update_seen(compiler, run, len)


# This requests the number of rows in place of `result_type`.
def _update(compiler: Any, run: Run, result_type: Any = None) -> Any:  # noqa: ARG001
    return _update_seen(compiler, lambda: run(_COUNT), int)


def _update_seen(compiler: Any, run: Run, count: Callable[[Any], int]) -> Any:
    """Run and record an UPDATE; `count` turns its result into a number of rows."""
    query = compiler.query
    # A child without values of its own: the tables of its parents have statements of their own.
    if not query.values:
        return run()
    if not _is_exact(compiler):
        done = run()
        if count(done):
            record_table(compiler)
        return done
    values = [(field, _given(field, value)) for field, _model, value in query.values]
    written = [field for field, _ in values]
    fields = rows.fields_needed(query.model, written)
    before = _before(compiler, lambda: rows.matching(query, fields, _row_lock(compiler)))
    before, pinned = _pinned(compiler, before)
    done = run()
    with _coarse_on_failure(compiler):
        if before is None or not (pinned or count(done) == len(before)):
            record_table(compiler)
        else:
            _record_updated(compiler, before, values, fields)
    return done


def _record_updated(
    compiler: Any, before: list[Row], values: list[tuple[Any, Any]], fields: list[Any]
) -> None:
    model, connection = compiler.query.model, compiler.connection
    if not _needs_reading(compiler.query, before, values):
        generated = rows.generated_columns(model)
        for old in before:
            record_row(compiler, old, rows.written(old, values, generated, connection))
        return
    columns = rows.key_columns(model)
    if any(field.column in columns for field, _ in values) or not rows.is_key_readable(model):
        record_table(compiler)
        return
    keys = [rows.key(old, columns) for old in before]
    after = {rows.key(new, columns): new for new in rows.reread(model, fields, keys, connection)}
    for key, old in zip(keys, before):
        record_row(compiler, old, after.get(key))


def _needs_reading(query: Any, before: list[Row], values: list[tuple[Any, Any]]) -> bool:
    """Return whether the database computed something that is worth another query.

    For `save()`, which passes its values without models, it is not: the result of an F() stays
    unknown.
    """
    computed = any(rows.is_expression(value) for _, value in values) or bool(
        rows.generated_columns(query.model)
    )
    return computed and not (
        len(before) == 1 and all(model is None for _, model, _ in query.values)
    )


def _given(field: Any, value: Any) -> Any:
    """Return the value that Django makes of an object that is given for a foreign key."""
    return (
        value.prepare_database_save(field)
        if hasattr(value, "prepare_database_save") and field.remote_field
        else value
    )


def _delete(compiler: Any, run: Run, *_args: Any) -> Any:
    if not _is_exact(compiler):
        done = run()
        _record_deleted(compiler, None, _count(done))
        return done
    query = compiler.query
    before = _before(
        compiler,
        lambda: rows.matching(
            query, rows.fields_needed(query.model), _row_lock(compiler, deletes=True)
        ),
    )
    before, pinned = _pinned(compiler, before)
    done = run()
    with _coarse_on_failure(compiler):
        exact = before is not None and (pinned or _count(done) == len(before))
        _record_deleted(compiler, before if exact else None, _count(done))
    return done


def _count(done: Any) -> int:
    """Return how many rows a DELETE matched.

    Before Django 5.2 this is read from the cursor, which is None if no row can match.
    """
    return int(getattr(done, "rowcount", done) or 0)


def _record_deleted(compiler: Any, before: list[Row] | None, count: int) -> None:
    if before is None and count:
        record_table(compiler)
    for old in before or ():
        record_row(compiler, old, None)
    if count:
        for table in tables_of_database_cascades(compiler.query.model):
            record_table(compiler, table)


def _is_exact(compiler: Any) -> bool:
    """Return whether the old rows can be known for certain."""
    if not (is_precise(compiler.query.model) and on("serial-saves")):
        return False
    from rover_overrides.writes.row_locks import can_lock

    return can_lock(compiler.connection)


def _row_lock(compiler: Any, *, deletes: bool = False) -> str | None:
    from rover_overrides.writes.row_locks import row_lock

    return row_lock(compiler.connection, deletes=deletes)


def _pinned(compiler: Any, before: list[Row] | None) -> tuple[list[Row] | None, bool]:
    """Restrict a statement to the rows that were read, if its WHERE could soon match others.

    Return the rows, and whether it is certain that no others match. Without a key to find them by,
    the rows are unknown.
    """
    query = compiler.query
    if before is not None and compiler.connection.vendor == "sqlite":
        return before, True  # one writer at a time
    if not before or rows.is_plain(query):
        # The locked rows still match; the row count shows whether others do too.
        return before, False
    if not rows.is_key_readable(query.model):
        return None, False
    columns = rows.key_columns(query.model)
    query.where = type(query.where)()
    query.add_q(Q(pk__in=[rows.key(row, columns) for row in before]))
    return before, True
