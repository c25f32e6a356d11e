"""What a process could not tell Redis after a COMMIT is made up for before it next asks Redis for anything."""

import os
import signal

import pytest

from tests.support import engine_redis, redis_proxy
from tests.support.application_process import application_processes
from tests.support.redis_proxy import HUNG, WORKING

pytestmark = pytest.mark.slow

READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
WAITING = "cursor = connection.cursor(); cursor.execute('SELECT COUNT(*) FROM rover_outbox'); cursor.fetchone()[0]"
SETUP = """
import redis, threading
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from cacheops.redis import redis_client
from rover_overrides.invalidation import unsent as owed; from rover_overrides.transport import pipeline as transport
call_command('migrate', verbosity=0)
real_run, real_commit = transport._run, DatabaseWrapper._commit
def away(*_):
    raise redis.ConnectionError('cut off')
def fill():
    list(Shelf.objects.filter(name='Left').values_list('id', flat=True))
    connections['default'].close()
def commit_and_lose(connection):
    'Lose the entry, have another thread store what was there before the COMMIT, and be cut off after it.'
    DatabaseWrapper._commit = real_commit
    redis_client.flushall()
    reader = threading.Thread(target=fill)
    reader.start()
    reader.join()
    real_commit(connection)
    transport._run = away
def losing(write):
    DatabaseWrapper._commit = commit_and_lose
    write()
def back():
    transport._run = real_run
def autocommit():
    Shelf.objects.update(name='Right')
def atomic():
    with transaction.atomic():
        Shelf.objects.update(name='Right')
def manual():
    transaction.set_autocommit(False)
    try:
        Shelf.objects.update(name='Right')
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
"""
WRITES = ["autocommit", "atomic", "manual"]
CONTACTS = {
    "read": "list(Tag.objects.filter(slug='none'))",
    "write": "import uuid; Tag.objects.create(slug=uuid.uuid4().hex)",
    "raw": 'connection.cursor().execute("UPDATE write_models_tag SET hits = 1")',
    "explicit": "invalidate_model(Tag)",
    "simple": "cache.set('word', 'x', 60)",
    "get": "try:\n  cache.get('nothing')\nexcept CacheMiss:\n  pass",
}


@pytest.fixture(scope="module")
def pair(tree, plain_server, tmp_path_factory):
    """Start a reader, and a writer that talks to the server through a proxy."""
    waits = "socket_timeout=0.5&socket_connect_timeout=0.5"
    address = f"redis://127.0.0.1:{plain_server.port}"
    looks = {"CACHEOPS_ROVER_OUTBOX_SECONDS": 0}
    with (
        redis_proxy.Proxy(plain_server.port) as proxy,
        application_processes(tree, tmp_path_factory.mktemp("owed"), address, **looks) as start,
    ):
        reader = start(CACHEOPS_ROVER_OUTBOX=True)
        writer = start(
            CACHEOPS_REDIS=f"redis://127.0.0.1:{proxy.port}?{waits}", CACHEOPS_ROVER_OUTBOX=True
        )
        writer.execute(SETUP)
        yield proxy, writer, reader


@pytest.fixture(params=[False, True], ids=["", "outbox"])
def outbox(request):
    """Say whether the writer has an outbox."""
    return request.param


@pytest.fixture
def cut_off(pair, plain_server, outbox):
    """Give them with a result that is cached."""
    proxy, writer, reader = pair
    proxy.set_mode(WORKING)
    writer.execute(
        "owed._unsent.clear(); back(); transport.circuit.record_success(); settings.CACHEOPS_ROVER_RETRY_SECONDS = 0"
    )
    plain_server.flush_all()
    writer.execute("connection.cursor().execute('DELETE FROM rover_outbox')")
    writer.execute(f"settings.CACHEOPS_ROVER_OUTBOX = {outbox}")
    writer.execute("Shelf.objects.all().delete(); Shelf.objects.create(pk=1, name='Left')")
    assert reader.evaluate(READ) == [1]
    assert is_hit(reader)
    return pair


def is_hit(process):
    return not [query for query in process.execute(READ).queries if "shelf" in query]


@pytest.mark.parametrize("write", WRITES)
def test_writer_whose_entry_was_lost_before_it_was_cut_off_reads_nothing_stale(cut_off, write):
    _, writer, _ = cut_off
    writer.execute(f"losing({write})")
    assert writer.evaluate(READ) == []
    writer.execute("back()")
    assert writer.evaluate(READ) == []
    assert writer.evaluate(READ) == []
    assert is_hit(writer)


@pytest.mark.parametrize("write", WRITES)
def test_others_read_nothing_stale_once_there_is_an_outbox(cut_off, outbox, write):
    _, writer, reader = cut_off
    writer.execute(f"losing({write})")
    assert reader.evaluate(READ) == ([] if outbox else [1])
    assert reader.evaluate(READ) == ([] if outbox else [1])
    assert is_hit(reader)
    assert reader.evaluate(WAITING) == 0


@pytest.mark.parametrize("contact", CONTACTS)
def test_any_contact_pays_what_is_owed(cut_off, contact):
    _, writer, reader = cut_off
    writer.execute("settings.CACHEOPS_ROVER_OUTBOX = False; losing(atomic)")
    assert reader.evaluate(READ) == [1], "this is what the outbox is for"
    writer.execute("back()")
    writer.execute(CONTACTS[contact])
    assert reader.evaluate(READ) == []


@pytest.mark.parametrize("write", WRITES)
def test_table_is_in_the_outbox_once(cut_off, outbox, write):
    _, writer, _ = cut_off
    writer.execute(f"transport._run = away; {write}()")
    assert writer.evaluate(WAITING) == (1 if outbox else 0)


def entries(server):
    return [name for name in server.key_names() if name.startswith(("pending:", "writers:"))]


@pytest.mark.parametrize(
    "write",
    [*WRITES, "lambda: connection.cursor().execute('UPDATE write_models_shelf SET name = 1')"],
)
def test_what_a_writer_that_gave_up_has_registered_it_takes_back(cut_off, plain_server, write):
    """A server that hung carries out the commands of who did not wait for it."""
    _, writer, reader = cut_off
    with plain_server.client() as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        writer.execute(f"({write})()")
    finally:
        os.kill(pid, signal.SIGCONT)
    engine_redis.wait_until(lambda: entries(plain_server), "nothing was carried out late")
    writer.execute(CONTACTS["read"])
    assert entries(plain_server) == []
    for _ in range(2):
        assert reader.evaluate(READ) == []
    assert is_hit(reader)


def test_batch_of_writes_waits_a_few_times(cut_off, outbox):
    proxy, writer, reader = cut_off
    writer.execute("settings.CACHEOPS_ROVER_RETRY_SECONDS = 3600")
    proxy.set_mode(HUNG)
    writer.execute("for n in range(300):\n  Shelf.objects.update(name=f'Right {n}')")
    assert 0 < max(proxy.connections, proxy.chunks_received) <= 4
    assert writer.evaluate(WAITING) == (300 if outbox else 0)
    assert reader.evaluate(READ) == ([] if outbox else [1])
    proxy.set_mode(WORKING)
    writer.execute("transport.circuit.record_success()  # an hour later")
    writer.execute(CONTACTS["write"])
    assert reader.evaluate(READ) == []
    assert reader.evaluate(READ) == []
    assert is_hit(reader)


def test_raw_writes_and_explicit_invalidation_do_without_redis_too(cut_off):
    proxy, writer, reader = cut_off
    writer.execute("settings.CACHEOPS_ROVER_RETRY_SECONDS = 3600")
    proxy.set_mode(HUNG)
    writer.execute(
        "for n in range(100):\n"
        "  connection.cursor().execute(\"UPDATE write_models_shelf SET name = 'x'\")\n"
        "  invalidate_model(Shelf)\n"
        "  invalidate_obj(Shelf(pk=1, name='Left'))"
    )
    assert 0 < max(proxy.connections, proxy.chunks_received) <= 4
    proxy.set_mode(WORKING)
    writer.execute("transport.circuit.record_success()")
    writer.execute(CONTACTS["write"])
    assert reader.evaluate(READ) == []


@pytest.mark.parametrize(
    "write", [*WRITES, *(f"lambda: {CONTACTS[name]}" for name in ("raw", "explicit"))]
)
def test_outbox_table_that_is_missing_raises_nothing(cut_off, write):
    _, writer, reader = cut_off
    writer.execute(
        "settings.CACHEOPS_ROVER_OUTBOX = True; connection.cursor().execute('DROP TABLE rover_outbox')"
    )
    try:
        writer.execute(f"transport._run = away; ({write})()")
        assert writer.evaluate(READ) == ([] if write in WRITES else [1])
        writer.execute("back()")
        writer.execute(CONTACTS["read"])
        assert reader.evaluate(READ) == ([] if write in WRITES else [1])
    finally:
        writer.execute("back(); call_command('migrate', verbosity=0)")
