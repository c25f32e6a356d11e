"""Epochs: stamps by which a process invalidates all results of a server that it comes back to.

A server keeps its identity, its results and their stamps until it restarts or becomes a replica.
If an address leads to another server and back, or if a second failover happens before the first
master was demoted, writes made elsewhere in between did not invalidate anything on this server.
So each result depends on one more stamp, the epoch of its prefix. A process that switches to a
server deletes the epochs there before it trusts any reply: a reader because of the results that it
is about to read, a writer because of the stamps that it deleted on the wrong server.

A process switches to a server whose identity differs from the one that the process saw last. It
checks once every `CACHEOPS_ROVER_IDENTITY_SECONDS` (1 by default), on a new TCP connection,
because an open connection leads to the old server forever. The first server of a process does
not count as a switch. A cluster has no epochs: a node that lost its slots is a replica when it
comes back, and its identity changes when it is promoted.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from rover_overrides.core.switches import raw_setting

IDENTITY_COMMANDS = (("INFO", "server"), ("INFO", "replication"))
"""The commands whose replies identify a server."""

# How many prefixes a process remembers; then it discards all of them. A discarded
# prefix counts as new when it is used again, and its epoch is deleted again if necessary.
MAX_PREFIXES = 10_000

used_prefixes: dict[str, None] = {}
"""The key prefixes that this process has used."""

servers_by_pool: WeakKeyDictionary[Any, ServerState] = WeakKeyDictionary()
"""What is known of the server behind each connection pool."""

_MAX_REPORTS = 8  # servers behind one address whose last replies a process remembers
_FIELD = re.compile(
    rb"(?m)^(run_id|master_replid2?|uptime_in_seconds|"
    rb"master_repl_offset|second_repl_offset):(-?\w+)"
)

_switch_numbers = count(1)


class ServerReport(NamedTuple):
    """What a server reported about itself."""

    identity: bytes
    queried_at: float = -math.inf  # on this process's clock
    started_at: float = -math.inf  # its earliest possible start, on the same clock
    replication_id: bytes = b""  # of its stream of writes
    replication_offset: int = 0  # the length of that stream
    previous_replication_id: bytes = b"?"  # of the stream that it followed as a replica
    promotion_offset: int = -1  # the length of that stream when the server was promoted


class ServerState:
    """What the process knows of the server behind a pool, from any connection and thread."""

    __slots__ = (
        "__weakref__",
        "has_adjusted_retries",
        "has_deleted_epochs",
        "identity",
        "is_cluster_node",
        "last_deletion",
        "outdated_prefixes",
        "report",
        "reports",
        "switch_number",
        "switched_at",
    )

    def __init__(self) -> None:
        self.report: ServerReport | None = None
        """The last report of the server whose replies are trusted."""
        self.identity = b""
        """That server's identity."""
        self.reports: dict[bytes, ServerReport] = {}
        """The last report of each server, by identity."""
        self.switch_number = 0
        """A new number after each switch; replies are not trusted if it changed meanwhile."""
        self.switched_at = 0.0
        """When the process last switched to a server."""
        self.last_deletion = 0.0
        """When the process last deleted keys there."""
        self.has_deleted_epochs = False
        """Whether a switch deleted epochs; then those of newly used prefixes are deleted too."""
        self.outdated_prefixes: dict[str, None] = {}
        """The prefixes whose epochs must still be deleted there."""
        self.is_cluster_node = False
        """Whether it is a node of a cluster."""
        self.has_adjusted_retries = False
        """Whether the pool's retries have been adjusted for the transport."""

    def record_report(self, report: ServerReport) -> None:
        """Record what a server reported about itself."""
        if len(self.reports) >= _MAX_REPORTS:
            self.reports = {}
        self.reports[report.identity] = report
        if self.report is None:
            self.switched_at = time.monotonic()
            self.report, self.identity = report, report.identity
        elif self.identity == report.identity:
            self.report = report

    def begin_switch(self, identity: bytes) -> list[str]:
        """Return the prefixes whose epochs must be deleted on a server before it is trusted."""
        if self._has_no_older_results(self.reports.get(identity)):
            return []
        # Before `used_prefixes` is read: see `remember_prefix`.
        self.has_deleted_epochs = True
        return list(used_prefixes)

    def complete_switch(self, identity: bytes, deleted: Sequence[str]) -> None:
        """Trust a server from now on; change nothing if another thread switched to it first."""
        self.record_deleted_epochs(deleted)
        if self.identity != identity:
            self.report = self.reports.get(identity, ServerReport(identity))
            self.identity = identity
            self.switched_at, self.switch_number = time.monotonic(), next(_switch_numbers)

    def record_deleted_epochs(self, prefixes: Sequence[str]) -> None:
        """Record that the epochs of prefixes have been deleted."""
        for prefix in prefixes:
            self.outdated_prefixes.pop(prefix, None)

    def _has_no_older_results(self, new: ServerReport | None) -> bool:
        """Return whether a server has no result older than the deletions on the previous server.

        That is so if it started after them and after the last switch, or if it is the promoted
        replica of the previous server and had received all of them.
        """
        old = self.report
        if new is None or old is None:
            return False
        if new.started_at > max(self.switched_at, self.last_deletion):
            return True
        return (
            new.previous_replication_id == old.replication_id
            and old.replication_offset < new.promotion_offset
            and self.last_deletion < old.queried_at
        )


def server_of(pool: Any) -> ServerState:
    """Return what is known of the server behind a pool."""
    return servers_by_pool.get(pool) or servers_by_pool.setdefault(pool, ServerState())


def remember_prefix(prefix: str) -> None:
    """Add a key prefix to `used_prefixes`."""
    global used_prefixes  # noqa: PLW0603 - of the process
    if len(used_prefixes) >= MAX_PREFIXES:
        used_prefixes = {}
    _mark_outdated(prefix)  # before other threads see it in `used_prefixes`
    used_prefixes[prefix] = None
    # For a server that the process is switching to and that read `used_prefixes` before.
    _mark_outdated(prefix)


def _mark_outdated(prefix: str) -> None:
    for server in list(servers_by_pool.values()):
        if server.has_deleted_epochs:
            server.outdated_prefixes[prefix] = None


def epoch_key(prefix: str) -> str:
    """Return the key of a prefix's epoch."""
    return f"{prefix}epoch"


def identity_seconds() -> float:
    """Return for how many seconds a connection is assumed to lead where a new one would."""
    return float(raw_setting("CACHEOPS_ROVER_IDENTITY_SECONDS", 1))


def parse_report(replies: Sequence[Any], queried_at: float) -> ServerReport:
    """Parse the replies to `IDENTITY_COMMANDS`; if one of them is an error, raise it."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    values = {match[1]: match[2] for reply in replies for match in _FIELD.finditer(reply)}
    replication_id = values.get(b"master_replid", b"")
    uptime = float(values.get(b"uptime_in_seconds", b"inf"))
    return ServerReport(
        identity=b"%s %s" % (values.get(b"run_id", b""), replication_id),
        queried_at=queried_at,
        started_at=queried_at - uptime - 1,  # it is in whole seconds
        replication_id=replication_id,
        replication_offset=int(values.get(b"master_repl_offset", 0)),
        previous_replication_id=values.get(b"master_replid2", b"?"),
        promotion_offset=int(values.get(b"second_repl_offset", -1)),
    )
