"""Hides BEGIN and COMMIT of the cache's own transactions from the application's query log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hide_begin(connection: Any) -> Iterator[None]:
    """Hide the start of a transaction from `connection.queries` and `execute_wrapper`.

    No other statement runs in the block.
    """
    wrappers = connection.execute_wrappers
    # SQLite's BEGIN goes through a cursor of Django, which calls the wrappers.
    connection.execute_wrappers = []
    try:
        with _remove_from_log(connection, "BEGIN"):
            yield
    finally:
        connection.execute_wrappers = wrappers


def hide_end(connection: Any) -> Any:
    """Return a context that hides the end of a transaction from `connection.queries`.

    What runs after it is not hidden.
    """
    return _remove_from_log(connection, "COMMIT", "ROLLBACK")


def is_needed(connection: Any) -> bool:
    """Return whether anything could show the application's query log a transaction."""
    return bool(connection.queries_logged or connection.execute_wrappers)


@contextmanager
def _remove_from_log(connection: Any, *words: str) -> Iterator[None]:
    log = connection.queries_log
    last = log[-1] if log else None
    try:
        yield
    finally:
        # The log is a bounded deque, so positions may have shifted.
        at = len(log)
        while at and log[at - 1] is not last:
            at -= 1
        for n in range(at, len(log)):
            if log[n]["sql"] in words:
                del log[n]
                break
