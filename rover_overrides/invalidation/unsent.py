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
from rover_overrides.core.switches import on
from rover_overrides.invalidation import two_phase, unknown_commits
from rover_overrides.invalidation.two_phase import Place

_owed: dict[tuple[str, Place], object] = {}


def note(using: str, places: Collection[Place]) -> None:
    """Remember that all results of the tables must be invalidated."""
    for place in places:
        _owed[using, place] = object()
    if on("queued-work"):
        from rover_overrides.invalidation import rq_queue

        rq_queue.retry_later(using, places)


def pay() -> None:
    """Do what is unsent; what is noted meanwhile stays unsent."""
    if _owed:
        _drop()
    if unknown_commits.open_commits:
        unknown_commits.settle()
    if pending_writes.given_up:
        pending_writes.take_back()


def _drop() -> None:
    taken = dict(_owed)
    places: dict[str, set[Place]] = defaultdict(set)
    for using, place in taken:
        places[using].add(place)
    for using, some in places.items():
        two_phase.drop_tables(using, some)
    for key, note_of in taken.items():
        if _owed.get(key) is note_of:  # not noted again meanwhile
            del _owed[key]
