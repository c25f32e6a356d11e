"""Tables and their prefixes as text, for what waits outside this process: outbox rows and jobs."""

from __future__ import annotations

import json

from rover_overrides.invalidation.two_phase import PrefixedTable


def encode_table(prefixed_table: PrefixedTable) -> str:
    """Return a prefixed table as text.

    Without a prefix this is the plain table name, as older wheels wrote it.
    """
    prefix, table = prefixed_table
    return table if prefix is None else json.dumps([prefix, table])


def decode_table(text: str) -> PrefixedTable:
    """Return the prefix and the table that `encode_table` wrote."""
    if not text.startswith("["):
        return None, text
    prefix, table = json.loads(text)
    return prefix, table
