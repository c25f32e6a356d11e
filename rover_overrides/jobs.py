"""Jobs for RQ: each may run twice, beside others, and in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rover_overrides.invalidation import two_phase
from rover_overrides.invalidation.places import decode
from rover_overrides.invalidation.two_phase import Change


def invalidate(using: str, changes: Iterable[Sequence[Any]]) -> None:
    """Drop what depends on rows that have changed."""
    two_phase.invalidate(using, [Change(*change) for change in changes])


def retry(using: str, tables: Iterable[str]) -> None:
    """Drop what depends on tables whose invalidation Redis did not hear."""
    two_phase.drop_tables(using, map(decode, tables))


def reclaim(match: str = "*") -> tuple[int, int]:
    """Free dead results; return how many results there were and how many were dead."""
    from rover_overrides.operations.reclaim import reclaim as free

    return free(match)


def drain_outbox() -> int:
    """Invalidate what writers that could not reach Redis left in their databases; return how many entries it was."""
    from rover_overrides.operations import outbox

    return sum(map(outbox.drain, outbox.aliases()))
