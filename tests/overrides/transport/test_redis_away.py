"""A Redis that fails in whatever way: reads come from the database after a few attempts, writes succeed, nothing goes stale.

What a writer could not say it says before it next asks Redis; whom nobody hears any more has the outbox.
"""

import pytest

from tests.support import engine_redis, redis_proxy
from tests.support.application_process import application_processes
from tests.support.redis_proxy import FAULTS, HUNG, OOM, REFUSED, RESET, WORKING
from tests.support.row_statements import COUNT_OUTBOX_ENTRIES, READ, READ_AFTER_WRITE, WRITE

pytestmark = pytest.mark.slow

HEARD = {
    RESET
}  # the server did hear the announcement, of which nobody knows: it keeps its tables out of the cache for a minute
MOST_ATTEMPTS = 8  # to connect, or to say something: twice for a command, a few times to connect, the greeting included
MOST_OF_A_WRITE = (
    40  # what a write says is tried more often: before the commit, and four times after it
)


@pytest.fixture(scope="module")
def cut_off(tree, plain_server, tmp_path_factory):
    """Give a proxy to a server, a process that talks through it, and one that talks to the server itself."""
    waits = "socket_timeout=0.2&socket_connect_timeout=0.2"
    with redis_proxy.Proxy(plain_server.port) as proxy:
        folder = tmp_path_factory.mktemp("away")
        with application_processes(
            tree, folder, f"redis://127.0.0.1:{plain_server.port}", CACHEOPS_ROVER_OUTBOX_SECONDS=0
        ) as start:
            reader = start(CACHEOPS_ROVER_OUTBOX=True)
            writer = start(CACHEOPS_REDIS=f"redis://127.0.0.1:{proxy.port}?{waits}")
            yield proxy, writer, reader


@pytest.fixture
def away(cut_off, plain_server):
    """Give them with one row, cached by both."""
    proxy, writer, reader = cut_off
    proxy.set_mode(WORKING)
    plain_server.flush_all()
    writer.execute("from rover_overrides.invalidation import unsent as owed; owed._unsent.clear()")
    writer.execute("Shelf.objects.all().delete(); Shelf.objects.create(pk=1, name='Left')")
    for process in (writer, reader):
        assert process.evaluate(READ) == [1]
        assert process.evaluate(READ) == [1]
        assert not [query for query in process.execute(READ).queries if "shelf" in query]
    yield cut_off
    proxy.set_mode(WORKING)


@pytest.mark.parametrize("how", FAULTS)
def test_reads_come_from_the_database_after_a_few_attempts(away, how):
    proxy, writer, _ = away
    proxy.set_mode(how)
    said = writer.execute(READ)
    assert said.value == [1]
    assert len(said.queries) == 1
    assert any("cacheops cache" in warning for warning in said.warned)
    assert max(proxy.connections, proxy.chunks_received) <= MOST_ATTEMPTS
    assert proxy.connections + proxy.chunks_received or how == REFUSED


@pytest.mark.parametrize("how", FAULTS)
def test_write_succeeds_and_its_process_reads_nothing_stale(away, how):
    proxy, writer, _ = away
    proxy.set_mode(how)
    said = writer.execute(WRITE)
    assert any("cacheops cache" in warning for warning in said.warned)
    assert max(proxy.connections, proxy.chunks_received) <= MOST_OF_A_WRITE
    assert (writer.evaluate(READ), writer.evaluate(READ_AFTER_WRITE)) == ([], [1])
    proxy.set_mode(WORKING)
    assert (writer.evaluate(READ), writer.evaluate(READ_AFTER_WRITE)) == ([], [1])
    assert writer.is_hit(READ) or how in HEARD


@pytest.mark.parametrize("how", FAULTS)
def test_others_read_nothing_stale_once_the_writer_has_asked_redis_again(away, how):
    proxy, writer, reader = away
    proxy.set_mode(how)
    writer.execute(WRITE)
    assert reader.evaluate(READ) == [1], "this is what the outbox is for"
    proxy.set_mode(WORKING)
    writer.execute(READ_AFTER_WRITE)
    assert (reader.evaluate(READ), reader.evaluate(READ_AFTER_WRITE)) == ([], [1])


@pytest.fixture
def with_outbox(away):
    """Have the writer use the outbox, which nobody but a reader drains."""
    proxy, writer, reader = away
    writer.execute("from django.conf import settings; settings.CACHEOPS_ROVER_OUTBOX = True")
    writer.execute(
        "from django.core.management import call_command; call_command('migrate', verbosity=0)"
    )
    yield proxy, writer, reader
    writer.execute("settings.CACHEOPS_ROVER_OUTBOX = False")
    reader.execute(READ)


@pytest.mark.parametrize("how", FAULTS)
def test_outbox_tells_who_reads_next(with_outbox, how):
    proxy, writer, reader = with_outbox
    proxy.set_mode(how)
    writer.execute(WRITE)
    assert reader.evaluate(READ) == []
    assert reader.evaluate(COUNT_OUTBOX_ENTRIES) == 0
    assert reader.evaluate(READ) == []
    assert how in HEARD or not [query for query in reader.execute(READ).queries if "shelf" in query]


SIMPLE = """
calls = []
@cached(timeout=600)
def doubled(number): calls.append(number); return 2 * number
doubled(1)
"""
RESTING = "from rover_overrides.transport import pipeline as transport; from django.conf import settings; settings.CACHEOPS_ROVER_RETRY_SECONDS = 3600"
ASKED_AGAIN = (
    "settings.CACHEOPS_ROVER_RETRY_SECONDS = 0; transport.circuit.record_success()  # an hour later"
)
FUNCTION = "calls.clear(); [doubled(1), doubled(2), len(calls)]"
GET = "try:\n  found = cache.get('word')\nexcept CacheMiss:\n  found = 'miss'\nfound"


@pytest.fixture
def patient(away):
    """Have the writer leave a Redis alone for long that failed; a function and a word are cached."""
    proxy, writer, _ = away
    writer.execute(SIMPLE)
    writer.execute("cache.set('word', 'known', 600)")
    assert writer.evaluate("calls.clear(); [doubled(1), len(calls)]") == [2, 0]
    writer.execute(RESTING)
    yield proxy, writer
    writer.execute(ASKED_AGAIN)


@pytest.mark.parametrize("how", [fault for fault in FAULTS if fault != OOM])
@pytest.mark.parametrize("first", [FUNCTION, GET, READ])
def test_simple_cache_and_querysets_wait_once_together(patient, how, first):
    proxy, writer = patient
    proxy.set_mode(how)
    writer.execute(first)
    attempts = proxy.connections, proxy.chunks_received
    assert max(attempts) <= MOST_ATTEMPTS
    assert any(attempts) or how == REFUSED
    assert (writer.evaluate(FUNCTION), writer.evaluate(GET), writer.evaluate(READ)) == (
        [2, 4, 2],
        "miss",
        [1],
    )
    assert writer.execute("cache.set('word', 'lost', 600)").warned == []
    assert (proxy.connections, proxy.chunks_received) == attempts
    proxy.set_mode(WORKING)
    assert (writer.evaluate(FUNCTION), proxy.chunks_received) == ([2, 4, 2], 0)
    writer.execute(ASKED_AGAIN)
    assert (writer.evaluate(FUNCTION), writer.evaluate(GET)) == ([2, 4, 1], "known")


def test_delete_is_tried_though_redis_was_away(patient):
    proxy, writer = patient
    proxy.set_mode(HUNG)
    writer.execute(FUNCTION)
    proxy.set_mode(WORKING)
    writer.execute("doubled.invalidate(1)")
    assert proxy.chunks_received
    writer.execute(ASKED_AGAIN)
    assert writer.evaluate("calls.clear(); [doubled(1), len(calls)]") == [2, 1]


def test_outbox_goes_with_its_transaction(with_outbox):
    proxy, writer, _ = with_outbox
    proxy.set_mode(REFUSED)
    writer.execute(
        "with transaction.atomic():\n  Shelf.objects.update(name='Right'); transaction.set_rollback(True)"
    )
    assert writer.evaluate(COUNT_OUTBOX_ENTRIES) == 0
    writer.execute(WRITE)
    assert writer.evaluate(COUNT_OUTBOX_ENTRIES) == 1


def test_outbox_is_looked_at_once_in_a_while(with_outbox):
    proxy, writer, reader = with_outbox
    reader.execute(
        "from django.conf import settings; from rover_overrides.operations import outbox; settings.CACHEOPS_ROVER_OUTBOX_SECONDS = 1000"
    )
    try:
        assert reader.execute(READ).queries == []
        proxy.set_mode(REFUSED)
        writer.execute(WRITE)
        assert reader.evaluate(READ) == [1], "the bound"
        reader.execute("outbox._next_check = 0.0  # 1,000 seconds later")
        assert reader.evaluate(READ) == []
    finally:
        reader.execute("settings.CACHEOPS_ROVER_OUTBOX_SECONDS = 0; outbox._next_check = 0.0")


def test_command_drains(with_outbox):
    proxy, writer, reader = with_outbox
    proxy.set_mode(REFUSED)
    writer.execute(WRITE)
    reader.execute("from django.core.management import call_command; call_command('drainoutbox')")
    assert reader.evaluate(COUNT_OUTBOX_ENTRIES) == 0
    assert reader.evaluate(READ) == []


def test_write_goes_on_where_there_is_no_outbox_table(with_outbox):
    proxy, writer, _ = with_outbox
    writer.execute("connection.cursor().execute('DROP TABLE rover_outbox')")
    proxy.set_mode(REFUSED)
    said = writer.execute(WRITE)
    assert any("The outbox of default cannot be written" in warning for warning in said.warned)
    assert writer.evaluate(READ) == []
    proxy.set_mode(WORKING)
    writer.execute("call_command('migrate', verbosity=0)")


def test_cluster_that_is_down(tree, tmp_path):
    (tmp_path / "cluster").mkdir()
    with engine_redis.Cluster(tmp_path / "cluster") as cluster:
        more = {"CACHEOPS_CLIENT_CLASS": "redis.cluster.RedisCluster"}
        with application_processes(
            tree, tmp_path, f"redis://127.0.0.1:{cluster.nodes[0].port}", **more
        ) as start:
            process = start()
            process.execute("Shelf.objects.create(pk=1, name='Left')")
            process.execute(READ)
            assert process.is_hit(READ)
            for node in cluster.nodes[1:]:
                node.kill()
            process.execute(WRITE)
            assert (process.evaluate(READ), process.evaluate(READ_AFTER_WRITE)) == ([], [1])
            assert process.evaluate("cache.set('a', 1)") is None
