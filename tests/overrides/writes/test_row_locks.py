"""Two writers of a row at once: each knows the row that it replaces, and neither fails because we look at it first."""

import logging
import threading
from contextlib import contextmanager

import pytest
from cacheops import no_invalidation
from django.db import OperationalError, connections, transaction
from django.db.models import F, Q
from django.test.utils import CaptureQueriesContext, override_settings

from rover_overrides.writes import compilers
from tests.support.write_models.models import Book, Shelf, Tag
from tests.support.write_recorder import WriteRecorder, empty_tables, some_columns

WAIT = 20  # seconds, of a test that would else hang


@pytest.fixture
def seen(alias, monkeypatch):
    recorder = WriteRecorder().install(monkeypatch)
    with override_settings(CACHEOPS_INSIDEOUT=True):
        with no_invalidation:
            empty_tables(alias)
            Tag(pk=1, slug="red", hits=1).save(using=alias)
            Tag(pk=2, slug="blue", hits=1).save(using=alias)
        yield recorder


class Other(threading.Thread):
    """Does something in a thread, which has a connection of its own."""

    def __init__(self, alias, do):
        super().__init__(daemon=True)
        self._alias, self._do, self._error = alias, do, None
        self.start()

    def run(self):
        try:
            self._do()
        except Exception as error:
            self._error = error
        finally:
            connections[self._alias].close()

    def finish(self):
        self.join(WAIT)
        assert not self.is_alive(), "it waits for ever"
        if self._error:
            raise self._error


def hits(recorder):
    return sorted(
        ((old or {}).get("hits"), (new or {}).get("hits"))
        for _, old, new in recorder.take_changes()
    )


@contextmanager
def held(alias, write):
    """Have another connection write and commit when the block is about to end."""
    wrote, commit = threading.Event(), threading.Event()

    def do():
        with transaction.atomic(using=alias):
            write()
            wrote.set()
            assert commit.wait(WAIT)

    other = Other(alias, do)
    assert wrote.wait(WAIT)
    yield commit.set
    other.finish()


def waits_for_lock(alias):
    """Tell whether any connection waits for another; of SQLite nobody can tell."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


@pytest.mark.parametrize("in_transaction", [False, True])
def test_second_writer_knows_what_the_first_committed(alias, seen, in_transaction):
    def second():
        if in_transaction:
            with transaction.atomic(using=alias):
                Tag.objects.using(alias).filter(pk=1).update(hits=3)
        else:
            Tag.objects.using(alias).filter(pk=1).update(hits=3)

    with held(alias, lambda: Tag.objects.using(alias).filter(pk=1).update(hits=2)) as commit:
        waiting = Other(alias, second)
        if alias == "postgres":
            while not waits_for_lock(alias):
                waiting.join(0.01)
        else:
            waiting.join(0.2)  # whether it came to wait or not, the outcome is the same
        commit()
        waiting.finish()
    assert hits(seen) == [(1, 2), (2, 3)]


def test_many_writers_leave_no_gap(alias, seen):
    """Each value that the row ever had is the old one of one write and the new one of another."""

    def raise_often():
        for _ in range(10):
            tag = Tag.objects.using(alias).get(pk=1)
            Tag.objects.using(alias).filter(pk=1).update(hits=F("hits") + 1)
            tag.save(update_fields=["slug"])

    writers = [Other(alias, raise_often) for _ in range(3)]
    for writer in writers:
        writer.finish()
    assert hits(seen) == [(number, number + 1) for number in range(1, 31)]


def test_deferred_transaction_that_writes_first_is_not_locked_out(alias, seen):
    """On SQLite our SELECT would make it a reader, which may not write after another one has written."""
    if alias != "default":
        pytest.skip("only SQLite locks the whole database")
    started = threading.Event()

    def meanwhile():
        started.set()
        Tag.objects.using(alias).filter(pk=2).update(hits=9)

    with transaction.atomic(using=alias):
        other = Other(alias, meanwhile)
        assert started.wait(WAIT)
        Tag.objects.using(alias).filter(pk=1).update(hits=2)
    other.finish()
    assert hits(seen) == [(1, 2), (1, 9)]


def test_reader_that_turns_writer_fails_as_it_would_without_us(alias, seen):
    """What SQLite refuses a transaction that has read is refused by our lock, at the same statement."""
    if alias != "default":
        pytest.skip("only SQLite refuses")
    with connections[alias].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = wal")
    try:
        with pytest.raises(OperationalError, match="locked"), transaction.atomic(using=alias):
            _read_then_write(alias)
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = delete")
    assert hits(seen) == [(1, 9)]


def _read_then_write(alias):
    assert Tag.objects.using(alias).get(pk=1).hits == 1
    Other(alias, lambda: Tag.objects.using(alias).filter(pk=2).update(hits=9)).finish()
    Tag.objects.using(alias).filter(pk=1).update(hits=2)


def lock_of(caplog, call):
    """Return the locks of the SELECTs that the cache runs during a call."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "rover_overrides.statements"):
        call()
    selects = [record.args[1] for record in caplog.records if record.args[1].startswith("SELECT")]
    return [sql.partition(" FOR ")[2] for sql in selects]


def test_lock_is_no_stronger_than_that_of_the_write(alias, seen, caplog):
    tags = Tag.objects.using(alias).filter(pk=1)
    found = [
        lock_of(caplog, lambda: tags.update(hits=5)),
        lock_of(caplog, lambda: tags.update(slug="x")),
        lock_of(caplog, lambda: tags._raw_delete(alias)),
    ]
    postgres = [["NO KEY UPDATE"], ["NO KEY UPDATE"], ["UPDATE"]]
    assert found == (postgres if alias == "postgres" else [[""], [""], [""]])


def test_statement_keeps_to_the_rows_that_were_looked_at(alias, seen):
    """A WHERE on other tables may find other rows a moment later."""
    Shelf(pk=1, name="Left").save(using=alias)
    Book(pk=1, title="One", shelf_id=1).save(using=alias)
    seen.take_changes()
    with CaptureQueriesContext(connections[alias]) as queries:
        Book.objects.using(alias).filter(Q(shelf__name="Left") | Q(title="Two")).update(pages=7)
    [update] = [
        query["sql"] for query in queries.captured_queries if query["sql"].startswith("UPDATE")
    ]
    assert ("Left" in update) == (alias == "default")
    assert [some_columns(new, "pages") for _, _, new in seen.take_changes()] == [{"pages": 7}]


def test_row_that_comes_in_between_makes_the_change_coarse(alias, seen, monkeypatch):
    """One that matches the WHERE only after it was looked for is written too."""
    if alias != "postgres":
        pytest.skip("SQLite lets nobody in between")
    original = compilers._restrict_to_rows

    def pin(compiler, before):
        monkeypatch.undo()
        monkeypatch.setattr(compilers, "_restrict_to_rows", original)
        recorder.install(monkeypatch)
        Other(alias, lambda: Tag(pk=3, slug="new", hits=1).save(using=alias)).finish()
        return original(compiler, before)

    recorder = seen
    monkeypatch.setattr(compilers, "_restrict_to_rows", pin)
    assert Tag.objects.using(alias).filter(hits=1).update(hits=2) == 3
    assert ("tag", None, None) in seen.take_changes()
