"""The label of a stored result: the keys that it depends on, used to find dead results.

Reads skip it. A label has the prefix and then, for each table, its name, a byte that says which of
its registries (1 and 2) and whether any of its rows (4) count, the number of its other stamps, and
the digests in their keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rover_overrides.cache import registry
from rover_overrides.conditions.conditions import TRUE, Conj, has_operands

MAGIC = b"\x00rv"
"""Follows the checksum and identifies a result with a label among the values of unknown keys."""

_SIZE = len(MAGIC) + 2  # with the length of the rest
_DIGEST = 16  # bytes
_ANY_ROW = 4
_PREFIX = re.compile(rb"([^\x00]*)\x00")
_TABLE = re.compile(rb"([^\x00-\x07]+)([\x01-\x07])(.)", re.DOTALL)


class Label(NamedTuple):
    """The keys that a result depends on, in the order of its checksum."""

    registries: tuple[str, ...]
    stamps: tuple[str, ...]


def encode_label(prefix: str, deps: Mapping[str, Sequence[Conj]]) -> bytes:
    """Return the label of a result that depends on these conditions."""
    tables = (_encode_table(prefix, table, deps[table]) for table in sorted(deps))
    body = b"".join([prefix.encode(), b"\x00", *tables])
    return MAGIC + len(body).to_bytes(2, "big") + body


def label_end(value: bytes, start: int) -> int:
    """Return the offset of the data after a label that begins at `start`."""
    return start + _SIZE + int.from_bytes(value[start + len(MAGIC) : start + _SIZE], "big")


def decode_label(value: bytes, start: int) -> Label | None:
    """Return the keys that a label names, or None if there is no label."""
    if value[start : start + len(MAGIC)] != MAGIC:
        return None
    body = value[start + _SIZE : label_end(value, start)]
    found = _PREFIX.match(body)
    try:
        prefix = found[1].decode() if found else ""
        tables = list(_decode_tables(body, found.end() if found else 0))
    except ValueError:  # another format
        return None
    registries = sorted(
        key for table, flags, _ in tables for key in _registries(prefix, table, flags)
    )
    stamps = (key for one in tables for key in _stamps(prefix, *one))
    return Label(tuple(registries), (*registry.epoch_keys(prefix), *stamps))


def _encode_table(prefix: str, table: str, conjs: Sequence[Conj]) -> bytes:
    flags = {_ANY_ROW if conj == TRUE else 1 + has_operands(conj.template) for conj in conjs}
    keys = [registry.stamp_key(prefix, table, conj) for conj in conjs if conj != TRUE]
    digests = b"".join(bytes.fromhex(key.rpartition(":")[2]) for key in keys)
    return table.encode() + bytes([sum(flags), len(keys)]) + digests


def _decode_tables(body: bytes, at: int) -> Iterator[tuple[str, int, list[str]]]:
    """Yield each table with its flags and its digests; raise ValueError in another format."""
    while at < len(body):
        found = _TABLE.match(body, at)
        if found is None:
            raise ValueError
        begin, at = found.end(), found.end() + found[3][0] * _DIGEST
        if at > len(body):
            raise ValueError
        digests = [body[one : one + _DIGEST].hex() for one in range(begin, at, _DIGEST)]
        yield found[1].decode(), found[2][0], digests


def _registries(prefix: str, table: str, flags: int) -> Iterable[str]:
    return (key for key, flag in zip(registry.registry_keys(prefix, table), (1, 2)) if flags & flag)


def _stamps(prefix: str, table: str, flags: int, digests: Sequence[str]) -> list[str]:
    base = registry.stamp_key(prefix, table, TRUE)
    return [*([base] if flags & _ANY_ROW else []), *(base + digest for digest in digests)]
