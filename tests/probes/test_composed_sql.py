"""SQL that psycopg composes runs inside a transaction, and marks it dirty if it writes or will
not say.

cursor.execute() of a psycopg SQL or Composed object raised AttributeError inside a transaction,
after the statement had run. Such an object is now asked for its text, to see whether it writes. One
that does not tell counts as a write: the rest of the transaction bypasses the cache.

The objects are those of psycopg 3 and psycopg2 themselves; SQLite's driver, which knows neither,
gets their text.

Needs: psycopg
Needs: psycopg2-binary
Drop-When: upstream's is_sql_dirty() accepts any object a driver does
"""

from importlib import import_module

import pytest
from django.db import connection, transaction
from probe_project.models import Article

TABLE = "probe_project_article"
UPDATE = "UPDATE {} SET title = 'Omega' WHERE id = 1"
SELECT = "SELECT title FROM {} WHERE id = 1"


def text(driver, words):
    return words.format('"%s"' % TABLE)


def plain(driver, words):
    """One piece of SQL."""
    return import_module(driver + ".sql").SQL(text(driver, words))


def composed(driver, words):
    """Several pieces, one of which is a name; psycopg2 quotes that with a connection alone."""
    sql = import_module(driver + ".sql")
    return sql.SQL(words).format(sql.Identifier(TABLE))


class Silent:
    """An object that a driver understands and nobody else."""


def silent(driver, words):
    return Silent()


def title():
    return Article.objects.filter(pk=1).values_list("title", flat=True).get()


def run(kind, driver, words, many=False):
    """Execute an object as a driver that knows it would."""
    sql = kind(driver, words)

    def execute_text(execute, sql, params, many, context):
        return execute(text(driver, words), params, many, context)

    with connection.execute_wrapper(execute_text), connection.cursor() as cursor:
        try:
            cursor.executemany(sql, [()]) if many else cursor.execute(sql)
        except (AttributeError, TypeError) as error:
            raise AssertionError("executing %r raised %r" % (sql, error)) from error


EVERY = [
    (text, ""),
    (plain, "psycopg"),
    (composed, "psycopg"),
    (plain, "psycopg2"),
    (composed, "psycopg2"),
    (silent, ""),
]
TELLS = EVERY[:4]
ON_ITS_OWN_LINE = pytest.mark.parametrize("newline", ["", "\n"], ids=["plain", "newline"])


def named(kinds):
    return pytest.mark.parametrize(
        ("kind", "driver"), kinds, ids=["%s-%s" % (driver, kind.__name__) for kind, driver in kinds]
    )


@named(EVERY)
@pytest.mark.parametrize("many", [False, True])
@ON_ITS_OWN_LINE
def test_write_makes_transaction_bypass_the_cache(probe, kind, driver, many, newline):
    assert probe.fill(title) == "Alpha"
    with transaction.atomic():
        run(kind, driver, newline + UPDATE, many)
        assert probe.assert_dropped(title) == "Omega"
        assert probe.assert_dropped(title) == "Omega", "a dirty transaction fills nothing"
        transaction.set_rollback(True)
    assert title() == "Alpha"
    probe.assert_kept(title)


@named(TELLS)
@ON_ITS_OWN_LINE
def test_select_leaves_the_cache_in_use(probe, kind, driver, newline):
    assert probe.fill(title) == "Alpha"
    with transaction.atomic():
        run(kind, driver, newline + SELECT)
        probe.assert_kept(title)


@named(EVERY[4:])
def test_text_that_is_not_known_counts_as_a_write(probe, kind, driver):
    assert probe.fill(title) == "Alpha"
    with transaction.atomic():
        run(kind, driver, SELECT)
        assert probe.assert_dropped(title) == "Alpha"
    assert probe.fill(title) == "Alpha"


def test_outside_a_transaction_any_object_runs(probe):
    run(silent, "", UPDATE)
    assert title() == "Omega"
