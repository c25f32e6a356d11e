"""Dead results are found by what they say they depend on, and freed in steps."""

import pytest
from django.test.utils import override_settings
from redis.crc import key_slot

from rover_overrides.cache import labels, registry, results
from rover_overrides.conditions.conditions import TRUE, Atom, Column, Conj, conjs_of
from rover_overrides.operations.reclaim import Reclaimed, reclaim
from rover_overrides.transport import pipeline
from tests.support.redis_watch import watching

DEPS = {
    "a": [TRUE],
    "t": conjs_of([Atom(Column((), "x"), "exact", ("1",))])
    + conjs_of([Atom(Column((), "y"), "gt", ("1",))]),
}


def fill(key, deps=DEPS, prefix=""):
    with results.getting(key, deps, prefix):
        results.fill(prefix, key, "data", deps, 100)


def is_hit(key, deps=DEPS, prefix=""):
    with results.getting(key, deps, prefix) as data:
        return data is not None


@pytest.mark.parametrize("prefix", ["", "p:"])
@pytest.mark.parametrize("by_table", [False, True])
def test_label_names_the_keys_in_the_order_of_the_checksum(prefix, by_table):
    with override_settings(CACHEOPS_ROVER_SHARD_BY_TABLE=by_table):
        plan = results._make_plan(DEPS, prefix)
        value = b"c" * results.CHECKSUM + plan.label + b"data"
        found = labels.decode_label(value, results.CHECKSUM)
    assert found == (tuple(key for key, _ in plan.registries), plan.stamps)
    assert value[labels.label_end(value, results.CHECKSUM) :] == b"data"
    assert len(found.registries) + len(found.stamps) == 6


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x" * 40,
        b"c" * results.CHECKSUM + labels.MAGIC,
        b"c" * results.CHECKSUM + labels.MAGIC + b"\0\3p\0a",
        b"c" * results.CHECKSUM + labels.MAGIC + b"\0\4\0a\1\1",
        b"c" * results.CHECKSUM + labels.MAGIC + b"\0\4\0\xff\1\0",
    ],
)
def test_what_is_no_result_has_no_label(value):
    assert labels.decode_label(value, results.CHECKSUM) in (None, labels.Label((), ("epoch",)))


def test_keys_of_a_table_share_a_slot_where_a_setting_says_so():
    conjs = [Conj("x", (str(n),)) for n in range(20)]
    with override_settings(CACHEOPS_ROVER_SHARD_BY_TABLE=True):
        names = [
            *registry.registry_keys("p:", "t"),
            *(registry.stamp_key("p:", "t", conj) for conj in [TRUE, *conjs]),
        ]
    assert len({key_slot(name.encode()) for name in names}) == 1
    assert len({key_slot(registry.stamp_key("p:", "t", conj).encode()) for conj in conjs}) > 10


def check_dead_alone_are_freed(names):
    for number in range(50):
        fill(f"q:{number}", {"t": conjs_of([Atom(Column((), "x"), "exact", (str(number),))])})
    pipeline.run(
        [("SET", "c:foreign", "x" * 100), ("LPUSH", "list", 1), ("SET", b"\xff\xfe", "x" * 100)]
    )
    dead = [
        {"t": conjs_of([Atom(Column((), "x"), "exact", (str(number),))])}
        for number in range(0, 50, 2)
    ]
    pipeline.unlink([registry.stamp_key("", "t", conj) for deps in dead for conj in deps["t"]])
    before = set(names())
    assert reclaim(dry_run=True) == Reclaimed(50, 25)
    assert set(names()) == before
    assert reclaim() == Reclaimed(50, 25)
    assert before - set(names()) == {f"q:{number}" for number in range(0, 50, 2)}
    assert reclaim() == Reclaimed(25, 0)


def test_dead_alone_are_freed(server):
    def names():
        with server.client() as client:
            return [key.decode("latin-1") for key in client.keys()]

    check_dead_alone_are_freed(names)


def test_dead_alone_are_freed_from_a_cluster(cluster):
    def names():
        found = []
        for node in cluster.nodes:
            with node.client() as client:
                found += [key.decode("latin-1") for key in client.keys()]
        return found

    check_dead_alone_are_freed(names)


def test_results_of_lost_registries_and_other_servers_are_dead(server, monkeypatch):
    fill("q:1")
    pipeline.unlink([registry.registry_keys("", "t")[1]])
    assert reclaim() == Reclaimed(1, 1)
    fill("q:1")
    monkeypatch.setattr(results, "FORMAT", "r0")
    assert reclaim(dry_run=True) == Reclaimed(1, 1)


def test_pattern_chooses(server):
    fill("one:q", prefix="one:")
    fill("two:q", prefix="two:")
    pipeline.unlink([registry.stamp_key(prefix, "a", TRUE) for prefix in ("one:", "two:")])
    assert reclaim("one:*") == Reclaimed(1, 1)
    assert reclaim() == Reclaimed(1, 1)


def test_result_stored_meanwhile_costs_a_miss_and_no_more(server, monkeypatch):
    fill("q:1")
    pipeline.unlink([registry.stamp_key("", "a", TRUE)])
    unlink = pipeline.unlink

    def late(keys, then=()):
        fill("q:1")
        unlink(keys, then)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "unlink", late)
        assert reclaim() == Reclaimed(1, 1)
    assert not is_hit("q:1")
    fill("q:1")
    assert is_hit("q:1")


def test_memory_is_flat_while_results_are_outdated_and_reclaimed(server):
    sizes = []
    for _ in range(4):
        for number in range(100):
            fill(f"q:{number}")
        pipeline.unlink([registry.stamp_key("", "a", TRUE)])
        reclaim()
        sizes.append(len(server.key_names()))
    assert len(set(sizes)) == 1


def test_no_step_touches_many_keys(server):
    with server.client() as client:
        for number in range(3):
            fill(f"q:{number}")
        value = client.get("q:1")
        for start in range(0, 20_000, 1000):
            client.mset({f"q:bulk:{number}": value for number in range(start, start + 1000)})
        pipeline.unlink([registry.stamp_key("", "a", TRUE)])
        with watching(client) as ran:
            assert reclaim() == Reclaimed(20_003, 20_003)
    assert max(len(command.args) for command in ran if command.name == "UNLINK") <= 1000
    assert not {command.name for command in ran} & {"KEYS", "FLUSHDB", "SMEMBERS", "SORT"}
    assert all(
        int(command.args[command.args.index("COUNT") + 1]) <= 1000
        for command in ran
        if command.name == "SCAN"
    )
