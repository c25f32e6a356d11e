"""A replica that lags and becomes the master brings no dropped result back, whoever promotes it: a Sentinel, or somebody by hand."""

from uuid import uuid4

import pytest

from rover_overrides.cache.registry import stamp_key
from rover_overrides.conditions.conditions import TRUE
from rover_overrides.transport import pipeline
from tests.support import engine_redis
from tests.support.application_process import application_processes
from tests.support.one_result import DEPS, cached, drop, is_hit

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(tmp_path):
    """Give a master and a replica that has all it has."""
    for name in ("master", "replica"):
        (tmp_path / name).mkdir()
    with (
        engine_redis.RedisServer("valkey9", tmp_path / "master") as master,
        engine_redis.RedisServer("valkey9", tmp_path / "replica") as replica,
    ):
        with replica.client() as client:
            client.replicaof("127.0.0.1", master.port)
            engine_redis.wait_until(
                lambda: client.info("replication")["master_link_status"] == "up", "no replication"
            )
        yield master, replica


def follow(master, replica):
    """Wait until the replica has all that the master has."""
    with master.client() as client:
        client.set("mark", uuid4().hex, ex=600)
        assert client.wait(1, 10_000) == 1


def test_dropped_result_does_not_come_back_with_a_replica_that_lags(pair, monkeypatch):
    master, replica = pair
    engine_redis.use_client(monkeypatch, master.client())
    cached(lambda: "old")
    assert is_hit()
    engine_redis.wait_until(
        lambda: replica.key_names() == master.key_names(), "the replica does not follow"
    )
    with replica.client() as client:
        client.replicaof("127.0.0.1", engine_redis.free_port())  # it hears nothing any more
        drop("u", TRUE)
        assert not is_hit()
        client.replicaof("NO", "ONE")
    assert stamp_key("", "u", TRUE) in replica.key_names(), "it lagged"
    engine_redis.use_client(monkeypatch, replica.client())
    assert not is_hit()
    assert cached(lambda: "new", DEPS) == "new"
    assert is_hit()


def test_master_that_was_a_replica_for_a_while_brings_nothing_back(pair, monkeypatch):
    master, replica = pair
    engine_redis.use_client(monkeypatch, master.client())
    cached(lambda: "old")
    engine_redis.wait_until(
        lambda: replica.key_names() == master.key_names(), "the replica does not follow"
    )
    with master.client() as client, replica.client() as other:
        other.replicaof("NO", "ONE")  # it hears nothing any more
        drop("u", TRUE)
        assert stamp_key("", "u", TRUE) not in master.key_names()
        client.replicaof("127.0.0.1", replica.port)
        engine_redis.wait_until(
            lambda: client.info("replication")["master_link_status"] == "up", "no replication"
        )
        monkeypatch.setattr(pipeline, "time", Later)
        assert stamp_key("", "u", TRUE) in master.key_names(), (
            "the old master has the old stamps again"
        )
        assert pipeline.run([("GET", "q:1")])[0].value is not None
        client.replicaof("NO", "ONE")
    assert not is_hit()
    assert cached(lambda: "new") == "new"
    assert is_hit()


class Later:
    """A clock by which two seconds pass between two looks."""

    now = 1e9

    @classmethod
    def monotonic(cls):
        cls.now += 2
        return cls.now


READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
WRITE = "with transaction.atomic():\n  Shelf.objects.update(name={name!r})"


def test_sentinel_leads_to_the_master_and_its_failover_brings_nothing_back(tree, pair, tmp_path):
    master, replica = pair
    (tmp_path / "sentinel").mkdir()
    with engine_redis.Sentinel(master, tmp_path / "sentinel") as sentinel:
        engine_redis.wait_until(sentinel.sees_replica, "the Sentinel does not see the replica")
        found = {
            "locations": [["127.0.0.1", sentinel.port]],
            "service_name": sentinel.NAME,
            "db": 0,
            "socket_timeout": 5,
        }
        with application_processes(tree, tmp_path, None, CACHEOPS_SENTINEL=found) as start:
            reader, writer = start(), start()
            writer.execute("Shelf.objects.create(pk=1, name='Left')")
            assert reader.evaluate(READ) == [1]
            assert reader.is_hit(READ)
            assert writer.is_hit(READ)
            assert any("q:" in name for name in master.key_names())
            follow(master, replica)
            with replica.client() as client:
                before = {name: client.dump(name) for name in replica.key_names()}
                writer.execute(WRITE.format(name="Right"))
                assert reader.evaluate(READ) == []
                follow(master, replica)
                client.config_set("replica-read-only", "no")
                for name, value in before.items():  # as if it had heard nothing of the write
                    client.restore(name, 600_000, value, replace=True)
                sentinel.fail_over()
                engine_redis.wait_until(lambda: sentinel.master() == replica.port, "no failover")
                engine_redis.wait_until(lambda: client.role()[0] == b"master", "no promotion")
            assert set(before) <= set(replica.key_names()), "what the write dropped is there again"
            late = "from rover_overrides.transport import sentinel; sentinel._next_checks.clear()  # a second later"
            reader.execute(late)
            assert reader.evaluate(READ) == []
            assert reader.is_hit(READ)
            # The writer is connected to the old master yet, which serves it, and its next look is far away.
            writer.execute(
                "from rover_overrides.transport import sentinel; sentinel._next_checks.update(dict.fromkeys(sentinel._next_checks, 1e12))"
            )
            writer.execute(WRITE.format(name="Left"))
            assert reader.evaluate(READ) == [1]
            assert reader.is_hit(READ)
