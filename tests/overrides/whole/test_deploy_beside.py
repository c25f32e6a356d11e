"""A deploy beside the wheel before: processes of both on one Redis and one database read nothing stale.

The wheel before is built from this repository's own history. All of this is tested on each of the
servers of `shared_server`, Redis and Valkey.
"""

import json
import subprocess
import sys

import pytest

from tests.support import engine_redis
from tests.support.application_process import application_processes
from tests.support.hanging_commits import SocketProxy, database

pytestmark = pytest.mark.slow

BEFORE = "35fa06a"  # of which the wheel 7.2+rover.1 was made
BUILD = """
import json
from pathlib import Path
from scripts.apply import Workshop
from scripts.lock import read_lock
from scripts.profile import check_profile, settings_for
from scripts.repository import Repository
from scripts.series import read_series
from scripts.store import Store
from scripts.vendor import bring
repo = Repository(Path.cwd())
with repo.alone():
    lock = read_lock(repo.lock_file)
    bring(repo, lock)
    series = read_series(repo, lock)
    workshop = Workshop(repo, lock, series, Store(repo.work / "results"))
    folder = workshop.folder(workshop.build(series.active, lock.release(lock.locked)).tree)
print(json.dumps([str(folder), settings_for(check_profile(repo, series), series, lock.locked, None).mapping()]))
"""
READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"
RANGE = "list(Book.objects.filter(pages__lt=10).values_list('title', flat=True))"
READS = {READ: [1], RANGE: ["One"]}
OUTDATED = {READ: [], RANGE: []}
CONTACT = "list(Tag.objects.filter(slug='none'))"
WRITES = {
    "update": "Shelf.objects.update(name='Right'); Book.objects.update(pages=20)",
    "save": "Shelf(pk=1, name='Right').save(); Book(pk=1, title='One', pages=20).save()",
    "delete": "Book.objects.all().delete(); Shelf.objects.all().delete()",
    "atomic": "with transaction.atomic():\n  Shelf.objects.update(name='Right')\n  Book.objects.update(pages=20)",
    "raw": (
        "cursor = connection.cursor(); cursor.execute(\"UPDATE write_models_shelf SET name = 'Right'\")\n"
        "cursor.execute('UPDATE write_models_book SET pages = 20')"
    ),
}
DIE = """
import os, signal
from django.db.backends.postgresql.base import DatabaseWrapper
real = DatabaseWrapper._commit
def dies(self):
    if {committed}:
        real(self)
    os.kill(os.getpid(), signal.SIGKILL)
DatabaseWrapper._commit = dies
"""
HANGS = """
from django.db import DatabaseError
connection.close()
connection.cursor().execute('SET synchronous_commit TO on')
def tried(write):
    try:
        with transaction.atomic():
            Shelf.objects.update(name='Right')
            Book.objects.update(pages=20)
    except DatabaseError as error:
        return type(error).__name__
"""
SOON = "from rover_overrides.invalidation import unknown_commits as unknown; unknown.STEP_SECONDS = unknown.RETRY_SECONDS = 0"
CUT_OFF = """
import redis
try:
    from rover_overrides.transport import pipeline as transport
except ImportError:  # of the wheel before
    from rover_overrides import transport
run = transport._run
def away(*_):
    raise redis.ConnectionError('cut off')
transport._run = away
"""
WORK = """
from rq import SimpleWorker
try:
    from rover_overrides.invalidation import rq_queue as queueing
except ImportError:  # of the wheel before
    from rover_overrides import queueing
found = queueing.queue('later')
done = SimpleWorker([found], connection=found.connection).work(burst=True)
found.count
"""
OTHERS = "import random; Shelf.objects.create(pk=random.randrange(10**3, 10**9), name='Other')"


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Build what the wheel before has in it, and return its folder and its profile."""
    asked = ["git", "-C", str(engine_redis.ROOT), "archive", "--format=tar", BEFORE]
    archive = subprocess.run(asked, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"the history lacks the commit {BEFORE} of the wheel before: it is shallow")
    folder = tmp_path_factory.mktemp("before")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    (folder / ".fork").mkdir()
    for name in (
        "upstream.git",
        "sdists",
    ):  # what the releases are made of is the same, and is brought once
        if (engine_redis.ROOT / ".fork" / name).exists():
            subprocess.run(
                ["cp", "-r", str(engine_redis.ROOT / ".fork" / name), str(folder / ".fork")],
                check=True,
            )
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def hanging(tmp_path_factory):
    """Run a PostgreSQL whose COMMITs hang when they are told to."""
    with database(tmp_path_factory.mktemp("runtime")) as found:
        yield found


@pytest.fixture(scope="module")
def sides(shared_server, hanging, tree, before, tmp_path_factory):
    """Give a function that starts processes of either wheel."""
    url, folder = f"redis://127.0.0.1:{shared_server.port}", tmp_path_factory.mktemp("sides")
    common = {"DATABASES": {"default": hanging.settings}}
    with (
        application_processes(tree, folder, url, **common) as new,
        application_processes(before[0], folder, url, **common, **before[1]) as old,
    ):
        yield {"old": old, "new": new}


@pytest.fixture(scope="module")
def started(sides):
    """Start one of each wheel that live as long as the module."""
    return {side: start() for side, start in sides.items()}


@pytest.fixture(params=[("old", "new"), ("new", "old")], ids=lambda pair: f"{pair[0]} writes")
def pair(request, started, sides, shared_server):
    """Give a reader with results that are cached, and a writer of the other wheel, or a function that starts another one."""
    shared_server.flush_all()
    writer, reader = request.param
    for process in started.values():
        process.execute("connection.close()")
    started[reader].execute("Book.objects.all().delete(); Shelf.objects.all().delete()")
    started[reader].execute(
        "Shelf.objects.create(pk=1, name='Left'); Book.objects.create(pk=1, title='One', pages=1)"
    )
    cached(started[reader], READS)
    return started[writer], started[reader], sides[writer]


def cached(process, values):
    for read, value in values.items():
        assert process.evaluate(read) == value
        assert process.evaluate(read) == value
        assert process.is_hit(read)


def fresh(process, values):
    for read, value in (*values.items(), *values.items()):
        assert process.evaluate(read) == value


def test_neither_serves_what_the_other_stored(pair):
    other, reader, _ = pair
    for read, value in READS.items():
        said = other.execute(read)
        assert (said.value, len(said.queries)) == (value, 1)
    cached(other, READS)
    cached(reader, READS)


@pytest.mark.parametrize("write", WRITES)
def test_each_sees_what_the_other_writes(pair, write):
    writer, reader, _ = pair
    cached(writer, READS)
    writer.execute(WRITES[write])
    for process in (reader, writer):
        fresh(process, OUTDATED)
        cached(process, OUTDATED)


@pytest.mark.parametrize("committed", [True, False])
def test_writer_of_the_other_that_is_killed_around_its_commit_leaves_nothing_stale(pair, committed):
    _, reader, start = pair
    writer = start()
    writer.execute(DIE.format(committed=committed))
    writer.send(WRITES["atomic"])
    writer.wait_until_killed()
    fresh(reader, OUTDATED if committed else READS)
    assert not reader.is_hit(READ)


def test_nothing_is_stored_while_the_commit_of_the_other_hangs(pair, hanging):
    writer, reader, _ = pair
    writer.execute(HANGS)
    hanging.hang_commits()
    try:
        writer.send("tried(1)")
        hanging.wait_until_one_hangs()
        fresh(reader, READS)
        assert not reader.is_hit(READ)
    finally:
        hanging.release_commits()
    assert writer.receive().value is None
    fresh(reader, OUTDATED)
    cached(reader, OUTDATED)


def test_commit_of_ours_that_nobody_knows_of_is_kept_from_the_wheel_before(
    sides, started, shared_server, hanging
):
    """Also while its own writers come and go on the same table."""
    shared_server.flush_all()
    old, new = started["old"], started["new"]
    old.execute("connection.close()")
    new.execute("connection.close(); Book.objects.all().delete(); Shelf.objects.all().delete()")
    new.execute(
        "Shelf.objects.create(pk=1, name='Left'); Book.objects.create(pk=1, title='One', pages=1)"
    )
    cached(old, READS)
    with SocketProxy(hanging.folder) as wire:
        there = {**hanging.settings, "HOST": "127.0.0.1", "PORT": wire.port}
        writer = sides["new"](DATABASES={"default": there})
        writer.execute(SOON)
        writer.execute(HANGS)
        hanging.hang_commits()
        try:
            writer.send("tried(1)")
            hanging.wait_until_one_hangs()
            wire.cut()
            assert writer.receive().value == "OperationalError"
            for _ in range(2):
                writer.execute(CONTACT)
                old.execute(OTHERS)
                for process in (old, new):
                    fresh(process, READS)
                    assert not process.is_hit(READ)
        finally:
            hanging.release_commits()
        engine_redis.wait_until(
            lambda: hanging.run("SELECT pages FROM write_models_book") == [(20,)],
            "it does not become visible",
        )
        for process in (old, new):
            fresh(process, OUTDATED)
        engine_redis.wait_until(
            lambda: writer.execute(CONTACT) and writer.evaluate("len(unknown.open_commits)") == 0,
            "it is not known",
        )
    for process in (old, new):
        cached(process, OUTDATED)


LATER = "from rover_overrides import pending; before = pending.SECONDS; pending.SECONDS = 0"


def test_writers_of_the_wheel_before_do_not_end_what_lives_longer(sides, started, shared_server):
    """They remove entries that are older than a minute, with all that are under their key."""
    shared_server.flush_all()
    old, new = started["old"], started["new"]
    old.execute("connection.close()")
    new.execute("connection.close(); Book.objects.all().delete(); Shelf.objects.all().delete()")
    new.execute("Shelf.objects.create(pk=1, name='Left')")
    cached(new, {READ: [1]})
    writer = sides["new"](CACHEOPS_ROVER_UNKNOWN_SECONDS=600)
    writer.execute(DIE.format(committed=False))
    writer.send(WRITES["atomic"])
    writer.wait_until_killed()
    old.execute(LATER)
    old.execute(OTHERS)
    old.execute("pending.SECONDS = before")
    fresh(new, {READ: [1]})
    assert not new.is_hit(READ)


def test_job_of_the_one_is_done_by_a_worker_of_the_other(pair):
    _, reader, start = pair
    writer = start(CACHEOPS_ROVER_QUEUE="later")
    writer.execute(WRITES["update"])
    assert reader.evaluate(READ) == [1], "this is what is accepted"
    assert reader.evaluate(WORK) == 0
    fresh(reader, OUTDATED)
    cached(reader, OUTDATED)


def test_outbox_of_the_one_is_drained_by_the_other(pair, sides):
    _, _, start = pair
    reading = sides["new" if start is sides["old"] else "old"]
    options = {"CACHEOPS_ROVER_OUTBOX": True, "CACHEOPS_ROVER_OUTBOX_SECONDS": 0}
    writer, reader = start(**options), reading(**options)
    writer.execute(
        "from django.core.management import call_command; call_command('migrate', verbosity=0)"
    )
    for read, value in READS.items():
        assert reader.evaluate(read) == value
    writer.execute(CUT_OFF)
    writer.execute(WRITES["atomic"])
    fresh(reader, OUTDATED)
