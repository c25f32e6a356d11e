"""While a write is announced nothing is stored of its tables, and what made an entry end too early is made up for."""

import pytest
from django.test import override_settings
from redis.crc import key_slot

from rover_overrides.cache import pending_writes
from rover_overrides.cache.registry import registry_keys
from rover_overrides.invalidation import two_phase
from rover_overrides.invalidation.two_phase import Change, finish, prepare
from rover_overrides.transport import pipeline
from tests.support import engine_redis
from tests.support.condition_texts import among, equal
from tests.support.one_result import cached, is_hit

# The table is no model's: related rows are not asked for, and every column is taken as it is.
CHANGES = [Change("t", {"x": "1", "y": "1"}, {"x": "2", "y": "1"})]
DEPS = {"t": [equal("x", "1")]}
UNKNOWN = {"t": [among("y", "1", "2")]}


@pytest.fixture(params=["server", "cluster"])
def redis(request, monkeypatch):
    """Give a server or a cluster, and a writer that knows no registry yet."""
    monkeypatch.setattr(two_phase, "_registry", two_phase.RegistryCopies())
    if request.param == "cluster":
        return request.getfixturevalue("cluster")
    server = request.getfixturevalue("plain_server")
    server.flush_all()
    engine_redis.use_client(monkeypatch, server.client())
    return server


def test_nothing_is_stored_between_announcement_and_end(redis):
    cached(lambda: "old", DEPS)
    prepared = prepare("default", CHANGES)
    assert cached(lambda: "old", DEPS) == "old"
    assert not is_hit(DEPS)
    finish("default", prepared, CHANGES, was_committed=True)
    assert cached(lambda: "new", DEPS) == "new"
    assert is_hit(DEPS)


def test_write_that_does_not_commit_lets_results_be_stored_again(redis):
    prepared = prepare("default", CHANGES)
    finish("default", prepared, CHANGES, was_committed=False)
    cached(lambda: "old", DEPS)
    assert is_hit(DEPS)
    assert not [name for name in redis.key_names() if "pending" in name or "writers" in name]


def lose(redis, how):
    if how == "flushed":
        redis.flush_all()
    else:
        pipeline.unlink([pending_writes.key("", "t"), pending_writes.previous_wheel_key("", "t")])
        if how == "evicted with the registry":
            pipeline.unlink(registry_keys("", "t"))


@pytest.mark.parametrize("deps", [DEPS, UNKNOWN])
def test_entry_that_has_ended_before_the_commit_leaves_nothing_stale(redis, deps):
    with override_settings(CACHEOPS_ROVER_UNKNOWN_SECONDS=0):
        prepared = prepare("default", CHANGES)
        assert cached(lambda: "old", deps) == "old"
        assert is_hit(deps)
        finish("default", prepared, CHANGES, was_committed=True)
        assert not is_hit(deps)


@pytest.mark.parametrize("how", ["evicted", "evicted with the registry", "flushed"])
@pytest.mark.parametrize("deps", [DEPS, UNKNOWN])
def test_entry_that_is_lost_before_the_commit_leaves_nothing_stale(redis, how, deps):
    prepared = prepare("default", CHANGES)
    lose(redis, how)
    cached(lambda: "old", deps)
    assert is_hit(deps), "somebody stored what was there before the commit"
    finish("default", prepared, CHANGES, was_committed=True)
    assert not is_hit(deps)


def test_each_of_several_writes_leaves_for_itself(redis):
    first, second = prepare("default", CHANGES), prepare("default", CHANGES)
    finish("default", first, CHANGES, was_committed=True)
    cached(lambda: "old", DEPS)
    assert not is_hit(DEPS)
    finish("default", second, CHANGES, was_committed=True)
    cached(lambda: "new", DEPS)
    assert is_hit(DEPS)


def test_announcement_costs_one_round_trip_or_three_to_a_cluster_and_its_end_one(redis):
    cached(lambda: "old", DEPS)
    prepare("default", CHANGES)
    with engine_redis.count_round_trips() as counted:
        prepared = prepare("default", CHANGES)
    assert counted["trips"] == (3 if pipeline.is_cluster() else 1)
    with engine_redis.count_round_trips() as counted:
        finish("default", prepared, CHANGES, was_committed=True)
    assert counted["trips"] == 1


def test_who_is_entered_is_asked_after_the_stamps_are_seen_on_whatever_node(cluster, monkeypatch):
    """Else a writer may enter and drop between the two, and die after its commit."""
    sent = []
    real = pipeline._exchange
    monkeypatch.setattr(
        pipeline,
        "_exchange",
        lambda batches: sent.append([c[0] for _, b in batches for c in b]) or real(batches),
    )
    deps = {f"t{n}": [equal("x")] for n in range(9)}
    cached(lambda: "data", deps)
    [asked] = [number for number, names in enumerate(sent) if "ZCOUNT" in names]
    stamped = [number for number, names in enumerate(sent) if "GETEX" in names]
    assert max(stamped) < asked


SHELVES = "write_models_shelf"


@pytest.fixture
def moving(cluster, monkeypatch):
    """Give a cluster in which the slot of a table's registries and entries moves, and a registry has not moved yet."""
    monkeypatch.setattr(two_phase, "_registry", two_phase.RegistryCopies())
    cached(lambda: "other", {SHELVES: [equal("name", "other")]}, "q:other")
    slot = key_slot(registry_keys("", SHELVES)[0].encode())
    (source,) = [
        node for node in cluster.nodes if registry_keys("", SHELVES)[0] in node.key_names()
    ]
    target = next(node for node in cluster.nodes if node is not source)
    with source.client() as one, target.client() as other:
        other.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", cluster.id_of(source))
        one.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", cluster.id_of(target))
        yield cluster
        for client in (one, other):
            client.execute_command("CLUSTER SETSLOT", slot, "STABLE")


@pytest.mark.parametrize("step", range(1, 5))
def test_reader_between_any_two_steps_of_a_writer_stores_nothing_while_the_slot_moves(
    moving, monkeypatch, step
):
    """Its condition is of a shape that is new, so that the writer knows of it only if it looks after it has entered."""
    changes = [Change(SHELVES, {"id": 1, "name": "a"}, {"id": 1, "name": "b"})]
    deps = {SHELVES: [equal("id", "1")]}
    real, steps = pipeline._cluster_round, []

    def sent(*about):
        replies = real(*about)
        steps.append(1)
        if len(steps) == step:
            cached(lambda: "old", deps, "q:second")
        return replies

    monkeypatch.setattr(pipeline, "_cluster_round", sent)
    prepared = prepare("default", changes)
    monkeypatch.setattr(pipeline, "_cluster_round", real)
    assert len(steps) >= step, "the reader was not there"
    finish("default", prepared, changes, was_committed=True)
    assert not is_hit(deps, "q:second")
