"""What an application does around its writes that the cache's own statements, transactions and hits must not change."""

import pytest

from tests.support.application_process import application_processes

pytestmark = pytest.mark.slow

FILL = "Shelf.objects.create(pk=1, name='Oak'); Tag.objects.create(pk=1, slug='red', hits=1)"
HITS = "list(Tag.objects.order_by('pk').values_list('hits', flat=True))"
SLUGS = "list(Tag.objects.order_by('pk').values_list('slug', 'hits'))"
ONE = "list(Tag.objects.filter(hits=1).values_list('slug', flat=True))"
UPSERT = "Tag.objects.bulk_create([Tag(slug={}, hits={})], update_conflicts=True, unique_fields=['slug'], update_fields=['hits'])"


@pytest.fixture
def postgresql(tree, plain_server, new_database, tmp_path):
    """Give a function that starts processes on one PostgreSQL."""
    plain_server.flush_all()
    with application_processes(
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
    writer.execute(FILL)
    child.execute("atomic = transaction.atomic(); atomic.__enter__()")
    child.execute(
        "connection.cursor().execute('SELECT 1 FROM write_models_tag WHERE id = 1 FOR KEY SHARE')"
    )
    assert writer.evaluate(HITS) == [1]
    writer.execute(write)  # it would have no answer until the child's COMMIT
    assert writer.evaluate(HITS) == [2]
    child.execute("atomic.__exit__(None, None, None)")


LEVEL = "connection.cursor().execute('SET TRANSACTION ISOLATION LEVEL {}')"


@pytest.mark.parametrize("begin", ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", None])
def test_snapshot_is_not_mixed_with_what_the_cache_has_of_later(postgresql, begin):
    reader, writer = postgresql(), postgresql()
    reader.execute(FILL)
    if begin is None:
        reader.execute(
            "connection.cursor().execute(\"ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'repeatable read'\")"
        )
        reader.execute("connection.close()")
    else:
        begin = f"connection.cursor().execute('{begin}')"
    try:
        reader.execute(
            f"atomic = transaction.atomic(); atomic.__enter__(); {begin}; Shelf.objects.nocache().get(pk=1)"
        )
        writer.execute("Tag.objects.update(hits=2)")
        assert (writer.evaluate(HITS), writer.is_hit(HITS)) == ([2], True)
        assert reader.evaluate(HITS) == [1]
        reader.execute("atomic.__exit__(None, None, None)")
        assert (reader.evaluate(HITS), reader.is_hit(HITS)) == ([2], True), (
            "outside it the cache answers"
        )
    finally:
        writer.execute(
            "connection.cursor().execute('ALTER ROLE CURRENT_USER RESET default_transaction_isolation')"
        )


def test_serializable_transaction_that_must_fail_does(postgresql):
    """It read what another one wrote; PostgreSQL knows only of reads that it was asked for."""
    first, second = postgresql(), postgresql()
    first.execute(FILL)
    assert (first.evaluate(HITS), first.is_hit(HITS), second.is_hit(HITS)) == ([1], True, True)
    for process in (first, second):
        level = LEVEL.format("SERIALIZABLE")
        process.execute(
            f"atomic = transaction.atomic(); atomic.__enter__(); {level}; [hits] = {HITS}; shelf = Shelf.objects.get()"
        )
    first.execute("shelf.name = str(hits); shelf.save(); atomic.__exit__(None, None, None)")
    with pytest.raises(AssertionError, match="could not serialize"):
        second.execute(
            "Tag.objects.update(hits=len(shelf.name)); atomic.__exit__(None, None, None)"
        )


def test_reads_of_a_transaction_that_sees_each_commit_are_hits_and_ask_nothing(postgresql):
    reader = postgresql()
    reader.execute(FILL)
    reader.execute(
        """
from rover_overrides.database import statements
sent, original = [], statements._send
statements._send = lambda *args: sent.append(args) or original(*args)
"""
    )
    assert reader.evaluate(HITS) == [1]
    reader.execute(f"with transaction.atomic():\n  {HITS}")
    reader.execute("sent.clear()")
    assert reader.evaluate(f"with transaction.atomic():\n  found = {HITS}, {HITS}\nfound") == [
        [1],
        [1],
    ]
    assert reader.evaluate("len(sent)") == 0


SLUG = "Tag._meta.get_field('slug').__class__ = type('Own', (models.SlugField,), {'__module__': 'own', %s})"
OWN_SLUGS = {
    "no look-up": "'get_lookup': lambda self, name: None",
    "a look-up that raises": "'get_lookup': lambda self, name: [][0]",
    "pre_save": "'pre_save': lambda self, instance, add: instance.slug.lower()",
}


@pytest.mark.parametrize("own", OWN_SLUGS.values(), ids=OWN_SLUGS)
def test_upsert_by_a_field_of_the_application_is_coarse(either, own):
    process = either()
    process.execute(f"{SLUG % own}; Tag.objects.create(slug='red', hits=1)")
    slug = "'RED'" if "lower" in own else "'red'"
    for _ in range(2):
        assert (process.evaluate(ONE), process.is_hit(ONE)) == (["red"], True)
        process.execute(UPSERT.format(slug, 2))
        assert process.evaluate(ONE) == []
        process.execute(UPSERT.format(slug, 1))


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
    writer.execute(FILL)
    assert (reader.evaluate(HITS), reader.is_hit(HITS)) == ([1], True)
    writer.execute(f"{ENDED_BY_DRIVER[end]}\nconnection.close()")
    assert (reader.evaluate(HITS), reader.is_hit(HITS)) == ([2], True)


def test_script_of_sqlite_is_raw_sql(start):
    process = start()
    process.execute(FILL)
    assert (process.evaluate(HITS), process.is_hit(HITS)) == ([1], True)
    process.execute(
        "with connection.cursor() as cursor:\n  cursor.executescript('UPDATE write_models_tag SET hits = 2; SELECT 1')"
    )
    assert process.evaluate(HITS) == [2]


def test_refresh_of_a_materialized_view_is_raw_sql(postgresql):
    process = postgresql()
    process.execute(FILL)
    for sql in (
        "ALTER TABLE write_models_tag RENAME TO kept",
        "CREATE MATERIALIZED VIEW write_models_tag AS SELECT id, slug, hits FROM kept",
    ):
        process.execute(f"connection.cursor().execute('{sql}')")
    assert (process.evaluate(HITS), process.is_hit(HITS)) == ([1], True)
    process.execute("connection.cursor().execute('UPDATE kept SET hits = 2')")
    process.execute("connection.cursor().execute('REFRESH MATERIALIZED VIEW write_models_tag')")
    assert process.evaluate(HITS) == [2]


def test_write_in_a_pipeline_of_the_driver_is_coarse(postgresql):
    """It takes no two statements at a time, so the cache sends none of its own."""
    process = postgresql()
    process.execute(FILL)
    assert (process.evaluate(HITS), process.is_hit(HITS)) == ([1], True)
    process.execute(
        """
with transaction.atomic():
    with connection.connection.pipeline():
        Tag.objects.filter(pk=1).update(hits=2)
        Tag.objects.bulk_create([Tag(pk=20, slug='blue', hits=3)])
"""
    )
    assert process.evaluate(HITS) == [2, 3]


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
    process.execute(NUMBERED)
    process.execute(FILL)
    process.execute("Shelf.objects.update(name='Oak')")
    shelves = "list(Shelf.objects.values_list('name', flat=True))"
    assert process.evaluate(shelves) == ["Oak"]
    process.execute("Tag.objects.create(pk=20, slug='new', hits=1)")
    assert process.evaluate(shelves) == ["new"]
    process.execute(
        "try:\n  Tag.objects.create(pk=21, slug='red', hits=1)\nexcept Exception as error:\n  raised = type(error).__name__"
    )
    assert process.evaluate("raised") == "IntegrityError"
    assert process.evaluate(shelves) == ["red"]
    assert process.evaluate(SLUGS) == [["red", 1], ["new", 1]]


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
    process.execute(FILL)
    process.execute(
        "Shelf.objects.create(pk=2, name='Fir'); Book.objects.create(pk=1, title='One', shelf_id=1)"
    )
    process.execute(LOST)
    assert process.evaluate("list(Tag.objects.filter(book__title='One'))") == []
    assert process.evaluate(HITS) == [1]
    process.execute(f"lose(lambda: {query})")
    assert process.evaluate("said") == [SHUT_DOWN, [1]]


COUNT_WAITS = """
waited = []
def counted(execute, *args):
    waited.append('the application')
    return execute(*args)
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
    holder.execute(FILL)
    writer.execute(
        f"connection.cursor().execute('{'PRAGMA busy_timeout = 100' if kind == 'sqlite' else 'SET lock_timeout = 100'}')"
    )
    writer.execute(COUNT_WAITS)
    holder.execute("atomic = transaction.atomic(); atomic.__enter__(); Tag.objects.update(hits=5)")
    assert writer.evaluate("fail()") == LOCKED[kind]
    assert "the application" not in writer.evaluate("waited")
    holder.execute("atomic.__exit__(None, None, None)")
    assert writer.evaluate("fail()") is None
    assert writer.evaluate(HITS) == [2]


ORDERED = """
import logging
locked = []
class CachedDependencies(logging.Handler):
    def emit(self, record):
        locked.append(record.args[1])
logging.getLogger('rover_overrides.statements').addHandler(CachedDependencies())
logging.getLogger('rover_overrides.statements').setLevel('DEBUG')
def upsert(*slugs):
    Tag.objects.bulk_create([Tag(slug=slug, hits=7) for slug in slugs],
                            update_conflicts=True, unique_fields=['slug'], update_fields=['hits'])
    return locked[0].split(' ORDER BY ')[1].split(' LIMIT ')[0], locked.clear()
"""


def test_upsert_locks_rows_in_the_order_of_their_keys(postgresql):
    """They are stored in another one; whoever writes them one by one in that order would wait for it, and it for them."""
    process = postgresql()
    process.execute("Tag.objects.bulk_create([Tag(slug=slug, hits=1) for slug in 'cba'])")
    process.execute(ORDERED)
    column = '"write_models_tag"."slug" COLLATE "C"'
    assert process.evaluate(ONE) == ["c", "b", "a"]
    assert process.evaluate("upsert('a', 'b', 'c')[0]") == f"{column} ASC"
    assert process.evaluate("upsert('c', 'b')[0]") == f"{column} DESC"
    assert process.evaluate(ONE) == []
