"""The outbox in a PostgreSQL: it goes with its transaction, and is drained by readers inside transactions too."""

import pytest

from tests.support import redis_proxy
from tests.support.application_process import application_processes
from tests.support.redis_proxy import REFUSED
from tests.support.row_statements import COUNT_OUTBOX_ENTRIES, READ, READ_AFTER_WRITE, WRITE

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(tree, plain_server, new_database, tmp_path):
    """Give a proxy, a writer that talks through it and a reader that does not."""
    outbox = {
        "DATABASES": {"default": new_database},
        "CACHEOPS_ROVER_OUTBOX": True,
        "CACHEOPS_ROVER_OUTBOX_SECONDS": 0,
    }
    plain_server.flush_all()
    proxied = redis_proxy.Proxy(plain_server.port)
    with (
        proxied as proxy,
        application_processes(
            tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}", **outbox
        ) as start,
    ):
        reader, writer = start(), start(CACHEOPS_REDIS=f"redis://127.0.0.1:{proxy.port}")
        reader.execute("Shelf.objects.create(pk=1, name='Left')")
        assert reader.evaluate(READ) == [1]
        assert not [query for query in reader.execute(READ).queries if "shelf" in query]
        proxy.set_mode(REFUSED)
        yield writer, reader


def test_reader_finds_what_redis_did_not_hear(pair):
    writer, reader = pair
    writer.execute(WRITE)
    assert reader.evaluate(COUNT_OUTBOX_ENTRIES) == 1
    assert (reader.evaluate(READ), reader.evaluate(READ_AFTER_WRITE)) == ([], [1])
    assert reader.evaluate(COUNT_OUTBOX_ENTRIES) == 0


def test_reader_in_a_transaction_finds_it_and_keeps_no_lock(pair):
    writer, reader = pair
    writer.execute(WRITE)
    read = f"with transaction.atomic():\n  found = {READ}\n  transaction.set_rollback(True)\nfound"
    assert reader.evaluate(read) == []
    assert reader.evaluate(COUNT_OUTBOX_ENTRIES) == 0, (
        "it was drained beside the transaction, which was rolled back"
    )


def test_what_is_rolled_back_leaves_nothing(pair):
    writer, reader = pair
    writer.execute(
        "with transaction.atomic():\n  Shelf.objects.update(name='Right'); transaction.set_rollback(True)"
    )
    assert reader.evaluate(COUNT_OUTBOX_ENTRIES) == 0
    assert reader.evaluate(READ) == [1]


def test_write_goes_on_where_there_is_no_table(pair):
    writer, reader = pair
    reader.execute(
        "cursor = connection.cursor(); cursor.execute('ALTER TABLE rover_outbox RENAME TO hidden')"
    )
    said = writer.execute(WRITE)
    reader.execute(
        "cursor = connection.cursor(); cursor.execute('ALTER TABLE hidden RENAME TO rover_outbox')"
    )
    assert any("cannot be written" in warning for warning in said.warned)
    assert reader.evaluate("list(Shelf.objects.nocache().values_list('name', flat=True))") == [
        "Right"
    ]
