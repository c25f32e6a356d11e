"""Frees dead results: those that a write has outdated, which nobody reads before they expire.

It scans the keys in steps (SCAN), and in each step compares the checksums of the results with the
current state of the keys that they depend on, as a reader does. It may be interrupted, repeated,
and run in parallel. A result that is stored again in between costs a miss at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rover_overrides.cache import labels, registry, results
from rover_overrides.cache.labels import Label
from rover_overrides.transport import pipeline

STEP = 300  # keys that are checked together, in pipelines of at most 1,000 commands

_AHEAD = 4095  # the last byte to read of a value: its label ends before


class Reclaimed(NamedTuple):
    """How many results were checked, and how many of them were dead."""

    results: int
    dead: int


def reclaim(match: str = "*", *, dry_run: bool = False) -> Reclaimed:
    """Free the dead results among the keys that match a pattern; only count them in a dry run."""
    results = dead = 0
    for keys in _steps(match):
        found = _results(keys)
        gone = _dead(found)
        results, dead = results + len(found), dead + len(gone)
        if gone and not dry_run:
            pipeline.unlink(gone)
    return Reclaimed(results, dead)


def _steps(match: str) -> Iterator[list[Any]]:
    """Yield the keys of each master, at most `STEP` at a time."""
    for server in pipeline.master_clients():
        cursor: int = -1
        while cursor:
            cursor, keys = server.scan(max(cursor, 0), match=match, count=STEP, _type="string")
            yield from (keys[at : at + STEP] for at in range(0, len(keys), STEP))


def _results(keys: Sequence[Any]) -> dict[Any, tuple[bytes, Label]]:
    """Return the checksums and labels of those keys that hold results of this format."""
    replies = pipeline.run([("GETRANGE", key, 0, _AHEAD) for key in keys])
    read = [
        (key, reply.value, labels.decode_label(reply.value, results.CHECKSUM))
        for key, reply in zip(keys, replies)
    ]
    return {
        key: (value[: results.CHECKSUM], label) for key, value, label in read if label is not None
    }


def _dead(found: dict[Any, tuple[bytes, Label]]) -> list[Any]:
    """Return the keys of results whose checksum differs from that of their dependencies now."""
    registries = {key for _, label in found.values() for key in label.registries}
    stamps = {key for _, label in found.values() for key in label.stamps}
    commands = {key: registry.generation_command(key) for key in sorted(registries)}
    commands.update((key, ("GET", key)) for key in sorted(stamps))
    now: dict[str, pipeline.Reply] = {}
    names = list(commands)
    for at in range(0, len(names), pipeline.MAX_KEYS_PER_PIPELINE):
        some = names[at : at + pipeline.MAX_KEYS_PER_PIPELINE]
        now.update(zip(some, pipeline.run([commands[name] for name in some])))
    return [key for key, (then, label) in found.items() if then != _checksum(label, now)]


def _checksum(label: Label, now: dict[str, pipeline.Reply]) -> bytes | None:
    return results.checksum([now[key] for key in (*label.registries, *label.stamps)])
