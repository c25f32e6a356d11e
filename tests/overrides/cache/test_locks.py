"""One computes and the others wait, but not for long: for a holder who died, who cannot say that it has ended, or who is slow."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import redis
from django.test import override_settings

from rover_overrides.cache import locks, results
from rover_overrides.conditions.conditions import TRUE
from rover_overrides.transport import pipeline
from rover_overrides.transport.circuit_breaker import circuit
from tests.support import engine_redis
from tests.support.application_process import application_processes
from tests.support.one_result import DEPS, KEY, cached, drop, is_hit
from tests.support.redis_servers import wait_until

LOCK = f"{KEY}:lock"
SHORT = override_settings(CACHEOPS_ROVER_LOCK_SECONDS=0.2)


class Clock:
    """A clock that goes on only while somebody waits for a lock."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def waits(monkeypatch):
    """Give the list of how long the reader waited each time; nobody really does."""
    clock, waited = Clock(), []

    def wait(key, longest):
        waited.append(min(longest, 1.0))
        clock.now += waited[-1]

    monkeypatch.setattr(results, "time", clock)
    monkeypatch.setattr(locks, "wait", wait)
    return waited


@pytest.mark.parametrize("seconds", [None, 2.5])
def test_nobody_waits_longer_than_a_lock_lives(server, waits, seconds):
    with override_settings(**({} if seconds is None else {"CACHEOPS_ROVER_LOCK_SECONDS": seconds})):
        locks.acquire(KEY)
        with server.client() as client:
            client.persist(LOCK)
        assert cached(lambda: "computed", lock=True) == "computed"
        assert sum(waits) == pytest.approx(seconds or 5)
    assert is_hit()


def test_lock_lives_as_long_as_the_setting_says(server):
    with server.client() as client:
        for seconds in (5, 0.5):
            with override_settings(CACHEOPS_ROVER_LOCK_SECONDS=seconds):
                token = locks.acquire(KEY)
                assert 0 < client.pttl(LOCK) <= 1000 * seconds
                locks.release(KEY, token)


@SHORT
def test_lock_whose_holder_died_is_taken_over(server):
    locks.acquire(KEY)
    assert cached(lambda: "computed", lock=True) == "computed"
    assert is_hit()
    assert LOCK not in server.key_names()


@SHORT
def test_lock_whose_release_was_lost_is_taken_over(server, monkeypatch):
    with monkeypatch.context() as lost:
        lost.setattr(locks, "release", lambda key, token: None)
        cached(lambda: "first", lock=True)
    drop("u", TRUE)
    assert cached(lambda: "second", lock=True) == "second"
    assert is_hit()


def computing_slowly(server, meanwhile=lambda: None):
    """Return what computes for longer than its lock lives."""

    def compute():
        with server.client() as client:
            client.delete(LOCK)
        meanwhile()
        return "slow"

    return compute


def test_slow_holder_stores_where_nobody_was_faster(server):
    assert cached(computing_slowly(server), lock=True) == "slow"
    assert cached(lambda: "other") == "slow"


def test_slow_holder_stores_while_the_next_one_computes(server):
    assert cached(computing_slowly(server, lambda: locks.acquire(KEY)), lock=True) == "slow"
    assert LOCK in server.key_names(), "the lock of the next one stays"
    assert cached(lambda: "other") == "slow"


def test_slow_holder_leaves_what_the_next_one_has_stored(server):
    meanwhile = computing_slowly(server, lambda: cached(lambda: "fast", lock=True))
    assert cached(meanwhile, lock=True) == "slow"
    assert cached(lambda: "other") == "fast"


def test_slow_holder_leaves_what_was_stored_since_a_write(server):
    def written():
        drop("u", TRUE)
        cached(lambda: "new", lock=True)

    assert cached(computing_slowly(server, written), lock=True) == "slow"
    assert cached(lambda: "other") == "new"


def test_slow_holder_stores_nothing_that_a_write_has_outdated(server):
    assert cached(computing_slowly(server, lambda: drop("u", TRUE)), lock=True) == "slow"
    assert KEY not in server.key_names()


def test_holder_stores_what_it_computed_under_its_lock(server):
    cached(lambda: "old")
    drop("u", TRUE)
    assert cached(lambda: "new", lock=True) == "new"
    assert cached(lambda: "other") == "new"


def test_storing_takes_one_more_round_trip_than_without_a_lock(server):
    trips = []
    for lock in (False, True):
        with results.getting(KEY, DEPS, "", lock=lock), engine_redis.count_round_trips() as counted:
            results.fill("", KEY, "data", DEPS, 100)
        trips.append(counted["trips"])
        server.flush_all()
    assert trips == [1, 2]


def test_reader_who_waited_in_vain_leaves_what_the_holder_has_stored(server, waits):
    token = locks.acquire(KEY)
    with server.client() as client:
        client.persist(LOCK)

    def compute():
        cached(lambda: "holder's")
        locks.release(KEY, token)
        return "reader's"

    assert cached(compute, lock=True) == "reader's"
    assert cached(lambda: "other") == "holder's"


class Hanging:
    """Has the exchanges hang from one on, and counts those that did."""

    def __init__(self, monkeypatch, first):
        self.seen, self.hung, self.first, self._real = 0, 0, first, pipeline._exchange
        monkeypatch.setattr(pipeline, "_exchange", self)

    def __call__(self, batches):
        self.seen += 1
        if self.seen >= self.first:
            self.hung += 1
            raise redis.TimeoutError("it hangs")
        return self._real(batches)


@pytest.mark.filterwarnings("ignore:The cacheops cache timed out:RuntimeWarning")
@pytest.mark.parametrize("first", range(1, 8))
@pytest.mark.parametrize("lock", [False, True])
def test_reader_waits_once_wherever_redis_begins_to_hang(server, monkeypatch, lock, first):
    hanging = Hanging(monkeypatch, first)
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        for _ in range(3):
            assert cached(lambda: "computed", lock=lock) == "computed"
    assert hanging.hung == min(1, max(0, hanging.seen - first + 1))
    circuit.record_success()


@pytest.mark.filterwarnings("ignore:The cacheops cache timed out:RuntimeWarning")
def test_reader_waits_once_where_redis_hangs_while_it_waits_for_a_lock(server, monkeypatch):
    locks.acquire(KEY)
    hanging = Hanging(monkeypatch, 4)  # a look, a lease, the lock, and then a wait for that
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        assert cached(lambda: "computed", lock=True) == "computed"
    assert hanging.hung == 1
    circuit.record_success()


@pytest.mark.parametrize("kind", ["valkey9", "redis6.2"])
def test_wait_that_ends_because_its_server_becomes_a_replica_is_a_failure_of_redis(
    kind, tmp_path, monkeypatch
):
    with (
        engine_redis.RedisServer(kind, tmp_path) as server,
        server.client() as client,
        ThreadPoolExecutor(1) as pool,
    ):
        engine_redis.use_client(monkeypatch, server.client())
        waiting = pool.submit(locks.wait, KEY, 1)
        wait_until(lambda: client.info("clients")["blocked_clients"], "nobody waits")
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(redis.ConnectionError, match="UNBLOCKED"):
            waiting.result()
    circuit.record_success()


def test_nodes_of_a_cluster_are_not_asked_in_the_same_wait(cluster, monkeypatch):
    client, asked = pipeline.client(), []
    real = client.nodes_manager.initialize
    monkeypatch.setattr(
        client.nodes_manager,
        "initialize",
        lambda *args, **named: asked.append(1) or real(*args, **named),
    )
    hanging = Hanging(monkeypatch, 1)
    with pytest.raises(redis.TimeoutError):
        pipeline.run([("GET", "a")])
    assert (hanging.hung, asked) == (1, [])
    hanging.first = 100
    assert pipeline.run([("GET", "a")])[0].value is None
    assert asked == [1]


@pytest.mark.parametrize(
    ("socket_timeout", "slept", "waited"),
    [(0.4, [0.05], []), (0.6, [], [0.3]), (5, [], [1.0]), (None, [], [1.0])],
)
def test_reader_waits_in_steps_of_half_of_the_socket_timeout(
    monkeypatch, socket_timeout, slept, waited
):
    steps, naps = [], []

    class Client:
        connection_pool = SimpleNamespace(connection_kwargs={"socket_timeout": socket_timeout})

        def brpoplpush(self, *_names, timeout):
            steps.append(timeout)

    monkeypatch.setattr(pipeline, "client", Client)
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=naps.append))
    locks.wait(KEY, 5)
    assert (naps, steps) == (slept, waited)


def test_client_of_little_patience_looks_instead_of_waiting(server, monkeypatch):
    client = server.client(socket_timeout=0.2)
    monkeypatch.setattr(pipeline, "client", lambda: client)
    with SHORT:
        locks.acquire(KEY)
        assert cached(lambda: "computed", lock=True) == "computed"


DEFINED = """
import time, os, signal
from write_models.models import Shelf
@cached_as(Shelf.objects.filter(name='Left'), timeout=600, lock=True)
def counted():
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return Shelf.objects.filter(name='Left').count()
dies = {dies}
"""


def test_others_compute_what_a_killed_process_was_computing(tree, plain_server, tmp_path):
    plain_server.flush_all()
    found = f"redis://127.0.0.1:{plain_server.port}"
    with application_processes(tree, tmp_path, found, CACHEOPS_ROVER_LOCK_SECONDS=1) as start:
        dying, living = start(), start()
        living.execute("Shelf.objects.create(pk=1, name='Left')")
        dying.execute(DEFINED.format(dies=True))
        living.execute(DEFINED.format(dies=False))
        dying.send("counted()")
        dying.wait_until_killed()
        assert [name for name in plain_server.key_names() if name.endswith(":lock")]
        assert living.evaluate("counted()") == 1
        assert living.is_hit("counted()")
