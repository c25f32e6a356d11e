"""The label of a stored result: the keys that it depends on, used to find dead results.

Reads skip it. A label is a short text: the prefix, then a line for each table with its registries
(`a` and `o`), `t` if any row of the table counts, and the digests in its stamps' keys.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rover_overrides.cache import registry
from rover_overrides.conditions.conditions import TRUE, Conj, has_operands

MAGIC = b"\x00rvr"
"""Follows the checksum and identifies a result with a label among the values of unknown keys."""

_SIZE = len(MAGIC) + 2  # with the length of the text
_DIGEST = 16  # bytes


class Label(NamedTuple):
    """The keys that a result depends on, in the order of its checksum."""

    registries: tuple[str, ...]
    stamps: tuple[str, ...]


def encode_label(prefix: str, deps: Mapping[str, Sequence[Conj]]) -> bytes:
    """Return the label of a result that depends on these conditions."""
    lines = [prefix, *(_line(prefix, table, deps[table]) for table in sorted(deps))]
    text = "\n".join(lines).encode()
    return MAGIC + len(text).to_bytes(2, "big") + text


def label_end(value: bytes, start: int) -> int:
    """Return the offset of the data after a label that begins at `start`."""
    return start + _SIZE + int.from_bytes(value[start + len(MAGIC) : start + _SIZE], "big")


def decode_label(value: bytes, start: int) -> Label | None:
    """Return the keys that a label names, or None if there is no label."""
    if value[start : start + len(MAGIC)] != MAGIC:
        return None
    try:
        prefix, *lines = value[start + _SIZE : label_end(value, start)].decode().split("\n")
        parts = [line.split(" ") for line in lines]
        registries = sorted(
            key for table, flags, _ in parts for key in _registries(prefix, table, flags)
        )
        stamps = (key for part in parts for key in _stamps(prefix, *part))
        return Label(tuple(registries), (*registry.epoch_keys(prefix), *stamps))
    except ValueError:  # another format
        return None


def _line(prefix: str, table: str, conjs: Sequence[Conj]) -> str:
    flags = {"t" if conj == TRUE else "ao"[has_operands(conj.template)] for conj in conjs}
    keys = [registry.stamp_key(prefix, table, conj) for conj in conjs if conj != TRUE]
    digests = b"".join(bytes.fromhex(key.rpartition(":")[2]) for key in keys)
    return f"{table} {''.join(sorted(flags))} {b64encode(digests).decode()}"


def _registries(prefix: str, table: str, flags: str) -> Iterable[str]:
    return (key for key, flag in zip(registry.registry_keys(prefix, table), "ao") if flag in flags)


def _stamps(prefix: str, table: str, flags: str, coded: str) -> list[str]:
    base, digests = registry.stamp_key(prefix, table, TRUE), b64decode(coded)
    ends = [digests[at : at + _DIGEST].hex() for at in range(0, len(digests), _DIGEST)]
    return [*([base] if "t" in flags else []), *(base + end for end in ends)]
