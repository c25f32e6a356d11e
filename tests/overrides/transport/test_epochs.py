"""A server that was left and comes back brings no old result along, though it neither restarted nor was promoted."""

import os
import threading
import time

import pytest
import redis
from django.test import override_settings
from redis.sentinel import MasterNotFoundError, Sentinel

from rover_overrides.cache import results
from rover_overrides.conditions.conditions import TRUE
from rover_overrides.operations.reclaim import reclaim
from rover_overrides.transport import epochs, pipeline
from tests.support import engine_redis
from tests.support.application_process import application_processes
from tests.support.one_result import DEPS, cached, drop, is_hit
from tests.support.redis_proxy import Proxy
from tests.support.redis_watch import watching

pytestmark = pytest.mark.slow

AT_ONCE = override_settings(CACHEOPS_ROVER_IDENTITY_SECONDS=0)
WRITTEN = ("u", TRUE)


class Address(Proxy):
    """An address that leads to a server, and for new connections to another one when it has moved."""

    def move(self, server, *, closes=False):
        self._target = server.port
        if closes:
            self._reset_connections()

    def process(self):
        """Return the client of a process of its own."""
        return redis.Redis(host="127.0.0.1", port=self.port)


@pytest.fixture(scope="module", params=["redis6.2", "valkey9"])
def running(request, tmp_path_factory):
    with (
        engine_redis.RedisServer(request.param, tmp_path_factory.mktemp("a")) as a,
        engine_redis.RedisServer(request.param, tmp_path_factory.mktemp("b")) as b,
    ):
        for server in (a, b):  # the clocks that are set by hand are some seconds ahead of theirs
            with server.client() as client:
                engine_redis.wait_until(
                    lambda: client.info("server")["uptime_in_seconds"] > 3, "it does not get old"
                )
        yield a, b


@pytest.fixture
def servers(running):
    for server in running:
        server.flush_all()
    return running


@pytest.fixture
def address(servers, monkeypatch):
    """Give an address that leads to the first of two servers, and a process that goes by it."""
    with Proxy.__enter__(Address(servers[0].port)) as address:
        engine_redis.use_client(monkeypatch, address.process())
        monkeypatch.setattr(epochs, "used_prefixes", {})
        yield address


def as_process(monkeypatch, client, work):
    """Do something as another process."""
    mine = pipeline.client
    engine_redis.use_client(monkeypatch, client)
    try:
        return work()
    finally:
        monkeypatch.setattr(pipeline, "client", mine)
        engine_redis.forget_registries(monkeypatch)


def filled(value="old", **options):
    cached(lambda: value, **options)
    assert is_hit(**options)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now):
        self.now = now

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(1e6)
    monkeypatch.setattr(pipeline, "time", clock)
    monkeypatch.setattr(epochs, "time", clock)
    return clock


@pytest.mark.parametrize("closes", [False, True])
@AT_ONCE
def test_address_that_moves_away_and_back_brings_no_old_result_back(address, servers, closes):
    a, b = servers
    filled()
    address.move(b, closes=closes)
    assert not is_hit()
    drop(*WRITTEN)
    address.move(a, closes=closes)
    assert cached(lambda: "new") == "new"
    assert is_hit()


@AT_ONCE
def test_every_return_is_a_switch(address, servers):
    a, b = servers
    for number in range(3):
        filled(number)
        for server in (b, a):
            address.move(server, closes=True)
            assert not is_hit()


@AT_ONCE
def test_first_server_of_a_process_is_no_switch(address, monkeypatch):
    filled()
    assert as_process(monkeypatch, address.process(), is_hit)


@AT_ONCE
def test_who_returns_first_speaks_for_all(address, servers, monkeypatch):
    a, b = servers
    idle = address.process()
    as_process(monkeypatch, idle, filled)
    pipeline.run([("GET", "a")])
    address.move(b)
    drop(*WRITTEN)
    address.move(a)
    pipeline.run([("GET", "a")])
    assert not as_process(monkeypatch, idle, is_hit), "it never left"


def test_connection_is_believed_for_a_second(address, servers, clock):
    _, b = servers
    filled()
    address.move(b)
    clock.now += 0.9
    assert is_hit(), "the bound"
    clock.now += 0.2
    assert not is_hit()
    filled("new")


def test_time_for_which_it_is_believed_is_a_setting(address, servers, clock):
    _, b = servers
    with override_settings(CACHEOPS_ROVER_IDENTITY_SECONDS=10):
        filled()
        address.move(b)
        clock.now += 9
        assert is_hit()
        clock.now += 2
        assert not is_hit()


def test_look_costs_a_connection_and_two_commands_and_no_round_trip_of_ours(
    address, servers, clock
):
    filled()
    with (
        servers[0].client() as client,
        watching(client) as ran,
        engine_redis.count_round_trips() as counted,
    ):
        assert is_hit()
        assert address.connections == 1
        clock.now += 1.1
        assert is_hit()
        assert is_hit()
    assert address.connections == 2
    assert counted["trips"] == 3
    names = [command.name for command in ran if command.name not in {"HELLO", "CLIENT", "ECHO"}]
    hit = ["MGET", "LINDEX", "LINDEX"]
    assert names == [*hit, "INFO", "INFO", *hit, *hit]


def test_connection_that_the_application_made_before_is_made_anew(address, servers, monkeypatch):
    _, b = servers
    client = address.process()
    client.ping()
    as_process(monkeypatch, address.process(), filled)
    address.move(b)
    assert not as_process(monkeypatch, client, is_hit)


def test_writer_that_dropped_at_the_wrong_server_renews_the_epoch_of_the_right_one(
    address, servers, clock, monkeypatch
):
    _, b = servers
    pipeline.run([("GET", "a")])
    epochs.remember_prefix("")
    address.move(b)
    reader = address.process()
    as_process(monkeypatch, reader, filled)
    drop(*WRITTEN)
    assert as_process(monkeypatch, reader, is_hit), "it went to the old server"
    clock.now += 1.1
    pipeline.run([("GET", "a")])
    assert not as_process(monkeypatch, reader, is_hit)
    as_process(monkeypatch, reader, lambda: filled("new"))


@AT_ONCE
def test_exchange_that_saw_an_old_epoch_is_not_believed(address, servers, monkeypatch):
    a, b = servers
    filled()
    real, calls = pipeline._exchange, []

    def late(batches):
        replies = real(batches)
        calls.append(batches)
        if len(calls) == 1:  # as another thread, before these replies are looked at
            for server in (b, a):
                address.move(server)
                pipeline.run([("GET", "a")])
        return replies

    monkeypatch.setattr(pipeline, "_exchange", late)
    assert not is_hit()


@AT_ONCE
def test_threads_that_switch_together_read_nothing_old(address, servers):
    a, b = servers
    filled()
    address.move(b)
    drop(*WRITTEN)
    address.move(a)
    barrier, found = threading.Barrier(8), []

    def read():
        barrier.wait()
        found.append(is_hit())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [False] * 8
    filled("new")


@AT_ONCE
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_fork_goes_on_from_where_it_was(address, servers, monkeypatch):
    _, b = servers
    filled()
    address.move(b)
    as_process(monkeypatch, address.process(), filled)
    child = os.fork()
    if not child:
        os._exit(1 if is_hit() else 0)
    assert os.waitpid(child, 0)[1] == 0


@AT_ONCE
def test_server_that_refuses_the_drop_is_not_believed(address, servers):
    a, b = servers
    filled()
    address.move(b)
    assert not is_hit()
    with a.client() as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            address.move(a)
            with pytest.raises(redis.ConnectionError, match="NOREPLICAS"):
                pipeline.run([("GET", "a")])
        finally:
            client.config_set("min-replicas-to-write", 0)
    assert not is_hit()


@AT_ONCE
def test_results_of_an_old_epoch_are_dead(address, servers):
    a, b = servers
    filled()
    assert reclaim() == (1, 0)
    address.move(b)
    pipeline.run([("GET", "a")])
    address.move(a)
    pipeline.run([("GET", "a")])
    assert reclaim() == (1, 1)


# Prefixes


@AT_ONCE
def test_all_prefixes_that_were_used_are_renewed(address, servers):
    a, b = servers
    prefixes = [f"tenant{n}:" for n in range(3)]
    for prefix in prefixes:
        filled(prefix=prefix)
    address.move(b)
    pipeline.run([("GET", "a")])
    address.move(a)
    pipeline.run([("GET", "a")])
    assert [name for name in a.key_names() if "epoch" in name] == []


@AT_ONCE
def test_prefix_that_is_new_to_a_process_that_moved_is_renewed(address, servers, monkeypatch):
    a, b = servers
    as_process(monkeypatch, address.process(), lambda: filled(prefix="tenant:"))
    monkeypatch.setattr(epochs, "used_prefixes", {})
    assert not is_hit()
    for server in (b, a):
        address.move(server)
        pipeline.run([("GET", "a")])
    assert not is_hit(prefix="tenant:")
    filled("new", prefix="tenant:")
    with engine_redis.count_round_trips() as counted:
        assert is_hit(prefix="tenant:")
    assert counted["trips"] == 1


def test_prefix_that_is_new_to_a_process_that_never_moved_is_not(address, monkeypatch):
    as_process(monkeypatch, address.process(), lambda: filled(prefix="tenant:"))
    monkeypatch.setattr(epochs, "used_prefixes", {})
    assert is_hit(prefix="tenant:")


@AT_ONCE
def test_prefixes_that_a_process_remembers_are_bounded(address, servers, monkeypatch):
    a, b = servers
    assert epochs.MAX_PREFIXES == 10_000
    monkeypatch.setattr(epochs, "MAX_PREFIXES", 4)
    prefixes = [f"tenant{n}:" for n in range(10)]
    for prefix in prefixes:
        filled(prefix=prefix)
        assert len(epochs.used_prefixes) <= 4
    for server in (b, a):
        address.move(server)
        pipeline.run([("GET", "a")])
    assert [is_hit(prefix=prefix) for prefix in prefixes] == [False] * 10
    assert len(epochs.used_prefixes) <= 4


@AT_ONCE
def test_drop_of_many_epochs_is_in_steps(address, servers, monkeypatch):
    _, b = servers
    for n in range(2500):
        epochs.remember_prefix(f"tenant{n}:")
    filled()
    with b.client() as client, watching(client) as ran:
        address.move(b)
        pipeline.run([("GET", "a")])
    assert [len(command.args) for command in ran if command.name == "UNLINK"] == [1000, 1000, 501]


@AT_ONCE
def test_user_may_have_a_right_to_the_prefix_alone(address, servers, monkeypatch):
    a, b = servers
    for server in servers:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "tenant", "on", ">word", "~tenant:*", "+@all")
    engine_redis.use_client(
        monkeypatch,
        redis.Redis(host="127.0.0.1", port=address.port, username="tenant", password="word"),
    )
    monkeypatch.setattr(epochs, "used_prefixes", {})
    with pytest.raises(redis.RedisError):
        pipeline.run([("GET", "other")])
    tenants = {"prefix": "tenant:", "key": "tenant:q:1"}
    filled(**tenants)
    for server in (b, a):
        address.move(server)
        assert not is_hit(**tenants)
    filled("new", **tenants)


# Servers whose identity changes by itself


def switched_long_ago(client):
    """Make a process look as if it had switched to its server long ago, as an idle one."""
    server = epochs.server_of(client.connection_pool)
    server.switched_at -= 100
    return server


def test_restart_costs_no_epoch(tmp_path, monkeypatch):
    with engine_redis.RedisServer("valkey9", tmp_path) as server:
        idle, busy = server.client(), server.client()
        for client in (idle, busy):
            as_process(monkeypatch, client, lambda: is_hit() or pipeline.run([("GET", "a")]))
        server.kill()
        server.start()
        as_process(monkeypatch, busy, filled)
        switched_long_ago(idle)
        assert as_process(monkeypatch, idle, is_hit)
        assert as_process(monkeypatch, busy, is_hit)


def test_restart_that_may_be_older_than_a_drop_costs_one(tmp_path, monkeypatch):
    with engine_redis.RedisServer("valkey9", tmp_path) as server:
        writer, busy = server.client(), server.client()
        for client in (writer, busy):
            as_process(monkeypatch, client, lambda: pipeline.run([("GET", "a")]))
        known = switched_long_ago(writer)
        as_process(monkeypatch, writer, lambda: is_hit() or drop(*WRITTEN))
        server.kill()
        server.start()
        as_process(monkeypatch, busy, filled)
        assert known.last_deletion
        known.last_deletion = (
            time.monotonic()
        )  # however long the restart took: the server says only whole seconds
        as_process(monkeypatch, writer, lambda: pipeline.run([("GET", "a")]))
        assert not as_process(monkeypatch, busy, is_hit)


@pytest.fixture
def pair(tmp_path):
    """Give a master and its replica."""
    for name in ("master", "replica"):
        (tmp_path / name).mkdir()
    with (
        engine_redis.RedisServer("valkey9", tmp_path / "master") as master,
        engine_redis.RedisServer("valkey9", tmp_path / "replica") as replica,
    ):
        attach(replica, master)
        yield master, replica


def attach(replica, master):
    with replica.client() as client:
        client.replicaof("127.0.0.1", master.port)
        engine_redis.wait_until(
            lambda: client.info("replication")["master_link_status"] == "up", "no replication"
        )


def promote(server):
    with server.client() as client:
        client.replicaof("NO", "ONE")


def has_all(master, replica):
    with master.client() as client:
        client.incr("mark")
        assert client.wait(1, 10_000) == 1


@AT_ONCE
@pytest.mark.parametrize(("writes", "is_kept"), [(False, True), (True, False)])
def test_promoted_replica_costs_an_epoch_only_who_may_have_written_past_it(
    pair, monkeypatch, writes, is_kept
):
    master, replica = pair
    with Proxy.__enter__(Address(master.port)) as address:
        idle, busy = address.process(), address.process()
        for client in (idle, busy):
            as_process(monkeypatch, client, lambda: is_hit() or pipeline.run([("GET", "a")]))
        if writes:
            as_process(monkeypatch, idle, lambda: drop(*WRITTEN))
        has_all(master, replica)
        promote(replica)
        address.move(replica)
        as_process(monkeypatch, busy, filled)
        as_process(monkeypatch, idle, lambda: pipeline.run([("GET", "a")]))
        assert as_process(monkeypatch, busy, is_hit) == is_kept


@AT_ONCE
def test_second_failover_before_the_first_master_was_demoted_brings_nothing_back(pair, monkeypatch):
    master, replica = pair
    with Proxy.__enter__(Address(master.port)) as address:
        engine_redis.use_client(monkeypatch, address.process())
        filled()
        has_all(master, replica)
        promote(replica)
        address.move(replica)
        assert not is_hit()
        drop(*WRITTEN)
        address.move(master)
        assert not is_hit()
        filled("new")


class Named(Sentinel):
    """A Sentinel that names whom it is told to."""

    master = None

    def discover_master(self, _service):
        return "127.0.0.1", self.master.port


@AT_ONCE
@pytest.mark.parametrize("by", ["read", "write"])
def test_sentinel_that_names_another_master_and_the_first_again_brings_nothing_back(
    servers, monkeypatch, by
):
    a, b = servers
    sentinel = Named([])
    sentinel.master = a
    engine_redis.use_client(monkeypatch, sentinel.master_for("main"))
    filled()
    sentinel.master = b
    if by == "read":
        assert not is_hit()
    else:
        drop(*WRITTEN)
    sentinel.master = a
    assert not is_hit()
    filled("new")


class Silent(Named):
    """One that does not answer when it is asked again."""

    silent = 0

    def discover_master(self, service):
        if self.silent:
            self.silent += 1
            raise MasterNotFoundError("No master found")
        return super().discover_master(service)


@pytest.mark.parametrize("work", [is_hit, lambda: drop(*WRITTEN)])
def test_master_that_no_sentinel_names_counts_as_away(servers, monkeypatch, clock, work):
    sentinel = Silent([])
    sentinel.master = servers[0]
    engine_redis.use_client(monkeypatch, sentinel.master_for("main"))
    monkeypatch.setattr("rover_overrides.transport.sentinel.time", clock)
    filled()
    sentinel.silent = 1
    clock.now += 1.1
    with pytest.raises(MasterNotFoundError):
        work()
    assert sentinel.silent == 2, "one wait"
    sentinel.silent = 0
    assert is_hit()


@AT_ONCE
def test_replica_by_hand_and_master_again_brings_nothing_back(pair, monkeypatch):
    master, replica = pair
    engine_redis.use_client(monkeypatch, master.client())
    filled()
    has_all(master, replica)
    promote(replica)
    attach(master, replica)
    assert not is_hit_or_away()
    promote(master)
    assert not is_hit()
    filled("new")


def is_hit_or_away():
    try:
        return is_hit()
    except redis.ConnectionError:
        return False


@AT_ONCE
def test_restart_from_a_dump_brings_nothing_back(tmp_path, monkeypatch):
    with engine_redis.RedisServer("valkey9", tmp_path) as server:
        engine_redis.use_client(monkeypatch, server.client())
        filled()
        with server.client() as client:
            client.save()
        drop(*WRITTEN)
        server.kill()
        server.start()
        assert "epoch" in server.key_names()
        assert not is_hit()
        filled("new")


def test_cluster_has_none(cluster):
    filled()
    assert [name for name in cluster.key_names() if "epoch" in name] == []
    assert cached(lambda: "other") == "old"
    assert len(results._make_plan(DEPS, "").stamps) == 3


def test_nodes_of_a_cluster_are_asked_once_a_second_on_the_open_connections(
    cluster, clock, monkeypatch
):
    sent, pack = [], pipeline._pack_commands
    monkeypatch.setattr(
        pipeline,
        "_pack_commands",
        lambda connection, commands: (
            sent.append((connection, [command for command in commands if command[0] == "INFO"]))
            or pack(connection, commands)
        ),
    )
    for _ in range(2):
        for _ in range(3):
            pipeline.run([("GET", "a")])
        clock.now += 1.1
    identity = [*epochs.IDENTITY_COMMANDS]
    assert [asked for _, asked in sent] == [identity, [], []] * 2
    assert len({connection for connection, _ in sent}) == 1
    assert len({connection._sock for connection, _ in sent}) == 1


# An application

READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
TENANTS = """
from django.conf import settings
tenant = ['one']
settings.CACHEOPS_PREFIX = lambda query: tenant[0] + ':'
"""


@pytest.mark.parametrize("prepared", ["", TENANTS])
def test_writes_elsewhere_are_seen_after_the_return(tree, servers, tmp_path, prepared):
    a, b = servers
    with Proxy.__enter__(Address(a.port)) as address:
        found = f"redis://127.0.0.1:{address.port}"
        with application_processes(
            tree, tmp_path, found, CACHEOPS_ROVER_IDENTITY_SECONDS=0
        ) as start:
            reader, writer = start(), start()
            for process in (reader, writer):
                process.execute(prepared)
            writer.execute("Shelf.objects.create(pk=1, name='Left')")
            assert reader.evaluate(READ) == [1]
            assert reader.is_hit(READ)
            address.move(b)
            writer.execute("Shelf.objects.update(name='Right')")
            address.move(a)
            writer.execute(READ)
            assert reader.evaluate(READ) == [], "it was never elsewhere"
            assert reader.is_hit(READ)
