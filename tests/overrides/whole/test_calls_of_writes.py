"""How many Python functions a save calls beside upstream's default mode, which does not depend on the machine.

Conditions of many kinds are in use. The limits are above what is measured, so that an update of Django
or redis-py does not break them, and far below what they were.
"""

import pytest

from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.series.apply import TreeBuilder
from scripts.series.series import read_series
from scripts.upstream.vendor import ensure_releases
from tests.support.application_process import application_processes
from tests.support.engine_redis import ROOT

SAVES = 100
PREPARED = """
import sys
from redis.connection import Connection

class CallCounter:
    def __enter__(self):
        self.calls = self.trips = 0
        self.send = Connection.send_packed_command
        def send(*words, **more):
            self.trips += 1
            return self.send(*words, **more)
        Connection.send_packed_command = send
        sys.setprofile(self.count)
        return self
    def __exit__(self, *_):
        sys.setprofile(None)
        Connection.send_packed_command = self.send
    def count(self, _frame, event, _argument):
        self.calls += event == "call"

def read():
    for n in range(10):
        list(Book.objects.filter(pages=n))
        list(Book.objects.filter(pages__gt=n, shelf=1)[:5])
    list(Book.objects.filter(shelf__name="Left").select_related("shelf").order_by("-pages")[:20])
    Book.objects.filter(shelf=1, pages__gt=5).count()
    Book.objects.filter(title="t1").exists()

def save(books):
    for book in books:
        book.pages += 1000
        book.save()

def count(books, context):
    connection.force_debug_cursor = False
    for _ in range(3):
        read()
        with CallCounter() as counter, context():
            save(books)
    return counter.calls, counter.trips

from contextlib import nullcontext
shelf = Shelf.objects.create(name="Left")
for n in range({saves}):
    Book.objects.create(pk=n + 1, title=f"t{{n}}", pages=n, shelf=shelf)
books = list(Book.objects.nocache().order_by("pk"))
"""


@pytest.fixture(scope="module")
def bare_tree():
    """Give the folder of the release without the series."""
    repo = Repository(ROOT)
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        builder = TreeBuilder(
            repo, lock, read_series(repo, lock), ResultCache(repo.work / "results")
        )
        return builder.folder(lock.release(lock.locked).tree)


@pytest.fixture(scope="module")
def counted(tree, bare_tree, plain_server, tmp_path_factory):
    """Give the calls and the round trips to Redis of each, by what was done."""
    found = {}
    plain_server.flush_all()
    for number, (name, folder, settings) in enumerate(
        [("wheel", tree, {}), ("upstream", bare_tree, {"CACHEOPS_INSIDEOUT": False})], 1
    ):
        address = f"redis://127.0.0.1:{plain_server.port}/{number}"
        with application_processes(folder, tmp_path_factory.mktemp(name), address) as start:
            process = start(**settings)
            process.execute(PREPARED.format(saves=SAVES))
            found[name] = {
                "a save": process.evaluate("count(books[:1], nullcontext)"),
                "a transaction": process.evaluate("count(books, transaction.atomic)"),
            }
    return found


@pytest.mark.parametrize(("done", "most"), [("a save", 0.85), ("a transaction", 0.7)])
def test_saves_call_fewer_functions_than_upstreams(counted, done, most):
    (calls, _), (upstreams_calls, _) = counted["wheel"][done], counted["upstream"][done]
    assert calls <= most * upstreams_calls, calls / upstreams_calls


def test_save_makes_two_round_trips_to_redis(counted):
    assert counted["wheel"]["a save"][1] == 2 < counted["upstream"]["a save"][1]
    assert counted["wheel"]["a transaction"][1] < 10
