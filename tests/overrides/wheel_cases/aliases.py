"""Which aliases share results: those of one database, or all that the site itself says so of."""

from django.db import connections, transaction
from django.db.models import Max
from django.test.utils import CaptureQueriesContext
from django.utils.connection import ConnectionDoesNotExist
from probe_project.models import Article, Section, Tag

# ruff: noqa: B023 - what a loop makes is called in that round of it


def count_sql(alias, call):
    with CaptureQueriesContext(connections[alias]) as log:
        call()
    return len(log)


def prepare():
    """Have the same tables in the other databases, with other rows."""
    for alias in ("other", "mirror"):
        tables = connections[alias].introspection.table_names()
        with connections[alias].schema_editor() as editor:
            for model in (Section, Tag, Article):
                if model._meta.db_table not in tables:
                    editor.create_model(model)
        for model in (Article, Section, Tag):
            model.objects.using(alias).all().delete()
        Section.objects.using(alias).create(pk=1, name=alias)
        Article.objects.using(alias).create(pk=1, title=alias, section_id=1)
    Article.objects.filter(pk=1).update(section=Section.objects.create(name="default"))


def case_databases_keep_their_rows_apart():
    prepare()
    for _ in range(2):
        for alias, title in (("default", "Alpha"), ("same", "Alpha"), ("other", "other")):
            assert [row.title for row in Article.objects.using(alias).filter(pk=1)] == [title]
            assert Article.objects.using(alias).filter(pk=1).aggregate(title=Max("title")) == {
                "title": title
            }
            assert Article.objects.using(alias).filter(title=title).count() == 1


def case_an_alias_that_does_not_exist_raises_what_django_does():
    prepare()
    for read in (list, lambda rows: rows.count(), lambda rows: rows.aggregate(Max("title"))):
        with transaction.atomic(using="other"):
            Article.objects.using("other").update(title="new")
            try:
                read(Article.objects.using("none"))
            except ConnectionDoesNotExist:
                continue
        raise AssertionError("nothing was raised")


def case_aliases_of_one_database_share_results():
    prepare()
    for alias in ("same", "mirror"):
        list(Article.objects.filter(pk=1))
        assert count_sql(alias, lambda: list(Article.objects.using(alias).filter(pk=1))) == 0, alias
    assert count_sql("other", lambda: list(Article.objects.using("other").filter(pk=1))) == 1
    Article.objects.filter(pk=1).update(title="new")
    assert Article.objects.using("same").get(pk=1).title == "new"


def case_rows_have_the_alias_of_their_reader():
    prepare()
    list(Article.objects.select_related("section").filter(pk=1))
    for alias in ("same", "default"):
        (row,) = Article.objects.using(alias).select_related("section").filter(pk=1)
        assert (row._state.db, row.section._state.db) == (alias, alias)


def case_settings_of_the_site_decide_for_all_aliases():
    prepare()
    list(Tag.objects.filter(pk__gt=100))
    assert count_sql("other", lambda: list(Tag.objects.using("other").filter(pk__gt=100))) == 0
    list(Section.objects.filter(pk__gt=100))
    assert count_sql("same", lambda: list(Section.objects.using("same").filter(pk__gt=100))) == 1
