"""The registries: which templates of conditions a table's cached results use, for the writes to hold rows against.

A registry is a Redis LIST of at most `CAP` templates behind its generation, a random token and when it was made. Templates are
only ever appended, so a process keeps a copy and reads what came after it. A result depends on the generation: a registry that
was evicted, expired, rotated or left behind by a restart has another, and every result that counted on it is a miss.

A table has two: `:a` for templates whose values a row gives, and `:o` for those with operands of a query.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.conf import settings

from rover_overrides.conditions.conditions import TRUE, UNCACHED, Conj, has_operands
from rover_overrides.transport import epochs, pipeline
from rover_overrides.transport.pipeline import Command, Reply

CAP = 999  # with the generation 1,000 members, the most that a command touches
LONGEST = 65536  # characters of a template, so that a registry stays below 64 MiB

_MOST_COPIES = 1024  # of registries in a process

Version = Reply  # a generation and the server that has it

# One key. ARGV: a new generation, the cap, from which age on a full registry starts anew, the time now, the seconds to
# live at least, the templates. Returns the generation and for each template whether it is in. The time is the caller's,
# so that a replica can run the same script; callers whose clocks differ rotate a little sooner or later.
_APPEND = """
local head = redis.call('lindex', KEYS[1], 0)
local size = head and redis.call('llen', KEYS[1]) or 0
local inside, missing = {}, 0
for i = 6, #ARGV do
    inside[i] = head and redis.call('lpos', KEYS[1], ARGV[i])
    if not inside[i] then missing = missing + 1 end
end
if head and size - 1 + missing > tonumber(ARGV[2]) then
    local made = tonumber(string.match(head, ':(%d+)$')) or 0
    if math.abs(tonumber(ARGV[4]) - made) >= tonumber(ARGV[3]) then
        redis.call('unlink', KEYS[1])
        head, inside = false, {}
    end
end
if not head then
    head, size = ARGV[1], 1
    redis.call('rpush', KEYS[1], head)
end
local said = {head}
for i = 6, #ARGV do
    if not inside[i] and size <= tonumber(ARGV[2]) then
        redis.call('rpush', KEYS[1], ARGV[i])
        inside[i], size = true, size + 1
    end
    said[#said + 1] = inside[i] and 1 or 0
end
if redis.call('ttl', KEYS[1]) < tonumber(ARGV[5]) then
    redis.call('expire', KEYS[1], ARGV[5])
end
return said
"""
_SHA = hashlib.sha1(_APPEND.encode()).hexdigest()  # noqa: S324 - that is what Redis calls scripts by


def keys(prefix: str, table: str) -> tuple[str, str]:
    """Return the keys of a table's two registries, `:a` and `:o`."""
    if prefix not in epochs.used:  # whoever writes under it comes by here
        epochs.use(prefix)
    slot = _tagged(prefix, table)
    return f"{prefix}reg:{slot}:a", f"{prefix}reg:{slot}:o"


def epoch_keys(prefix: str) -> tuple[str, ...]:
    """Return the stamp that all results of a prefix depend on, if there is one: a cluster has none."""
    return () if pipeline.is_sharded() else (epochs.key(prefix),)


def by_table() -> bool:
    """Tell whether a cluster keeps all stamps of a table on one node; else they are spread."""
    return bool(getattr(settings, "CACHEOPS_ROVER_SHARD_BY_TABLE", False))


def stamp_key(prefix: str, table: str, conj: Conj) -> str:
    """Return the key of a conj's stamp."""
    name = _tagged(prefix, table) if by_table() else table
    if conj == TRUE:
        return f"{prefix}stamp:{name}:"
    spelled = json.dumps([conj.entry, *conj.values]).encode()
    return f"{prefix}stamp:{name}:{hashlib.blake2b(spelled, digest_size=16).hexdigest()}"


def _tagged(prefix: str, table: str) -> str:
    """Return what is in the keys that a cluster keeps together; its hash tag is the same in the keys of `pending`."""
    return f"{{{prefix}{table}}}"


def key_of(prefix: str, table: str, conj: Conj) -> str | None:
    """Return the key of the registry that a conj's template goes into; TRUE needs none, and UNCACHED has none."""
    if conj in {TRUE, UNCACHED}:
        return None
    return keys(prefix, table)[has_operands(conj.entry)]


def generation_command(key: str) -> Command:
    """Return the command that reads a registry's generation."""
    return ("LINDEX", key, 0)


def append_command(key: str, entries: Iterable[str], seconds: int) -> Command:
    """Return the command that appends what is not in yet and keeps the registry for at least `seconds`."""
    now = int(time.time())
    return (
        "EVALSHA",
        _SHA,
        1,
        key,
        f"{os.urandom(16).hex()}:{now}",
        CAP,
        _rotation_seconds(),
        now,
        seconds,
        *entries,
    )


def appended(reply: Reply, entries: Sequence[str]) -> tuple[Reply, dict[str, bool]]:
    """Read an append's reply: the generation, and for each template whether it is in."""
    generation, *flags = reply.value
    return Reply(generation, reply.identity), {
        entry: bool(flag) for entry, flag in zip(entries, flags)
    }


def with_source(command: Command) -> Command:
    """Return a command that the server understands though it has not seen the script yet."""
    return ("EVAL", _APPEND, *command[2:]) if command[:2] == ("EVALSHA", _SHA) else command


class Known:
    """What this process knows of templates without reading registries: which are in and which found no room.

    It holds for one generation on one server: another server, or the same after a restart, may have lost what was appended.
    What found no room is asked again when the registry is old enough to start anew.
    """

    def __init__(self) -> None:
        self._registries: dict[str, tuple[Version, dict[str, float]]] = {}
        self._full_until: dict[str, float] = {}

    def full(self, key: str) -> bool:
        """Tell whether a registry had no room for some template lately."""
        return key in self._full_until and time.monotonic() < self._full_until[key]

    def refused(self, key: str, entry: str) -> bool:
        """Tell whether a template is known to be left out, in whatever generation."""
        _, entries = self._registries.get(key, (None, _NO_ENTRIES))
        return len(entry) > LONGEST or time.monotonic() < entries.get(entry, 0.0) < math.inf

    def is_in(self, key: str, entry: str, version: Version) -> bool:
        """Tell whether a template is known to be in that version of the registry."""
        known, entries = self._registries.get(key, (None, _NO_ENTRIES))
        return known == version and entries.get(entry) == math.inf

    def learn(self, key: str, version: Version, entries: dict[str, bool]) -> None:
        """Remember what an append said; of another version nothing is left."""
        known, before = self._registries.get(key, (None, _NO_ENTRIES))
        if known != version or len(before) > 4 * CAP:
            before = _NO_ENTRIES
        if key not in self._registries and len(self._registries) >= _MOST_COPIES:
            self._registries, self._full_until = {}, {}
        until = time.monotonic() + _rotation_seconds()
        if not all(entries.values()):
            self._full_until[key] = until
        # A new dict, for other threads may be reading the old one.
        self._registries[key] = (
            version,
            {**before, **{entry: math.inf if here else until for entry, here in entries.items()}},
        )


class _Copy(NamedTuple):
    generation: bytes | None
    identity: bytes
    entries: tuple[str, ...]


class Asked(NamedTuple):
    """Registries that are being read: what to send, and the copies that the replies continue."""

    keys: tuple[str, ...]
    copies: tuple[_Copy, ...]
    commands: list[Command]


class Registry:
    """This process's copies of the registries, each a reading of the list's beginning in one generation."""

    def __init__(self) -> None:
        self._copies: dict[str, _Copy] = {}

    def commands_to_read(self, keys: Sequence[str], *, anew: bool = False) -> Asked:
        """Say what to send: for each registry its generation and what came after the copy, or all of it."""
        copies = tuple(_NOTHING if anew else self._copies.get(key, _NOTHING) for key in keys)
        pairs = [
            (generation_command(k), ("LRANGE", k, len(c.entries) + 1, -1))
            for k, c in zip(keys, copies)
        ]
        return Asked(tuple(keys), copies, [command for pair in pairs for command in pair])

    def absorb(self, asked: Asked, replies: Sequence[Reply]) -> list[tuple[str, ...] | None]:
        """Return each registry's templates, or None where the generation changed and it has to be asked once more."""
        pairs = zip(replies[::2], replies[1::2])
        return [self._continued(*each) for each in zip(asked.keys, asked.copies, pairs)]

    def read(self, keys: Sequence[str], first: Sequence[Command] = ()) -> list[tuple[str, ...]]:
        """Read registries: one round trip that begins with other commands, and a second one where a generation changed."""
        asked = self.commands_to_read(keys)
        found = dict(
            zip(keys, self.absorb(asked, pipeline.run([*first, *asked.commands])[len(first) :]))
        )
        changed = self.commands_to_read(
            [key for key, entries in found.items() if entries is None], anew=True
        )
        found.update(zip(changed.keys, self.absorb(changed, pipeline.run(changed.commands))))
        return [found[key] or () for key in keys]

    def _continued(
        self, key: str, copy: _Copy, pair: tuple[Reply, Reply]
    ) -> tuple[str, ...] | None:
        head, tail = pair
        entries = tuple(entry.decode() for entry in tail.value)
        if copy is not _NOTHING and (head.value, head.identity) != copy[:2]:
            self._copies.pop(key, None)
            # A registry that is gone takes its results along: nothing is left to read.
            return None if head.value is not None else entries
        # With no copy to continue, any generation will do. The two commands may see different ones: then this copy's is
        # gone already, and the templates that were not seen are newer than the write they are held against.
        whole = _Copy(head.value, head.identity, copy.entries + entries)
        if head.value is not None and (entries or copy is _NOTHING):
            if len(self._copies) >= _MOST_COPIES:
                self._copies = {}
            self._copies[key] = whole
        return whole.entries


_NOTHING = _Copy(None, b"", ())
_NO_ENTRIES: dict[str, float] = {}


def _rotation_seconds() -> int:
    return getattr(settings, "CACHEOPS_ROVER_REGISTRY_SECONDS", 60)
