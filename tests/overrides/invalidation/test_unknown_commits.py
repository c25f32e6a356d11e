"""A COMMIT whose end nobody knows, for the connection was lost: its tables are read from the database until it is known."""

import pytest

from tests.support import live
from tests.support.hanging_commits import Wire, database
from tests.support.process import processes

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
    connection.cursor().execute("UPDATE written_shelf SET name = 'Right'")
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
        Wire(hanging.folder) as wire,
        processes(tree, tmp_path_factory.mktemp("pair"), url, **common) as start,
    ):
        reader = start()
        writer = start(
            DATABASES={"default": {**hanging.settings, "HOST": "127.0.0.1", "PORT": wire.port}}
        )
        writer.ask(SETUP)
        yield reader, writer, wire


@pytest.fixture
def site(pair, plain_server, hanging):
    """Give them with a result that is cached, and have COMMITs hang."""
    reader, writer, _ = pair
    plain_server.flush()
    reader.ask(
        "connection.close(); Shelf.objects.all().delete(); Shelf.objects.create(pk=1, name='Left')"
    )
    assert reader.value(READ) == [1]
    assert reader.is_hit(READ)
    writer.ask(NEW)
    hanging.hold()
    yield pair
    hanging.release()


def lose(hanging, wire, how):
    """Have a writer lose its connection while its COMMIT hangs."""
    hanging.until_one_hangs()
    if how == "cut":
        wire.cut()
    elif how == "terminated":
        hanging.terminate()
    else:
        hanging.crash()


def until_hit(reader, writer):
    def is_hit():
        writer.ask(CONTACT)
        reader.ask(READ)
        return reader.is_hit(READ)

    live.until(is_hit, "it is not cached again")


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_stored_while_a_commit_may_become_visible(site, hanging, plain_server, write):
    reader, writer, wire = site
    writer.tell(f"tried({write})")
    lose(hanging, wire, "cut")
    assert writer.answer().value == "OperationalError"
    for forget in (lambda: None, plain_server.flush):
        forget()
        for _ in range(2):
            assert writer.ask(CONTACT).value == []
            assert reader.value(READ) == [1]
            assert not reader.is_hit(READ)
        assert writer.value(KNOWN) == 1
    hanging.release()
    live.until(
        lambda: hanging.run("SELECT name FROM written_shelf") == [("Right",)],
        "it does not become visible",
    )
    assert reader.value(READ) == []
    until_hit(reader, writer)
    assert reader.value(READ) == []
    assert writer.value(KNOWN) == 0


@pytest.mark.parametrize("how", ["terminated", "crashed"])
@pytest.mark.parametrize("write", ["atomic", "raw"])
def test_commit_that_ended_with_its_connection_is_known_at_the_next_contact(
    site, hanging, write, how
):
    reader, writer, wire = site
    writer.tell(f"tried({write})")
    lose(hanging, wire, how)
    assert writer.answer().value == "OperationalError"
    reader.ask("connection.close()")
    assert reader.value(READ) == []
    writer.ask(CONTACT)
    assert writer.value(KNOWN) == 0
    assert reader.value(READ) == []
    assert reader.is_hit(READ)
