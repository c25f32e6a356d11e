"""When changes are invalidated: at the commit of their transaction, in one go, whatever kind of transaction it is."""

from contextlib import suppress

import pytest
from cacheops import no_invalidation
from cacheops.transaction import install_cacheops_transaction_support, transaction_states
from django.db import connections, transaction
from django.db.transaction import atomic
from django.test.utils import override_settings

from rover_overrides.invalidation import commits
from rover_overrides.invalidation.two_phase import Change
from rover_overrides.writes import compilers
from tests.support.write_models.models import Shelf, Tag
from tests.support.write_recorder import (
    COARSE,
    WriteRecorder,
    create_tables,
    drop_tables,
    empty_tables,
)

DEFAULT = "default"


@pytest.fixture(scope="module")
def tables(sqlite):
    install_cacheops_transaction_support()
    compilers.install()
    create_tables(DEFAULT)
    yield
    drop_tables(DEFAULT)


@pytest.fixture(params=[(), ("two-phase-invalidation",)])
def seen(tables, request, monkeypatch):
    """Give the calls of the invalidation."""
    recorder = WriteRecorder().install(monkeypatch)
    with override_settings(CACHEOPS_INSIDEOUT=True, CACHEOPS_ROVER_OFF=request.param):
        with no_invalidation:
            empty_tables(DEFAULT)
            Tag(pk=1, slug="red").save()
        yield recorder
    connection = connections[DEFAULT]
    assert connection.get_autocommit()
    assert not transaction_states[DEFAULT]
    assert not commits.reads_bypass_cache(DEFAULT)


@pytest.fixture
def manual(seen):
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


def create_and_fail(slug):
    """Create a tag in a block that is rolled back."""
    with suppress(LookupError), atomic():
        Tag.objects.create(slug=slug)
        raise LookupError


def slugs(recorder):
    """Return the slugs of the new rows, call by call."""
    calls = [[change.new["slug"] for change in changes] for _, changes in recorder.calls]
    recorder.calls.clear()
    return calls


def test_outside_a_transaction_each_write_is_invalidated_at_once(seen):
    Tag.objects.create(slug="a")
    assert slugs(seen) == [["a"]]
    Tag.objects.create(slug="b")
    assert slugs(seen) == [["b"]]


def test_changes_of_a_transaction_are_one_call_at_its_commit(seen):
    with atomic():
        Tag.objects.create(slug="a")
        with atomic():
            Tag.objects.create(slug="b")
        Tag.objects.create(slug="c")
        assert slugs(seen) == []
    assert slugs(seen) == [["a", "b", "c"]]


def test_rollback_forgets(seen):
    create_and_fail("a")
    with atomic():
        Tag.objects.create(slug="b")
        transaction.set_rollback(True)
    assert slugs(seen) == []
    Tag.objects.create(slug="c")
    assert slugs(seen) == [["c"]]


def test_savepoint_that_is_rolled_back_loses_nothing_else(seen):
    with atomic():
        Tag.objects.create(slug="a")
        create_and_fail("b")
        Tag.objects.create(slug="c")
    [call] = slugs(seen)
    assert {"a", "c"} <= set(call)


def test_callback_that_raises_loses_nothing(seen):
    def fail():
        raise LookupError

    block = atomic()
    block.__enter__()
    transaction.on_commit(fail)
    Tag.objects.create(slug="a")
    with pytest.raises(LookupError):
        block.__exit__(None, None, None)
    assert slugs(seen) == [["a"]]


def test_callback_sees_its_transaction_invalidated(seen):
    calls = []
    with atomic():
        transaction.on_commit(lambda: calls.extend(slugs(seen)))
        Tag.objects.create(slug="a")
    assert calls == [["a"]]


def test_commit_that_fails_is_invalidated_anyway(seen, monkeypatch):
    """It may have committed all the same."""
    connection = connections[DEFAULT]

    def lost():
        raise ConnectionResetError

    block = atomic()
    block.__enter__()
    Tag.objects.create(slug="a")
    monkeypatch.setattr(connection, "_commit", lost)
    with pytest.raises(ConnectionResetError):
        block.__exit__(None, None, None)
    assert slugs(seen) == [["a"]]
    connection.rollback()
    connection.set_autocommit(True)
    transaction_states[DEFAULT].clear()


def test_two_databases_are_two_calls(seen):
    with atomic():
        commits.record(None, Change("a", None, {"slug": "a"}))
        commits.record("postgres", Change("a", None, {"slug": "b"}))
        assert seen.calls == [("postgres", [Change("a", None, {"slug": "b"})])]
    assert [using for using, _ in seen.calls] == ["postgres", DEFAULT]


def test_manual_mode_waits_for_the_commit(seen, manual):
    Tag.objects.create(slug="a")
    with atomic():
        Tag.objects.create(slug="b")
    Tag.objects.create(slug="c")
    assert slugs(seen) == []
    transaction.commit()
    assert slugs(seen) == [["a", "b", "c"]]
    assert not commits.reads_bypass_cache(DEFAULT)
    Tag.objects.create(slug="d")
    transaction.commit()
    assert slugs(seen) == [["d"]]


def test_manual_mode_forgets_what_is_rolled_back(seen, manual):
    Tag.objects.create(slug="a")
    with atomic():
        Tag.objects.create(slug="b")
    transaction.rollback()
    transaction.commit()
    assert slugs(seen) == []


def test_manual_mode_is_dirty_from_its_first_write_on(seen, manual):
    list(Tag.objects.all())
    assert not commits.reads_bypass_cache(DEFAULT)
    Tag.objects.create(slug="a")
    assert commits.reads_bypass_cache(DEFAULT)
    with atomic():
        Tag.objects.create(slug="b")
    assert commits.reads_bypass_cache(DEFAULT)
    transaction.rollback()
    assert not commits.reads_bypass_cache(DEFAULT)
    with no_invalidation:
        Shelf.objects.create(name="x")
    assert commits.reads_bypass_cache(DEFAULT), "also what nobody invalidates is not for others yet"
    transaction.commit()
    assert not commits.reads_bypass_cache(DEFAULT)


def test_turning_autocommit_on_commits(seen):
    transaction.set_autocommit(False)
    Tag.objects.create(slug="a")
    transaction.set_autocommit(True)
    assert slugs(seen) == [["a"]]
    assert Tag.objects.filter(slug="a").exists()


def test_closing_forgets(seen):
    transaction.set_autocommit(False)
    Tag.objects.create(slug="a")
    connections[DEFAULT].close()
    assert not commits.reads_bypass_cache(DEFAULT)
    assert not Tag.objects.filter(slug="a").exists()
    assert slugs(seen) == []


def test_transaction_is_dirty_after_its_first_write(seen):
    with atomic():
        list(Tag.objects.all())
        assert not commits.reads_bypass_cache(DEFAULT)
        Tag.objects.filter(pk=1).update(hits=4)
        assert commits.reads_bypass_cache(DEFAULT)
    assert not commits.reads_bypass_cache(DEFAULT)


def test_alias_of_the_same_database_is_dirty_too(seen, monkeypatch):
    settings = connections.settings
    monkeypatch.setitem(settings, "mirror", dict(settings[DEFAULT]))
    monkeypatch.setitem(settings, "other", {**settings[DEFAULT], "NAME": ":memory:"})
    with atomic():
        Tag.objects.filter(pk=1).update(hits=4)
        assert commits.reads_bypass_cache("mirror")
        assert not commits.reads_bypass_cache("other")
    assert not commits.reads_bypass_cache("mirror")


def test_table_with_too_many_rows_becomes_coarse(seen, monkeypatch):
    monkeypatch.setattr(commits, "MAX_ROWS", 2)
    with atomic():
        for slug in "abcd":
            Tag.objects.create(slug=slug)
        Shelf.objects.create(pk=1, name="x")
    assert seen.take_changes() == [("tag", *COARSE), ("shelf", None, {"id": 1, "name": "x"})]


def test_switching_off_in_a_transaction_is_respected(seen):
    with atomic():
        with override_settings(CACHEOPS_ENABLED=False):
            Tag.objects.create(slug="a")
        with no_invalidation:
            Tag.objects.create(slug="b")
        Tag.objects.create(slug="c")
    assert slugs(seen) == [["c"]]
