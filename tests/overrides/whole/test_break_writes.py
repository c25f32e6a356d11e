"""What an application does around its writes that the cache's own statements, transactions and hits must not change."""

import pytest

from tests.support.process import processes

FILL = "Shelf.objects.create(pk=1, name='Oak'); Tag.objects.create(pk=1, slug='red', hits=1)"
HITS = "list(Tag.objects.order_by('pk').values_list('hits', flat=True))"
SLUGS = "list(Tag.objects.order_by('pk').values_list('slug', 'hits'))"
ONE = "list(Tag.objects.filter(hits=1).values_list('slug', flat=True))"
UPSERT = "Tag.objects.bulk_create([Tag(slug={}, hits={})], update_conflicts=True, unique_fields=['slug'], update_fields=['hits'])"


@pytest.fixture
def postgresql(tree, plain_server, new_database, tmp_path):
    """Give a function that starts processes on one PostgreSQL."""
    plain_server.flush()
    with processes(
        tree,
        tmp_path,
        f"redis://127.0.0.1:{plain_server.port}",
        DATABASES={"default": new_database},
    ) as begin:
        yield begin


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request):
    """Give a function that starts processes on one database, of each kind."""
    return request.getfixturevalue("start" if request.param == "sqlite" else "postgresql")


WRITES = {
    "save": "Tag(pk=1, slug='red', hits=2).save()",
    "update": "Tag.objects.update(slug='red', hits=2)",
    "bulk_update": "Tag.objects.bulk_update([Tag(pk=1, slug='red', hits=2)], ['slug', 'hits'])",
    "upsert": UPSERT.format("'red'", 2),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_that_leaves_a_key_as_it_is_does_not_keep_children_off(postgresql, write):
    """Whoever inserts a row that leads to the written one holds it FOR KEY SHARE until its own COMMIT."""
    writer, child = postgresql(), postgresql()
    writer.ask(FILL)
    child.ask("atomic = transaction.atomic(); atomic.__enter__()")
    child.ask("connection.cursor().execute('SELECT 1 FROM written_tag WHERE id = 1 FOR KEY SHARE')")
    assert writer.value(HITS) == [1]
    writer.ask(write)  # it would have no answer until the child's COMMIT
    assert writer.value(HITS) == [2]
    child.ask("atomic.__exit__(None, None, None)")


LEVEL = "connection.cursor().execute('SET TRANSACTION ISOLATION LEVEL {}')"


@pytest.mark.parametrize("begin", ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", None])
def test_snapshot_is_not_mixed_with_what_the_cache_has_of_later(postgresql, begin):
    reader, writer = postgresql(), postgresql()
    reader.ask(FILL)
    if begin is None:
        reader.ask(
            "connection.cursor().execute(\"ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'repeatable read'\")"
        )
        reader.ask("connection.close()")
    else:
        begin = f"connection.cursor().execute('{begin}')"
    try:
        reader.ask(
            f"atomic = transaction.atomic(); atomic.__enter__(); {begin}; Shelf.objects.nocache().get(pk=1)"
        )
        writer.ask("Tag.objects.update(hits=2)")
        assert (writer.value(HITS), writer.is_hit(HITS)) == ([2], True)
        assert reader.value(HITS) == [1]
        reader.ask("atomic.__exit__(None, None, None)")
        assert (reader.value(HITS), reader.is_hit(HITS)) == ([2], True), (
            "outside it the cache answers"
        )
    finally:
        writer.ask(
            "connection.cursor().execute('ALTER ROLE CURRENT_USER RESET default_transaction_isolation')"
        )


def test_serializable_transaction_that_must_fail_does(postgresql):
    """It read what another one wrote; PostgreSQL knows only of reads that it was asked for."""
    first, second = postgresql(), postgresql()
    first.ask(FILL)
    assert (first.value(HITS), first.is_hit(HITS), second.is_hit(HITS)) == ([1], True, True)
    for process in (first, second):
        level = LEVEL.format("SERIALIZABLE")
        process.ask(
            f"atomic = transaction.atomic(); atomic.__enter__(); {level}; [hits] = {HITS}; shelf = Shelf.objects.get()"
        )
    first.ask("shelf.name = str(hits); shelf.save(); atomic.__exit__(None, None, None)")
    with pytest.raises(AssertionError, match="could not serialize"):
        second.ask("Tag.objects.update(hits=len(shelf.name)); atomic.__exit__(None, None, None)")


def test_reads_of_a_transaction_that_sees_each_commit_are_hits_and_ask_nothing(postgresql):
    reader = postgresql()
    reader.ask(FILL)
    reader.ask(
        """
from rover_overrides.database import statements
sent, original = [], statements._sent
statements._sent = lambda *args: sent.append(args) or original(*args)
"""
    )
    assert reader.value(HITS) == [1]
    reader.ask(f"with transaction.atomic():\n  {HITS}")
    reader.ask("sent.clear()")
    assert reader.value(f"with transaction.atomic():\n  found = {HITS}, {HITS}\nfound") == [
        [1],
        [1],
    ]
    assert reader.value("len(sent)") == 0


SLUG = "Tag._meta.get_field('slug').__class__ = type('Own', (models.SlugField,), {'__module__': 'own', %s})"
OWN_SLUGS = {
    "no look-up": "'get_lookup': lambda self, name: None",
    "a look-up that raises": "'get_lookup': lambda self, name: [][0]",
    "pre_save": "'pre_save': lambda self, instance, add: instance.slug.lower()",
}


@pytest.mark.parametrize("own", OWN_SLUGS.values(), ids=OWN_SLUGS)
def test_upsert_by_a_field_of_the_application_is_coarse(either, own):
    process = either()
    process.ask(f"{SLUG % own}; Tag.objects.create(slug='red', hits=1)")
    slug = "'RED'" if "lower" in own else "'red'"
    for _ in range(2):
        assert (process.value(ONE), process.is_hit(ONE)) == (["red"], True)
        process.ask(UPSERT.format(slug, 2))
        assert process.value(ONE) == []
        process.ask(UPSERT.format(slug, 1))


ENDED_BY_DRIVER = {
    "with": "connection.ensure_connection()\nwith connection.connection.transaction():\n  Tag.objects.update(hits=2)",
    "commit": "connection.cursor().execute('BEGIN'); Tag.objects.update(hits=2); connection.connection.commit()",
}


@pytest.mark.parametrize(
    ("kind", "end"), [("postgresql", "with"), ("postgresql", "commit"), ("start", "commit")]
)
def test_what_the_driver_commits_is_invalidated_before_the_connection_is_closed(request, kind, end):
    begin = request.getfixturevalue(kind)
    writer, reader = begin(), begin()
    writer.ask(FILL)
    assert (reader.value(HITS), reader.is_hit(HITS)) == ([1], True)
    writer.ask(f"{ENDED_BY_DRIVER[end]}\nconnection.close()")
    assert (reader.value(HITS), reader.is_hit(HITS)) == ([2], True)


def test_script_of_sqlite_is_raw_sql(start):
    process = start()
    process.ask(FILL)
    assert (process.value(HITS), process.is_hit(HITS)) == ([1], True)
    process.ask(
        "with connection.cursor() as cursor:\n  cursor.executescript('UPDATE written_tag SET hits = 2; SELECT 1')"
    )
    assert process.value(HITS) == [2]


def test_refresh_of_a_materialized_view_is_raw_sql(postgresql):
    process = postgresql()
    process.ask(FILL)
    for sql in (
        "ALTER TABLE written_tag RENAME TO kept",
        "CREATE MATERIALIZED VIEW written_tag AS SELECT id, slug, hits FROM kept",
    ):
        process.ask(f"connection.cursor().execute('{sql}')")
    assert (process.value(HITS), process.is_hit(HITS)) == ([1], True)
    process.ask("connection.cursor().execute('UPDATE kept SET hits = 2')")
    process.ask("connection.cursor().execute('REFRESH MATERIALIZED VIEW written_tag')")
    assert process.value(HITS) == [2]


def test_write_in_a_pipeline_of_the_driver_is_coarse(postgresql):
    """It takes no two statements at a time, so the cache sends none of its own."""
    process = postgresql()
    process.ask(FILL)
    assert (process.value(HITS), process.is_hit(HITS)) == ([1], True)
    process.ask(
        """
with transaction.atomic():
    with connection.connection.pipeline():
        Tag.objects.filter(pk=1).update(hits=2)
        Tag.objects.bulk_create([Tag(pk=20, slug='blue', hits=3)])
"""
    )
    assert process.value(HITS) == [2, 3]


NUMBERED = """
class Numbered(models.SlugField):
    __module__ = 'own'
    def pre_save(self, instance, add):
        with transaction.atomic(durable=True):
            Shelf.objects.update(name=models.Value(instance.slug))
        return instance.slug
Tag._meta.get_field('slug').__class__ = Numbered
"""


def test_pre_save_runs_outside_the_transaction_of_the_cache(either):
    """What it commits stays, also where the INSERT fails."""
    process = either()
    process.ask(NUMBERED)
    process.ask(FILL)
    process.ask("Shelf.objects.update(name='Oak')")
    shelves = "list(Shelf.objects.values_list('name', flat=True))"
    assert process.value(shelves) == ["Oak"]
    process.ask("Tag.objects.create(pk=20, slug='new', hits=1)")
    assert process.value(shelves) == ["new"]
    process.ask(
        "try:\n  Tag.objects.create(pk=21, slug='red', hits=1)\nexcept Exception as error:\n  raised = type(error).__name__"
    )
    assert process.value("raised") == "IntegrityError"
    assert process.value(shelves) == ["red"]
    assert process.value(SLUGS) == [["red", 1], ["new", 1]]


LOST = """
said = []
def lose(query):
    try:
        with transaction.atomic():
            transaction.on_commit(lambda: said.append('committed'))
            Tag.objects.update(hits=2)
            pid = asked('SELECT pg_backend_pid()')
            other.execute(f'SELECT pg_terminate_backend({pid}, 5000)')
            query()
    except Exception as error:
        said.append([type(error).__name__, str(error).splitlines()[0]])
    said.append(list(Tag.objects.values_list('hits', flat=True)))
def asked(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
other = connection.copy('other').cursor()
"""
SHUT_DOWN = ["OperationalError", "terminating connection due to administrator command"]


@pytest.mark.parametrize("query", ["Tag.objects.filter(pk=1).update(hits=3)", "None"])
def test_error_of_a_connection_that_was_lost_is_the_first_one(postgresql, query):
    """It is found by a statement of the cache's; the application is told as if it had been its own, and the connection opened anew."""
    process = postgresql()
    process.ask(FILL)
    process.ask(
        "Shelf.objects.create(pk=2, name='Fir'); Book.objects.create(pk=1, title='One', shelf_id=1)"
    )
    process.ask(LOST)
    assert process.value("list(Tag.objects.filter(book__title='One'))") == []
    assert process.value(HITS) == [1]
    process.ask(f"lose(lambda: {query})")
    assert process.value("said") == [SHUT_DOWN, [1]]


COUNT_WAITS = """
from rover_overrides.database import statements
waited = []
def counted(execute, *args):
    waited.append('the application')
    return execute(*args)
original = statements._WAYS[connection.vendor]
def way(*args):
    waited.append('the cache')
    return original(*args)
statements._WAYS[connection.vendor] = way
def fail():
    try:
        with connection.execute_wrapper(counted):
            Tag.objects.filter(pk=1).update(hits=2)
    except Exception as error:
        return [type(error).__name__, str(error).splitlines()[0]]
"""
LOCKED = {
    "sqlite": ["OperationalError", "database is locked"],
    "postgresql": ["OperationalError", "canceling statement due to lock timeout"],
}


@pytest.mark.parametrize("kind", LOCKED)
def test_write_that_waited_in_vain_for_a_lock_does_not_wait_again(request, kind):
    begin = request.getfixturevalue("start" if kind == "sqlite" else "postgresql")
    holder, writer = begin(), begin()
    holder.ask(FILL)
    writer.ask(
        f"connection.cursor().execute('{'PRAGMA busy_timeout = 100' if kind == 'sqlite' else 'SET lock_timeout = 100'}')"
    )
    writer.ask(COUNT_WAITS)
    holder.ask("atomic = transaction.atomic(); atomic.__enter__(); Tag.objects.update(hits=5)")
    assert writer.value("fail()") == LOCKED[kind]
    assert writer.value("waited")[-1] == "the cache", "the application's own statement was not sent"
    holder.ask("atomic.__exit__(None, None, None)")
    assert writer.value("fail()") is None
    assert writer.value(HITS) == [2]


ORDERED = """
import logging
locked = []
class Kept(logging.Handler):
    def emit(self, record):
        locked.append(record.args[1])
logging.getLogger('rover_overrides.database.statements').addHandler(Kept())
logging.getLogger('rover_overrides.database.statements').setLevel('DEBUG')
def upsert(*slugs):
    Tag.objects.bulk_create([Tag(slug=slug, hits=7) for slug in slugs],
                            update_conflicts=True, unique_fields=['slug'], update_fields=['hits'])
    return locked[0].split(' ORDER BY ')[1].split(' LIMIT ')[0], locked.clear()
"""


def test_upsert_locks_rows_in_the_order_of_their_keys(postgresql):
    """They are stored in another one; whoever writes them one by one in that order would wait for it, and it for them."""
    process = postgresql()
    process.ask("Tag.objects.bulk_create([Tag(slug=slug, hits=1) for slug in 'cba'])")
    process.ask(ORDERED)
    column = '"written_tag"."slug" COLLATE "C"'
    assert process.value(ONE) == ["c", "b", "a"]
    assert process.value("upsert('a', 'b', 'c')[0]") == f"{column} ASC"
    assert process.value("upsert('c', 'b')[0]") == f"{column} DESC"
    assert process.value(ONE) == []
