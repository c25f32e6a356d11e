"""Cached results under leases: replaces `cacheops.getset` under `CACHEOPS_INSIDEOUT`.

A result is stored with a checksum of everything that it depends on: the stamps of its conditions,
the generations of the registries that hold their templates, and the identities of the servers that
returned them. A read fetches all of these in one pipeline, and is a cache hit if the checksum is
the same.

On a miss the reader takes a lease: before its SELECT it creates what is missing and computes the
checksum, under which it then stores the result. A write that commits in between deletes a stamp, so
a result that was read before it is stored under a checksum that is no longer valid. Without a lease
nothing is stored.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from importlib import import_module
from typing import Any, NamedTuple

import redis
from cacheops.conf import prepare_profiles
from cacheops.conf import settings as cacheops_settings
from cacheops.transaction import transaction_states
from django.conf import settings

from rover_overrides.cache import labels, locks, pending_writes, registry, serialization
from rover_overrides.conditions.conditions import TRUE, UNCACHED, Conj, coarser, has_operands
from rover_overrides.core import switches
from rover_overrides.core.operator_warnings import warn
from rover_overrides.database import snapshots
from rover_overrides.transport import epochs, pipeline
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.transport.pipeline import Command, Reply
from rover_overrides.transport.refusals import handle_missing_permission, is_out_of_memory

Dependencies = Mapping[str, Sequence[Conj]]

MAX_KEYS = 32  # that a hit reads besides the result, including the epoch
CHECKSUM = 16  # bytes of the checksum at the beginning of a result
FORMAT = "r4"  # of keys and values, in every checksum: other formats are misses

_MANY_MISSES = 2  # in a row, after which another one is expected
_ROUNDS = 3  # of a lease: with full conditions, without operands, for any row
# What keep_fresh passes to learn the stamps, which a lease already records.
_NEVER_MATCH = "never match"


class Lease(NamedTuple):
    """The state of what a result depends on, taken before the SELECT."""

    checksum: bytes
    seconds: int
    label: bytes = b""
    lock: str = ""
    """The token of the lock under which the result is computed."""


_AGAIN = Lease(b"", 0)
"""What a lease is until the registries hold its templates."""


class _Plan(NamedTuple):
    registries: tuple[tuple[str, tuple[str, ...]], ...]  # each with the templates it must hold
    stamps: tuple[str, ...]
    generations: tuple[Command, ...]  # that read the generations of the registries
    label: bytes


before_read: list[Callable[[], object]] = []
"""Called before Redis is queried for a result.

If one of them raises or returns False, Redis is not queried.
"""

# The module comes with a patch that this tree may lack.
_counters: Any = (
    import_module("rover_overrides.metrics.counters")
    if switches.is_installed("explain-invalidation")
    else None
)
_known_templates = registry.KnownTemplates()
_leases: ContextVar[Mapping[str, Lease | None]] = ContextVar("rover_leases")
_NO_LEASES: Mapping[str, Lease | None] = {}
_NOT_HELD = "none"  # the lock of a reader that waited for one in vain
_longest = 0  # the longest timeout, in seconds, that this process has stored with


class getting:  # noqa: N801 - upstream's name of a context manager
    """Yield a result, or None with a lease for `fill` that lasts for the block.

    With `lock` one caller computes the result and the others wait for it. A hit takes no lease and
    changes nothing here. This is a class because a generator costs as much as the rest of a hit.
    """

    __slots__ = ("_before", "_deps", "_held", "_key", "_lock", "_prefix")

    def __init__(self, key: str, deps: Dependencies, prefix: str, lock: bool = False) -> None:
        self._key, self._deps, self._prefix, self._lock = key, deps, prefix, lock
        self._before: Mapping[str, Lease | None] = {}
        self._held: str | None = None

    def __enter__(self) -> Any:
        self._before = _leases.get(_NO_LEASES)
        data = None
        try:
            if self._lock:
                data, self._held = _read_or_lock(self._key, self._deps, self._prefix)
            else:
                data = read(self._key, self._deps, self._prefix)
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
            _degrade(error)
            _leases.set({**self._before, self._key: None})
        return data

    def __exit__(self, *_: object) -> None:
        try:
            # If Redis does not answer, the lock expires by itself, and one wait was enough.
            if self._held is not None and not (circuit.has_failed and circuit.is_open()):
                with degrading():
                    locks.release(self._key, self._held)
        finally:
            if _leases.get(_NO_LEASES) is not self._before:
                # Not reset by token: async code may leave the block in another context.
                _leases.set(self._before)


def read(key: str, deps: Dependencies, prefix: str) -> bytes | None:
    """Return a result that is still valid; on a miss take a lease for `fill` and return None.

    What this process reads for the first time, or has missed twice in a row, is probably a miss. So
    the lease is taken in the same round trip, unless the server is a cluster.
    """
    misses: dict[str, int] = getattr(deps, "misses", {prefix: 0})
    plan = (
        None
        if (circuit.has_failed and is_redis_skipped()) or not switches.is_enabled("leased-storage")
        else _cached_plan(deps, prefix)
    )
    if plan is None:
        _discard_lease(key)
        return None
    if prefix not in epochs.used_prefixes:
        epochs.remember_prefix(prefix)
    for call in before_read:
        if call() is False:
            _discard_lease(key)
            return None
    request = (
        _LeaseRequest(deps, prefix, plan, _known_templates.versions(dict(plan.registries)))
        if misses.get(prefix, _MANY_MISSES) >= _MANY_MISSES and not pipeline.is_cluster()
        else None
    )
    keys = (key, *plan.stamps)
    if request is None:
        replies = pipeline.run(plan.generations, get_keys=keys)
    else:
        replies = _run_scripts([*plan.generations, *request.commands], get_keys=keys)
    coded, at = replies[0].value, len(plan.stamps) + 1
    end = at + len(plan.generations)
    found = _valid_result(coded, checksum([*replies[at:end], *replies[1:at]]))
    if found is not None:
        misses[prefix] = 0
        if _counters is not None:
            _counters.count("hits")
        return found
    misses[prefix] = misses.get(prefix, 0) + 1
    _discard_lease(key)  # removes that of an outer block, in case this one fails
    lease = request.lease(replies[end:]) if request else _AGAIN
    if lease is _AGAIN:
        seen = {k: reply for (k, _), reply in zip(plan.registries, replies[at:end])}
        lease = _acquire_lease(deps, prefix, request.seen if request else seen)
    _leases.set({**_leases.get(_NO_LEASES), key: lease})
    # The result may have been stored under coarser conditions than this process knew of.
    found = _valid_result(coded, lease and lease.checksum)
    _count("misses" if found is None else "hits")
    return found


def is_redis_skipped() -> bool:
    """Return whether readers do without Redis for now."""
    return (
        cacheops_settings.CACHEOPS_DEGRADE_ON_FAILURE or circuit.lacks_permission
    ) and circuit.is_open()


def fill(
    prefix: str,
    key: str,
    data: Any,
    deps: Dependencies,
    timeout: float,
    dbs: Sequence[str] = (),
    expected: str = "",
) -> str:
    """Store a result under the lease of its key.

    Store nothing without a lease, or if the reader may have seen old rows.
    """
    lease = _leases.get(_NO_LEASES).get(key)
    if expected == _NEVER_MATCH or timeout <= 0:
        return ""
    if lease is None:
        _count("fills refused: no lease")
        return ""
    if circuit.has_failed and is_redis_skipped():
        return ""
    if (
        transaction_states.is_dirty(dbs)
        or snapshots.any_uncommitted_writes()
        or snapshots.may_read_stale(dbs, deps)
    ):
        _count("fills refused: transaction")
        return ""
    _record_timeout(int(timeout))
    try:
        value = lease.checksum + lease.label + serialization.dumps(data)
    except serialization.UnwritableError:
        return ""
    with degrading():
        if lease.lock and not _should_store(prefix, key, deps, lease):
            return ""
        # A result that outlives its stamps is never read again.
        pipeline.run([("SET", key, value, "EX", max(1, min(int(timeout), lease.seconds)))])
    return ""


def has_lease(key: str) -> bool:
    """Return whether a result would be stored under a key."""
    return _leases.get(_NO_LEASES).get(key) is not None


def bound_dependencies(deps: Dependencies) -> dict[str, list[Conj]] | None:
    """Return dependencies that need at most `MAX_KEYS` keys, or None for what must not be cached.

    That is what depends on UNCACHED, or on more tables than keys. The epoch counts as a key. If
    more keys are needed, the table with the most becomes coarser first. Duplicates, and conditions
    beside TRUE, are removed: they add nothing.
    """
    if any(UNCACHED in conjs for conjs in deps.values()):
        return None
    kept = {table: [TRUE] if TRUE in conjs else sorted(set(conjs)) for table, conjs in deps.items()}
    sizes = {table: _size(conjs) for table, conjs in kept.items()}
    while sum(sizes.values()) >= MAX_KEYS:
        largest = max(sizes, key=lambda table: (sizes[table], table))
        if sizes[largest] <= 1:
            return None
        kept[largest], sizes[largest] = [TRUE], 1
    return kept


def checksum(replies: Sequence[Reply]) -> bytes | None:
    """Return the checksum of generations and stamps in their order, or None if one is missing."""
    digest = blake2b(digest_size=CHECKSUM, person=FORMAT.encode())
    for value, identity in replies:
        if value is None:
            return None
        digest.update(b"%d:%s%d:%s" % (len(identity), identity, len(value), value))
    return digest.digest()


def _count(name: str) -> None:
    if _counters is not None:
        _counters.count(name)


def _discard_lease(key: str) -> None:
    _leases.set({**_leases.get(_NO_LEASES), key: None})


def _size(conjs: Sequence[Conj]) -> int:
    return len(conjs) + len({has_operands(conj.template) for conj in conjs if conj != TRUE})


def _cached_plan(deps: Dependencies, prefix: str) -> _Plan | None:
    """Return the keys to read.

    Dependencies that are reused keep their plan, unless a registry has no room for a template.
    """
    plans = getattr(deps, "plans", None)
    if plans is None:
        return _make_plan(deps, prefix)
    if prefix in plans:
        found: _Plan | None = plans[prefix]
        if (
            found is None
            or not _known_templates.full_until
            or not any(_known_templates.is_full(key) for key, _ in found.registries)
        ):
            return found
    found = _make_plan(deps, prefix)
    if not any(
        _known_templates.is_full(key)
        for table in deps
        for key in registry.registry_keys(prefix, table)
    ):
        deps.add_plan(prefix, found)  # type: ignore[attr-defined]
    return found


def _make_plan(deps: Dependencies, prefix: str) -> _Plan | None:
    """Return the keys to read, the same and in the same order in every process."""
    kept = bound_dependencies(
        {
            table: [_fit_registry(prefix, table, conj) for conj in conjs]
            for table, conjs in deps.items()
        }
    )
    if kept is None:
        return None
    templates: dict[str, dict[str, None]] = {}
    for table, conj in _pairs(kept):
        key = registry.registry_key(prefix, table, conj)
        if key is not None:
            templates.setdefault(key, {})[conj.template] = None
    stamps = (
        *registry.epoch_keys(prefix),
        *(registry.stamp_key(prefix, table, conj) for table, conj in _pairs(kept)),
    )
    registries = tuple((key, tuple(templates[key])) for key in sorted(templates))
    generations = tuple(registry.generation_command(key) for key, _ in registries)
    return _Plan(registries, stamps, generations, labels.encode_label(prefix, kept))


def _pairs(deps: Dependencies) -> Iterator[tuple[str, Conj]]:
    for table in sorted(deps):
        for conj in deps[table]:
            yield table, conj


def _fit_registry(prefix: str, table: str, conj: Conj) -> Conj:
    """Return the condition, or a coarser one if its registry is known to be full."""
    while True:
        key = registry.registry_key(prefix, table, conj)
        if key is None or not _known_templates.is_refused(key, conj.template):
            return conj
        without = coarser(conj)
        conj = TRUE if without == conj else without


def _valid_result(coded: bytes | None, expected: bytes | None) -> bytes | None:
    if coded is None or expected is None or coded[:CHECKSUM] != expected:
        return None
    return coded[labels.label_end(coded, CHECKSUM) :]


def _acquire_lease(deps: Dependencies, prefix: str, seen: dict[str, Reply]) -> Lease | None:
    """Take a lease: append the templates, create the stamps, and compute the checksum of both.

    This is one pipeline (two if stamps are on nodes of their own), repeated if a registry proved to
    be full or rotated. Return None if a writer is registered, or if nothing may be stored.
    """
    for _ in range(_ROUNDS):
        plan = _cached_plan(deps, prefix)
        if plan is None:
            return None
        request = _LeaseRequest(deps, prefix, plan, seen)
        lease = request.lease(_run_lease(request))
        if lease is not _AGAIN:
            return lease
    return None


class _LeaseRequest:
    """The commands that take a lease, and what their replies mean."""

    def __init__(
        self, deps: Dependencies, prefix: str, plan: _Plan, seen: dict[str, Reply]
    ) -> None:
        self.seen = seen
        """The generations of the registries, as far as they are known; others may follow them."""
        self._plan, self._seconds = plan, _stamp_seconds()
        self._missing = {
            k: [
                e
                for e in templates
                if k not in seen or not _known_templates.contains(k, e, seen[k])
            ]
            for k, templates in plan.registries
        }
        self.changes = _lease_commands(self._missing, plan.stamps, self._seconds)
        self.counts = [
            command
            for table in sorted(deps)
            for command in pending_writes.count_commands(prefix, table)
        ]

    @property
    def commands(self) -> list[Command]:
        """All commands.

        The registered writers are counted last: one that registers later deletes the stamps later.
        """
        return [*self.changes, *self.counts]

    def lease(self, replies: Sequence[Reply]) -> Lease | None:
        """Return the lease, None if a writer is registered, or _AGAIN if a registry has changed."""
        end = len(replies) - len(self.counts)
        if any(reply.value for reply in replies[end:]):
            return None
        at = len(self._missing)
        for (key, templates), reply in zip(self._missing.items(), replies):
            self.seen[key], appended = registry.parse_append_reply(reply, templates)
            _known_templates.learn(key, self.seen[key], appended)
        if not all(
            _known_templates.contains(key, template, self.seen[key])
            for key, templates in self._plan.registries
            for template in templates
        ):
            return _AGAIN
        generations = [self.seen[key] for key, _ in self._plan.registries]
        found = checksum([*generations, *replies[at + 1 : end : 2]])
        return Lease(found, self._seconds, self._plan.label) if found else None


def _lease_commands(
    missing: Mapping[str, Sequence[str]], stamps: Sequence[str], seconds: int
) -> list[Command]:
    appends = [
        registry.append_command(key, templates, seconds) for key, templates in missing.items()
    ]
    # GETEX, because a stamp that others have created must outlive this result too.
    pairs = [
        (("SET", key, _random_number(), "NX", "EX", seconds), ("GETEX", key, "EX", seconds))
        for key in stamps
    ]
    return [*appends, *(command for pair in pairs for command in pair)]


def _random_number() -> int:
    """Return a value for a stamp: a number of 64 bits, which Redis keeps in the pointer to it."""
    return int.from_bytes(os.urandom(8), "big", signed=True)


def _run_lease(request: _LeaseRequest) -> list[Reply]:
    if pipeline.is_cluster() and not registry.is_sharded_by_table():
        # Nodes of a cluster run their commands in no common order.
        return [*_run_scripts(request.changes), *pipeline.run(request.counts)]
    return _run_scripts(request.commands)


def _run_scripts(commands: Sequence[Command], *, get_keys: Sequence[str] = ()) -> list[Reply]:
    try:
        return pipeline.run(commands, get_keys=get_keys)
    except redis.exceptions.NoScriptError:
        return pipeline.run(
            [registry.with_script_source(command) for command in commands], get_keys=get_keys
        )


def _read_or_lock(key: str, deps: Dependencies, prefix: str) -> tuple[bytes | None, str | None]:
    """Return a result, or the token of the lock under which the caller computes it.

    A caller that has waited long enough gets neither, and computes the result without a lock.
    """
    end = time.monotonic() + locks.lifetime_seconds()
    while True:
        data = read(key, deps, prefix)
        if data is not None or not has_lease(key):
            return data, None  # without a lease nothing is stored, so there is no need to wait
        held = locks.acquire(key)
        if held is not None:
            # The previous holder may have stored the result after the read above.
            data = read(key, deps, prefix)
            if data is None:
                _lease_under_lock(key, held)
                return None, held
            locks.release(key, held)
            return data, None
        left = end - time.monotonic()
        if left <= 0:
            _lease_under_lock(key, _NOT_HELD)
            return None, None
        locks.wait(key, left)


def _lease_under_lock(key: str, token: str) -> None:
    lease = _leases.get(_NO_LEASES).get(key)
    if lease is not None:
        _leases.set({**_leases.get(_NO_LEASES), key: lease._replace(lock=token)})


def _should_store(prefix: str, key: str, deps: Dependencies, lease: Lease) -> bool:
    """Return whether to store a result that was computed under a lock.

    That is the case if the lock is still held, or if the result is still valid and no other caller
    has stored one. Otherwise a computation that takes longer than its lock lives would never be
    stored.
    """
    plan = _cached_plan(deps, prefix)
    if plan is None:
        return False
    replies = pipeline.run(
        [*plan.generations, locks.holder_command(key)], get_keys=(key, *plan.stamps)
    )
    if replies[-1].value == lease.lock.encode():
        return True
    stamps, generations = replies[1 : len(plan.stamps) + 1], replies[len(plan.stamps) + 1 : -1]
    now = checksum([*generations, *stamps])
    return now == lease.checksum and _valid_result(replies[0].value, now) is None


def _stamp_seconds() -> int:
    """Return how many seconds stamps and registries live: longer than any result.

    This does not depend on the query's own timeout. `CACHEOPS_ROVER_STAMP_SECONDS` sets it for all
    processes. Otherwise it follows from the profiles, and from longer timeouts that this process
    has stored results with.
    """
    stated = getattr(settings, "CACHEOPS_ROVER_STAMP_SECONDS", None)
    profiles = [profile["timeout"] for profile in prepare_profiles().values() if profile]
    return int(stated or max(3600, 2 * max([_longest, *profiles]) + 10))


def _record_timeout(timeout: int) -> None:
    global _longest  # noqa: PLW0603 - a high-water mark of the process
    _longest = max(_longest, timeout)


@contextmanager
def degrading() -> Iterator[None]:
    """Continue without the cache if Redis is full, or is away and upstream is set to degrade."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
        _degrade(error)


def _degrade(error: Exception) -> None:
    """Warn of an error that the site survives, and raise any other again."""
    if isinstance(error, redis.AuthenticationError):
        handle_missing_permission(error)
        return
    if isinstance(error, redis.ResponseError):
        if not is_out_of_memory(error):
            raise error
        happened = "is full"
    elif cacheops_settings.CACHEOPS_DEGRADE_ON_FAILURE:
        happened = "timed out" if isinstance(error, redis.TimeoutError) else "is unreachable"
    else:
        raise error
    warn(f"The cacheops cache {happened}! Error: {error}", stacklevel=4)
