"""A COMMIT that raises: while its transaction is open the changes wait for the next one, and what nobody can ask about ends."""

import sqlite3

import pytest
from django.db import OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError, atomic
from django.test import override_settings

from rover_overrides.cache import pending_writes
from rover_overrides.invalidation import unknown_commits
from tests.overrides.invalidation.test_commits import DEFAULT, manual, seen, slugs, tables  # noqa: F401 - fixtures
from tests.support.condition_texts import equal
from tests.support.one_result import cached, is_hit
from tests.support.write_models.models import Tag

DEPS = {"t": [equal("x", "1")]}


def test_commit_that_django_refuses_in_a_block_loses_no_changes(seen):  # noqa: F811 - the fixture
    with atomic():
        Tag.objects.create(slug="a")
        with pytest.raises(TransactionManagementError):
            transaction.commit()
        slugs(seen)
        Tag.objects.create(slug="b")
    assert slugs(seen) == [["a", "b"]]


@pytest.fixture
def impatient():
    """Have the connection wait for no lock; it is closed afterwards, so that those of later tests do."""
    connection = connections[DEFAULT]
    connection.cursor().execute("PRAGMA busy_timeout = 0")
    yield
    connection.close()


def test_commit_that_a_lock_keeps_off_is_invalidated_when_it_is_repeated(impatient, seen, manual):  # noqa: F811 - the fixtures
    Tag.objects.create(slug="a")
    other = sqlite3.connect(connections[DEFAULT].settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM write_models_tag").fetchall()
    with pytest.raises(OperationalError, match="locked"):
        transaction.commit()
    slugs(seen)
    other.execute("COMMIT")
    other.close()
    transaction.commit()
    assert slugs(seen) == [["a"]]


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(unknown_commits, "open_commits", {})
    monkeypatch.setattr(unknown_commits, "time", Clock())
    return unknown_commits.time


def entries(server):
    return [
        name
        for name in server.key_names()
        if name in {pending_writes.key("", "t"), pending_writes.previous_wheel_key("", "t")}
    ]


def test_commit_that_nobody_can_ask_about_counts_as_done_after_its_time(server, clock):
    cached(lambda: "old", DEPS)
    with override_settings(CACHEOPS_ROVER_UNKNOWN_SECONDS=100):
        unknown_commits.remember(DEFAULT, 0, {("", "t")}, None)
        for _ in range(9):
            clock.now += 11
            server.flush_all()
            unknown_commits.resolve()
            assert len(entries(server)) == 2, "it has entered again"
            cached(lambda: "old", DEPS)
            assert not is_hit(DEPS)
        clock.now += 11
        unknown_commits.resolve()
    assert entries(server) == []
    assert unknown_commits.open_commits == {}
    cached(lambda: "new", DEPS)
    assert is_hit(DEPS)


def test_what_was_stored_while_the_entry_was_lost_is_dropped(server, clock):
    unknown_commits.remember(DEFAULT, 0, {("", "t")}, None)
    server.flush_all()
    cached(lambda: "old", DEPS)
    assert is_hit(DEPS)
    clock.now += 2
    unknown_commits.resolve()
    assert not is_hit(DEPS)


def test_entry_is_refreshed_once_a_second_at_most(server, clock):
    unknown_commits.remember(DEFAULT, 0, {("", "t")}, None)
    server.flush_all()
    clock.now += 0.5
    unknown_commits.resolve()
    assert entries(server) == []


def test_without_compat_only_the_key_of_this_wheel_is_used(server, clock):
    with override_settings(CACHEOPS_ROVER_COMPAT=False):
        unknown_commits.remember(DEFAULT, 0, {("", "t")}, None)
        assert entries(server) == [pending_writes.key("", "t")]
        cached(lambda: "old", DEPS)
        assert not is_hit(DEPS)
