"""A reader in a transaction with an old snapshot, or on a replica, does not store what it read."""

import sqlite3
from collections import defaultdict
from contextlib import contextmanager

import psycopg
import pytest
from cacheops.transaction import TransactionState, transaction_states
from django.db import connections
from django.db.transaction import atomic
from django.test import override_settings

from rover_overrides.database import snapshots
from rover_overrides.database.snapshots import may_read_stale
from tests.support.databases import connected, sqlite

READ_COMMITTED, REPEATABLE_READ = (
    psycopg.IsolationLevel.READ_COMMITTED,
    psycopg.IsolationLevel.REPEATABLE_READ,
)


def old(using="default", tables=()):
    return may_read_stale([using], tables)


def select(using="default", sql="SELECT 1"):
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


@contextmanager
def manual(using="default"):
    connections[using].set_autocommit(False)
    try:
        yield
    finally:
        connections[using].rollback()
        connections[using].set_autocommit(True)


@pytest.fixture
def memory():
    with connected(default=sqlite()):
        yield


@pytest.fixture
def wal(tmp_path):
    with sqlite3.connect(tmp_path / "db") as raw:
        raw.execute("PRAGMA journal_mode=wal")
    raw.close()
    with connected(default=sqlite(tmp_path / "db")):
        yield


@pytest.fixture
def postgresql(postgres):
    """Give Django's settings of a PostgreSQL."""
    return {
        name: connections.settings[postgres][name] for name in ("ENGINE", "NAME", "USER", "HOST")
    }


def test_connection_that_is_not_open_sees_nothing_old(memory):
    assert not old()


def test_sqlite_without_a_log_sees_what_is_committed(memory):
    select()
    with atomic():
        select()
        assert not old()


def test_sqlite_transaction_with_a_log_may_be_old(wal):
    select()
    assert not old()
    with atomic():
        select()
        assert old()
    with manual():
        select()
        assert old()
    assert not old()


def test_sqlite_snapshot_really_is_old(wal, tmp_path):
    """What the refusal is for."""
    select(sql="SELECT 1")
    with sqlite3.connect(tmp_path / "db") as other:
        other.execute("CREATE TABLE t (n)")
        other.execute("INSERT INTO t VALUES (1)")
        other.commit()
        with atomic():
            assert [tuple(row) for row in select(sql="SELECT n FROM t")] == [(1,)]
            other.execute("UPDATE t SET n = 2")
            other.commit()
            assert [tuple(row) for row in select(sql="SELECT n FROM t")] == [(1,)]
            assert old()
        assert [tuple(row) for row in select(sql="SELECT n FROM t")] == [(2,)]
    other.close()


@pytest.mark.parametrize(
    ("options", "begin", "expected"),
    [
        ({}, None, False),
        ({"isolation_level": READ_COMMITTED}, None, False),
        ({"isolation_level": REPEATABLE_READ}, None, True),
        ({"isolation_level": psycopg.IsolationLevel.SERIALIZABLE}, None, True),
        ({"options": "-c default_transaction_isolation=serializable"}, None, True),
        ({}, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", True),
        (
            {"isolation_level": REPEATABLE_READ},
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            False,
        ),
    ],
)
def test_postgresql_transaction_is_old_at_some_isolations(postgresql, options, begin, expected):
    with connected(default={**postgresql, "OPTIONS": options}):
        select()
        assert not old(), "each statement has a snapshot of its own"
        for transaction in (atomic(), manual()):
            with transaction:
                if begin:
                    connections["default"].cursor().execute(begin)
                select()
                assert old() is expected


def test_failed_transaction_may_be_old(postgresql):
    with connected(default=postgresql):
        select()
        connections["default"].set_autocommit(False)
        with pytest.raises(Exception, match="syntax error"):
            select(sql="SELEC")
        assert old()
        connections["default"].rollback()


def test_database_is_asked_once_a_transaction_and_past_django(postgresql, monkeypatch):
    monkeypatch.setattr(transaction_states, "_states", defaultdict(TransactionState))
    asked, real = [], snapshots._query_value
    monkeypatch.setattr(
        snapshots,
        "_query_value",
        lambda connection, sql: asked.append(sql) or real(connection, sql),
    )
    with connected(default=postgresql):
        select()
        with atomic():
            transaction_states["default"].begin()
            select()
            with connections["default"].execute_wrapper(pytest.fail):
                assert [old(), old()] == [False, False]
            transaction_states["default"].rollback()
        with atomic():
            transaction_states["default"].begin()
            connections["default"].cursor().execute(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
            )
            assert [old(), old()] == [True, True]
            transaction_states["default"].rollback()
    assert asked == ["SHOW transaction_isolation"] * 2


def test_hot_standby_is_a_replica():
    class Info:
        def parameter_status(self, name):
            return {"in_hot_standby": "on"}.get(name)

    class Raw:
        info = Info()

    assert snapshots._in_hot_standby(Raw())
    assert not snapshots._in_hot_standby(None)


def test_postgresql_says_that_it_is_no_standby(postgresql):
    with connected(default=postgresql):
        select()
        raw = connections["default"].connection
        assert raw.info.parameter_status("in_hot_standby") == "off"
        assert not snapshots._in_hot_standby(raw)


def test_mirror_is_a_replica():
    with connected(default=sqlite(), other=sqlite(TEST={"MIRROR": "default"})):
        assert not old("default")
        assert old("other")


class Router:
    def db_for_read(self, model, **hints):
        return "other"

    def db_for_write(self, model, **hints):
        return "default"


def test_alias_that_the_router_does_not_write_to_is_a_replica(monkeypatch):
    monkeypatch.setattr(
        snapshots, "_models_of_table", lambda table: (object,) if table == "t" else ()
    )
    with connected(default=sqlite(), other=sqlite()):
        assert not old("other", ["t"]), "without a router it is a database of its own"
        with override_settings(DATABASE_ROUTERS=[Router()]):
            assert not old("default", ["t"])
            assert old("other", ["t"])
            assert not old("other", ["unknown"])


def test_other_databases_are_old_in_a_transaction(memory, monkeypatch):
    select()
    monkeypatch.setattr(connections["default"], "vendor", "mysql")
    assert not old()
    with atomic():
        assert old()
