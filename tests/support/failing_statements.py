"""Writes of an application in which one of the cache's own statements fails; a process of `application_main` runs them."""

from contextlib import contextmanager

from django.db import close_old_connections, connection, models, transaction
from write_models.models import Book, Loan, Shelf, Tag

FAULTS = {}
FAULTS["postgresql"] = {
    "timeout": "SET LOCAL statement_timeout = 10; SELECT pg_sleep(9)",
    "permission": "DO $$ BEGIN RAISE insufficient_privilege; END $$",
    "undefined column": "SELECT nothing FROM write_models_book",
    "deadlock": "DO $$ BEGIN RAISE deadlock_detected; END $$",
    "connection lost": "SELECT pg_terminate_backend(pg_backend_pid())",
}
FAULTS["sqlite"] = {
    "undefined column": "SELECT nothing FROM write_models_book",
    "no rights": "UPDATE sqlite_master SET sql = sql WHERE 0",
    "transaction ended": "INSERT OR ROLLBACK INTO write_models_shelf SELECT * FROM write_models_shelf",
}
READS = [
    lambda: list(
        Tag.objects.filter(book__title="Left").order_by("pk").values_list("slug", flat=True)
    ),
    lambda: list(
        Book.objects.filter(shelf__name="Oak").order_by("pk").values_list("title", flat=True)
    ),
    lambda: list(Book.objects.filter(pages__gt=1).order_by("pk").values_list("pages", flat=True)),
    lambda: Loan.objects.filter(book__shelf__name="Oak").count(),
    lambda: sorted(Tag.objects.values_list("slug", "hits")),
]


class CallbackError(Exception):
    pass


def _save(_log):
    book = Book.objects.get(pk=1)
    book.title = "Right"
    return book.save()


def _create(_log):
    return Book.objects.create(pk=3, title="Left", shelf_id=1).pk


def _delete(_log):
    return Loan.objects.get(pk=1).delete()


def _raw(_log):
    with connection.cursor() as cursor:
        return cursor.execute("UPDATE write_models_tag SET slug = 'raw' WHERE id = 2") and None


def _in_atomic(log):
    with transaction.atomic():
        transaction.on_commit(lambda: log.append("committed"))
        changed = Book.objects.filter(pages__lt=2).update(pages=7)
        Shelf.objects.filter(pk=1).update(name="Elm")
    return changed


def _in_savepoint_that_fails(log):
    with transaction.atomic():
        transaction.on_commit(lambda: log.append("committed"))
        Tag.objects.filter(pk=1).update(hits=5)
        try:
            with transaction.atomic():
                Tag.objects.filter(pk=2).update(slug="red")
        except Exception as error:
            log.append(type(error).__name__)
        Tag.objects.filter(pk=1).update(hits=6)


def _own_error(log):
    """The application swallows an error of its own: PostgreSQL's COMMIT does nothing then."""
    with transaction.atomic():
        transaction.on_commit(lambda: log.append("committed"))
        Tag.objects.filter(pk=1).update(hits=5)
        try:
            Tag.objects.create(pk=1, slug="again")
        except Exception as error:
            log.append(type(error).__name__)


def _callback_raises(log):
    def fail():
        log.append("called")
        raise CallbackError

    with transaction.atomic():
        transaction.on_commit(fail)
        Tag.objects.filter(pk=1).update(hits=5)


def _manual(_log):
    transaction.set_autocommit(False)
    try:
        Book.objects.filter(pk=2).update(title="Left", pages=models.F("pages") + 1)
        Book.objects.get(pk=2).tags.add(2)
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def _read_in_atomic(_log):
    with transaction.atomic():
        found = [read() for read in READS]
        Shelf.objects.filter(pk=2).update(name="Ash")
    return repr(found)


WRITES = {
    "save": _save,
    "create": _create,
    "delete": _delete,
    "update": lambda _log: Book.objects.filter(shelf__name="Oak").update(pages=5),
    "update with F": lambda _log: Book.objects.update(pages=models.F("pages") + 1),
    "bulk_update": lambda _log: Book.objects.bulk_update(
        [Book(pk=1, title="A"), Book(pk=2, title="B")], ["title"]
    ),
    "upsert": lambda _log: len(_upserted()),
    "get_or_create": lambda _log: Tag.objects.get_or_create(slug="new")[1],
    "m2m": lambda _log: Book.objects.get(pk=2).tags.set([1, 2]),
    "fast delete": lambda _log: Tag.objects.filter(hits__gt=0).delete()[0] > 0,
    "raw": _raw,
    "in atomic": _in_atomic,
    "in a savepoint that fails": _in_savepoint_that_fails,
    "own error": _own_error,
    "callback raises": _callback_raises,
    "manual": _manual,
    "read in atomic": _read_in_atomic,
}


def _upserted():
    tags = [Tag(slug="red", hits=8), Tag(slug="green", hits=9)]
    return Tag.objects.bulk_create(
        tags, update_conflicts=True, unique_fields=["slug"], update_fields=["hits"]
    )


def run_write(name, fault=None, number=0, cached=True):
    """Make a write in which the `number`th of the cache's statements fails, and return all that came of it."""
    _reset_rows()
    before = _rows()
    if cached:
        _ = [read() for read in [*READS, *READS]]
    log, used = [], []
    with _failing_statement(fault, number, used) if cached else _untouched():
        try:
            outcome = ["returned", WRITES[name](log)]
        except Exception as error:
            outcome = ["raised", type(error).__name__]
    leftover = [connection.in_atomic_block, connection.autocommit, connection.needs_rollback]
    close_old_connections()  # as at the end of a request: one that broke is opened anew
    answers = [repr(read()) for read in READS]
    return {
        "outcome": outcome,
        "callbacks": log,
        "before": before,
        "rows": _rows(),
        "leftover": leftover,
        "answers": answers,
        "used": len(used),
    }


def run_all_writes(cached):
    """Make each write without a fault, and with each fault of each statement; return what came of it, by name, number and fault."""
    found = []
    for name in WRITES:
        first = run_write(name, cached=cached)
        found.append([name, 0, None, first])
        for number in range(1, first["used"] + 1):
            found += [
                [name, number, fault, run_write(name, sql, number)]
                for fault, sql in FAULTS[connection.vendor].items()
            ]
    return found


@contextmanager
def _untouched():
    yield


@contextmanager
def _failing_statement(fault, number, used):
    """Have a statement of the cache's run as another one that fails, on the server and in its place."""
    from rover_overrides.database import statements

    vendor = connection.vendor
    original = statements._RUNNERS[vendor]

    def way(connection, sql, params, manner):
        used.append(sql)
        if len(used) != number:
            return original(connection, sql, params, manner)
        return original(connection, fault, (), manner)

    statements._RUNNERS[vendor] = way
    try:
        yield
    finally:
        statements._RUNNERS[vendor] = original


def _reset_rows():
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # the rows below have keys of their own
            cursor.execute("ALTER SEQUENCE write_models_tag_id_seq RESTART WITH 100")
    for model in (Loan, Book.tags.through, Book, Tag, Shelf):
        model.objects.all().delete()
    Shelf.objects.bulk_create([Shelf(pk=1, name="Oak"), Shelf(pk=2, name="Fir")])
    Tag.objects.bulk_create([Tag(pk=1, slug="red", hits=1), Tag(pk=2, slug="blue", hits=2)])
    Book.objects.bulk_create(
        [
            Book(pk=1, title="Left", pages=1, shelf_id=1),
            Book(pk=2, title="Two", pages=2, shelf_id=2),
        ]
    )
    Book.objects.get(pk=1).tags.add(1)
    Loan.objects.create(pk=1, book_id=1, reader="Ann")


def _rows():
    with connection.cursor() as cursor:
        found = []
        for table, columns in {
            "write_models_shelf": "id, name",
            "write_models_tag": "slug, hits",
            "write_models_book": "id, title, pages, on_shelf",
            "write_models_book_tags": "book_id, tag_id",
            "write_models_loan": "id, book_id, reader",
        }.items():
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2")
            found.append([list(row) for row in cursor.fetchall()])
    return found
