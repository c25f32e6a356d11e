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
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from redis.exceptions import RedisError

from rover_overrides.cache import results
from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.invalidation import commits, unknown_commits, unsent

_Step = Callable[[BaseDatabaseWrapper], None]

after_transaction: list[_Step] = []
"""Called with a connection that is in autocommit mode again after its transaction has ended."""

_ENDING = "_rover_ending"


def install() -> None:
    """Intercept every commit and rollback, and send what is unsent before Redis is queried."""
    wrapper: Any = BaseDatabaseWrapper
    if hasattr(wrapper.commit, _ENDING):
        return
    wrapper.commit = _ending(wrapper.commit, commits.committing, committed, commits.commit_raised)
    wrapper.rollback = _ending(wrapper.rollback, _giving_up, commits.forgotten)
    wrapper.close = _ending(wrapper.close, _giving_up, _closed)
    wrapper.set_autocommit = _ending(
        wrapper.set_autocommit, _autocommit_setting, _autocommit_set, _autocommit_raised
    )
    results.before_read.insert(0, unsent.pay)
    after_transaction.append(_after_transaction)


def committed(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what a connection has committed.

    This precedes the `on_commit` callbacks, because any of them might raise.
    """
    was_usable = statements.is_usable(connection)
    try:
        commits.committed(connection)
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
def ended_by_hand(connection: BaseDatabaseWrapper, *, commits_it: bool | None) -> Iterator[None]:
    """Invalidate around a statement of raw SQL that may end the open transaction.

    `commits_it` is None if the statement does not show whether it commits.
    """
    state_of(connection).backend = unknown_commits.backend_of(connection)
    if commits_it is not False:
        commits.committing(connection)
    try:
        yield
    except BaseException as error:
        if (
            commits_it is not False
            or statements.is_lost(connection, error)
            or statements.has_ended(connection)
        ):
            commits.commit_raised(connection, error)
        raise
    # COMMIT AND CHAIN begins another transaction, so has_ended() does not see it.
    if commits_it or statements.has_ended(connection):
        committed(connection)
    else:
        commits.not_committed(connection)


def _giving_up(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what is already committed, if the transaction has ended without Django.

    In that case there is nothing to roll back.
    """
    if (
        commits.has_waiting(connection)
        and connection.connection is not None
        and statements.has_ended(connection)
    ):
        committed(connection)


def _closed(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None:
        state_of(connection).names_isolation = False
        commits.forgotten(connection)


def _autocommit_setting(connection: BaseDatabaseWrapper) -> None:
    """Announce what turning autocommit on will commit."""
    if state_of(connection).batch is not None and commits.is_manual(connection):
        commits.committing(connection)


def _autocommit_set(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what turning autocommit on has committed: the open transaction of manual mode."""
    state = state_of(connection)
    if not connection.autocommit:
        commits.not_committed(connection)
        return
    if state.batch is not None:
        committed(connection)
    state.end_transaction()
    for step in after_transaction:
        step(connection)


def _autocommit_raised(connection: BaseDatabaseWrapper, error: BaseException) -> None:
    if connection.autocommit:  # an on_commit callback raised, after the COMMIT
        _autocommit_set(connection)
    elif state_of(connection).batch is not None:
        commits.commit_raised(connection, error)


def _after_transaction(_connection: BaseDatabaseWrapper) -> None:
    """Find out how open COMMITs ended.

    An application that reads only inside transactions provides no other opportunity.
    """
    with suppress(RedisError):
        commits.settle()


def _ending(
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

    setattr(method, _ENDING, True)
    return method
