"""Under load no stale read, whatever happens to the servers: slots that move, replicas that lag and take over, an old dump."""

from contextlib import contextmanager
from typing import NamedTuple

import pytest
from redis.crc import key_slot

from tests.support import engine_redis
from tests.support.application_process import application_processes
from tests.support.read_write_load import MAX_OPERATIONS, ROWS, LoadBoard

pytestmark = pytest.mark.slow

PROCESSES = 3
OPERATIONS = 300  # of each process, before what happens and after it
CLUSTER = {"CACHEOPS_CLIENT_CLASS": "redis.cluster.RedisCluster"}


class Crowd(NamedTuple):
    """Processes that read and write the same rows, and the board that they share."""

    each: list
    board: LoadBoard

    def run_operations(self):
        """Have all of them do the same number of operations: no read is stale, none raises, and many are hits."""
        for process in self.each:
            process.send(f"load.run_operations({OPERATIONS})")
        came = self._answers()
        assert all(each["hits"] > OPERATIONS // 10 for each in came), came
        return came

    @contextmanager
    def working(self):
        """Have all of them work for as long as the block takes."""
        self.board.stop(False)
        for process in self.each:
            process.send("load.run_until_stopped()")
        yield
        self.board.stop()
        came = self._answers()
        assert all(each["reads"] + each["writes"] < MAX_OPERATIONS for each in came), (
            "they stopped before"
        )

    @contextmanager
    def only_reading(self):
        """Have nobody write inside the block: a write that has begun keeps results of its table away for a minute where it is brought back."""
        self.board.set_read_only(True)
        self.does(2)
        yield
        self.board.set_read_only(False)

    def does(self, operations):
        """Wait until each process has done so many more operations."""
        wanted = [done + operations for done in self.board.operation_counts()]
        engine_redis.wait_until(
            lambda: all(map(int.__ge__, self.board.operation_counts(), wanted)), "they rest"
        )

    def save_every_row(self):
        """Wait until each row has been saved again."""
        before = self.board.least_values()
        engine_redis.wait_until(
            lambda: all(map(int.__gt__, self.board.least_values(), before)), "nobody writes"
        )

    def _answers(self):
        came = [process.receive().value for process in self.each]
        assert [each["stale"] for each in came] == [[]] * len(came)
        return came


@contextmanager
def crowd(tree, folder, port, **settings):
    """Start processes on a Redis, with a database of their own."""
    with application_processes(tree, folder, f"redis://127.0.0.1:{port}", **settings) as start:
        each = [start() for _ in range(PROCESSES)]
        each[0].execute("import read_write_load; read_write_load.prepare()")
        for number, process in enumerate(each):
            process.execute(
                f"import read_write_load; load = read_write_load.Load({str(folder / 'board')!r}, {number}, {PROCESSES})"
            )
        yield Crowd(each, LoadBoard(folder / "board", PROCESSES))


@pytest.fixture(scope="module")
def shared_nodes(tmp_path_factory):
    """Run three masters, each with a replica."""
    with engine_redis.Cluster(tmp_path_factory.mktemp("replicated"), replicas=True) as cluster:
        yield cluster


@pytest.fixture
def pairs(shared_nodes):
    """Give each master with its replica, empty; they may have changed places."""
    found = list(zip(shared_nodes.nodes, shared_nodes.replicas, strict=True))
    found = [pair if role(pair[0]) == "master" else pair[::-1] for pair in found]
    for master, _ in found:
        master.flush_all()
    return found


@pytest.mark.parametrize("by_table", [False, True], ids=["spread", "by table"])
def test_slots_that_move_bring_nothing_back(tree, pairs, tmp_path, by_table):
    with crowd(
        tree, tmp_path, pairs[0][0].port, **CLUSTER, CACHEOPS_ROVER_SHARD_BY_TABLE=by_table
    ) as load:
        load.run_operations()
        source, target, other = sorted(
            (master for master, _ in pairs), key=lambda node: -len(node.key_names())
        )
        ids = {node: id_of(node) for node in (source, target)}
        with load.working():
            slots = sorted({key_slot(name.encode()) for name in source.key_names()})
            assert slots
            for slot in slots:
                at(target, "SETSLOT", slot, "IMPORTING", ids[source])
                at(source, "SETSLOT", slot, "MIGRATING", ids[target])
            load.save_every_row()
            for slot in slots:
                move(slot, source, target)
            load.save_every_row()
            for slot in slots:
                for node in (target, source, other):
                    at(node, "SETSLOT", slot, "NODE", ids[target])
            load.save_every_row()
        engine_redis.wait_until(
            lambda: {owner(slot, other) for slot in slots} == {target.port},
            "the slots are not there",
        )
        load.run_operations()


def test_replicas_that_lag_and_take_over_bring_nothing_back(tree, pairs, tmp_path):
    with crowd(tree, tmp_path, pairs[0][0].port, **CLUSTER) as load:
        load.run_operations()
        with load.working():
            with load.only_reading():
                for master, replica in pairs:
                    leave_behind(master, replica)
            load.save_every_row()
            for master, replica in pairs:
                assert offset(replica, "slave_repl_offset") < offset(master, "master_repl_offset")
                at(replica, "FAILOVER", "TAKEOVER")
                engine_redis.wait_until(
                    lambda master=master: role(master) == "slave",
                    "the old master does not hear of it",
                )
                assert role(replica) == "master"
            load.save_every_row()
        load.run_operations()
    for _, replica in pairs:
        with replica.client() as client:
            client.config_set("masterauth", "")


def test_restart_from_an_older_dump_brings_nothing_back(tree, tmp_path):
    with (
        engine_redis.RedisServer("valkey9", tmp_path) as server,
        crowd(tree, tmp_path, server.port) as load,
    ):
        load.run_operations()
        with load.working():
            # A writer who finds no server drops whole tables later, whatever the dump brings back: so once without.
            with dumped(server, load), load.only_reading():
                restart(server)
                load.does(4 * ROWS)
            with dumped(server, load):
                restart(server)
            load.save_every_row()
        load.run_operations()


@contextmanager
def dumped(server, load):
    """Dump what a server has, then save every row; the block is to restart the server, which then has what was dumped."""
    with server.client() as client:
        run_id = client.info("server")["run_id"]
        client.set("mark", "dumped")
        with load.only_reading():
            client.save()
        client.set("mark", "later")
        load.save_every_row()
        yield
        assert client.get("mark") == b"dumped"
        assert client.info("server")["run_id"] != run_id


def restart(server):
    """Restart a server, which does not dump what it has."""
    with server.client() as client:
        client.shutdown(nosave=True)
    server.kill()
    server.start()


def leave_behind(master, replica):
    """Cut a replica off from its master, which stays as it is for everybody else."""
    with replica.client() as client, master.client() as its_master:
        client.config_set("masterauth", "a password that the master does not have")
        its_master.execute_command("CLIENT KILL TYPE replica")
        engine_redis.wait_until(
            lambda: client.info("replication")["master_link_status"] == "down", "it hears yet"
        )


def offset(node, name):
    with node.client() as client:
        return client.info("replication")[name]


def role(node):
    with node.client() as client:
        return client.info("replication")["role"]


def id_of(node):
    """Return the name of a node in the cluster."""
    return engine_redis.decoded(at(node, "MYID"))


def at(node, *words):
    with node.client() as client:
        return client.execute_command("CLUSTER", *words)


def move(slot, source, target):
    """Move all keys of a slot."""
    while names := at(source, "GETKEYSINSLOT", slot, 100):
        with source.client() as client:
            client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)


def owner(slot, node):
    """Return the port of the master of a slot as a node sees it."""
    return next(master[1] for first, last, master, *_ in at(node, "SLOTS") if first <= slot <= last)
