"""Registries are bounded and append only; whoever kept a copy of one notices that it is another."""

import pytest
from django.test import override_settings

from rover_overrides.cache import registry
from rover_overrides.cache.registry import (
    MAX_TEMPLATES,
    KnownTemplates,
    RegistryCopies,
    append_command,
    generation_command,
    parse_append_reply,
    registry_key,
    registry_keys,
    stamp_key,
)
from rover_overrides.conditions.conditions import TRUE, UNCACHED, Conj
from rover_overrides.core.bounded_table import approximate_bytes
from rover_overrides.transport import pipeline
from rover_overrides.transport.pipeline import Reply
from tests.support import engine_redis
from tests.support.condition_texts import among, equal

KEY, OPERANDS = registry_keys("", "t")
OTHER, _ = registry_keys("", "u")
LONG = 100


def append(*templates, seconds=LONG, key=KEY):
    """Append as a lease does; return the generation and for each template whether it is in."""
    command = append_command(key, templates, seconds)
    try:
        (reply,) = pipeline.run([command])
    except pipeline.redis.exceptions.NoScriptError:
        (reply,) = pipeline.run([registry.with_script_source(command)])
    generation, said = parse_append_reply(reply, templates)
    return generation.value, said


def listed(server):
    with server.client() as client:
        generation, *templates = client.lrange(KEY, 0, -1)
    return generation, [template.decode() for template in templates]


def ttl(server):
    with server.client() as client:
        return client.ttl(KEY)


def is_full(**options):
    return append(*(f"e{n}" for n in range(MAX_TEMPLATES)), **options)


def test_append_makes_a_registry_and_appends_what_is_not_in(server):
    first, said = append("x", "y")
    assert said == {"x": True, "y": True}
    assert append("y", "z") == (first, {"y": True, "z": True})
    assert append() == (first, {})
    assert listed(server) == (first, ["x", "y", "z"])


def test_script_is_sent_once(server):
    with server.client() as client:
        client.script_flush()
    append("x")
    pipeline.run([append_command(KEY, ["y"], LONG)])
    assert listed(server)[1] == ["x", "y"]


def test_generations_differ(server):
    first, _ = append("x")
    pipeline.unlink([KEY])
    second, _ = append("x")
    assert first != second


def test_append_lengthens_the_life_of_a_registry_and_never_shortens_it(server):
    append("x", seconds=100)
    append("y", seconds=1000)
    assert 900 < ttl(server) <= 1000
    append("x", seconds=10)
    assert 900 < ttl(server) <= 1000


def test_full_registry_refuses_what_is_not_in(server):
    first, said = is_full()
    assert all(said.values())
    assert append("e5", "late") == (first, {"e5": True, "late": False})
    assert len(listed(server)[1]) == MAX_TEMPLATES


def test_last_place_goes_to_the_first_template(server):
    append(*(f"e{n}" for n in range(MAX_TEMPLATES - 1)))
    assert append("one", "two")[1] == {"one": True, "two": False}


def test_full_registry_that_is_old_enough_starts_anew(server):
    first, _ = is_full()
    with override_settings(CACHEOPS_ROVER_REGISTRY_SECONDS=0):
        assert append("e5")[0] == first, "nothing is missing, so it stays"
        second, said = append("e5", "late")
    assert second != first
    assert said == {"e5": True, "late": True}
    assert listed(server) == (second, ["e5", "late"])


def test_no_more_than_a_thousand_members(server):
    is_full()
    with server.client() as client:
        assert client.llen(KEY) == 1000


def test_registry_key_of_a_condition():
    a, o = registry_keys("p:", "t")
    assert len({a, o, *registry_keys("p:", "u"), *registry_keys("q:", "t")}) == 6
    assert registry_key("p:", "t", equal("x")) == a
    assert registry_key("p:", "t", among("x", "1")) == o
    assert registry_key("p:", "t", TRUE) is None
    assert registry_key("p:", "t", UNCACHED) is None


def test_stamp_keys_are_as_different_as_conditions():
    conjs = [
        TRUE,
        equal("x", "1"),
        equal("x", "2"),
        equal("y", "1"),
        Conj(equal("x").template, ("1", "2")),
        Conj(equal("x").template, ('1","2',)),
        Conj(equal("x").template, ("\ud800",)),
        among("x", "1", "2"),
        among("x", '1","2'),
    ]
    made = [stamp_key("p:", table, conj) for table in ("t", "t:a") for conj in conjs]
    assert len(set(made)) == len(made)
    assert all(key.startswith("p:") for key in made)
    assert stamp_key("p:", "t", equal("x", "1")) == stamp_key("p:", "t", equal("x", "1"))


@pytest.fixture
def copies():
    return RegistryCopies()


def commands(pending_read):
    return [command[2:] for command in pending_read.commands if command[0] == "LRANGE"]


def test_copy_reads_the_whole_once_and_then_what_came_after(server, copies):
    append("x", "y")
    with engine_redis.count_round_trips() as counted:
        assert copies.read([KEY]) == [("x", "y")]
    assert counted["trips"] == 1
    append("z")
    assert commands(copies.commands_to_read([KEY])) == [(3, -1)]
    with engine_redis.count_round_trips() as counted:
        assert copies.read([KEY]) == [("x", "y", "z")]
    assert counted["trips"] == 1
    assert commands(copies.commands_to_read([KEY])) == [(4, -1)]


def test_copies_of_several_registries_in_one_round_trip(server, copies):
    append("x")
    append("y", key=OPERANDS)
    with engine_redis.count_round_trips() as counted:
        assert copies.read([KEY, OPERANDS, OTHER]) == [("x",), ("y",), ()]
    assert counted["trips"] == 1
    assert copies.read([]) == []


def test_other_generation_is_read_anew_in_a_second_round_trip(server, copies):
    append("x", "y")
    append("x", key=OTHER)
    copies.read([KEY, OTHER])
    pipeline.unlink([KEY])
    append("z")
    with engine_redis.count_round_trips() as counted:
        assert copies.read([KEY, OTHER]) == [("z",), ("x",)]
    assert counted["trips"] == 2


def test_registry_that_is_gone_leaves_nothing(server, copies):
    append("x")
    copies.read([KEY])
    pipeline.unlink([KEY])
    assert copies.read([KEY]) == [()]
    append("y")
    assert copies.read([KEY]) == [("y",)]


def test_same_generation_on_another_server_is_read_anew():
    copies = RegistryCopies()

    def extend_copies(identity, *templates):
        pending_read = copies.commands_to_read([KEY])
        return copies.extend_copies(
            pending_read, [Reply(b"g", identity), Reply([e.encode() for e in templates], identity)]
        )

    assert extend_copies(b"one", "x") == [("x",)]
    assert extend_copies(b"two") == [None]
    assert extend_copies(b"two", "x", "y") == [("x", "y")]


def test_second_reading_is_whole_though_another_thread_has_a_copy(server, monkeypatch):
    copies = RegistryCopies()
    append("x")
    copies.read([KEY])
    pipeline.unlink([KEY])
    append("y")
    real = copies.extend_copies

    def extend_copies(pending_read, replies):
        found = real(pending_read, replies)
        copies._copies.put(KEY, registry._Copy(b"older", b"", ("w",)))
        return found

    monkeypatch.setattr(copies, "extend_copies", extend_copies)
    assert copies.read([KEY]) == [("y",)]


def test_known_templates_hold_for_one_generation_on_one_server():
    known, version = KnownTemplates(), Reply(b"g", b"s")
    assert not known.contains(KEY, "x", version)
    known.learn(KEY, version, {"x": True})
    known.learn(KEY, version, {"y": True})
    assert known.contains(KEY, "x", version)
    assert known.contains(KEY, "y", version)
    for other in (Reply(b"h", b"s"), Reply(b"g", b"t")):
        assert not known.contains(KEY, "x", other)
    known.learn(KEY, Reply(b"h", b"s"), {"z": True})
    assert not known.contains(KEY, "x", version)


def test_refused_template_is_asked_again_when_the_registry_may_rotate():
    known, version = KnownTemplates(), Reply(b"g", b"s")
    known.learn(KEY, version, {"x": False, "y": True})
    assert known.is_refused(KEY, "x")
    assert not known.contains(KEY, "x", version)
    assert not known.is_refused(KEY, "y")
    with override_settings(CACHEOPS_ROVER_REGISTRY_SECONDS=-1):
        known.learn(KEY, version, {"x": False})
    assert not known.is_refused(KEY, "x")


def test_template_that_is_too_long_is_refused():
    assert KnownTemplates().is_refused(KEY, "x" * (registry.MAX_TEMPLATE_LENGTH + 1))
    assert not KnownTemplates().is_refused(KEY, "x" * registry.MAX_TEMPLATE_LENGTH)


def test_what_a_process_knows_is_bounded(server, monkeypatch):
    monkeypatch.setattr(registry, "KNOWN_BYTES", 100_000)
    monkeypatch.setattr(registry, "COPIED_BYTES", 100_000)
    known, copies = KnownTemplates(), RegistryCopies()
    version = Reply(b"g", b"s")
    for number in range(1000):
        template = f"{number}" + "x" * 1000
        known.learn(f"reg:{number % 50}:a", version, {template: number % 7 > 0})
        # What was just appended is known in any case: otherwise there would be no lease.
        assert known.contains(f"reg:{number % 50}:a", template, version) is (number % 7 > 0)
        known.learn("reg:one:a", version, {template: True})
        assert known.contains("reg:one:a", template, version)
        keys = [f"reg:{number}:a", KEY]
        pending_read = copies.commands_to_read(keys)
        at = number + 1 - len(pending_read.copies[1].templates)
        tail = Reply(
            [(f"{n}" + "x" * 1000).encode() for n in range(number + 1 - at, number + 1)], b"s"
        )
        read = copies.extend_copies(pending_read, [version, tail, version, tail])
        assert read[1] == tuple(f"{n}" + "x" * 1000 for n in range(number + 1)), "dropped or not"
        assert max(known._registries.used, copies._copies.used) <= 100_000
        held = dict(known._registries), dict(copies._copies)
        assert max(map(approximate_bytes, held)) <= 130_000
        assert len(known.full_until) <= registry._MOST_FULL
    monkeypatch.undo()
    known = KnownTemplates()
    for number in range(6 * MAX_TEMPLATES):
        known.learn(KEY, version, {f"e{number}": False})
    assert len(known._registries[KEY][1]) <= 4 * MAX_TEMPLATES + 1
    assert generation_command(KEY) == ("LINDEX", KEY, 0)
