"""What is read beside a query's own statement is known by table, or the result is not stored; what is remembered is bounded."""

import pytest
from django.db import connections

from rover_overrides.cache import nested_reads
from rover_overrides.conditions.conditions import TRUE, UNCACHED
from rover_overrides.core.bounded_table import BoundedTable
from tests.support.condition_texts import equal

OWN = "SELECT * FROM query_models_item"
DEPS = {"query_models_item": [equal("x")]}
TAGS = {"query_models_tag": [TRUE]}


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch):
    monkeypatch.setattr(nested_reads, "_learned", BoundedTable(10_000))


def reads(*statements, cached=()):
    found = nested_reads.Reads()
    found.statements = list(statements)
    for deps in cached:
        found.add(deps)
    return found


def learned(found, key="q:1", deps=DEPS, statement=None):
    """Return whether all is known, and the dependencies of the next read."""
    return nested_reads.covers_reads(key, deps, found, statement), nested_reads.with_learned_tables(
        key, deps
    )


def test_own_statement_alone_needs_nothing_more():
    assert learned(reads(OWN)) == (True, DEPS)
    assert learned(reads()) == (True, DEPS)


@pytest.mark.parametrize(
    "found",
    [
        reads(OWN, "SELECT name FROM query_models_tag"),
        reads(
            OWN, 'WITH t AS (SELECT 1) SELECT "query_models_tag"."name" FROM t, QUERY_MODELS_TAG'
        ),
        reads(OWN, cached=[{"query_models_tag": [equal("x")]}]),
    ],
)
def test_other_tables_are_depended_on_from_then_on(found):
    assert learned(found) == (False, DEPS | TAGS)
    assert learned(found, deps=DEPS | TAGS) == (True, DEPS | TAGS)


def test_other_statement_on_the_same_table_needs_all_its_rows():
    assert learned(reads(OWN, OWN)) == (False, {"query_models_item": [TRUE]})


@pytest.mark.parametrize(
    "found",
    [
        reads(OWN, "SELECT v FROM elsewhere"),
        reads(OWN, "UPDATE query_models_tag SET name = 'x'"),
        reads(OWN, b"SELECT name FROM query_models_tag"),
        reads(OWN, cached=[{"query_models_tag": [UNCACHED]}]),
    ],
)
def test_what_nobody_knows_is_not_stored(found):
    assert learned(found) == (False, {**DEPS, "": [UNCACHED]})
    assert learned(reads(OWN, "SELECT name FROM query_models_tag")) == (
        False,
        {**DEPS, "": [UNCACHED]},
    )


def test_statement_of_another_iterable_is_found_wherever_it_is():
    assert learned(reads("SELECT name FROM query_models_tag", OWN), statement=OWN) == (
        False,
        DEPS | TAGS,
    )
    assert learned(reads("SELECT name FROM query_models_tag"), statement=OWN) == (
        False,
        DEPS | TAGS,
    )


def test_statements_of_a_new_connection_are_not_remembered():
    found = reads("SELECT oid FROM pg_type", OWN)
    found.has_connected = True
    assert learned(found) == (False, DEPS)


def test_what_is_remembered_is_bounded_in_bytes():
    for number in range(100):
        found = learned(reads(OWN, "SELECT name FROM query_models_tag"), key=f"q:{number}")
    assert found[1] == learned(reads(OWN, "SELECT name FROM query_models_tag"), key="q:0")[1]
    assert 0 < nested_reads._learned.used <= 10_000


def test_inner_blocks_read_for_themselves(sqlite):
    connections[sqlite].ensure_connection()
    with nested_reads.recording_reads() as outer, connections[sqlite].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute("PRAGMA foreign_keys")
        with nested_reads.recording_reads() as inner:
            cursor.execute("SELECT 2")
            nested_reads.note_cached_read(TAGS)
    assert (outer.statements, inner.statements) == (["SELECT 1"], ["SELECT 2"])
    assert outer.tables == inner.tables == {"query_models_tag"}
    assert not connections[sqlite].execute_wrappers
