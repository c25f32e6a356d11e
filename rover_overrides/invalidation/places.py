"""Tables and their prefixes as text, for what waits outside this process: outbox rows and jobs."""

from __future__ import annotations

import json

from rover_overrides.invalidation.two_phase import Place


def encode(place: Place) -> str:
    """Return a place as text.

    Without a prefix this is the plain table name, as older wheels wrote it.
    """
    prefix, table = place
    return table if prefix is None else json.dumps([prefix, table])


def decode(text: str) -> Place:
    """Return the prefix and the table that `encode` wrote."""
    if not text.startswith("["):
        return None, text
    prefix, table = json.loads(text)
    return prefix, table
