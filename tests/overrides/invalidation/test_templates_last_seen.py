"""A writer deletes the stamps for the templates that it saw last while it registers, and then those for the others."""

import pytest
from django.test.utils import override_settings

from rover_overrides.cache import pending_writes
from rover_overrides.cache.registry import registry_keys
from rover_overrides.invalidation import two_phase
from rover_overrides.invalidation.two_phase import Change, finish, prepare
from rover_overrides.queries.analysis import dependencies
from rover_overrides.transport import pipeline
from tests.support import engine_redis
from tests.support.condition_texts import among, equal
from tests.support.one_result import cached, is_hit
from tests.support.redis_watch import watching
from tests.support.write_models.models import Book, Shelf

TAGS, BOOKS = "write_models_tag", "write_models_book"
CHANGES = [
    Change(TAGS, {"id": 1, "slug": "s", "hits": 1}, {"id": 1, "slug": "s", "hits": 2}),
]
KNOWN = {TAGS: [equal("hits", "1")]}
SLUG = {TAGS: [equal("slug", "s")]}
OTHER = {TAGS: [among("hits", "1", "2")]}


@pytest.fixture
def writer(server, monkeypatch):
    """Give a server whose registry a writer has seen with one template."""
    monkeypatch.setattr(two_phase, "_registry", two_phase.RegistryCopies())
    cached(lambda: "old", KNOWN)
    write()
    return server


def write():
    """Write, and return how many round trips the preparation took."""
    with engine_redis.count_round_trips() as counted:
        prepared = prepare("default", CHANGES)
    finish("default", prepared, CHANGES, was_committed=True)
    return counted["trips"]


def test_stamps_are_deleted_in_the_round_trip_that_registers(writer):
    cached(lambda: "old", KNOWN)
    assert is_hit(KNOWN)
    with writer.client() as client, watching(client) as ran:
        assert write() == 1
    assert not is_hit(KNOWN)
    names = [command.name for command in ran]
    assert names.index("ZADD") < names.index("UNLINK") < names.index("LRANGE") < names.index("ZREM")


def test_table_without_templates_takes_one_round_trip_too(server, monkeypatch):
    monkeypatch.setattr(two_phase, "_registry", two_phase.RegistryCopies())
    assert write() == 1


def test_template_that_was_added_since_is_evaluated(writer):
    cached(lambda: "old", OTHER, "q:other")
    assert is_hit(OTHER, "q:other")
    assert write() == 2
    assert not is_hit(OTHER, "q:other")
    assert write() == 1


def test_registry_that_was_made_anew_is_read_again(writer, monkeypatch):
    pipeline.unlink(registry_keys("", TAGS))
    engine_redis.forget_registries(monkeypatch)
    cached(lambda: "old", SLUG, "q:other")
    assert is_hit(SLUG, "q:other")
    assert write() == 3
    assert not is_hit(SLUG, "q:other")


def test_row_that_may_meet_any_condition_deletes_the_registries_before_and_after(writer):
    cached(lambda: "old", KNOWN)
    unknown = [Change(TAGS, {"id": 1}, {"id": 1, "slug": "s"})]
    prepared = prepare("default", unknown)
    assert not is_hit(KNOWN)
    assert {*registry_keys("", TAGS)} <= {*prepared.deleted_keys}


@pytest.fixture
def shelved(alias, server, monkeypatch):
    """Give the alias of a database with a book, and a writer that knows a condition on its shelf."""
    monkeypatch.setattr(two_phase, "_registry", two_phase.RegistryCopies())
    deps = dependencies(Book.objects.using(alias).filter(shelf__name="Left"))
    with override_settings(CACHEOPS_INSIDEOUT=True):
        shelf = Shelf.objects.using(alias).create(name="Left")
        book = Book.objects.using(alias).create(title="t", shelf=shelf)
        for pages in range(2):
            cached(lambda: "old", {BOOKS: deps[BOOKS]})
            book.pages = pages + 1
            book.save()
        yield alias, book


def test_related_rows_are_read_while_nobody_can_change_them_unseen(shelved, server, monkeypatch):
    """On PostgreSQL another writer may change them until this one is registered."""
    alias, book = shelved
    real, registered = two_phase.with_related, []

    def with_related(*arguments):
        registered.append(bool(pipeline.run([("EXISTS", pending_writes.key("", BOOKS))])[0].value))
        return real(*arguments)

    monkeypatch.setattr(two_phase, "with_related", with_related)
    book.pages += 1
    book.save()
    assert registered == [alias != "default"]


def test_conditions_are_counted_once_whether_they_were_expected_or_not(writer, monkeypatch):
    counted = []
    monkeypatch.setattr(
        two_phase._counters,
        "count_invalidated",
        lambda table, conjs: counted.append(sorted(conj.template != "" for conj in conjs)),
    )
    write()
    cached(lambda: "old", OTHER, "q:other")
    write()
    assert counted == [[False, True, True], [False, True, True, True]]
