"""Transactions that end where Django does not see it: by raw SQL, by the driver, by the release of SQLite's outermost savepoint.

What they have committed is invalidated, also where Django then rolls back; what it really rolls back keeps its results.
"""

import pytest

from tests.support.application_process import application_processes

pytestmark = pytest.mark.slow

NAMES = "list(Shelf.objects.order_by('pk').values_list('name', flat=True))"
WRITE = "Shelf.objects.filter(pk=1).update(name='Ash')"
RAW = "UPDATE write_models_shelf SET name = 'Ash' WHERE id = 1"

MANUAL = """
class Failure(Exception): pass
transaction.set_autocommit(False)
try:
{}
    raise Failure
except Failure:
    transaction.rollback()
finally:
    transaction.set_autocommit(True)
"""
ATOMIC = """
class Failure(Exception): pass
try:
    with transaction.atomic():
{}
        raise Failure
except (Failure, DatabaseError):
    pass
"""


def raw(*statements):
    return "\n".join(f"connection.cursor().execute({statement!r})" for statement in statements)


BOTH = ("sqlite", "postgresql")

ENDS = {  # statements in a transaction that Django rolls back, where they can be run, and whether they commit
    "raw COMMIT": (f"{WRITE}\n{raw('COMMIT')}", BOTH, True),
    "raw END": (f"{WRITE}\n{raw('END')}", BOTH, True),
    "behind a comment": (f"{WRITE}\n{raw('/* all */ commit')}", BOTH, True),
    "raw write, raw COMMIT": (raw(RAW, "COMMIT"), BOTH, True),
    "and CHAIN": (f"{WRITE}\n{raw('COMMIT AND CHAIN')}", ["postgresql"], True),
    "in one statement": (raw(f"{RAW}; COMMIT"), ["postgresql"], True),
    "by the driver": (f"{WRITE}\nconnection.connection.commit()", BOTH, True),
    "by the driver, before it closes": (
        f"{WRITE}\nconnection.connection.commit()\nconnection.close()",
        BOTH,
        True,
    ),
    "not at all, before it closes": (f"{WRITE}\nconnection.close()", BOTH, False),
    "by a script": (f"{WRITE}\nconnection.cursor().executescript('SELECT 1')", ["sqlite"], True),
    "by a script that writes": (
        f"connection.cursor().executescript({RAW!r})\nconnection.connection.commit()",
        ["sqlite"],
        True,
    ),
    "raw ROLLBACK": (f"{WRITE}\n{raw('ROLLBACK')}", BOTH, False),
    "not at all": (WRITE, BOTH, False),
}
SAVEPOINTS = {  # and whether the release of a savepoint commits in manual mode on SQLite
    "atomic": (f"with transaction.atomic():\n    {WRITE}", True),
    "atomic in atomic": (
        f"with transaction.atomic():\n  with transaction.atomic():\n    {WRITE}",
        True,
    ),
    "atomic without a savepoint": (
        f"with transaction.atomic(savepoint=False):\n    {WRITE}",
        False,
    ),
    "atomic after a write": (
        f"Shelf.objects.filter(pk=2).update(name='Elm')\nwith transaction.atomic():\n    {WRITE}",
        False,
    ),
    "update_or_create": ("Shelf.objects.update_or_create(pk=1, defaults={'name': 'Ash'})", True),
    "savepoint": (
        f"made = transaction.savepoint()\n{WRITE}\ntransaction.savepoint_commit(made)",
        False,
    ),  # Django makes none
    "raw SAVEPOINT": (f"{raw('SAVEPOINT a')}\n{WRITE}\n{raw('RELEASE a')}", True),
    "raw SAVEPOINT, raw write": (raw("SAVEPOINT a", RAW, "RELEASE SAVEPOINT a"), True),
}
FRAMES = {"manual": (MANUAL, 4), "atomic": (ATOMIC, 8)}


def _cases():
    for name, (frame, indent) in FRAMES.items():
        for what, (statements, databases, commits) in ENDS.items():
            for database in databases:
                yield pytest.param(
                    database, frame, indent, statements, commits, id=f"{database}, {name}, {what}"
                )
        for what, (statements, commits) in SAVEPOINTS.items():
            for database in BOTH:
                is_first = commits and (database, name) == ("sqlite", "manual")
                yield pytest.param(
                    database, frame, indent, statements, is_first, id=f"{database}, {name}, {what}"
                )


@pytest.fixture(scope="module")
def sites(tree, plain_server, postgres, tmp_path_factory):
    """Give a process that writes and one that reads for each database."""
    from django.db import connections

    plain_server.flush_all()
    url = f"redis://127.0.0.1:{plain_server.port}"
    with connections[postgres].cursor() as cursor:
        cursor.execute("CREATE DATABASE ended_without_django")
    settings = {
        "DATABASES": {"default": {**connections.settings[postgres], "NAME": "ended_without_django"}}
    }
    folder = tmp_path_factory.mktemp("site")
    with (
        application_processes(tree, folder, f"{url}/0") as on_sqlite,
        application_processes(tree, folder, f"{url}/1", **settings) as on_postgresql,
    ):
        yield {
            "sqlite": (on_sqlite(), on_sqlite()),
            "postgresql": (on_postgresql(), on_postgresql()),
        }


@pytest.fixture
def site(database, sites):
    """Give a writer and a reader with a result."""
    writer, reader = sites[database]
    writer.execute("from django.db import DatabaseError\nShelf.objects.all().delete()")
    writer.execute("Shelf.objects.create(pk=1, name='Oak'); Shelf.objects.create(pk=2, name='Fir')")
    reader.execute(NAMES)
    assert reader.is_hit(NAMES)
    return writer, reader


@pytest.mark.parametrize(("database", "frame", "indent", "statements", "commits"), list(_cases()))
def test_rollback_that_comes_too_late_leaves_nothing_stale(
    site, frame, indent, statements, commits
):
    writer, reader = site
    writer.execute(frame.format("\n".join(" " * indent + line for line in statements.splitlines())))
    assert writer.evaluate("connection.get_autocommit() and not connection.in_atomic_block") is True
    if not commits and "ROLLBACK" not in statements:
        assert reader.is_hit(NAMES), "what is rolled back keeps its results"
    assert reader.evaluate(NAMES) == writer.evaluate(NAMES) == ["Ash" if commits else "Oak", "Fir"]
    assert reader.is_hit(NAMES)


@pytest.mark.parametrize("database", BOTH)
def test_raw_commit_is_seen_before_the_block_ends(site):
    writer, reader = site
    writer.execute(f"block = transaction.atomic()\nblock.__enter__()\n{WRITE}\n{raw('COMMIT')}")
    assert reader.evaluate(NAMES) == ["Ash", "Fir"]
    writer.execute(
        "try:\n  block.__exit__(None, None, None)\nexcept DatabaseError:\n  pass\nconnection.close()"
    )
    assert reader.is_hit(NAMES)
