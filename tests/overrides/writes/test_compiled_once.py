"""What a write needs beside its own statement is compiled once for a connection, and selects the same rows."""

from collections import Counter

import pytest
from cacheops import no_invalidation
from django.db import connections, transaction
from django.db.models import F, Q
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import override_settings

from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.rows import rows, selects
from tests.support.write_models.models import Book, OldBook, Shelf, Tag, Token
from tests.support.write_recorder import WriteRecorder, empty_tables


@pytest.fixture
def seen(alias, monkeypatch):
    recorder = WriteRecorder().install(monkeypatch)
    state_of(connections[alias]).selects.clear()
    with override_settings(CACHEOPS_INSIDEOUT=True):
        with no_invalidation:
            empty_tables(alias)
            Shelf(pk=1, name="Left").save(using=alias)
            for n in range(1, 6):
                Book(pk=n, title=f"t{n}", pages=n, shelf_id=n % 2 or None).save(using=alias)
                Tag(pk=n, slug=f"s{n}", hits=n).save(using=alias)
        yield recorder


WHERES = {
    "key": (Q(pk=3), True),
    "two columns": (Q(pk__gt=1, title="t2"), True),
    "or": (Q(pk=1) | Q(title="t2"), False),
    "not": (~Q(pages=2), False),
    "list": (Q(pk__in=[1, 3]), True),
    "empty list": (Q(pk__in=[]), True),
    "null": (Q(shelf=None), True),
    "foreign key": (Q(shelf=1), True),
    "text": (Q(title__contains="%"), True),
    "everything": (Q(), False),
    "a column": (Q(pages=F("id")), False),
    "another table": (Q(shelf__name="Left"), False),
}


@pytest.mark.parametrize("lock", [None, "update"])
@pytest.mark.parametrize("model", [Book, OldBook])
@pytest.mark.parametrize("where", WHERES)
def test_select_that_is_compiled_once_finds_the_same_rows(alias, seen, where, model, lock):
    condition, _ = WHERES[where]
    connection = connections[alias]
    lock = lock if connection.features.has_select_for_update else None
    fields = rows.fields_needed(model)
    for other in (Q(pk=1), condition, Q(title="t1"), condition):
        query = model.objects.using(alias).filter(other).query
        with transaction.atomic(using=alias):
            found = rows.fetch_matching(query, fields, lock, connection)
            expected = rows.fetch_rows(rows.matching_query(query, fields, lock), connection)
        key = rows.key_columns(model)[0]
        assert sorted(found, key=lambda row: row[key]) == sorted(expected, key=lambda row: row[key])
    assert len(state_of(connection).selects) <= 1


def count_compiled(monkeypatch):
    compiled, real = Counter(), SQLCompiler.as_sql

    def as_sql(compiler, *arguments, **others):
        compiled[type(compiler).__name__] += 1
        return real(compiler, *arguments, **others)

    monkeypatch.setattr(SQLCompiler, "as_sql", as_sql)
    return compiled


def test_saves_compile_one_select(alias, seen, monkeypatch):
    books = list(Book.objects.using(alias).order_by("pk"))
    compiled = count_compiled(monkeypatch)
    for book in books:
        book.pages += 1
        book.save()
    assert compiled["SQLCompiler"] == 1
    assert [new["pages"] for _, _, new in seen.take_changes()] == [2, 3, 4, 5, 6]


def test_other_columns_and_models_are_selected_by_statements_of_their_own(alias, seen):
    Token(note="a").save(using=alias)
    Token.objects.using(alias).update(note="b")
    Tag.objects.using(alias).filter(pk=1).update(hits=9)
    Book.objects.using(alias).filter(pk=1).update(extra={"a": 1})
    Book.objects.using(alias).filter(pk=1).update(pages=7)
    *_, with_extra, without = [new for _, _, new in seen.take_changes()]
    assert "extra" in with_extra or "extra" not in rows.fields_needed(Book, [])
    assert without["pages"] == 7


def test_sqlite_is_locked_once_for_a_table_and_transaction(sqlite, seen, alias, monkeypatch):
    if alias != "default":
        pytest.skip("only SQLite locks the whole database")
    locked, real = [], statements.lock_rows
    monkeypatch.setattr(
        statements, "lock_rows", lambda *words: locked.append(words[1]) or real(*words)
    )
    for _ in range(2):
        with transaction.atomic():
            for pk in (1, 2):
                Book.objects.filter(pk=pk).update(pages=F("pages") + 1)
            Tag.objects.filter(pk=1).update(hits=3)
        assert len(locked) == 2
        locked.clear()


@pytest.mark.parametrize(
    ("mode", "begins"), [(None, "BEGIN IMMEDIATE"), ("EXCLUSIVE", "BEGIN EXCLUSIVE")]
)
def test_sqlite_is_locked_when_a_transaction_of_one_write_begins(
    alias, seen, monkeypatch, mode, begins
):
    if alias != "default":
        pytest.skip("only SQLite locks the whole database")
    connection, ran = connections[alias], []
    monkeypatch.setattr(connection, "transaction_mode", mode, raising=False)
    connection.connection.set_trace_callback(ran.append)
    try:
        Tag.objects.filter(pk=1).update(hits=3)
    finally:
        connection.connection.set_trace_callback(None)
    assert [sql.split(" ", 2)[:2] for sql in ran if "BEGIN" in sql] == [begins.split()]
    assert not [sql for sql in ran if "WHERE 0" in sql]
    assert "_start_transaction_under_autocommit" not in vars(connection)


def test_a_connection_keeps_a_bounded_number_of_selects(alias, seen, monkeypatch):
    monkeypatch.setattr(selects, "MAX_SELECTS", 2)
    for model in (Book, Shelf, Tag, Book, Token):
        model.objects.using(alias).filter(pk=None if model is Token else 1).delete()
        assert len(state_of(connections[alias]).selects) <= 2
