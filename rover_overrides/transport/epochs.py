"""Epochs: stamps by which a process invalidates all results of a server that it comes back to.

A server keeps its identity, its results and their stamps until it restarts or becomes a replica.
If an address leads to another server and back, or if a second failover happens before the first
master was demoted, writes made elsewhere in between did not invalidate anything on this server.
So each result depends on one more stamp, the epoch of its prefix. A process that arrives at a
server drops the epochs there before it trusts any reply: a reader because of the results that it
is about to read, a writer because of the stamps that it dropped on the wrong server.

A process arrives at a server whose identity differs from the one that the process saw last. It
checks once every `CACHEOPS_ROVER_IDENTITY_SECONDS` (1 by default), on a new TCP connection,
because an open connection leads to the old server forever. The first server of a process does
not count as an arrival. A cluster has no epochs: a node that lost its slots is a replica when it
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

from rover_overrides.core.switches import stated

WHO = (("INFO", "server"), ("INFO", "replication"))
"""The commands whose replies identify a server."""

# How many prefixes a process remembers; then it forgets all of them. A forgotten
# prefix counts as new when it is used again, and its epoch is dropped again if necessary.
MOST_PREFIXES = 10_000

used: dict[str, None] = {}
"""The key prefixes that this process has used."""

servers: WeakKeyDictionary[Any, Server] = WeakKeyDictionary()
"""What is known of the server behind each connection pool."""

_MOST_KNOWN = 8  # servers behind one address whose last replies a process remembers
_FIELD = re.compile(
    rb"(?m)^(run_id|master_replid2?|uptime_in_seconds|"
    rb"master_repl_offset|second_repl_offset):(-?\w+)"
)

_moves = count(1)


class About(NamedTuple):
    """What a server reported about itself."""

    identity: bytes
    asked: float = -math.inf  # when it was queried, on this process's clock
    started: float = -math.inf  # its earliest possible start, on the same clock
    history: bytes = b""  # the replication id of its stream of writes
    offset: int = 0  # the length of that stream
    inherited: bytes = b"?"  # the replication id of the stream that it followed as a replica
    promoted: int = -1  # the length of that stream when the server was promoted


class Server:
    """What the process knows of the server behind a pool, from any connection and thread."""

    __slots__ = (
        "__weakref__",
        "about",
        "arrived",
        "dropped",
        "identity",
        "is_node",
        "is_prompt",
        "known",
        "moves",
        "owing",
        "renews",
    )

    def __init__(self) -> None:
        self.about: About | None = None
        """The last report of the server whose replies are trusted."""
        self.identity = b""
        """That server's identity."""
        self.known: dict[bytes, About] = {}
        """The last report of each server, by identity."""
        self.moves = 0
        """A new number after each arrival; replies are not trusted if it changed meanwhile."""
        self.arrived = 0.0
        """When the process last arrived at a server."""
        self.dropped = 0.0
        """When the process last dropped keys there."""
        self.renews = False
        """Whether an arrival dropped epochs; then those of newly used prefixes are dropped too."""
        self.owing: dict[str, None] = {}
        """The prefixes whose epochs must still be dropped there."""
        self.is_node = False
        """Whether it is a node of a cluster."""
        self.is_prompt = False
        """Whether the pool's retries have been adjusted for the transport."""

    def heard(self, about: About) -> None:
        """Record what a server reported about itself."""
        if len(self.known) >= _MOST_KNOWN:
            self.known = {}
        self.known[about.identity] = about
        if self.about is None:
            self.arrived = time.monotonic()
            self.about, self.identity = about, about.identity
        elif self.identity == about.identity:
            self.about = about

    def arriving(self, identity: bytes) -> list[str]:
        """Return the prefixes whose epochs must be dropped on a server before it is trusted."""
        if self._is_fresh(self.known.get(identity)):
            return []
        self.renews = True  # before `used` is read: see `use`
        return list(used)

    def arrive(self, identity: bytes, renewed: Sequence[str]) -> None:
        """Trust a server from now on; change nothing if another thread arrived there first."""
        self.renewed(renewed)
        if self.identity != identity:
            self.about, self.identity = self.known.get(identity, About(identity)), identity
            self.arrived, self.moves = time.monotonic(), next(_moves)

    def renewed(self, prefixes: Sequence[str]) -> None:
        """Record that the epochs of prefixes have been dropped."""
        for prefix in prefixes:
            self.owing.pop(prefix, None)

    def _is_fresh(self, new: About | None) -> bool:
        """Return whether a server has no result older than the drops on the previous server.

        That is so if it started after them and after the last arrival, or if it is the promoted
        replica of the previous server and had received all of them.
        """
        old = self.about
        if new is None or old is None:
            return False
        if new.started > max(self.arrived, self.dropped):
            return True
        return (
            new.inherited == old.history and old.offset < new.promoted and self.dropped < old.asked
        )


def server_of(pool: Any) -> Server:
    """Return what is known of the server behind a pool."""
    return servers.get(pool) or servers.setdefault(pool, Server())


def use(prefix: str) -> None:
    """Remember a key prefix that is not in `used`."""
    global used  # noqa: PLW0603 - of the process
    if len(used) >= MOST_PREFIXES:
        used = {}
    _owe(prefix)  # before other threads see it in `used`
    used[prefix] = None
    _owe(prefix)  # for a server that the process is arriving at and that read `used` before


def _owe(prefix: str) -> None:
    for server in list(servers.values()):
        if server.renews:
            server.owing[prefix] = None


def key(prefix: str) -> str:
    """Return the key of a prefix's epoch."""
    return f"{prefix}epoch"


def seconds() -> float:
    """Return for how many seconds a connection is assumed to lead where a new one would."""
    return float(stated("CACHEOPS_ROVER_IDENTITY_SECONDS", 1))


def read(replies: Sequence[Any], asked: float) -> About:
    """Parse the replies to `WHO`; if one of them is an error, raise it."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    said = {match[1]: match[2] for reply in replies for match in _FIELD.finditer(reply)}
    history = said.get(b"master_replid", b"")
    return About(
        identity=b"%s %s" % (said.get(b"run_id", b""), history),
        asked=asked,
        started=asked - float(said.get(b"uptime_in_seconds", b"inf")) - 1,  # in whole seconds
        history=history,
        offset=int(said.get(b"master_repl_offset", 0)),
        inherited=said.get(b"master_replid2", b"?"),
        promoted=int(said.get(b"second_repl_offset", -1)),
    )
