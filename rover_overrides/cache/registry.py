"""The registries: which condition templates the cached results of a table use.

A template is a condition without the values that a row gives. Writers compare their rows with the
templates. A registry is a Redis LIST of its generation, which is a random token with the creation
time, and at most `MAX_TEMPLATES` templates. Templates are only appended, so a process keeps a copy
and reads only what was added after it. A result depends on the generation: a registry that was
evicted, expired, rotated or left behind by a restart has another one, and every result that depends
on the old one is a miss.

A table has two registries: `:a` for templates whose values a row gives, `:o` for those with
operands of a query.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from django.conf import settings

from rover_overrides.conditions.conditions import TRUE, UNCACHED, Conj, has_operands
from rover_overrides.core.bounded_table import BoundedTable
from rover_overrides.core.switches import raw_setting
from rover_overrides.transport import epochs, pipeline
from rover_overrides.transport.pipeline import Command, Reply

MAX_TEMPLATES = 999  # with the generation 1,000 members, the most that a command may touch
MAX_TEMPLATE_LENGTH = 65536  # characters of a template, which keeps a registry below 64 MiB

COPIED_BYTES = 64_000_000  # of registries that a process keeps copies of
KNOWN_BYTES = 16_000_000  # of templates of which a process knows the registries that have them

_MOST_FULL = 1024  # registries that a process knows to be full
_PER_TEMPLATE = 120  # bytes of a template in a collection

Version = Reply  # a generation, and the identity of the server that holds it

# One key. ARGV: a new generation, the cap, the age in seconds from which a full registry rotates,
# the current time, the least seconds to live, the templates. Returns the generation, and for each
# template whether it is in. The caller passes the time, so that a replica can run the same script;
# callers whose clocks differ rotate a little sooner or later.
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
_SHA = hashlib.sha1(_APPEND.encode()).hexdigest()  # noqa: S324 - Redis identifies scripts by it


def registry_keys(prefix: str, table: str) -> tuple[str, str]:
    """Return the keys of a table's two registries, `:a` and `:o`."""
    if prefix not in epochs.used_prefixes:  # every writer under the prefix needs these keys
        epochs.remember_prefix(prefix)
    slot = _hash_tag(prefix, table)
    return f"{prefix}reg:{slot}:a", f"{prefix}reg:{slot}:o"


def epoch_keys(prefix: str) -> tuple[str, ...]:
    """Return the key of the epoch, the stamp that all results of a prefix depend on.

    A cluster has none.
    """
    return () if pipeline.is_cluster() else (epochs.epoch_key(prefix),)


def is_sharded_by_table() -> bool:
    """Return whether a cluster keeps all stamps of a table on one node; else they are spread."""
    return bool(raw_setting("CACHEOPS_ROVER_SHARD_BY_TABLE", False))


def stamp_key(prefix: str, table: str, conj: Conj) -> str:
    """Return the key of a condition's stamp."""
    [key] = stamp_keys(prefix, table, (conj,))
    return key


def stamp_keys(prefix: str, table: str, conjs: Iterable[Conj]) -> list[str]:
    """Return the keys of the stamps of conditions on one table."""
    name = _hash_tag(prefix, table) if is_sharded_by_table() else table
    start = f"{prefix}stamp:{name}:"
    keys = []
    for conj in conjs:
        if conj == TRUE:
            keys.append(start)
            continue
        # As json.dumps() spells a list of strings, several times as fast.
        spelled = ", ".join(map(encode_basestring_ascii, (conj.template, *conj.values)))
        keys.append(start + blake2b(f"[{spelled}]".encode(), digest_size=16).hexdigest())
    return keys


def _hash_tag(prefix: str, table: str) -> str:
    """Return the part of the keys that a cluster keeps together.

    Its hash tag is the same as in the keys of `pending_writes`.
    """
    return f"{{{prefix}{table}}}"


def registry_key(prefix: str, table: str, conj: Conj) -> str | None:
    """Return the key of the registry for a condition's template; None for TRUE and UNCACHED."""
    if conj in {TRUE, UNCACHED}:
        return None
    return registry_keys(prefix, table)[has_operands(conj.template)]


def generation_command(key: str) -> Command:
    """Return the command that reads a registry's generation."""
    return ("LINDEX", key, 0)


def append_command(key: str, templates: Iterable[str], seconds: int) -> Command:
    """Return the command that appends missing templates to a registry.

    It also keeps the registry for at least `seconds`.
    """
    now = int(time.time())
    return (
        "EVALSHA",
        _SHA,
        1,
        key,
        f"{os.urandom(16).hex()}:{now}",
        MAX_TEMPLATES,
        _rotation_seconds(),
        now,
        seconds,
        *templates,
    )


def parse_append_reply(reply: Reply, templates: Sequence[str]) -> tuple[Reply, dict[str, bool]]:
    """Return the generation in the reply to an append, and for each template whether it is in."""
    generation, *flags = reply.value
    return Reply(generation, reply.identity), {
        template: bool(flag) for template, flag in zip(templates, flags)
    }


def with_script_source(command: Command) -> Command:
    """Return a command that works on a server that does not have the script yet.

    Other commands are returned unchanged.
    """
    return ("EVAL", _APPEND, *command[2:]) if command[:2] == ("EVALSHA", _SHA) else command


class KnownTemplates:
    """What this process knows about templates without reading registries.

    It remembers which templates are in a registry and which had no room. This holds for one
    generation on one server: another server, or the same after a restart, may have lost what was
    appended. A template that had no room is tried again when the registry is old enough to rotate.
    """

    def __init__(self) -> None:
        # For each template until when it counts as refused; math.inf for one that is in.
        self._registries: BoundedTable[str, tuple[Version, dict[str, float]]] = BoundedTable(
            KNOWN_BYTES
        )
        self.full_until: dict[str, float] = {}
        """When a registry without room may have some again; empty nearly always."""

    def is_full(self, key: str) -> bool:
        """Return whether a registry recently had no room for some template."""
        return key in self.full_until and time.monotonic() < self.full_until[key]

    def is_refused(self, key: str, template: str) -> bool:
        """Return whether a template is known to be left out, in any generation."""
        _, templates = self._registries.get(key, (None, _NO_ENTRIES))
        return (
            len(template) > MAX_TEMPLATE_LENGTH
            or time.monotonic() < templates.get(template, 0.0) < math.inf
        )

    def contains(self, key: str, template: str, version: Version) -> bool:
        """Return whether a template is known to be in this version of the registry."""
        known, templates = self._registries.get(key, (None, _NO_ENTRIES))
        return known == version and templates.get(template) == math.inf

    def versions(self, keys: Iterable[str]) -> dict[str, Version]:
        """Return the versions of registries in which this process last knew templates."""
        return {key: known[0] for key in keys if (known := self._registries.get(key)) is not None}

    def learn(self, key: str, version: Version, templates: dict[str, bool]) -> None:
        """Remember the result of an append, and forget what is known of another version."""
        known, before = self._registries.get(key, (None, _NO_ENTRIES))
        if known == version and not templates:
            return
        size, added = self._registries.size(key), _bytes_of(templates)
        # Bounds the memory; what was just appended must be known in any case.
        if (
            known != version
            or len(before) > 4 * MAX_TEMPLATES
            or 4 * (size + added) > self._registries.limit
        ):
            before, size = _NO_ENTRIES, 0
        if len(self.full_until) >= _MOST_FULL:
            self.full_until = {}
        until = time.monotonic() + _rotation_seconds()
        if not all(templates.values()):
            self.full_until[key] = until
        # A new dict, because other threads may be reading the old one.
        after = {
            **before,
            **{template: math.inf if here else until for template, here in templates.items()},
        }
        self._registries.put(key, (version, after), size + added)


class _Copy(NamedTuple):
    generation: bytes | None
    identity: bytes
    templates: tuple[str, ...]


class RegistryRead(NamedTuple):
    """A read of registries: the commands to send, and the copies that the replies extend."""

    keys: tuple[str, ...]
    copies: tuple[_Copy, ...]
    commands: list[Command]


class RegistryCopies:
    """This process's copies of the registries, each the beginning of the list in one generation."""

    def __init__(self) -> None:
        self._copies: BoundedTable[str, _Copy] = BoundedTable(COPIED_BYTES)

    def commands_to_read(self, keys: Sequence[str], *, anew: bool = False) -> RegistryRead:
        """Return the commands that read each registry's generation and what follows its copy.

        With `anew` the copies are ignored.
        """
        copies = tuple(_NOTHING if anew else self._copies.get(key, _NOTHING) for key in keys)
        pairs = [
            (generation_command(k), ("LRANGE", k, len(c.templates) + 1, -1))
            for k, c in zip(keys, copies)
        ]
        return RegistryRead(tuple(keys), copies, [command for pair in pairs for command in pair])

    def extend_copies(
        self, pending_read: RegistryRead, replies: Sequence[Reply]
    ) -> list[tuple[str, ...] | None]:
        """Return each registry's templates, or None where it must be read again.

        That is the case if its generation changed.
        """
        pairs = zip(replies[::2], replies[1::2])
        return [
            self._extend_copy(*each) for each in zip(pending_read.keys, pending_read.copies, pairs)
        ]

    def known_templates(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Return the templates of registries as they were when they were last read."""
        found: tuple[str, ...] = ()
        for key in keys:
            found += self._copies.get(key, _NOTHING).templates
        return found

    def read(
        self,
        keys: Sequence[str],
        first: Sequence[Command] = (),
        unlink_keys: Sequence[str] = (),
    ) -> list[tuple[str, ...]]:
        """Return the templates of registries.

        This takes a round trip that starts with the commands `first` and then unlinks keys. A
        second one reads the registries whose generation changed.
        """
        pending_read = self.commands_to_read(keys)
        replies = pipeline.run(pending_read.commands, first=first, unlink_keys=unlink_keys)
        found = dict(zip(keys, self.extend_copies(pending_read, replies)))
        outdated = [key for key, templates in found.items() if templates is None]
        if outdated:
            changed = self.commands_to_read(outdated, anew=True)
            replies = pipeline.run(changed.commands)
            found.update(zip(outdated, self.extend_copies(changed, replies)))
        return [found[key] or () for key in keys]

    def _extend_copy(
        self, key: str, copy: _Copy, pair: tuple[Reply, Reply]
    ) -> tuple[str, ...] | None:
        head, tail = pair
        templates = tuple(template.decode() for template in tail.value)
        if copy is not _NOTHING and (head.value, head.identity) != copy[:2]:
            self._copies.discard(key)
            # The results of a registry that is gone are misses, so there is nothing to read.
            return None if head.value is not None else templates
        # Without a copy to extend, any generation is valid. The two commands may see different
        # ones. Then the generation of this copy is already gone, and the templates that were not
        # seen are newer than the write that is compared with them.
        whole = _Copy(head.value, head.identity, copy.templates + templates)
        if head.value is not None and (templates or copy is _NOTHING):
            # Another registry may have taken the place of the copy meanwhile.
            size = self._copies.size(key) if copy is not _NOTHING else 0
            self._copies.put(key, whole, _bytes_of(templates) + (size or _bytes_of(copy.templates)))
        return whole.templates


def _bytes_of(templates: Iterable[str]) -> int:
    return sum(sys.getsizeof(template) + _PER_TEMPLATE for template in templates)


_NOTHING = _Copy(None, b"", ())
_NO_ENTRIES: dict[str, float] = {}


def _rotation_seconds() -> int:
    return getattr(settings, "CACHEOPS_ROVER_REGISTRY_SECONDS", 60)
