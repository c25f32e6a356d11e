"""A signal handler raises while a writer waits for Redis around its COMMIT, as when a job's time is up."""

from contextlib import contextmanager

import pytest

from tests.support.application_process import application_processes

pytestmark = pytest.mark.slow

PAUSE_MS = 1500
READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
PREPARE = """
import signal
from django.db.backends.base.base import BaseDatabaseWrapper
class TimeIsUp(Exception):
    pass
def ring(*_):
    raise TimeIsUp
signal.signal(signal.SIGALRM, ring)
def interrupted(work):
    try:
        work()
    except TimeIsUp:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
def rename():
    with transaction.atomic():
        Shelf.objects.update(name='Right')
        signal.setitimer(signal.ITIMER_REAL, 0.3)
"""
# Redis answers until the COMMIT, and not for a while after it.
PAUSE_AFTER_COMMIT = """
from redis import Redis
def hang(self, commit=BaseDatabaseWrapper._commit):
    commit(self)
    Redis(port={port}).client_pause({pause})
BaseDatabaseWrapper._commit = hang
"""


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request):
    """Give the settings of each database in turn."""
    if request.param == "sqlite":
        return {}
    return {"DATABASES": {"default": request.getfixturevalue("new_database")}}


@contextmanager
def site(tree, server, folder, **settings):
    """Start a process that has a result in the cache."""
    server.flush_all()
    url = f"redis://127.0.0.1:{server.port}"
    settings["CACHEOPS_ROVER_RETRY_SECONDS"] = 0
    with application_processes(tree, folder, url, **settings) as start:
        made = start()
        made.execute(PREPARE)
        made.execute("Shelf.objects.create(pk=1, name='Left')")
        assert made.evaluate(READ) == [1]
        assert made.is_hit(READ)
        yield made


def pause(server):
    """Have Redis answer nobody for a while."""
    with server.client() as client:
        client.client_pause(PAUSE_MS)


def wait(server):
    """Wait until Redis answers again."""
    with server.client() as client:
        client.ping()


def test_transaction_is_rolled_back_and_the_connection_can_be_used(
    tree, plain_server, tmp_path, databases
):
    with site(tree, plain_server, tmp_path, **databases) as process:
        pause(plain_server)
        assert process.evaluate("interrupted(rename)") is True
        wait(plain_server)
        assert process.evaluate("connection.get_autocommit()") is True
        assert process.evaluate("Shelf.objects.nocache().get().name") == "Left"
        process.execute("with transaction.atomic():\n  Shelf.objects.update(name='Top')")
        assert process.evaluate(READ) == []
        assert process.is_hit(READ)


@pytest.mark.parametrize("off", [(), ("two-phase-invalidation",)])
def test_what_was_committed_is_invalidated_before_the_next_read(
    tree, plain_server, tmp_path, databases, off
):
    with site(tree, plain_server, tmp_path, **databases, CACHEOPS_ROVER_OFF=off) as process:
        process.execute(PAUSE_AFTER_COMMIT.format(port=plain_server.port, pause=PAUSE_MS))
        assert process.evaluate("interrupted(rename)") is True
        wait(plain_server)
        process.execute("BaseDatabaseWrapper._commit = hang.__defaults__[0]")
        assert process.evaluate("Shelf.objects.nocache().get().name") == "Right"
        assert process.evaluate(READ) == []
        assert process.is_hit(READ)
