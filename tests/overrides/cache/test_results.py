"""A result is served while all it depends on is as it was before its SELECT, and stored under a lease alone."""

import threading
from collections import defaultdict

import pytest
import redis
from cacheops.transaction import TransactionState, transaction_states
from django.test import override_settings

from rover_overrides.cache import locks, registry, results
from rover_overrides.cache.registry import MAX_TEMPLATES, registry_keys, stamp_key
from rover_overrides.cache.results import MAX_KEYS, bound_dependencies, fill, getting
from rover_overrides.conditions.conditions import TRUE, UNCACHED
from rover_overrides.database import snapshots
from rover_overrides.queries.dependencies import CachedDependencies
from rover_overrides.transport import pipeline
from tests.support import engine_redis
from tests.support.condition_texts import among, equal, equal_and_among
from tests.support.databases import connected, sqlite
from tests.support.one_result import DEPS, KEY, cached, drop, is_hit
from tests.support.redis_watch import watching


@pytest.fixture
def no_transaction(monkeypatch):
    monkeypatch.setattr(transaction_states, "_states", defaultdict(TransactionState))


@pytest.mark.parametrize(
    ("deps", "expected"),
    [
        ({}, {}),
        ({"t": []}, {"t": []}),
        ({"t": [TRUE]}, {"t": [TRUE]}),
        ({"t": [equal("x"), TRUE, among("y", "1")]}, {"t": [TRUE]}),
        ({"t": [equal("x"), equal("x")]}, {"t": [equal("x")]}),
        ({"t": [equal("y"), equal("x")]}, {"t": [equal("x"), equal("y")]}),
        # 30 stamps, a generation and the epoch are 32 keys, 30 and two and the epoch are not; nor are 31 and one and the epoch.
        (
            {"t": [equal("x", str(n)) for n in range(30)]},
            {"t": sorted(equal("x", str(n)) for n in range(30))},
        ),
        ({"t": [equal("x", str(n)) for n in range(29)] + [among("y", "1")]}, {"t": [TRUE]}),
        ({"t": [equal("x", str(n)) for n in range(31)]}, {"t": [TRUE]}),
        # The table with most keys goes first, and no more tables than have to.
        (
            {
                "t": [equal("x", str(n)) for n in range(20)],
                "u": [equal("x", str(n)) for n in range(12)],
            },
            {"t": [TRUE], "u": sorted(equal("x", str(n)) for n in range(12))},
        ),
        ({f"t{n}": [TRUE] for n in range(31)}, {f"t{n}": [TRUE] for n in range(31)}),
        ({f"t{n}": [TRUE] for n in range(32)}, None),
        (
            {f"t{n}": [equal("x")] for n in range(20)},
            {
                f"t{n}": [equal("x")] if n in {0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18} else [TRUE]
                for n in range(20)
            },
        ),
        ({f"t{n}": [equal("x")] for n in range(32)}, None),
        ({"t": [equal("x")], "u": [UNCACHED]}, None),
    ],
)
def test_dependencies_are_bounded(deps, expected):
    assert bound_dependencies(deps) == expected


@pytest.mark.parametrize("tables", range(1, 40))
@pytest.mark.parametrize("each", [1, 2, 7, 40])
def test_bounded_dependencies_have_few_keys(tables, each):
    deps = {
        f"t{n}": [equal("x", str(m)) for m in range(each)]
        + [among("y", str(m)) for m in range(each)]
        for n in range(tables)
    }
    plan = results._cached_plan(deps, "")
    if tables >= MAX_KEYS:
        assert plan is None
    else:
        assert len(plan.registries) + len(plan.stamps) <= MAX_KEYS


def test_second_read_is_a_hit(server):
    assert cached(lambda: "first") == "first"
    assert cached(lambda: "second") == "first"


def test_result_with_no_dependencies_is_a_hit(server):
    assert cached(lambda: "first", {"t": []}) == "first"
    assert is_hit({"t": []})


@pytest.mark.parametrize("number", range(3))
def test_drop_of_any_stamp_makes_it_a_miss(server, number):
    pairs = [(table, conj) for table, conjs in DEPS.items() for conj in conjs]
    cached(lambda: "old")
    assert is_hit()
    drop(*pairs[number])
    assert cached(lambda: "new") == "new"


def test_eviction_of_any_key_makes_it_a_miss(server):
    cached(lambda: "old")
    everything = server.key_names()
    assert len(everything) == 7  # the result, two generations, three stamps, the epoch
    for key in everything:
        assert is_hit()
        pipeline.unlink([key])
        assert not is_hit()
        cached(lambda: "old")


def test_hit_is_one_round_trip_and_few_keys(server):
    many = {f"t{n}": [equal("x"), equal("y"), among("z", "1")] for n in range(20)}
    for deps in (DEPS, many):
        cached(lambda: "old", deps)
        with (
            server.client() as client,
            watching(client) as ran,
            engine_redis.count_round_trips() as counted,
        ):
            assert is_hit(deps)
        assert counted["trips"] == 1
        read = [
            command for command in ran if command.name not in {"HELLO", "CLIENT", "ECHO", "INFO"}
        ]
        assert [command.name for command in read] == ["MGET"] + ["LINDEX"] * (len(read) - 1)
        assert len(read[0].args) + len(read) - 1 <= 1 + MAX_KEYS


def test_miss_looks_and_takes_a_lease_and_stores(server):
    cached(lambda: "first", {"t": [equal("x")]}, "q:other")  # has the script sent
    trips = []
    with engine_redis.count_round_trips() as counted:
        cached(lambda: trips.append(counted["trips"]) or "first")
    assert trips == [2], "two before the computation"
    assert counted["trips"] == 3


def test_lease_is_taken_at_once_where_a_miss_is_expected(server):
    cached(lambda: "first", {"t": [equal("x")]}, "q:other")  # has the script sent
    deps, trips = CachedDependencies((), DEPS), []

    def trips_before_the_computation():
        with engine_redis.count_round_trips() as counted:
            cached(lambda: trips.append(counted["trips"]) or "it", deps)
        return trips.pop() if trips else "hit"

    def after_a_write():
        drop("t", equal("x"))
        return trips_before_the_computation()

    assert trips_before_the_computation() == 1, "the first read"
    assert after_a_write() == 2
    assert after_a_write() == 1, "after two misses in a row"
    assert trips_before_the_computation() == "hit"
    assert [after_a_write() for _ in range(3)] == [2, 2, 1]


def test_long_list_costs_a_hit_as_many_keys_as_a_short_one(server):
    keys_read = []
    for operands in (["1"], [str(n) for n in range(1000)]):
        deps = {"t": [among("x", *operands)]}
        cached(lambda: "x", deps)
        with server.client() as client, watching(client) as ran:
            assert is_hit(deps)
        read = [command.args for command in ran if command.name in {"MGET", "GET", "LINDEX"}]
        keys_read.append([len(args) for args in read])
    assert keys_read == [
        [3, 2],
        [3, 2],
    ]  # the result, the epoch and a stamp; a registry and the place in it


def test_write_during_the_computation_leaves_no_old_result(server):
    for table, conjs in DEPS.items():
        for conj in conjs:

            def raced(table=table, conj=conj):
                drop(table, conj)
                return "old"

            assert cached(raced) == "old"
            assert cached(lambda: "new") == "new"
            drop("t", equal("x"))


def test_fill_by_another_reader_is_no_reason_to_drop(server):
    deps = {"t": [equal("x")]}

    def raced():
        cached(lambda: "mine", deps, "q:2")
        return "first"

    cached(raced, deps)
    assert is_hit(deps)
    assert is_hit(deps, "q:2")


def test_registry_that_another_query_made_anew_makes_it_a_miss(server):
    cached(lambda: "old", {"t": [equal("x")]})
    pipeline.unlink(registry_keys("", "t"))
    cached(lambda: "other", {"t": [equal("y")]}, "q:2")
    assert not is_hit({"t": [equal("x")]})


def test_restart_from_an_old_dump_brings_nothing_back(tmp_path, monkeypatch):
    with engine_redis.RedisServer("redis6.2", tmp_path) as server:
        engine_redis.use_client(monkeypatch, server.client())
        cached(lambda: "old")
        assert is_hit()
        with server.client() as client:
            client.save()
        drop("t", equal("x"))
        assert not is_hit()
        server.kill()
        server.start()
        assert KEY in server.key_names()
        assert stamp_key("", "t", equal("x")) in server.key_names()
        assert cached(lambda: "new") == "new"


def test_template_that_a_restart_lost_is_appended_again(tmp_path, monkeypatch):
    with engine_redis.RedisServer("redis6.2", tmp_path) as server:
        engine_redis.use_client(monkeypatch, server.client())
        cached(lambda: "x", {"t": [equal("x")]})
        with server.client() as client:
            client.save()
        cached(lambda: "y", {"t": [equal("y")]}, "q:2")
        server.kill()
        server.start()
        cached(lambda: "y", {"t": [equal("y")]}, "q:2")
        assert is_hit({"t": [equal("y")]}, "q:2")
        assert registry.RegistryCopies().read(registry_keys("", "t")) == [
            (equal("x").template, equal("y").template),
            (),
        ]


def test_first_read_sends_no_template_that_is_known_and_all_if_the_registry_is_gone(server):
    def templates_of_a_first_read(key):
        with server.client() as client, watching(client) as ran:
            cached(lambda: "it", CachedDependencies((key,), {"t": [equal("x")]}), key)
        sent = [
            template
            for command in ran
            if command.name == "EVALSHA"
            for template in command.args[8:]
        ]
        assert is_hit({"t": [equal("x")]}, key)
        assert registry.RegistryCopies().read(registry_keys("", "t"))[0] == (equal("x").template,)
        return sent

    assert templates_of_a_first_read("q:1") == [equal("x").template]
    assert templates_of_a_first_read("q:2") == []
    pipeline.unlink(registry_keys("", "t"))
    assert templates_of_a_first_read("q:3") == [equal("x").template]


def test_nothing_is_stored_without_a_lease(server):
    fill("", KEY, "data", DEPS, 100)
    with getting("q:other", DEPS, ""):
        fill("", KEY, "data", DEPS, 100)
    with getting(KEY, DEPS, ""):
        pass
    fill("", KEY, "data", DEPS, 100)
    assert not [key for key in server.key_names() if key.startswith("q:")]


def test_lease_ends_when_the_computation_raises(server):
    with pytest.raises(ZeroDivisionError):
        cached(lambda: 1 / 0)
    fill("", KEY, "data", DEPS, 100)
    assert not is_hit()


def test_nested_computations_have_leases_of_their_own(server):
    inner, outer = {"t": [equal("x", "inner")]}, {"t": [equal("x", "outer")]}
    cached(lambda: cached(lambda: "inner", inner, "q:inner") + " outer", outer, "q:outer")
    assert is_hit(inner, "q:inner")
    assert is_hit(outer, "q:outer")
    drop("t", equal("x", "outer"))
    assert is_hit(inner, "q:inner")
    assert not is_hit(outer, "q:outer")


def test_dry_run_of_keep_fresh_stores_nothing(server):
    with getting(KEY, DEPS, ""):
        assert fill("", KEY, "", DEPS, 100, expected="never match") == ""
        assert KEY not in server.key_names()
        fill("", KEY, "data", DEPS, 100, expected="")
    assert is_hit()


def test_what_is_not_cacheable_reads_nothing(server):
    with engine_redis.count_round_trips() as counted:
        assert cached(lambda: "data", {"t": [UNCACHED]}, lock=True) == "data"
        assert cached(lambda: "data", {f"t{n}": [TRUE] for n in range(33)}) == "data"
    assert counted["trips"] == 0


def test_switched_off_patch_reads_and_stores_nothing(server):
    cached(lambda: "old")
    with (
        override_settings(CACHEOPS_ROVER_OFF=("leased-storage",)),
        engine_redis.count_round_trips() as counted,
    ):
        assert cached(lambda: "new") == "new"
    assert counted["trips"] == 0
    assert is_hit()


def test_result_lives_as_long_as_it_is_told(server):
    cached(lambda: "data", timeout=100)
    with server.client() as client:
        assert 90 < client.ttl(KEY) <= 100
        shared = [key for key in server.key_names() if not key.startswith("q:")]
        assert all(client.ttl(key) > 3000 for key in shared)


def test_short_timeout_shortens_no_life_of_what_others_share(server, monkeypatch):
    monkeypatch.setattr(results, "_longest", 10_000)
    cached(lambda: "data", timeout=10_000)
    cached(lambda: "data", DEPS, "q:2", timeout=1)
    with server.client() as client:
        assert all(
            client.ttl(key) > 19_000 for key in server.key_names() if not key.startswith("q:")
        )


def test_result_does_not_outlive_its_stamps(server):
    with override_settings(CACHEOPS_ROVER_STAMP_SECONDS=50):
        cached(lambda: "data", timeout=100)
    with server.client() as client:
        assert client.ttl(KEY) <= 50


def test_next_stamps_live_as_long_as_the_longest_timeout_seen(server, monkeypatch):
    monkeypatch.setattr(results, "_longest", 0)
    cached(lambda: "data", timeout=100_000)
    cached(lambda: "data", {"v": [TRUE]}, "q:2")
    with server.client() as client:
        assert client.ttl(stamp_key("", "v", TRUE)) > 100_000


def fill_up(table, which):
    commands = [
        registry.append_command(
            registry_keys("", table)[which], [f"e{n}" for n in range(MAX_TEMPLATES)], 1000
        )
    ]
    results._run_scripts(commands)


def test_full_registry_makes_the_condition_coarser(server, monkeypatch):
    fill_up("t", 1)
    deps = {"t": [equal_and_among("x", "5", "y", "1", "2")]}
    cached(lambda: "old", deps)
    assert is_hit(deps)
    assert stamp_key("", "t", equal("x", "5")) in server.key_names()
    assert registry.RegistryCopies().read(registry_keys("", "t"))[0] == (equal("x").template,)
    engine_redis.forget_registries(monkeypatch)
    assert is_hit(deps), "a process that does not know yet finds it all the same"
    with engine_redis.count_round_trips() as counted:
        assert is_hit(deps)
    assert counted["trips"] == 1, "and knows from then on"
    drop("t", equal("x", "5"))
    assert not is_hit(deps)


def test_plan_that_is_kept_gives_way_while_a_registry_is_full(server):
    deps = CachedDependencies((), {"t": [among("y", "1", "2")]})
    cached(lambda: "first", deps)
    assert is_hit(deps)
    with override_settings(CACHEOPS_ROVER_REGISTRY_SECONDS=0):  # empties it
        results._run_scripts(
            [
                registry.append_command(
                    registry_keys("", "t")[1], [f"e{n}" for n in range(MAX_TEMPLATES + 1)], 1000
                )
            ]
        )
    fill_up("t", 1)
    assert not is_hit(deps)
    cached(lambda: "second", deps)
    assert is_hit(deps)
    drop("t", TRUE)
    assert not is_hit(deps), "what found no room is any row of the table"


def test_keys_of_kept_dependencies_are_worked_out_once(server, monkeypatch):
    deps = CachedDependencies((), DEPS)
    cached(lambda: "old", deps)
    monkeypatch.setattr(results, "bound_dependencies", pytest.fail)
    assert is_hit(deps)


def test_two_full_registries_leave_the_table(server):
    fill_up("t", 0)
    fill_up("t", 1)
    deps = {"t": [equal_and_among("x", "5", "y", "1", "2")]}
    cached(lambda: "old", deps)
    assert is_hit(deps)
    drop("t", TRUE)
    assert not is_hit(deps)


def test_full_registry_rotates_when_it_is_old(server):
    old = {"t": [among("z", "9")]}
    cached(lambda: "old", old, "q:old")
    fill_up("t", 1)
    deps = {"t": [among("y", "1", "2")]}
    with override_settings(CACHEOPS_ROVER_REGISTRY_SECONDS=0):
        cached(lambda: "new", deps)
    assert is_hit(deps)
    assert registry.RegistryCopies().read(registry_keys("", "t"))[1] == (
        among("y", "1", "2").template,
    )
    assert not is_hit(old, "q:old")


def test_template_that_rotation_lost_is_appended_again(server):
    """One that this process knew to be in is not sent, and the append of another one empties the registry."""
    cached(lambda: "x", {"t": [among("x", "1")]}, "q:2")
    fill_up("t", 1)
    deps = {"t": [among("x", "1"), among("y", "1")]}
    with override_settings(CACHEOPS_ROVER_REGISTRY_SECONDS=0):
        cached(lambda: "both", deps)
    assert is_hit(deps)
    assert sorted(registry.RegistryCopies().read(registry_keys("", "t"))[1]) == [
        among("x", "1").template,
        among("y", "1").template,
    ]


def test_formats_do_not_serve_each_other(server, monkeypatch):
    cached(lambda: "old")
    monkeypatch.setattr(results, "FORMAT", "r0")
    assert cached(lambda: "new") == "new"
    monkeypatch.undo()
    assert results.FORMAT == "r4"


@pytest.fixture
def degrading():
    with override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True):
        yield


def away(monkeypatch):
    engine_redis.use_client(
        monkeypatch, redis.Redis(host="127.0.0.1", port=engine_redis.free_port())
    )


@pytest.mark.parametrize("lock", [False, True])
def test_site_runs_without_redis(degrading, monkeypatch, lock):
    away(monkeypatch)
    with pytest.warns(RuntimeWarning, match="The cacheops cache is unreachable!"):
        assert cached(lambda: "data", lock=lock) == "data"
    with engine_redis.count_round_trips() as counted:
        assert cached(lambda: "data", lock=lock) == "data"
    assert counted["trips"] == 0, "it rests"


def test_without_degrading_the_failure_is_raised(monkeypatch):
    away(monkeypatch)
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            cached(lambda: "data")


def test_failure_to_store_is_a_warning(server, degrading, monkeypatch):
    def leave():
        away(monkeypatch)
        return "data"

    with pytest.warns(RuntimeWarning, match="unreachable"):
        assert cached(leave) == "data"


def test_full_server_refuses_and_the_site_runs(server):
    def filled():
        with server.client() as client:
            client.config_set("maxmemory", 1)
        return "data"

    with pytest.warns(RuntimeWarning, match="The cacheops cache is full!"):
        assert cached(filled) == "data"
    with pytest.warns(RuntimeWarning, match="The cacheops cache is full!"):
        assert cached(lambda: "new") == "new"


@pytest.fixture
def two_databases():
    with connected(default=sqlite(), other=sqlite()):
        yield


def test_dirty_transaction_stores_nothing(server, no_transaction, two_databases):
    transaction_states["default"].begin()
    cached(lambda: "data", dbs=["other"])
    assert is_hit()
    drop("t", equal("x"))
    transaction_states["default"].mark_dirty()
    cached(lambda: "data", dbs=["default"])
    assert not is_hit()
    cached(lambda: "data", dbs=["other"])
    assert not is_hit(), "nor does a reader through another alias"
    transaction_states["default"].rollback()
    cached(lambda: "data", dbs=["default"])
    assert is_hit()


def test_reader_that_may_see_old_rows_stores_nothing(server, monkeypatch):
    asked = []
    monkeypatch.setattr(snapshots, "may_read_stale", lambda *about: asked.append(about) or True)
    cached(lambda: "data", dbs=["default"])
    assert asked == [(["default"], DEPS)]
    assert not is_hit()


def test_one_computes_and_the_others_wait(server):
    computed, waiting = [], threading.Event()
    real = locks.wait

    def compute():
        computed.append(1)
        assert waiting.wait(30)
        return "data"

    def wait(key, longest):
        waiting.set()
        real(key, longest)

    locks.wait = wait
    try:
        results = in_threads(4, lambda: cached(compute, lock=True))
    finally:
        locks.wait = real
    assert results == ["data"] * 4
    assert computed == [1]


def test_lock_of_one_that_raised_is_free(server):
    with pytest.raises(ZeroDivisionError):
        cached(lambda: 1 / 0, lock=True)
    assert cached(lambda: "data", lock=True) == "data"
    assert not [key for key in server.key_names() if key.endswith(":lock")]


def test_lock_is_held_once_and_times_out(server, monkeypatch):
    token = locks.acquire(KEY)
    assert token is not None
    assert locks.acquire(KEY) is None
    with server.client() as client:
        assert 0 < client.pttl(f"{KEY}:lock") <= 1000 * locks.SECONDS
        client.delete(f"{KEY}:lock")
    other = locks.acquire(KEY)
    assert other is not None
    locks.release(KEY, token)
    assert locks.acquire(KEY) is None, "the first one's release is not the second one's"
    locks.release(KEY, other)
    assert locks.acquire(KEY) is not None


def test_result_stored_before_the_lock_was_got_is_not_computed_again(server, monkeypatch):
    real = locks.acquire

    def acquire(key):
        monkeypatch.setattr(locks, "acquire", real)
        cached(lambda: "first")
        return real(key)

    monkeypatch.setattr(locks, "acquire", acquire)
    assert cached(lambda: "second", lock=True) == "first"
    assert not [key for key in server.key_names() if key.endswith(":lock")]


def in_threads(number, call):
    results = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_cluster_serves_results_that_depend_on_several_nodes(cluster):
    deps = {f"t{n}": [equal("x"), among("y", str(n))] for n in range(6)}
    for number in range(20):
        cached(lambda: "data", deps, f"q:{number}", lock=number % 2 == 0)
        assert is_hit(deps, f"q:{number}")
    assert all(node.key_names() for node in cluster.nodes)
    drop("t3", equal("x"))
    assert not any(is_hit(deps, f"q:{number}") for number in range(20))


def test_cluster_lets_one_compute(cluster):
    computed = []
    results = in_threads(4, lambda: cached(lambda: computed.append(1) or "data", lock=True))
    assert results == ["data"] * 4
    assert computed == [1]
