"""Keeps the BEGIN and COMMIT of the cache's own transactions out of what an application sees of its queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def begins_unseen(connection: Any) -> Iterator[None]:
    """Show neither `connection.queries` nor `execute_wrapper` how a transaction begins; no other statement runs meanwhile."""
    kept = connection.execute_wrappers
    connection.execute_wrappers = []
    try:
        with _unlogged(connection, "BEGIN"):
            yield
    finally:
        connection.execute_wrappers = kept


def ends_unseen(connection: Any) -> Any:
    """Return a context that leaves the end of a transaction out of `connection.queries`, but nothing that runs after it."""
    return _unlogged(connection, "COMMIT", "ROLLBACK")


@contextmanager
def _unlogged(connection: Any, *words: str) -> Iterator[None]:
    log = connection.queries_log
    last = log[-1] if log else None
    try:
        yield
    finally:
        at = len(log)
        while at and log[at - 1] is not last:
            at -= 1
        for n in range(at, len(log)):
            if log[n]["sql"] in words:
                del log[n]
                break
