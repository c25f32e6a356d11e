"""A writer that is killed around its COMMIT leaves nothing stale behind, and its tables are cached again."""

import pytest

from tests.support import engine_redis

pytestmark = pytest.mark.slow

READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
RANGE = "list(Book.objects.filter(pages__lt=10).values_list('title', flat=True))"
DIE = """
import os, signal
from django.db.backends.sqlite3.base import DatabaseWrapper
real = DatabaseWrapper._commit
def dies(self):
    if {committed}:
        real(self)
    os.kill(os.getpid(), signal.SIGKILL)
DatabaseWrapper._commit = dies
"""
SHORT = "from rover_overrides.cache import pending_writes as pending; pending.SECONDS = 1"


def filled(process, read):
    before = process.evaluate(read)
    assert process.is_hit(read)
    return before


@pytest.mark.parametrize(
    ("committed", "after", "range_after"), [(True, [], []), (False, [1], ["One"])]
)
def test_writer_killed_around_its_commit_leaves_nothing_stale(start, committed, after, range_after):
    reader, writer = start(), start()
    reader.execute(
        "Shelf.objects.create(pk=1, name='Left'); Book.objects.create(pk=1, title='One', pages=1)"
    )
    assert (filled(reader, READ), filled(reader, RANGE)) == ([1], ["One"])
    writer.execute(DIE.format(committed=committed))
    writer.send(
        "with transaction.atomic():\n  Shelf.objects.update(name='Right')\n  Book.objects.update(pages=20)"
    )
    writer.wait_until_killed()
    assert (reader.evaluate(READ), reader.evaluate(RANGE)) == (after, range_after)


def test_table_of_a_writer_that_died_is_cached_again(start, plain_server):
    reader, writer = start(), start()
    for process in (reader, writer):
        process.execute(SHORT)
    reader.execute("Shelf.objects.create(pk=1, name='Left')")
    filled(reader, READ)
    writer.execute(DIE.format(committed=True))
    writer.send("Shelf.objects.update(name='Right')")
    writer.wait_until_killed()
    assert reader.evaluate(READ) == []
    with plain_server.client() as client:
        engine_redis.wait_until(lambda: not client.keys("pending:*"), "the entry does not end")
    assert filled(reader, READ) == []
