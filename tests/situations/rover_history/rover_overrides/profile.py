"""The settings Rover ran with when it stood on 4.0.7: none of cacheops' own would do yet."""

from __future__ import annotations

SETTINGS: dict[str, dict[str, object]] = {}
