"""What a fault acts on: the servers, the workers, the board, and waits during which ended workers are restarted."""

import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random

import psycopg
import redis

from tests.chaos.board import Board, now
from tests.chaos.places import Place
from tests.chaos.worker_pool import WorkerPool

TICK_SECONDS = 0.02
PATIENCE_SECONDS = 6


class NoWriteCameError(Exception):
    """A fault waited for a write that did not come: it counts for nothing."""


@dataclass
class FaultContext:
    """A run under way in one place; `random` is the fault's own, so that it can be repeated."""

    place: Place
    workers: WorkerPool
    board: Board
    kinds: list  # of writes, by name
    report_progress: object  # is called while a fault waits
    random: Random = None
    moves: list = field(default_factory=list)

    def wait(self, seconds):
        """Wait, and start anew whoever has ended."""
        self.wait_until(lambda: False, seconds)

    def wait_until(self, true, seconds):
        """Wait until something is true, for so many seconds at most; return whether it is."""
        end = time.monotonic() + seconds
        while True:
            self.workers.restart_ended()
            self.report_progress()
            if true():
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(TICK_SECONDS)

    def wait_for_operations(self, operations):
        """Wait until each process has done so many more reads or writes."""
        numbers = range(len(self.workers.specs))
        wanted = [self.board.counts(number)["done"] + operations for number in numbers]
        assert self.wait_until(
            lambda: all(
                self.board.counts(number)["done"] >= least
                for number, least in zip(numbers, wanted, strict=True)
            ),
            30,
        ), "somebody rests"

    def note_move(self):
        """Note that processes were led to another server, or their server to other keys, just now."""
        self.moves.append(now())

    def wait_for(self, true, words):
        """Wait for what a fault cannot do without; raises MissedError where it does not come."""
        if not self.wait_until(true, PATIENCE_SECONDS):
            raise NoWriteCameError(words)

    def shuffled(self, some):
        """Return them in another order."""
        return self.random.sample(list(some), len(some))

    @contextmanager
    def sql(self):
        """Open a connection to the database past everything."""
        with psycopg.connect(
            **self.place.direct_connection(), autocommit=True, application_name="fault"
        ) as connection:
            yield connection

    def masters(self):
        """Return the servers that are masters now."""
        return [server for server in self.place.servers() if self._role(server) == "master"]

    def master(self):
        """Return one of them."""
        return self.random.choice(self.masters())

    def is_replica_of(self, server, name):
        """Return whether a node of a cluster is a replica of the one of that name."""
        with server.client() as client:
            lines = client.execute_command("CLUSTER NODES")
        lines = (
            lines.decode().splitlines()
            if isinstance(lines, bytes)
            else [
                f"{address} {node['flags']} {node['master_id']}" for address, node in lines.items()
            ]
        )
        return any("myself" in line and name in line for line in lines)

    def flush(self):
        """Empty all masters."""
        for server in self.masters():
            with server.client() as client, suppress(redis.RedisError):
                client.flushall()

    def delete(self, *patterns, share=1.0):
        """Delete so many of the keys of patterns on all masters."""
        for server in self.masters():
            with server.client() as client, suppress(redis.RedisError):
                for key in (key for pattern in patterns for key in client.keys(pattern)):
                    if self.random.random() < share:
                        client.unlink(key)

    @contextmanager
    def paused_server(self, server):
        """Have a server do nothing."""
        with server.client() as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def changed_setting(self, name, value, after):
        """Change a setting of the server for a while."""
        with self.place.main.client() as client:
            client.config_set(name, value)
        try:
            yield
        finally:
            with self.place.main.client() as client:
                client.config_set(name, after)

    def _role(self, server):
        with server.client() as client, suppress(redis.RedisError):
            return client.info("replication")["role"]
        return None
