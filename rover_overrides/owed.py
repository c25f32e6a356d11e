"""Tables of which this process could not tell Redis that it wrote them: they are dropped before it next asks Redis for anything.

A read that cannot pay what is owed does not ask Redis, so a process never reads a result that its own write has outdated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rover_overrides import drops
from rover_overrides.switches import on

_owed: dict[tuple[str, str], object] = {}


def note(using: str, tables: Iterable[str]) -> None:
    """Remember that all results of tables have to go."""
    for table in tables:
        _owed[using, table] = object()
    if on("queued-work"):
        from rover_overrides import queueing

        queueing.retry_later([(using, table) for table in tables])


def pay() -> None:
    """Drop what is owed; what is noted meanwhile stays owed."""
    if not _owed:
        return
    taken = dict(_owed)
    tables: dict[str, set[str]] = defaultdict(set)
    for using, table in taken:
        tables[using].add(table)
    for using, names in tables.items():
        drops.drop_tables(using, names)
    for key, note_of in taken.items():
        if _owed.get(key) is note_of:
            del _owed[key]
