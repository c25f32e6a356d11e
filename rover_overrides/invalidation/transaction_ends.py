"""Hooks on every end of a transaction, including manual mode, raw SQL and closed connections.

A COMMIT that raised may have committed. If the transaction is still open, it has not. If the
connection was lost, the outcome is unknown (see `unknown_commits`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

from cacheops import transaction
from django.db import DatabaseError, Error
from django.db.backends.base.base import BaseDatabaseWrapper
from redis.exceptions import RedisError

from rover_overrides.cache import results
from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.invalidation import commits, unknown_commits, unsent

_Step = Callable[[BaseDatabaseWrapper], None]

after_transaction: list[_Step] = []
"""Called with a connection that is in autocommit mode again after its transaction has ended."""

_WRAPPED = "_rover_ending"


def install() -> None:
    """Intercept every commit and rollback, and send what is unsent before Redis is queried."""
    wrapper: Any = BaseDatabaseWrapper
    if hasattr(wrapper.commit, _WRAPPED):
        return
    wrapper.commit = _wrap_method(
        wrapper.commit, _before_commit, after_commit, commits.after_commit_raised
    )
    wrapper.rollback = _wrap_method(wrapper.rollback, _before_rollback, commits.after_rollback)
    wrapper.close = _wrap_method(wrapper.close, _before_rollback, _after_close)
    wrapper.set_autocommit = _wrap_method(
        wrapper.set_autocommit,
        _before_set_autocommit,
        _after_set_autocommit,
        _set_autocommit_raised,
    )
    results.before_read.insert(0, unsent.flush)
    after_transaction.append(_after_transaction)


def after_commit(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what a connection has committed.

    This precedes the `on_commit` callbacks, because any of them might raise.
    """
    was_usable = statements.is_usable(connection)
    try:
        commits.after_commit(connection)
    finally:
        if (
            was_usable
            and transaction.transaction_states[connection.alias]
            and not statements.is_usable(connection)
        ):
            _reconnect(connection)


def _reconnect(connection: Any) -> None:
    """Replace a connection that was found lost after the COMMIT; keep its `on_commit` callbacks.

    Django uses the connection once more before it runs the callbacks, and would report a failure of
    what is committed.
    """
    callbacks = connection.run_on_commit
    connection.run_commit_hooks_on_set_autocommit_on = False
    connection.close()
    with suppress(Error):
        connection.connect()
    connection.run_on_commit, connection.run_commit_hooks_on_set_autocommit_on = callbacks, True


@contextmanager
def around_raw_end(connection: BaseDatabaseWrapper, *, is_commit: bool | None) -> Iterator[None]:
    """Invalidate around a statement of raw SQL that may end the open transaction.

    `is_commit` is None if the statement does not show whether it commits.
    """
    state_of(connection).backend_pid = unknown_commits.backend_pid(connection)
    if is_commit is not False:
        commits.before_commit(connection)
    try:
        yield
    except BaseException as error:
        if (
            is_commit is not False
            or statements.is_outcome_unknown(connection, error)
            or statements.has_no_transaction(connection)
        ):
            commits.after_commit_raised(connection, error)
        raise
    # COMMIT AND CHAIN begins another transaction, so has_no_transaction() does not see it.
    if is_commit or statements.has_no_transaction(connection):
        after_commit(connection)
    else:
        commits.cancel_prepared(connection)


def _before_commit(connection: BaseDatabaseWrapper) -> None:
    """Prepare what a connection is about to commit; if that is interrupted, roll back.

    A signal handler may raise while this waits for Redis, for example when a job's time is up. At
    the end of an atomic block Django rolls back only after a database error, so the connection
    would keep its open transaction.
    """
    try:
        commits.before_commit(connection)
    except DatabaseError:
        raise
    except BaseException:
        if transaction.transaction_states[connection.alias] and not connection.in_atomic_block:
            _roll_back(connection)
        raise


def _roll_back(connection: BaseDatabaseWrapper) -> None:
    """Roll back, or close a connection that cannot, as Django does."""
    try:
        connection.rollback()
    except Error:
        connection.close()


def _before_rollback(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what is already committed, if the transaction has ended without Django.

    In that case there is nothing to roll back.
    """
    if (
        commits.has_waiting_changes(connection)
        and connection.connection is not None
        and statements.has_no_transaction(connection)
    ):
        after_commit(connection)


def _after_close(connection: BaseDatabaseWrapper) -> None:
    # In an atomic block Django keeps the closed connection until the block ends.
    if connection.connection is None:
        state_of(connection).has_explicit_isolation_level = False
        commits.after_rollback(connection)


def _before_set_autocommit(connection: BaseDatabaseWrapper) -> None:
    """Prepare what turning autocommit on will commit."""
    if state_of(connection).batch is not None and commits.is_in_manual_mode(connection):
        commits.before_commit(connection)


def _after_set_autocommit(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what turning autocommit on has committed: the open transaction of manual mode."""
    state = state_of(connection)
    if not connection.autocommit:
        commits.cancel_prepared(connection)
        return
    if state.batch is not None:
        after_commit(connection)
    state.end_transaction()
    for step in after_transaction:
        step(connection)


def _set_autocommit_raised(connection: BaseDatabaseWrapper, error: BaseException) -> None:
    if connection.autocommit:  # an on_commit callback raised, after the COMMIT
        _after_set_autocommit(connection)
    elif state_of(connection).batch is not None:
        commits.after_commit_raised(connection, error)


def _after_transaction(_connection: BaseDatabaseWrapper) -> None:
    """Find out how open COMMITs ended.

    An application that reads only inside transactions provides no other opportunity.
    """
    with suppress(RedisError):
        commits.flush_unsent()


def _wrap_method(
    original: Callable[..., Any],
    first: _Step,
    then: _Step,
    raised: Callable[[Any, BaseException], None] | None = None,
) -> Callable[..., Any]:
    """Return a connection's method that calls `first` before it and `then` after it.

    If it raises, `raised` is called instead of `then`, provided that it is given.
    """

    @wraps(original)
    def method(self: BaseDatabaseWrapper, *args: Any, **kwargs: Any) -> Any:
        first(self)
        try:
            done = original(self, *args, **kwargs)
        except BaseException as error:
            if raised is None:
                then(self)
            else:
                raised(self, error)
            raise
        then(self)
        return done

    setattr(method, _WRAPPED, True)
    return method
