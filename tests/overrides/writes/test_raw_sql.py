"""Which tables a raw statement may write, and what is recorded of it."""

import pytest
from cacheops import no_invalidation
from django.db import connections, transaction
from django.test.utils import override_settings

from rover_overrides.writes.raw_sql import written_tables
from tests.support.write_models.models import Tag
from tests.support.write_recorder import COARSE, WriteRecorder, empty_tables

TABLES = ["a_book", "a_shelf", '"Old"."Loan"']


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT * FROM a_book", []),
        ("select 1 from a_book where title = 'delete'", []),
        ("SELECT * FROM a_book FOR UPDATE", []),
        ("  -- UPDATE\n /* DELETE */ (SELECT 1 FROM a_book)", []),
        ("WITH x AS (SELECT 1 FROM a_book) SELECT * FROM x", []),
        ("EXPLAIN SELECT * FROM a_book", []),
        ("SAVEPOINT a_book", []),
        ("CREATE INDEX i ON a_book (title)", []),
        ("", []),
        ("UPDATE a_book SET title = 'x'", ["a_book"]),
        ('update "A_Book" set title = 1', ["a_book"]),
        ("INSERT INTO a_book SELECT * FROM a_shelf", ["a_book", "a_shelf"]),
        ("DELETE FROM a_bookcase", []),
        ("DELETE FROM a_books; DELETE FROM a_book", ["a_book"]),
        ("SELECT 1; DELETE FROM a_book", ["a_book"]),
        ("SELECT 1;", []),
        ("TRUNCATE a_book, a_shelf CASCADE", ["a_book", "a_shelf"]),
        ("COPY a_book FROM STDIN", ["a_book"]),
        ("MERGE INTO a_book USING x ON true", ["a_book"]),
        ("REPLACE INTO a_book VALUES (1)", ["a_book"]),
        ("WITH x AS (DELETE FROM a_book RETURNING *) SELECT * FROM x", ["a_book"]),
        ("EXPLAIN ANALYZE DELETE FROM a_book", ["a_book"]),
        ("ALTER TABLE a_book ADD COLUMN x int", ["a_book"]),
        ("DROP TABLE a_book", ["a_book"]),
        ("/* a note */ UPDATE a_book SET x = 1", ["a_book"]),
        ('DELETE FROM "old"."loan"', ['"Old"."Loan"']),
    ],
)
def test_tables_that_a_statement_may_write(sql, tables):
    assert written_tables(sql, TABLES) == tables


@pytest.fixture
def seen(alias, monkeypatch):
    recorder = WriteRecorder().install(monkeypatch)
    with override_settings(CACHEOPS_INSIDEOUT=True):
        with no_invalidation:
            empty_tables(alias)
            Tag(pk=1, slug="red").save(using=alias)
        yield recorder


UPDATE = "UPDATE write_models_tag SET hits = 5"


def run(alias, sql, *params, many=False):
    with connections[alias].cursor() as cursor:
        cursor.executemany(sql, *params) if many else cursor.execute(sql, *params)


def test_raw_write_is_a_coarse_change_of_its_table(alias, seen):
    run(alias, UPDATE)
    assert seen.take_changes() == [("tag", *COARSE)]
    run(alias, "UPDATE write_models_tag SET hits = %s WHERE id = %s", [(1, 1), (2, 1)], many=True)
    assert seen.take_changes() == [("tag", *COARSE)]
    run(alias, "SELECT * FROM write_models_tag")
    assert seen.take_changes() == []


def test_raw_write_in_a_transaction_waits_for_its_commit(alias, seen):
    with transaction.atomic(using=alias):
        run(alias, UPDATE)
        assert seen.take_changes() == []
    assert seen.take_changes() == [("tag", *COARSE)]


def test_statement_of_the_orm_is_not_raw(alias, seen):
    Tag.objects.using(alias).filter(pk=1).update(hits=3)
    Tag.objects.using(alias).select_for_update().filter(
        pk=1
    ).exists() if alias == "default" else None
    assert seen.take_changes() == [
        ("tag", {"id": 1, "slug": "red", "hits": 0}, {"id": 1, "slug": "red", "hits": 3})
    ]


def test_debug_cursor_and_bytes_count_too(alias, seen):
    connections[alias].force_debug_cursor = True
    try:
        run(alias, UPDATE)
    finally:
        connections[alias].force_debug_cursor = False
    assert seen.take_changes() == [("tag", *COARSE)]


@pytest.mark.parametrize("off", [{"CACHEOPS_ROVER_RAW_SQL": False}, {"CACHEOPS_INSIDEOUT": False}])
def test_setting_turns_it_off(alias, seen, off):
    with override_settings(**off):
        run(alias, UPDATE)
    with no_invalidation:
        run(alias, UPDATE)
    assert seen.take_changes() == []


def test_composed_statement_tells_its_text(seen, alias):
    if alias != "postgres":
        pytest.skip("SQLite's driver takes text alone")
    from psycopg import sql

    run(alias, sql.SQL("UPDATE {} SET hits = 5").format(sql.Identifier("write_models_tag")))
    assert seen.take_changes() == [("tag", *COARSE)]


def test_copied_rows_are_a_change(seen, alias):
    if alias != "postgres":
        pytest.skip("COPY is PostgreSQL's")
    with connections[alias].cursor() as cursor:
        with cursor.copy("COPY write_models_tag (id, slug, hits) FROM STDIN") as copy:
            copy.write_row((7, "copied", 1))
            assert seen.take_changes() == [], "not before the rows are in"
        assert seen.take_changes() == [("tag", *COARSE)]
    assert Tag.objects.using(alias).filter(slug="copied").exists()
