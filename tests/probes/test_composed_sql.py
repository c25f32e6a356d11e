"""SQL that is not a string runs inside a transaction, and marks it dirty if it writes or will not say."""

import pytest
from django.db import connection, transaction
from probe_project.models import Article

UPDATE = "UPDATE probe_project_article SET title = 'Omega' WHERE id = 1"
SELECT = "SELECT title FROM probe_project_article WHERE id = 1"


class Composed:
    """SQL as psycopg composes it: an object that tells its text."""

    def __init__(self, text):
        self._text = text

    def as_string(self, context):
        return self._text


class NeedsConnection(Composed):
    """One that tells its text to a connection alone."""

    def as_string(self, context):
        if context is None:
            raise TypeError("argument 2 must be a connection or a cursor")
        return self._text


class Silent:
    """One that a driver understands and nobody else."""

    def __init__(self, text):
        self._text = text


def title():
    return Article.objects.filter(pk=1).values_list("title", flat=True).get()


def run(sql, many=False):
    """Execute an object as a driver that knows it would: SQLite's gets its text."""

    def driver(execute, sql, params, many, context):
        return execute(getattr(sql, "_text", sql), params, many, context)

    with connection.execute_wrapper(driver), connection.cursor() as cursor:
        try:
            cursor.executemany(sql, [()]) if many else cursor.execute(sql)
        except (AttributeError, TypeError) as error:
            raise AssertionError("executing %s raised %r" % (type(sql).__name__, error)) from error


@pytest.mark.parametrize("kind", [str, Composed, NeedsConnection, Silent])
@pytest.mark.parametrize("many", [False, True])
def test_write_makes_transaction_bypass_the_cache(probe, kind, many):
    assert probe.fill(title) == "Alpha"
    with transaction.atomic():
        run(kind(UPDATE), many)
        assert probe.assert_dropped(title) == "Omega"
        assert probe.assert_dropped(title) == "Omega", "a dirty transaction fills nothing"
        transaction.set_rollback(True)
    assert title() == "Alpha"
    probe.assert_kept(title)


@pytest.mark.parametrize("kind", [str, Composed])
def test_select_leaves_the_cache_in_use(probe, kind):
    assert probe.fill(title) == "Alpha"
    with transaction.atomic():
        run(kind(SELECT))
        probe.assert_kept(title)


@pytest.mark.parametrize("kind", [NeedsConnection, Silent])
def test_text_that_is_not_known_counts_as_a_write(probe, kind):
    assert probe.fill(title) == "Alpha"
    with transaction.atomic():
        run(kind(SELECT))
        assert probe.assert_dropped(title) == "Alpha"
    assert probe.fill(title) == "Alpha"


def test_outside_a_transaction_any_object_runs(probe):
    run(Silent(UPDATE))
    assert title() == "Omega"
