"""A look into the outbox that fails, or sees nothing new, leaves reads to the database; none waits for another look."""

import asyncio
import warnings

import pytest
import redis
from django.db import connections, transaction
from django.test import override_settings

from rover_overrides.cache import results
from rover_overrides.database import statements
from rover_overrides.invalidation import commits, transaction_ends, two_phase, unsent
from rover_overrides.operations import outbox
from rover_overrides.transport import pipeline
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.writes import compilers

ALIAS = "postgres"
SHELF = "write_models_shelf"


@pytest.fixture
def waiting(postgres, server, monkeypatch):
    """Give a database in whose outbox a table waits, and the list of what is dropped."""
    dropped = []
    monkeypatch.setattr(
        two_phase, "invalidate_tables", lambda using, tables: dropped.append(sorted(tables))
    )
    monkeypatch.setattr(outbox, "_next_check", 0.0)
    monkeypatch.setattr(outbox, "_is_unread", False)
    compilers.install()
    options = {"CACHEOPS_ROVER_OUTBOX": (ALIAS,), "CACHEOPS_ROVER_OUTBOX_SECONDS": 0}
    with override_settings(CACHEOPS_INSIDEOUT=True, **options):
        outbox._create(ALIAS)
        run("DELETE FROM rover_outbox")
        run(f"INSERT INTO rover_outbox (name, made) VALUES ('{SHELF}', 1)")
        yield dropped
        connections[ALIAS].close()
        run("DROP TABLE IF EXISTS rover_outbox")


def run(sql):
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def count():
    return run("SELECT COUNT(*) FROM rover_outbox")[0][0]


SEEN = [[(None, SHELF)]]


def test_look_drops_and_deletes(waiting):
    assert outbox._before_read()
    assert (waiting, count()) == (SEEN, 0)


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_look_before_the_first_statement_of_a_transaction_sees_what_others_left(waiting, level):
    run(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
    with transaction.atomic(ALIAS):
        assert outbox._before_read()
        assert waiting == SEEN
    outbox._after_transaction(connections[ALIAS])
    assert count() == 0


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_cache_is_not_read_where_a_snapshot_is_from_before_the_look(waiting, level):
    run(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
    with transaction.atomic(ALIAS):
        run("SELECT 1")
        assert outbox._before_read() is False
        assert waiting == []
    assert outbox._before_read()
    assert (waiting, count()) == (SEEN, 0)


def test_cache_is_not_read_in_a_transaction_that_has_failed(waiting):
    with transaction.atomic(ALIAS):
        transaction.set_rollback(True, ALIAS)
        assert outbox._before_read() is False
    assert waiting == []


def test_look_in_an_event_loop_leaves_reads_to_the_database_without_a_word(waiting):
    async def look():
        return outbox._before_read()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(look()) is False
    assert waiting == []
    assert outbox._before_read()
    assert waiting == SEEN


def test_look_costs_one_select_for_each_database(waiting, monkeypatch):
    run("DELETE FROM rover_outbox")
    sent, read = [], statements.read
    monkeypatch.setattr(statements, "read", lambda *args: sent.append(args[0].alias) or read(*args))
    with override_settings(CACHEOPS_ROVER_OUTBOX_SECONDS=1000):
        assert [outbox._before_read() for _ in range(5)] == [True] * 5
    assert sent == [ALIAS]


@pytest.fixture
def powerless(waiting):
    """Have the session do what it does as a role that may do nothing, until `RESET ROLE`."""
    run("DROP ROLE IF EXISTS powerless")
    run("CREATE ROLE powerless")
    run("SET ROLE powerless")
    yield waiting
    run("RESET ROLE")
    run("DROP ROLE powerless")


def test_look_that_fails_leaves_reads_to_the_database_and_is_not_repeated_at_each(
    powerless, monkeypatch
):
    looks, read = [], statements.read
    monkeypatch.setattr(
        statements, "read", lambda *args, **kwargs: looks.append(1) or read(*args, **kwargs)
    )
    with override_settings(CACHEOPS_ROVER_OUTBOX_SECONDS=1000):
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            assert outbox._before_read() is False
        assert [outbox._before_read() for _ in range(5)] == [False] * 5
        assert len(looks) == 1
        run("RESET ROLE")
        outbox._next_check = 0.0  # 1,000 seconds later
        assert outbox._before_read()
        assert powerless == SEEN
        assert outbox._before_read()


def test_read_takes_no_result_and_stores_none_while_the_outbox_cannot_be_read(
    powerless, monkeypatch
):
    monkeypatch.setattr(results, "before_read", [outbox._before_read])
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert read() == (None, False)


def read():
    with results.getting("q:1", {}, "") as found:
        return found, results.has_lease("q:1")


def test_who_may_not_delete_has_dropped_and_goes_on(waiting):
    run("SET default_transaction_read_only = on")
    assert outbox._before_read()
    assert outbox._before_read()
    assert (waiting, count()) == (SEEN * 2, 1)


def test_table_that_is_missing_is_empty(waiting):
    run("DROP TABLE rover_outbox")
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert outbox._before_read()
    with transaction.atomic(ALIAS):
        run("SELECT 1")
        with pytest.warns(RuntimeWarning, match="cannot be read"):
            assert outbox._before_read()
        run("SELECT 1")


def test_connection_that_cannot_be_had_leaves_reads_to_the_database(waiting, monkeypatch):
    connections[ALIAS].close()
    monkeypatch.setitem(connections[ALIAS].settings_dict, "USER", "nobody there")
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert outbox._before_read() is False
    monkeypatch.undo()


def test_write_where_the_table_is_missing_raises_nothing(waiting):
    run("DROP TABLE rover_outbox")
    connection = connections[ALIAS]
    for write in (outbox._insert, lambda *args: outbox._insert_after_failure(ALIAS, args[1])):
        with pytest.warns(RuntimeWarning, match="cannot be written"):
            write(connection, {(None, SHELF)})
    with transaction.atomic(ALIAS):
        with pytest.warns(RuntimeWarning, match="cannot be written"):
            outbox._insert(connection, {(None, SHELF)})
        run("SELECT 1")


def test_raw_sql_outside_a_transaction_is_in_the_outbox_before_it_runs(waiting, monkeypatch):
    def away(*_args):
        raise redis.ConnectionError("cut off")

    run("DELETE FROM rover_outbox")
    monkeypatch.setattr(pipeline, "_run", away)
    monkeypatch.setattr(pipeline, "run_with_retries", lambda work: work())
    monkeypatch.setattr(unsent, "_unsent", {})
    monkeypatch.setattr(commits, "on_prepare_failed", [outbox._insert])
    change = two_phase.Change(SHELF, None, None)
    with (
        pytest.warns(RuntimeWarning, match="does not hear of writes"),
        override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True),
        commits.autocommit_statement(connections[ALIAS], [change]),
    ):
        assert count() == 1
    circuit.record_success()


def test_rows_that_were_read_in_manual_mode_are_deleted_when_it_ends(waiting, monkeypatch):
    monkeypatch.setattr(transaction_ends, "after_transaction", [outbox._after_transaction])
    transaction.set_autocommit(False, ALIAS)
    assert outbox._before_read()
    transaction.commit(ALIAS)
    assert (waiting, count()) == (SEEN, 1)
    transaction.rollback(ALIAS)
    transaction.set_autocommit(True, ALIAS)
    assert count() == 0
