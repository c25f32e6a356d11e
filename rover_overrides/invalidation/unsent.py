"""What this process could not send to Redis, and does before it next queries Redis.

That is to invalidate the tables that it wrote, to remove the registrations of writers that gave up
(see `pending_writes`), and to find out how open COMMITs ended (see `unknown_commits`). If a read
cannot do this first, it does not query Redis, so a process never reads a result that its own write
has outdated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from rover_overrides.cache import pending_writes
from rover_overrides.core.switches import is_enabled
from rover_overrides.invalidation import two_phase, unknown_commits
from rover_overrides.invalidation.two_phase import PrefixedTable

_unsent: dict[tuple[str, PrefixedTable], object] = {}


def remember(using: str, tables: Collection[PrefixedTable]) -> None:
    """Remember that all results of the tables must be invalidated."""
    for prefixed_table in tables:
        _unsent[using, prefixed_table] = object()
    if is_enabled("queued-work"):
        from rover_overrides.invalidation import rq_queue

        rq_queue.enqueue_retry(using, tables)


def flush() -> None:
    """Do what is unsent; what is noted meanwhile stays unsent."""
    if _unsent:
        _drop()
    if unknown_commits.open_commits:
        unknown_commits.resolve()
    if pending_writes.abandoned_writers:
        pending_writes.unregister_abandoned()


def _drop() -> None:
    taken = dict(_unsent)
    tables: dict[str, set[PrefixedTable]] = defaultdict(set)
    for using, prefixed_table in taken:
        tables[using].add(prefixed_table)
    for using, some in tables.items():
        two_phase.invalidate_tables(using, some)
    for key, note_of in taken.items():
        if _unsent.get(key) is note_of:  # not noted again meanwhile
            del _unsent[key]
