"""The cache's own statements on the application's database connections.

None of them changes the outcome of the application's transaction. They go directly to the driver,
because they are not the application's queries: neither `connection.queries` nor `execute_wrapper`
sees them (the logger of this module does). In the application's transaction a statement runs in
its own savepoint on PostgreSQL, where an error would abort the transaction; without a savepoint on
SQLite, where an error does not; and not at all on any other database. A statement that fails
raises `StatementError` and leaves everything as it was.

A savepoint that locks rows uses a transaction id, and PostgreSQL slows down for everybody beyond
64 of them, so a transaction has at most `MAX_ROW_LOCKS`. A savepoint that only reads is rolled
back, which reverts its `SET LOCAL` too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

from django.core.exceptions import FieldError, ValidationError
from django.db import Error, InterfaceError, OperationalError

from rover_overrides.database.connection_state import state_of

MAX_ROW_LOCKS = 32
"""How many savepoints of a transaction lock rows; later writes invalidate whole tables."""

# A migration may hold that table and wait for rows of this transaction. After deadlock_timeout
# PostgreSQL would end one of the two.
LOCK_TIMEOUT_MS = 100
"""How long a statement waits for a lock on a table that is not being written.

This is less than PostgreSQL's `deadlock_timeout`.
"""

FAILURES = (
    ArithmeticError,
    AttributeError,
    Error,
    FieldError,
    LookupError,
    TypeError,
    ValidationError,
    ValueError,
)
"""What a statement may raise while it is compiled, sent or read.

The exception of a signal handler is none of these.
"""

_SAVEPOINT = "rover_cache"
_RELEASE = f"RELEASE SAVEPOINT {_SAVEPOINT}"
_ROLLBACK = f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}; {_RELEASE}"
_SET_LOCK_TIMEOUT = f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; "
# RELEASE keeps what SET LOCAL has set, so a savepoint that is not rolled back restores the
# application's own value.
_SAVE_LOCK_TIMEOUT = (
    "SELECT set_config('rover.lock_timeout', current_setting('lock_timeout'), true); "
)
_RESTORE_LOCK_TIMEOUT = (
    "; SELECT set_config('lock_timeout', current_setting('rover.lock_timeout'), true)"
)
_LOCK_NOT_AVAILABLE = "55P03"
_UNDEFINED_TABLE = "42P01"
# libpq's transaction status; others mean a statement in progress or a lost connection.
_IDLE, _OPEN, _FAILED = 0, 2, 3

# The documented name, wherever the module is.
_logger = logging.getLogger("rover_overrides.statements")

Row = tuple[Any, ...]


class StatementError(Exception):
    """One of the cache's statements failed or could not run; the transaction is as it was."""


class _Options(NamedTuple):
    is_lasting: bool = False  # its locks and effects last until the transaction ends
    waits_for_locks: bool = False  # as long as the application's own statements do
    # It is in a transaction that the cache opened itself and that has no writes.
    may_abort: bool = False


def read(
    connection: Any, sql: str, params: Sequence[Any] = (), *, waits_for_locks: bool = False
) -> list[Row]:
    """Return the rows of a SELECT that has no lasting effect on the transaction.

    It waits at most 100 ms for locks unless `waits_for_locks` is True. Raise StatementError if it
    fails, and the database's error if that ended the application's transaction.
    """
    return _run(connection, sql, params, _Options(waits_for_locks=waits_for_locks))


def lock_rows(connection: Any, sql: str, params: Sequence[Any] = ()) -> list[Row]:
    """Return the rows of a statement that locks them until the transaction ends.

    Raise the same errors as `read`. In a transaction that the cache opened itself, an error aborts
    the transaction, and the caller rolls it back.
    """
    return _run(
        connection,
        sql,
        params,
        _Options(
            is_lasting=True, waits_for_locks=True, may_abort=state_of(connection).is_own_transaction
        ),
    )


def write(connection: Any, sql: str, params: Sequence[Any]) -> None:
    """Write rows of one of the cache's own tables, in the open transaction if there is one.

    Raise the same errors as `read`.
    """
    _run(connection, sql, params, _Options(is_lasting=True))


def write_and_commit(connection: Any, sql: str, params: Sequence[Any]) -> None:
    """Write and commit rows of one of the cache's own tables, between two transactions.

    Raise the same errors as `read`, and StatementError if a transaction is open.
    """
    if connection.in_atomic_block or has_open_transaction(connection):
        raise StatementError("a transaction is open")
    try:
        write(connection, sql, params)
    finally:
        if has_open_transaction(connection):  # in manual mode the driver has begun a transaction
            _commit(connection)


def _commit(connection: Any) -> None:
    try:
        with connection.wrap_database_errors:
            connection.connection.commit()
    except Error as error:
        raise StatementError(f"{type(error).__name__}: {error}") from error


def raise_if_aborted(connection: Any) -> None:
    """Raise the error of the cache's own statement that ended the transaction, if one did.

    A COMMIT would do nothing then.
    """
    aborted = state_of(connection).abort_error
    if aborted is not None and connection.connection is not None and not is_usable(connection):
        raise aborted


def in_transaction(connection: Any) -> bool:
    """Return whether statements are part of a transaction.

    It may be an atomic block, manual mode, or a transaction that raw SQL began.
    """
    if connection.in_atomic_block:
        return True
    if connection.connection is None:
        return not connection.get_autocommit()  # which opens the connection
    return not connection.autocommit or has_raw_transaction(connection)


def has_raw_transaction(connection: Any) -> bool:
    """Return whether, according to the driver, raw SQL began a transaction in autocommit mode."""
    raw = connection.connection
    if raw is None or connection.in_atomic_block or not connection.autocommit:
        return False
    if connection.vendor == "postgresql":
        return _transaction_status(connection) != _IDLE
    return bool(getattr(raw, "in_transaction", False))  # sqlite3


def is_usable(connection: Any) -> bool:
    """Return whether the driver would run a statement, by its own state and without a query."""
    if connection.connection is None:
        return False
    if connection.vendor == "postgresql":
        return _transaction_status(connection) in {_IDLE, _OPEN}
    return connection.vendor != "sqlite" or state_of(connection).abort_error is None


def is_idle(connection: Any) -> bool:
    """Return whether a PostgreSQL connection has done nothing since its last transaction."""
    if (
        connection.vendor != "postgresql"
        or connection.connection is None
        or connection.needs_rollback
    ):
        return False
    return _transaction_status(connection) == _IDLE and not _is_pipelined(connection)


def has_open_transaction(connection: Any) -> bool:
    """Return whether the driver reports an open transaction, even a failed one on PostgreSQL."""
    if connection.connection is None:
        return False
    if connection.vendor == "postgresql":
        return _transaction_status(connection) in {_OPEN, _FAILED}
    return bool(getattr(connection.connection, "in_transaction", False))  # sqlite3


def has_no_transaction(connection: Any) -> bool:
    """Return whether the driver reports that no transaction is open; Django may not know."""
    if connection.connection is None:
        return True
    if connection.vendor == "postgresql":
        return _transaction_status(connection) == _IDLE
    return getattr(connection.connection, "in_transaction", None) is False  # sqlite3


def is_outcome_unknown(connection: Any, error: BaseException) -> bool:
    """Return whether the outcome of a statement that raised can no longer be learned.

    The database may still be executing it. SQLite runs in this process. For drivers other than
    PostgreSQL's the state of a connection is unknown, so the type of the error decides.
    """
    if connection.vendor == "sqlite":
        return False
    if connection.connection is None:
        return True
    if connection.vendor == "postgresql":
        return _transaction_status(connection) not in {_IDLE, _OPEN, _FAILED}
    return isinstance(error, (InterfaceError, OperationalError)) or not isinstance(error, Error)


def is_missing_table(error: StatementError) -> bool:
    """Return whether a statement failed because its table does not exist."""
    return _sqlstate(error) == _UNDEFINED_TABLE or "no such table" in str(error.__cause__)  # SQLite


def _sqlstate(error: StatementError) -> str | None:
    raised = getattr(error.__cause__, "__cause__", None)
    # psycopg 3 has `sqlstate`, psycopg2 has `pgcode`.
    return getattr(raised, "sqlstate", None) or getattr(raised, "pgcode", None)


def would_wait_again(connection: Any, error: StatementError) -> bool:
    """Return whether the application's own statement would wait as long for the same lock.

    It would then fail with the same error.
    """
    cause = error.__cause__
    if connection.vendor == "sqlite":
        return isinstance(cause, OperationalError) and "database is locked" in str(cause)
    # A transaction of the application's own would be aborted by that error.
    return state_of(connection).is_own_transaction and _sqlstate(error) == _LOCK_NOT_AVAILABLE


def has_run_statement(connection: Any) -> bool:
    """Return whether, according to the driver, the open transaction has run a statement.

    This is known only for PostgreSQL, and assumed for other databases.
    """
    return connection.vendor != "postgresql" or (
        connection.connection is not None and _transaction_status(connection) != _IDLE
    )


def _run(connection: Any, sql: str, params: Sequence[Any], options: _Options) -> list[Row]:
    _logger.debug("%s: %s", connection.alias, sql)
    try:
        if connection.connection is None:
            connection.ensure_connection()
        if connection.needs_rollback or not is_usable(connection):
            raise StatementError("the transaction has failed")
        if _is_pipelined(connection):
            raise StatementError(
                "the driver is in pipeline mode, which takes one statement at a time"
            )
        return _RUNNERS.get(connection.vendor, _on_other_database)(connection, sql, params, options)
    except FAILURES as error:
        if state_of(connection).abort_error is not None:  # it ended the application's transaction
            raise
        raise StatementError(f"{type(error).__name__}: {error}") from error


def _on_postgresql(
    connection: Any, sql: str, params: Sequence[Any], options: _Options
) -> list[Row]:
    set_timeout = "" if options.waits_for_locks else _SET_LOCK_TIMEOUT
    if options.may_abort or not in_transaction(connection):
        return _send(connection, set_timeout, sql, params)
    if _transaction_status(connection) == _IDLE and not options.is_lasting:
        # The driver opens a transaction for it, in which the application has done nothing yet.
        try:
            return _send(connection, set_timeout, sql, params)
        finally:
            with suppress(Error), connection.wrap_database_errors:
                connection.connection.rollback()
    _count_row_lock(connection, options)
    before, after = (
        (_SAVE_LOCK_TIMEOUT + set_timeout, _RESTORE_LOCK_TIMEOUT)
        if options.is_lasting and set_timeout
        else (set_timeout, "")
    )
    end = _RELEASE if options.is_lasting else _ROLLBACK
    # psycopg2 returns the rows of the last statement alone.
    is_sent_at_once = connection.Database.__name__ == "psycopg"
    last = f"; {end}" if is_sent_at_once else ""
    try:
        rows = _send(connection, f"SAVEPOINT {_SAVEPOINT}; {before}", sql + after + last, params)
    except BaseException as error:
        _end_savepoint(connection, _ROLLBACK, error)
        raise
    if not is_sent_at_once:
        _end_savepoint(connection, end)
    return rows


def _count_row_lock(connection: Any, options: _Options) -> None:
    if not (options.is_lasting and options.waits_for_locks):
        return
    state = state_of(connection)
    if state.row_locks >= MAX_ROW_LOCKS:
        raise StatementError(f"the transaction has locked rows {MAX_ROW_LOCKS} times")
    state.row_locks += 1


def _end_savepoint(connection: Any, sql: str, failure: BaseException | None = None) -> None:
    """End the savepoint; if that fails, raise the first error, as the transaction has failed too.

    The application's own statement would have raised that error. On a lost connection the second
    error only means that the connection is closed.
    """
    try:
        _send(connection, "", sql)
    except Error as error:
        # psycopg2 makes the second one an InterfaceError, after which Django would not reconnect.
        aborted = state_of(connection).abort_error = (
            failure if isinstance(failure, Error) else error
        )
        raise aborted from None


def _send(connection: Any, before: str, sql: str, params: Sequence[Any] = ()) -> list[Row]:
    """Send statements in one round trip, and return the rows of the one that returns some."""
    with connection.wrap_database_errors, closing(_client_cursor(connection)) as cursor:
        if before:
            # psycopg2 returns bytes, psycopg 3 a str.
            text = cursor.mogrify(sql, params)
            cursor.execute(before.encode() + text if isinstance(text, bytes) else before + text)
        else:
            cursor.execute(sql, params)
        rows = list(cursor.fetchall()) if cursor.description else []
        # psycopg 3 has a result for each statement.
        while hasattr(cursor, "pgresult") and cursor.nextset():
            rows = list(cursor.fetchall()) if cursor.description else rows
        return rows


def _client_cursor(connection: Any) -> Any:
    """Return a cursor that puts parameters into the SQL on the client.

    Only then can several statements be sent in one round trip.
    """
    cursor = connection.create_cursor()
    if hasattr(cursor, "mogrify"):
        return cursor
    cursor.close()
    return connection.Database.ClientCursor(connection.connection)


def _transaction_status(connection: Any) -> int:
    return int(connection.connection.info.transaction_status)


def _is_pipelined(connection: Any) -> bool:
    # psycopg2 has no pipeline mode.
    return bool(getattr(getattr(connection.connection, "pgconn", None), "pipeline_status", 0))


def _on_sqlite(connection: Any, sql: str, params: Sequence[Any], _options: _Options) -> list[Row]:
    """Run a statement without a savepoint.

    An error leaves the transaction open, unless SQLite ends it, for example when the disk is full.
    """
    raw = connection.connection
    was_open = raw.in_transaction
    try:
        return _execute(connection, sql, params)
    except Error as error:
        if was_open and not raw.in_transaction:
            state_of(connection).abort_error = error
        raise


def _on_other_database(
    connection: Any, sql: str, params: Sequence[Any], options: _Options
) -> list[Row]:
    """Run a statement if an error can end no transaction but the cache's own.

    What else an error may end is not known for every database.
    """
    if in_transaction(connection) and not options.may_abort:
        raise StatementError(f"nothing is known of savepoints on {connection.vendor}")
    return _execute(connection, sql, params)


def _execute(connection: Any, sql: str, params: Sequence[Any]) -> list[Row]:
    with connection.wrap_database_errors:
        cursor = connection.create_cursor()
        try:
            cursor.execute(sql, tuple(params))
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()


_RUNNERS = {"postgresql": _on_postgresql, "sqlite": _on_sqlite}
