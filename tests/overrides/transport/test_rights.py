"""A user who has no right to what the cache needs: the site runs from the database, says once what to grant, and goes on by itself."""

import warnings
from collections import Counter

import pytest
import redis
from cacheops import invalidation
from django.test import override_settings

from rover_overrides.cache import locks, pending_writes, results
from rover_overrides.invalidation import two_phase
from rover_overrides.metrics import counters
from rover_overrides.operations.reclaim import reclaim
from rover_overrides.transport import pipeline, refusals
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.transport.refusals import MissingPermissionError
from tests.support import engine_redis
from tests.support.application_process import application_processes
from tests.support.one_result import DEPS, KEY

ALL = ("~*", "+@all")
NO_RETRY = override_settings(CACHEOPS_ROVER_RETRY_SECONDS=0)


@pytest.fixture
def user(server, monkeypatch):
    """Give a function that sets the rights of the user who the overrides log in as."""
    monkeypatch.setattr(refusals, "_warned", set())

    def allow(*rights):
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "site", "reset", "on", ">word", *rights)

    allow(*ALL)
    engine_redis.use_client(monkeypatch, server.client(username="site", password="word"))
    yield allow
    with server.client() as client:
        client.execute_command("ACL", "DELUSER", "site")
    circuit.record_success()


def read(*, warned=None, prefix=""):
    """Read as a request does, and store; return whether it was a hit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with results.getting(prefix + KEY, DEPS, prefix) as data:
            results.fill(prefix, prefix + KEY, "computed", DEPS, 100)
    if warned is not None:
        warned.extend(str(each.message) for each in caught)
    return data is not None


@NO_RETRY
@pytest.mark.parametrize("degrades", [False, True])
@pytest.mark.parametrize(
    ("rights", "says"),
    [
        ((*ALL, "-@dangerous"), "+info"),
        ((*ALL, "-info"), "+info"),
        ((*ALL, "-mget"), "+mget"),
        ((*ALL, "-lindex"), "+lindex"),
        ((*ALL, "-evalsha"), "+evalsha"),
        ((*ALL, "-set"), "+set"),
        ((*ALL, "-getex"), "+getex"),
        ((*ALL, "-zcount"), "+zcount"),
        ((*ALL, "-rpush"), "rpush"),
        (("~other:*", "+@all"), "~<prefix>*"),
    ],
)
def test_missing_right_is_told_once_and_reads_come_from_the_database(user, rights, says, degrades):
    user(*rights)
    warned = []
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrades):
        assert [read(warned=warned) for _ in range(3)] == [False] * 3
        assert len(warned) == 1
        assert "ACL SETUSER" in warned[0]
        assert says in warned[0] or "+@scripting" in warned[0]
        user(*ALL)
        assert [read(warned=warned) for _ in range(3)] == [False, True, True]
        assert len(warned) == 1


def test_remedy_names_the_command(user):
    user(*ALL, "-@dangerous")
    warned = []
    read(warned=warned)
    assert "+info" in warned[0]


@pytest.mark.parametrize("degrades", [False, True])
def test_redis_is_left_alone_for_a_moment(user, degrades):
    user(*ALL, "-info")
    with (
        override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrades),
        engine_redis.count_round_trips() as counted,
    ):
        assert not read()
        first = counted["trips"]
        assert [read() for _ in range(5)] == [False] * 5
    assert counted["trips"] == first


@NO_RETRY
@pytest.mark.parametrize("degrades", [False, True])
@pytest.mark.parametrize(
    "login",
    [{"username": "site", "password": "wrong"}, {"username": "nobody", "password": "word"}, {}],
)
def test_refused_login_is_told_once(user, server, monkeypatch, login, degrades):
    with server.client() as admin:
        engine_redis.use_client(monkeypatch, server.client(**login))
        if not login:
            admin.config_set("requirepass", "word")
        try:
            warned = []
            with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=degrades):
                assert [read(warned=warned) for _ in range(3)] == [False] * 3
            assert len(warned) == 1
            assert "CACHEOPS_REDIS" in warned[0]
        finally:
            admin.execute_command("CONFIG", "SET", "requirepass", "")


def test_transport_says_that_a_right_is_missing(user):
    user(*ALL, "-get")
    with pytest.raises(MissingPermissionError, match="get"):
        pipeline.run([("GET", "a")])
    assert issubclass(MissingPermissionError, redis.ConnectionError)
    assert not pipeline.circuit_is_open(), "it may be a counter's"


def test_missing_right_is_not_asked_for_again(user):
    user(*ALL, "-get")
    with engine_redis.count_round_trips() as counted, pytest.raises(MissingPermissionError):
        pipeline.run_with_retries(lambda: pipeline.run([("GET", "a")]))
    assert counted["trips"] == 1


@NO_RETRY
def test_other_errors_are_raised(user):
    with pytest.raises(redis.ResponseError, match="wrong number"):
        pipeline.run([("GET", "a", "b")])


DOCUMENTED = ("+@read", "+@write", "+@scripting", "+@connection", "+info")
IN_A_CLUSTER = "+cluster|slots"


@NO_RETRY
@pytest.mark.parametrize(("keys", "prefix"), [("~*", ""), ("~tenant:*", "tenant:")])
def test_documented_rights_suffice(user, keys, prefix):
    user(keys, *DOCUMENTED)
    warned, tables = [], [(prefix, table) for table in DEPS]
    assert [read(warned=warned, prefix=prefix) for _ in range(2)] == [False, True]
    pipeline.run(pending_writes.register_commands(tables, "token"))
    pipeline.unlink(
        [key for table in tables for key in two_phase.whole_table_keys(*table)],
        then=pending_writes.unregister_commands(tables, "token"),
    )
    assert not read(warned=warned, prefix=prefix)
    token = locks.acquire(prefix + KEY)
    locks.wait(prefix + KEY, 0.01)
    locks.release(prefix + KEY, token)
    assert reclaim(f"{prefix}*")
    assert warned == []


@pytest.mark.parametrize("more", [(), (IN_A_CLUSTER,)], ids=["without", "with"])
def test_cluster_needs_one_more_right(cluster, monkeypatch, more):
    def client():
        """Return the client, which is made when it is first used."""
        made.extend([] if made else [cluster.client(username="site", password="word")])
        return made[0]

    made = []
    for node in cluster.nodes:
        with node.client() as admin:
            rights = ("reset", "on", ">word", "~*", *DOCUMENTED, *more)
            admin.execute_command("ACL", "SETUSER", "site", *rights)
    monkeypatch.setattr(pipeline, "client", client)
    if more:
        assert [read(), read()] == [False, True]
    else:
        with pytest.raises(redis.ConnectionError):
            pipeline.run([("GET", "a")])
        circuit.record_success()


def test_docs_list_these_rights():
    docs = " ".join((engine_redis.ROOT / "docs" / "cache.md").read_text().split())
    assert f"the commands `{' '.join(DOCUMENTED)}`, and in a cluster `{IN_A_CLUSTER}`" in docs


def test_counters_are_lost_without_a_right_to_their_key(user, monkeypatch):
    user("~tenant:*", *DOCUMENTED)
    monkeypatch.setattr(counters, "_counts", Counter({"hits": 1}))
    counters.report()
    assert not counters._counts
    assert not pipeline.circuit_is_open()


@NO_RETRY
def test_flush_raises_without_a_right_to_it(user, monkeypatch):
    monkeypatch.setattr(invalidation, "redis_client", pipeline.client())
    user("~*", *DOCUMENTED, "-@dangerous", "+info")
    with pytest.raises(redis.exceptions.NoPermissionError, match="flushdb"):
        invalidation.invalidate_all()
    user("~*", *DOCUMENTED)
    invalidation.invalidate_all()


# An application

READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
SIMPLE = "try:\n  found = cache.get('word')\nexcept CacheMiss:\n  found = 'miss'\nfound"


@pytest.mark.parametrize("degrades", [False, True])
def test_site_runs_without_a_right_and_goes_on_with_it(tree, plain_server, tmp_path, degrades):
    plain_server.flush_all()
    with plain_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "site", "reset", "on", ">word", *ALL, "-@dangerous"
        )
        found = f"redis://site:word@127.0.0.1:{plain_server.port}"
        with application_processes(
            tree, tmp_path, found, CACHEOPS_DEGRADE_ON_FAILURE=degrades
        ) as start:
            process = start()
            warned = []
            for source in (
                "Shelf.objects.create(pk=1, name='Left')",
                "with transaction.atomic():\n  Shelf.objects.update(name='Left')",
                READ,
                "cache.set('word', 1, 60)",
                SIMPLE,
                "cache.delete('word')",
                "Shelf.objects.invalidated_update(name='Left')",
                "invalidate_model(Shelf)",
                "with transaction.atomic():\n  Shelf.objects.get(pk=1).save()",
            ):
                warned += [text for text in process.execute(source).warned if "cacheops" in text]
            assert len(warned) == 1
            assert "+info" in warned[0]
            assert process.evaluate(READ) == [1]
            assert process.evaluate(SIMPLE) == "miss"
            client.execute_command("ACL", "SETUSER", "site", "+info")
            assert process.evaluate(READ) == [1]
            assert process.is_hit(READ)
            process.execute("Shelf.objects.update(name='Right')")
            assert process.evaluate(READ) == []
            process.execute("cache.set('word', 1, 60)")
            assert process.evaluate(SIMPLE) == 1
        client.execute_command("ACL", "DELUSER", "site")
