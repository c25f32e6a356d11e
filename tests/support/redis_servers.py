"""Real servers for tests: one, a Sentinel, or a cluster, all on loopback and gone with the run."""

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import redis

from scripts.core.config import read_config
from scripts.probes.servers import find_program, free_port

ROOT = Path(__file__).parents[2]
GUARD = ROOT / "scripts" / "probes" / "cell" / "guard.py"
SLOTS = 16384
START_SECONDS = 30


class RedisServer:
    """A server of a kind that fork.toml names, on a port of its own; it can be killed and started again."""

    def __init__(self, kind, folder, *options):
        self._program = find_program(
            next(server for server in read_config(ROOT / "fork.toml").servers if server.id == kind)
        )
        assert self._program, f"the program of {kind} is not here"
        self.port = free_port()
        self.folder = folder
        self._options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
            *options,
        ]
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        command = [sys.executable, "-S", "-E", str(GUARD), str(self._program), *self._options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        with self.client() as client:
            wait_until(lambda: self._is_up(client), f"no answer from {self._program}")

    def _is_up(self, client):
        assert self._process.poll() is None, (
            f"{self._program} ended with {self._process.returncode}; was its port {self.port} taken?"
        )
        return responds_to_ping(client)

    def kill(self):
        self._process.terminate()
        self._process.stdin.close()
        self._process.wait()

    def client(self, **options):
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def flush_all(self):
        with self.client() as client:
            client.flushall()
            client.config_set("maxmemory", 0)

    def key_names(self):
        with self.client() as client:
            return sorted(key.decode() for key in client.keys("*"))


class Sentinel(RedisServer):
    """A Sentinel that alone decides about a master."""

    NAME = "main"

    def __init__(self, master, folder, kind="valkey9"):
        super().__init__(kind, folder)
        watched = [
            "monitor {} 127.0.0.1 {} 1",
            "down-after-milliseconds {} 60000",
            "failover-timeout {} 10000",
        ]
        said = [f"sentinel {line.format(self.NAME, master.port)}" for line in watched]
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", *said]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        self._options = [str(folder / "sentinel.conf"), "--sentinel"]

    def sees_replica(self):
        with self.client() as client:
            found = client.sentinel_slaves(self.NAME)
        return [each["flags"] for each in found] == ["slave"]

    def master(self):
        """Return the port that redis-py goes by, which is the new one a moment after others are told."""
        with self.client() as client:
            return client.sentinel_masters()[self.NAME]["port"]

    def fail_over(self):
        with self.client() as client:
            client.execute_command("SENTINEL FAILOVER", self.NAME)


class Cluster:
    """Three masters with a third of the slots each, and a replica for each if they are asked for, which takes over when told to."""

    def __init__(self, folder, *, replicas=False, kind="valkey9"):
        options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-replica-no-failover",
            "yes",
        ]
        every = []
        for number in range(6 if replicas else 3):
            (folder / str(number)).mkdir()
            every.append(RedisServer(kind, folder / str(number), *options))
        self.nodes, self.replicas = every[:3], every[3:]
        self._stack = ExitStack()

    def __enter__(self):
        for number, node in enumerate(self.nodes):
            self._stack.enter_context(node)
            with node.client() as client:
                client.execute_command(
                    "CLUSTER ADDSLOTS", *range(SLOTS * number // 3, SLOTS * (number + 1) // 3)
                )
            self._join_cluster(node)
        for node in self.replicas:
            self._stack.enter_context(node)
            self._join_cluster(node)
        wait_until(self._is_complete, "the cluster does not come together")
        for master, replica in zip(self.nodes[: len(self.replicas)], self.replicas, strict=True):
            with replica.client() as client:
                client.execute_command("CLUSTER REPLICATE", self.id_of(master))
                wait_until(
                    lambda: client.info("replication").get("master_link_status") == "up",
                    "no replication",
                )
        return self

    def __exit__(self, *_):
        self._stack.close()

    def client(self, **options):
        return redis.RedisCluster(host="127.0.0.1", port=self.nodes[0].port, **options)

    def flush_all(self):
        for node in self.nodes:
            node.flush_all()

    def key_names(self):
        return sorted(key for node in self.nodes for key in node.key_names())

    def id_of(self, node):
        with node.client() as client:
            return decoded(client.execute_command("CLUSTER MYID"))

    def _join_cluster(self, node):
        with self.nodes[0].client() as first:
            first.execute_command("CLUSTER MEET", "127.0.0.1", node.port)

    def _is_complete(self):
        every = [*self.nodes, *self.replicas]
        for node in every:
            with node.client() as client:
                info = client.cluster("INFO")
            if (info["cluster_state"], info["cluster_known_nodes"]) != ("ok", str(len(every))):
                return False
        return True


def responds_to_ping(client):
    try:
        return client.ping()
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def wait_until(true, words):
    """Wait until something is true."""
    end = time.monotonic() + START_SECONDS
    while not true():
        assert time.monotonic() < end, words
        time.sleep(0.02)


def decoded(said):
    return said.decode() if isinstance(said, bytes) else str(said)
