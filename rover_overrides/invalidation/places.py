"""Tables under a prefix as text, for what waits outside this process: rows of the outbox and jobs."""

from __future__ import annotations

import json

from rover_overrides.invalidation.two_phase import Place


def encode(place: Place) -> str:
    """Return the table's own name where it has no prefix of its own, as older wheels wrote it."""
    prefix, table = place
    return table if prefix is None else json.dumps([prefix, table])


def decode(text: str) -> Place:
    """Return the prefix and the table that `encode` made a text of."""
    if not text.startswith("["):
        return None, text
    prefix, table = json.loads(text)
    return prefix, table
