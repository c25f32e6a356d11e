"""A COMMIT that raises: while its transaction is open the changes wait for the next one, and what nobody can ask about ends."""

import sqlite3

import pytest
from django.db import OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError, atomic
from django.test import override_settings

from rover_overrides.cache import pending_writes
from rover_overrides.database import statements
from rover_overrides.invalidation import unknown_commits
from rover_overrides.invalidation.unknown_commits import UnknownCommit, _Outcome
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


BACKEND = 4711


@pytest.fixture
def questions(clock, monkeypatch):
    """Give the list of which connections the database is asked on, `own` or `new`; the backend is at work."""
    asked = []

    class New:
        def close(self):
            pass

    def outcome(connection, _commit):
        asked.append("new" if isinstance(connection, New) else "own")
        return _Outcome.IN_PROGRESS

    monkeypatch.setattr(unknown_commits, "_outcome_on", outcome)
    monkeypatch.setattr(unknown_commits, "_new_connection", lambda _connection: New())
    return asked


@pytest.mark.parametrize(
    ("is_idle", "expected"), [(True, ["own"] * 11), (False, ["new"] * 3)], ids=["own", "new"]
)
def test_database_is_asked_once_a_second_or_every_five_on_a_new_connection(
    server, clock, questions, monkeypatch, is_idle, expected
):
    monkeypatch.setattr(statements, "is_idle", lambda _connection: is_idle)
    unknown_commits.remember(DEFAULT, BACKEND, {("", "t")}, None)
    for _ in range(41):
        unknown_commits.resolve()
        clock.now += 0.25
    assert questions == expected


def test_no_connection_is_made_while_the_thread_has_a_transaction_open(server, questions):
    with atomic():
        unknown_commits.remember(DEFAULT, BACKEND, {("", "t")}, None)
        unknown_commits.resolve()
        assert questions == []
    unknown_commits.resolve()
    assert questions == ["new"]


def test_commit_that_is_under_way_keeps_its_entry_however_long_that_takes(server, clock, questions):
    unknown_commits.remember(DEFAULT, BACKEND, {("", "t")}, None)
    for _ in range(10):
        clock.now += 30
        server.flush_all()
        unknown_commits.resolve()
        assert len(entries(server)) == 2
    assert len(questions) == 10


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ((7, False, None, None, None), _Outcome.ENDED),
        ((7, False, BACKEND, "active", 0.5), _Outcome.ENDED),  # another one, that began since
        ((7, False, BACKEND, "active", 100), _Outcome.IN_PROGRESS),
        ((7, False, BACKEND, "idle in transaction", 100), _Outcome.IN_PROGRESS),
        ((7, False, BACKEND, "idle", 100), _Outcome.UNKNOWN),
        ((8, False, None, None, None), _Outcome.UNKNOWN),  # the pooler's own id
        ((7, True, None, None, None), _Outcome.NOT_QUERIED),
    ],
)
def test_what_the_answer_of_the_database_means(clock, monkeypatch, row, outcome):
    monkeypatch.setattr(unknown_commits, "backend_pid", lambda _connection: 7)
    monkeypatch.setattr(statements, "read", lambda *_args: [row])
    commit = UnknownCommit(DEFAULT, BACKEND, (), "token", clock.now - 1)
    assert unknown_commits._outcome_on(None, commit) is outcome
    assert commit.backend == (0 if row[0] != 7 else BACKEND)
