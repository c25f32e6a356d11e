"""A COMMIT whose end nobody knows, for the connection was lost: its tables are read from the database until it is known."""

import pytest

from tests.support import engine_redis
from tests.support.application_process import application_processes
from tests.support.hanging_commits import SocketProxy, database

pytestmark = pytest.mark.slow

READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
CONTACT = "list(Tag.objects.filter(slug='none'))"
SETUP = """
from django.db import OperationalError, DatabaseError
from rover_overrides.invalidation import unknown_commits as unknown
unknown.STEP_SECONDS = unknown.RETRY_SECONDS = 0
def tried(write):
    try:
        write()
    except DatabaseError as error:
        connection.close()
        return type(error).__name__
def orm():
    Shelf.objects.update(name='Right')
def atomic():
    with transaction.atomic():
        Shelf.objects.update(name='Right')
def raw():
    connection.cursor().execute("UPDATE write_models_shelf SET name = 'Right'")
def manual():
    transaction.set_autocommit(False)
    Shelf.objects.update(name='Right')
    transaction.commit()
def by_hand():
    connection.cursor().execute('BEGIN')
    Shelf.objects.update(name='Right')
    connection.cursor().execute('COMMIT')
"""
NEW = """
connection.close()
transaction.set_autocommit(True)
unknown.open_commits.clear()
connection.cursor().execute('SET synchronous_commit TO on')
"""
WRITES = ["orm", "atomic", "raw", "manual", "by_hand"]
KNOWN = "len(unknown.open_commits)"


@pytest.fixture(scope="module")
def hanging(tmp_path_factory):
    """Run a PostgreSQL whose COMMITs hang when they are told to."""
    with database(tmp_path_factory.mktemp("runtime")) as found:
        yield found


@pytest.fixture(scope="module")
def pair(tree, plain_server, hanging, tmp_path_factory):
    """Start a reader, and a writer whose connection can be cut and whose COMMIT hangs."""
    url = f"redis://127.0.0.1:{plain_server.port}"
    common = {"DATABASES": {"default": hanging.settings}}
    with (
        SocketProxy(hanging.folder) as wire,
        application_processes(tree, tmp_path_factory.mktemp("pair"), url, **common) as start,
    ):
        reader = start()
        writer = start(
            DATABASES={"default": {**hanging.settings, "HOST": "127.0.0.1", "PORT": wire.port}}
        )
        writer.execute(SETUP)
        yield reader, writer, wire


@pytest.fixture
def site(pair, plain_server, hanging):
    """Give them with a result that is cached, and have COMMITs hang."""
    reader, writer, _ = pair
    plain_server.flush_all()
    reader.execute(
        "connection.close(); Shelf.objects.all().delete(); Shelf.objects.create(pk=1, name='Left')"
    )
    assert reader.evaluate(READ) == [1]
    assert reader.is_hit(READ)
    writer.execute(NEW)
    hanging.hang_commits()
    yield pair
    hanging.release_commits()


def lose(hanging, wire, how):
    """Have a writer lose its connection while its COMMIT hangs."""
    hanging.wait_until_one_hangs()
    if how == "cut":
        wire.cut()
    elif how == "terminated":
        hanging.terminate_hanging()
    else:
        hanging.kill_hanging()


def until_hit(reader, writer):
    def is_hit():
        writer.execute(CONTACT)
        reader.execute(READ)
        return reader.is_hit(READ)

    engine_redis.wait_until(is_hit, "it is not cached again")


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_stored_while_a_commit_may_become_visible(site, hanging, plain_server, write):
    reader, writer, wire = site
    writer.send(f"tried({write})")
    lose(hanging, wire, "cut")
    assert writer.receive().value == "OperationalError"
    for forget in (lambda: None, plain_server.flush_all):
        forget()
        for _ in range(2):
            assert writer.execute(CONTACT).value == []
            assert reader.evaluate(READ) == [1]
            assert not reader.is_hit(READ)
        assert writer.evaluate(KNOWN) == 1
    hanging.release_commits()
    engine_redis.wait_until(
        lambda: hanging.run("SELECT name FROM write_models_shelf") == [("Right",)],
        "it does not become visible",
    )
    assert reader.evaluate(READ) == []
    until_hit(reader, writer)
    assert reader.evaluate(READ) == []
    assert writer.evaluate(KNOWN) == 0


@pytest.mark.parametrize("how", ["terminated", "crashed"])
@pytest.mark.parametrize("write", ["atomic", "raw"])
def test_commit_that_ended_with_its_connection_is_known_at_the_next_contact(
    site, hanging, write, how
):
    reader, writer, wire = site
    writer.send(f"tried({write})")
    lose(hanging, wire, how)
    assert writer.receive().value == "OperationalError"
    reader.execute("connection.close()")
    assert reader.evaluate(READ) == []
    writer.execute(CONTACT)
    assert writer.evaluate(KNOWN) == 0
    assert reader.evaluate(READ) == []
    assert reader.is_hit(READ)
