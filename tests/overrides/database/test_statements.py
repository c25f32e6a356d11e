"""Whatever becomes of a statement of the cache's own: the application's write ends as it does without the cache."""

import pytest

from tests.support.application_process import application_processes

ENDS_TRANSACTION = {"connection lost", "transaction ended"}
OUTBOX = {"CACHEOPS_ROVER_OUTBOX": True, "CACHEOPS_ROVER_OUTBOX_SECONDS": 0}
JOINED = "list(Book.objects.filter(shelf__name='Oak').values_list('title', flat=True))"
FILL = "Shelf.objects.create(pk=1, name='Oak'); Book.objects.create(pk=1, title='One', shelf_id=1)"
COUNT_STATEMENTS = """
from rover_overrides.database import statements
sent, original = [], statements._send
def counted(*args):
    sent.append(args)
    return original(*args)
statements._send = counted
def asked(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
"""
TRANSACTIONS = "int(asked('SELECT pg_snapshot_xmax(pg_current_snapshot())::text'))"
MULTIXACTS = "int(asked('SELECT next_multixact_id::text FROM pg_control_checkpoint()'))"


@pytest.fixture(params=["sqlite", "postgresql"])
def played(request, tree, plain_server, tmp_path):
    """Give what came of each write: without the cache, with it, and with a fault in each of the cache's statements."""
    plain_server.flush_all()
    settings = dict(OUTBOX)
    if request.param == "postgresql":
        settings["DATABASES"] = {"default": request.getfixturevalue("new_database")}
    with application_processes(
        tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}", **settings
    ) as start:
        cached, plain = start(), start(IS_CACHED=False)
        for process in (plain, cached):
            process.execute("import failing_statements")
        without = {
            name: came
            for name, _, _, came in plain.evaluate(
                "failing_statements.run_all_writes(False)", seconds=600
            )
        }
        yield without, cached.evaluate("failing_statements.run_all_writes(True)", seconds=600)


@pytest.mark.slow
def test_each_failure_changes_nothing_but_what_is_dropped(played):
    without, found = played
    assert sum(fault is not None for *_, fault, _ in found) > 100, "too few statements were seen"
    wrong = [
        [name, number, fault]
        for name, number, fault, came in found
        if not _is_right(without[name], fault, came)
    ]
    assert wrong == []


def _is_right(plain, fault, came):
    """Return whether a write ended as without the cache; where the database ended the transaction itself, whether as it was told."""
    seen = {name: value for name, value in came.items() if name != "used"}
    if seen == {name: value for name, value in plain.items() if name != "used"}:
        return True
    if fault not in ENDS_TRANSACTION:
        return False
    if came["outcome"] == plain["outcome"]:
        return came["rows"] == plain["rows"] and came["callbacks"] == plain["callbacks"]
    return (
        came["outcome"][0] == "raised"
        and came["rows"] == came["before"]
        and not {"committed", "called"} & {*came["callbacks"]}
    )


@pytest.fixture
def postgresql(tree, plain_server, new_database, tmp_path):
    """Give a function that starts processes on one PostgreSQL."""
    plain_server.flush_all()
    url = f"redis://127.0.0.1:{plain_server.port}"
    with application_processes(tree, tmp_path, url, DATABASES={"default": new_database}) as start:
        yield start


def test_migration_that_locks_another_table_is_neither_waited_for_nor_the_victim(postgresql):
    """It holds the table that is looked up before the COMMIT, and waits for the row that the application wrote."""
    writer, migration = postgresql(), postgresql()
    writer.execute(FILL)
    assert writer.evaluate(JOINED) == ["One"]
    writer.execute(
        "atomic = transaction.atomic(); atomic.__enter__(); Book.objects.filter(pk=1).update(title='Two')"
    )
    migration.execute("migrates = transaction.atomic(); migrates.__enter__()")
    migration.execute(
        "connection.cursor().execute('LOCK TABLE write_models_shelf IN ACCESS EXCLUSIVE MODE')"
    )
    migration.send(
        "connection.cursor().execute('LOCK TABLE write_models_book'); migrates.__exit__(None, None, None)"
    )
    writer.execute("atomic.__exit__(None, None, None)")
    migration.receive()
    assert writer.evaluate(JOINED) == ["Two"]


def test_timeouts_of_the_application_are_put_back(postgresql):
    writer = postgresql()
    writer.execute(f"{COUNT_STATEMENTS}\n{FILL}")
    writer.execute("connection.cursor().execute('CREATE TABLE own (x integer)')")
    source = """
with transaction.atomic():
    connection.cursor().execute("SET LOCAL lock_timeout = '7s'; SET LOCAL statement_timeout = '9s'")
    statements.read(connection, 'SELECT 1')
    statements.lock_rows(connection, 'SELECT id FROM write_models_shelf FOR UPDATE')
    statements.write(connection, 'INSERT INTO own VALUES (%s)', [1])
    found = [asked('SHOW lock_timeout'), asked('SHOW statement_timeout')]
found + [asked('SHOW lock_timeout'), asked('SELECT count(*) FROM own')]
"""
    assert writer.evaluate(source) == ["7s", "9s", "0", 1]


def test_thousand_saves_in_a_transaction_lock_rows_in_few_savepoints(postgresql):
    """Each savepoint that locks takes a transaction id; of the others the table is invalidated."""
    writer = postgresql()
    writer.execute(
        f"{COUNT_STATEMENTS}\nTag.objects.bulk_create(Tag(pk=n, slug=str(n)) for n in range(1000))"
    )
    ids, shared = (
        f"before = {TRANSACTIONS}",
        f"asked('SELECT 1'); connection.cursor().execute('CHECKPOINT'); held = {MULTIXACTS}",
    )
    writer.execute(f"{ids}\n{shared}\nsent.clear()")
    writer.execute(
        "with transaction.atomic():\n  for tag in Tag.objects.nocache():\n    tag.hits += 1; tag.save()"
    )
    used = writer.evaluate(
        "connection.cursor().execute('CHECKPOINT'); [len(sent), "
        f"{TRANSACTIONS} - before, {MULTIXACTS} - held]"
    )
    statements, transactions, multixacts = used
    assert statements <= 2 * 32
    assert transactions <= 32 + 8, "others on the server take some too, as its autovacuum"
    assert multixacts <= 2 * 32, "of the row as it was and as it is"
    assert writer.evaluate("Tag.objects.filter(hits=1).count()") == 1000


def test_savepoint_is_no_round_trip_more(postgresql):
    """With psycopg2 it is one more, because that returns the rows of the last statement alone."""
    writer = postgresql()
    writer.execute(f"{COUNT_STATEMENTS}\n{FILL}")
    writer.execute("sent.clear()\nBook.objects.filter(pk=1).update(title='Two')")
    assert writer.evaluate("len(sent)") == 1, "alone in its transaction a write has no savepoint"
    writer.execute(
        "sent.clear()\nwith transaction.atomic():\n  Book.objects.filter(pk=1).update(title='Three')"
    )
    assert writer.evaluate("len(sent)") == 1
    assert writer.execute("Book.objects.filter(pk=1).update(title='Four')").queries == [
        """UPDATE "write_models_book" SET "title" = 'Four' WHERE "write_models_book"."id" = 1"""
    ]


def test_view_that_triggers_make_writable_is_written(postgresql):
    """Its rows cannot be locked: it has a GROUP BY."""
    writer = postgresql()
    writer.execute(FILL)
    writer.execute(
        """
with connection.cursor() as cursor:
    cursor.execute('ALTER TABLE write_models_shelf RENAME TO kept')
    cursor.execute('CREATE VIEW write_models_shelf AS SELECT id, max(name) AS name FROM kept GROUP BY id')
    cursor.execute("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "UPDATE kept SET name = NEW.name WHERE id = NEW.id; RETURN NEW; END $$")
    cursor.execute('CREATE TRIGGER keeps INSTEAD OF UPDATE ON write_models_shelf FOR EACH ROW EXECUTE FUNCTION keep()')
"""
    )
    named = "list(Shelf.objects.filter(name='Oak').values_list('id', flat=True))"
    assert (writer.evaluate(named), writer.evaluate(named)) == ([1], [1])
    assert writer.evaluate("Shelf.objects.filter(pk=1).update(name='Fir')") == 1
    assert writer.evaluate(named) == []
    atomic = "with transaction.atomic():\n  n = Shelf.objects.filter(pk=1).update(name='Oak')\nn"
    assert (writer.evaluate(atomic), writer.evaluate(named)) == (1, [1])


def test_outbox_that_a_role_may_not_read_leaves_transactions_alone(
    tree, plain_server, new_database, tmp_path
):
    plain_server.flush_all()
    settings = {"DATABASES": {"default": new_database}, **OUTBOX}
    with application_processes(
        tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}", **settings
    ) as start:
        writer = start()
        writer.execute(FILL)
        with_role = """
with connection.cursor() as cursor:
    cursor.execute('CREATE ROLE writer_of_some')
    cursor.execute('GRANT ALL ON ALL TABLES IN SCHEMA public TO writer_of_some')
    cursor.execute('REVOKE ALL ON rover_outbox FROM writer_of_some')
    cursor.execute('SET ROLE writer_of_some')
"""
        writer.execute(with_role)
        said = writer.execute(
            f"with transaction.atomic():\n  found = {JOINED}\n  Book.objects.update(title='Two')\nfound"
        )
        assert said.value == ["One"]
        assert any("permission denied" in warning for warning in said.warned)
        assert writer.evaluate(JOINED) == ["Two"]


@pytest.fixture(params=["sqlite", "postgresql"])
def writer(request, tree, plain_server, tmp_path):
    plain_server.flush_all()
    settings = {}
    if request.param == "postgresql":
        settings["DATABASES"] = {"default": request.getfixturevalue("new_database")}
    with application_processes(
        tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}", **settings
    ) as start:
        process = start()
        process.execute(FILL)
        yield process


@pytest.mark.parametrize(
    ("end", "found"),
    [("COMMIT", ["Two", "Three"]), ("ROLLBACK", ["One"]), ("END", ["Two", "Three"])],
)
def test_transaction_that_raw_sql_begins_is_left_to_raw_sql(writer, end, found):
    titles = "list(Book.objects.order_by('pk').values_list('title', flat=True))"
    assert (writer.evaluate(titles), writer.is_hit(titles)) == (["One"], True)
    writer.execute(
        "connection.cursor().execute('BEGIN'); Book.objects.filter(pk=1).update(title='Two')"
    )
    writer.execute("Book.objects.create(pk=2, title='Three')")
    assert writer.evaluate(titles) == ["Two", "Three"], "a reader inside it bypasses the cache"
    writer.execute(f"connection.cursor().execute('{end}')")
    assert writer.evaluate(titles) == found
    assert (writer.evaluate(titles), writer.is_hit(titles)) == (found, True)


def test_pre_save_that_writes_raw_sql_is_seen(writer):
    """It runs while another statement is compiled."""
    count = "list(Tag.objects.values_list('hits', flat=True))"
    writer.execute("Tag.objects.create(pk=1, slug='red')")
    assert (writer.evaluate(count), writer.is_hit(count)) == ([0], True)
    writer.execute(
        """
def pre_save(field, add=True, original=Book._meta.get_field('title').pre_save):
    connection.cursor().execute('UPDATE write_models_tag SET hits = hits + 1')
    return original(field, add)
Book._meta.get_field('title').pre_save = pre_save
Book.objects.create(pk=7, title='Seven')
del Book._meta.get_field('title').pre_save
"""
    )
    assert writer.evaluate(count) == [1]


def test_raw_statement_that_raises_is_taken_for_a_write(writer):
    titles = "list(Book.objects.order_by('pk').values_list('title', flat=True))"
    assert (writer.evaluate(titles), writer.is_hit(titles)) == (["One"], True)
    writer.execute(
        """
from django.db.backends.utils import CursorWrapper
original = CursorWrapper._execute
def breaks(self, sql, params, *rest):
    original(self, sql, params, *rest)
    raise ConnectionError('the answer is lost')
CursorWrapper._execute = breaks
try:
    connection.cursor().execute("UPDATE write_models_book SET title = 'Two'")
except ConnectionError:
    pass
CursorWrapper._execute = original
"""
    )
    assert writer.evaluate(titles) == ["Two"]


def test_prefix_is_the_one_at_the_write(writer):
    """A tenant's rows are written in a transaction at whose COMMIT another tenant is active."""
    writer.execute(
        """
from cacheops.conf import settings
tenant = ['a']
import django.conf
django.conf.settings.CACHEOPS_PREFIX = settings.CACHEOPS_PREFIX = lambda query: tenant[0] + ':'
"""
    )
    titles = "list(Book.objects.values_list('title', flat=True))"
    assert (writer.evaluate(titles), writer.is_hit(titles)) == (["One"], True)
    writer.execute(
        "with transaction.atomic():\n  Book.objects.update(title='Two'); tenant[0] = 'b'"
    )
    writer.execute("tenant[0] = 'a'")
    assert writer.evaluate(titles) == ["Two"]


def test_raw_statement_outside_a_transaction_is_announced_before_it_runs(
    tree, plain_server, tmp_path
):
    """Whoever dies right after it leaves nothing stale."""
    plain_server.flush_all()
    titles = "list(Book.objects.order_by('pk').values_list('title', flat=True))"
    with application_processes(tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}") as start:
        reader, writer = start(), start()
        reader.execute(FILL)
        assert (reader.evaluate(titles), reader.is_hit(titles)) == (["One"], True)
        writer.execute(
            """
import os, signal
from django.db.backends.utils import CursorWrapper
original = CursorWrapper._execute
def dies(self, *args):
    original(self, *args)
    os.kill(os.getpid(), signal.SIGKILL)
CursorWrapper._execute = dies
"""
        )
        writer.send("connection.cursor().execute(\"UPDATE write_models_book SET title = 'Two'\")")
        writer.wait_until_killed()
        assert reader.evaluate(titles) == ["Two"]
