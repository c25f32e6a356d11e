"""Epochs: what makes all results of a server misses that this process left, and that others may have written past meanwhile.

A server keeps its identity, and with it its results and their stamps, for as long as it neither restarts nor becomes a replica.
Where an address leads to another server and back, or a second failover comes before the first master was demoted, what was
written elsewhere in between has dropped nothing here. So each result depends on one more stamp, the epoch of its prefix, and
whoever arrives at a server drops the epochs there before it believes any reply: readers for what they are about to read, writers
for what they dropped where it was the wrong server already.

A process arrives where a server has another identity than the one it saw last. It looks once every
`CACHEOPS_ROVER_IDENTITY_SECONDS` (1 unless set), on a new TCP connection: an old one leads to the old server for ever. The first
server of a process is no arrival. A cluster has no epochs: a node that lost its slots is a replica when it comes back, and has
another identity when it is promoted.
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
"""The commands whose replies say who a server is."""

MOST_PREFIXES = 10_000  # that a process remembers; then it forgets them, and drops their epochs once more if it ever has to

used: dict[str, None] = {}
"""The prefixes of keys that this process has used."""

servers: WeakKeyDictionary[Any, Server] = WeakKeyDictionary()
"""What is known of the server behind each pool."""

_MOST_KNOWN = 8  # servers behind an address that a process remembers what they said of themselves
_FIELD = re.compile(
    rb"(?m)^(run_id|master_replid2?|uptime_in_seconds|master_repl_offset|second_repl_offset):(-?\w+)"
)

_moves = count(1)


class About(NamedTuple):
    """What a server said of itself."""

    identity: bytes
    asked: float = -math.inf  # when, on this process's clock
    started: float = -math.inf  # not before, on the same clock
    history: bytes = b""  # the id of its stream of writes
    offset: int = 0  # how long that was
    inherited: bytes = b"?"  # the stream that it followed as a replica
    promoted: int = -1  # how long that was when it was promoted


class Server:
    """What the process knows of the server behind a pool, whichever of its connections and threads found it out."""

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
        """The last answer of the server whose replies are believed."""
        self.identity = b""
        """That server's identity."""
        self.known: dict[bytes, About] = {}
        """The last answers of others too."""
        self.moves = 0
        """Another number after each arrival: an exchange during which it changed is not believed."""
        self.arrived = 0.0
        self.dropped = 0.0
        """When the process last dropped something there."""
        self.renews = False
        """Whether there was an arrival that dropped epochs: those of prefixes that are used for the first time go too."""
        self.owing: dict[str, None] = {}
        """The prefixes whose epochs are to be dropped there."""
        self.is_node = False
        """Whether it is a node of a cluster."""
        self.is_prompt = False
        """Whether the pool's retries are as the transport wants them."""

    def heard(self, about: About) -> None:
        """Note what a server said of itself."""
        if len(self.known) >= _MOST_KNOWN:
            self.known = {}
        self.known[about.identity] = about
        if self.about is None:
            self.arrived = time.monotonic()
            self.about, self.identity = about, about.identity
        elif self.identity == about.identity:
            self.about = about

    def arriving(self, identity: bytes) -> list[str]:
        """Return the prefixes whose epochs are to be dropped on a server before it is believed."""
        if self._is_fresh(self.known.get(identity)):
            return []
        self.renews = True  # before the look at `used`: see `use`
        return list(used)

    def arrive(self, identity: bytes, renewed: Sequence[str]) -> None:
        """Go by a server from now on; a thread that comes later than another one changes nothing."""
        self.renewed(renewed)
        if self.identity != identity:
            self.about, self.identity = self.known.get(identity, About(identity)), identity
            self.arrived, self.moves = time.monotonic(), next(_moves)

    def renewed(self, prefixes: Sequence[str]) -> None:
        """Note that the epochs of prefixes have been dropped."""
        for prefix in prefixes:
            self.owing.pop(prefix, None)

    def _is_fresh(self, new: About | None) -> bool:
        """Return whether a server has no result that is older than what this process dropped on the one it comes from.

        It started later, or it is the promoted replica of that one, and had all that this process dropped there.
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
    """Remember a prefix of keys that is not among the `used`."""
    global used  # noqa: PLW0603 - of the process
    if len(used) >= MOST_PREFIXES:
        used = {}
    _owe(prefix)  # before others find it among the used
    used[prefix] = None
    _owe(prefix)  # to a server that the process arrives at now, without having found it there


def _owe(prefix: str) -> None:
    for server in list(servers.values()):
        if server.renews:
            server.owing[prefix] = None


def key(prefix: str) -> str:
    """Return the key of a prefix's epoch."""
    return f"{prefix}epoch"


def seconds() -> float:
    """Return for how long a connection is taken to lead where a new one would."""
    return float(stated("CACHEOPS_ROVER_IDENTITY_SECONDS", 1))


def read(replies: Sequence[Any], asked: float) -> About:
    """Read the replies to `WHO`; raises the error that one of them is."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    said = {match[1]: match[2] for reply in replies for match in _FIELD.finditer(reply)}
    history = said.get(b"master_replid", b"")
    return About(
        identity=b"%s %s" % (said.get(b"run_id", b""), history),
        asked=asked,
        started=asked - float(said.get(b"uptime_in_seconds", b"inf")) - 1,  # it says whole seconds
        history=history,
        offset=int(said.get(b"master_repl_offset", 0)),
        inherited=said.get(b"master_replid2", b"?"),
        promoted=int(said.get(b"second_repl_offset", -1)),
    )
