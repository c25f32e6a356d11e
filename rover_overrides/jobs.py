"""Jobs for RQ: each may run twice, concurrently with others, and in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rover_overrides.invalidation import two_phase
from rover_overrides.invalidation.prefixed_tables import decode_table
from rover_overrides.invalidation.two_phase import Change


def invalidate(using: str, changes: Iterable[Sequence[Any]]) -> None:
    """Invalidate the results that depend on changed rows."""
    # A change in the format of the previous wheel has no prefix.
    two_phase.invalidate(using, [Change(*change) for change in changes])


def retry(using: str, tables: Iterable[str]) -> None:
    """Invalidate all results of tables whose invalidation did not reach Redis."""
    two_phase.invalidate_tables(using, map(decode_table, tables))


def reclaim(match: str = "*") -> tuple[int, int]:
    """Free dead results; return the number of all results and of dead ones."""
    from rover_overrides.operations.reclaim import reclaim as free

    return free(match)


def drain_outbox() -> int:
    """Invalidate the tables in the outbox of each database; return the number of entries.

    The outbox holds the tables of writers that could not reach Redis.
    """
    from rover_overrides.operations import outbox

    return sum(map(outbox.drain, outbox.aliases()))
