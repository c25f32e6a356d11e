"""Two wheels with different formats on one Redis: neither serves the other's results, and each sees the other's writes.

This is tested on each of the servers of `shared_server`, Redis and Valkey.
"""

import pytest

from tests.support.application_process import application_processes

pytestmark = pytest.mark.slow

READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
RANGE = "list(Book.objects.filter(pages__lt=10).values_list('title', flat=True))"
WRITE = "Shelf.objects.update(name='Right'); Book.objects.update(pages=20)"
OTHER_FORMAT = "from rover_overrides.cache import results as storage; storage.FORMAT = 'r0'"
DISTURBED = """
import pickle
from cacheops.conf import settings
class Other:
    PickleError = Exception
    def dumps(data): return b'other' + pickle.dumps(data)
    def loads(data):
        assert data.startswith(b'other'), data
        return pickle.loads(data[5:])
settings.CACHEOPS_SERIALIZER = Other
"""


@pytest.fixture(scope="module")
def processes(tree, shared_server, tmp_path_factory):
    """Start two processes, the second with another format and values that the first cannot read."""
    url, folder = f"redis://127.0.0.1:{shared_server.port}", tmp_path_factory.mktemp("rolling")
    with application_processes(tree, folder, url) as start:
        one, other = start(), start()
        other.execute(OTHER_FORMAT)
        other.execute(DISTURBED)
        yield one, other


@pytest.fixture
def pair(processes, shared_server):
    """Give them with an empty server and a row of each model."""
    one, other = processes
    shared_server.flush_all()
    one.execute("Book.objects.all().delete(); Shelf.objects.all().delete()")
    one.execute(
        "Shelf.objects.create(pk=1, name='Left'); Book.objects.create(pk=1, title='One', pages=1)"
    )
    return one, other


def test_neither_serves_the_others_results(pair):
    for read in (READ, RANGE):
        for process in (*pair, *pair):
            assert process.evaluate(read) == ([1] if read == READ else ["One"])
    one, other = pair
    assert one.evaluate(READ) == [1]
    assert one.is_hit(READ)
    assert other.evaluate(READ) == [1]
    assert other.is_hit(READ)


@pytest.mark.parametrize("turned", [False, True])
def test_each_sees_the_others_writes(pair, turned):
    reader, writer = reversed(pair) if turned else pair
    assert (reader.evaluate(READ), reader.evaluate(RANGE)) == ([1], ["One"])
    assert reader.is_hit(READ)
    assert reader.is_hit(RANGE)
    writer.execute(WRITE)
    assert (reader.evaluate(READ), reader.evaluate(RANGE)) == ([], [])
