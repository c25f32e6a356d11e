"""Creates the tables, and before each test the same rows."""

from functools import cache

from cacheops import no_invalidation
from django.core.management.color import no_style
from django.db import connection

from probe_project.models import (
    Article,
    Blob,
    City,
    Label,
    Measure,
    Region,
    Section,
    Shade,
    Shop,
    Tag,
    Wide,
)

MODELS = [Section, Tag, Article, Label, Blob, Shade, Measure, Region, City, Shop, Wide]


def create_tables():
    """Create what is missing: two runs of pytest in one process share the database."""
    present = connection.introspection.table_names()
    with connection.schema_editor() as editor:
        for model in MODELS:
            if model._meta.db_table not in present:
                editor.create_model(model)


def recreate():
    """Replace all rows, past Django's cursors so that it is quick and no cache hears of it."""
    with connection.cursor() as cursor:
        for sql, params, many in statements():
            (cursor.cursor.executemany if many else cursor.cursor.execute)(sql, params)


@cache
def statements():
    """Return the statements that replace all rows, noted while `write` runs them once: SQL, parameters, whether for many."""
    noted = []

    def note(execute, sql, params, many, context):
        if not sql.startswith(("BEGIN", "COMMIT", "RELEASE", "ROLLBACK", "SAVEPOINT")):
            noted.append((sql, params, many))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        write()
    return noted


@no_invalidation
def write():
    """Replace all rows."""
    tables = [Article.tags.through._meta.db_table] + [
        model._meta.db_table for model in reversed(MODELS)
    ]
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute('DELETE FROM "%s"' % table)
        for statement in connection.ops.sequence_reset_sql(no_style(), MODELS):
            cursor.execute(statement)

    news = Section.objects.create(pk=1, name="News")
    sport = Section.objects.create(pk=2, name="Sport")
    Tag.objects.create(pk=1, name="red")
    Tag.objects.create(pk=2, name="blue")
    Article.objects.create(pk=1, title="Alpha", slug="alpha", body="First", pages=1, section=news)
    Article.objects.create(pk=2, title="Beta", slug="beta", body="Second", pages=2, section=sport)
    Article.objects.create(pk=3, title="Gamma", slug="gamma", body="Third", pages=3, section=sport)

    north = Region.objects.create(pk=1, name="North")
    south = Region.objects.create(pk=2, name="South")
    oslo = City.objects.create(pk=1, name="Oslo", region=north)
    rome = City.objects.create(pk=2, name="Rome", region=south)
    Shop.objects.create(pk=1, name="Bakery", city=oslo)
    Shop.objects.create(pk=2, name="Tailor", city=rome)
