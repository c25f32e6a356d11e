"""Every write of the ORM drops what it changed, when its transaction has committed, and keeps
what it did not.

update(), bulk_update(), bulk_create(update_conflicts=True), save() over an existing primary key and
database cascades left stale results behind, because upstream invalidates in handlers of signals.
Now each INSERT, UPDATE and DELETE is seen in Django's compilers: the old rows by the statement's
own WHERE, the new ones by its values. All changes of a transaction are invalidated in one go, also
in manual mode (set_autocommit(False)), where upstream invalidated before the commit. Raw SQL that
writes drops the tables it names.

Upstream's handlers then have nothing left to do, so they don't select the old row again.
cache_on_save reads what it stores. This holds for INSIDEOUT alone.

Formerly: seen-writes
Drop-When: upstream invalidates what update(), bulk_update() and upserts changed, after the commit
"""

import django
import pytest
from django.db import connection, transaction
from django.db.models import F
from probe_project.models import Article, Section, Tag


def pages(number):
    """Return a reader of the titles with so many pages."""
    return lambda: list(
        Article.objects.filter(pages=number).order_by("pk").values_list("title", flat=True)
    )


def titles_of(**conditions):
    return lambda: list(
        Article.objects.filter(**conditions).order_by("pk").values_list("title", flat=True)
    )


def update():
    Article.objects.filter(pk=1).update(pages=5)


def update_by_expression():
    Article.objects.filter(pk=1).update(pages=F("pages") + 4)


def update_through_relation():
    Article.objects.filter(section__name="News").update(pages=5)


def bulk_update():
    article = Article.objects.nocache().get(pk=1)
    article.pages = 5
    Article.objects.bulk_update([article], ["pages"])


def save_over_existing_key():
    Article(pk=1, title="Alpha", pages=5).save()


def upsert():
    Article.objects.bulk_create(
        [Article(pk=1, title="Alpha", pages=5)],
        update_conflicts=True,
        unique_fields=["pk"],
        update_fields=["pages"],
    )


def raw_sql():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE probe_project_article SET pages = %s WHERE id = %s", [5, 1])


MOVES = [update, update_by_expression, update_through_relation, bulk_update, save_over_existing_key]
if django.VERSION >= (4, 1):
    MOVES.append(upsert)


@pytest.mark.parametrize("move", MOVES)
def test_write_drops_results_of_old_and_new_row_alone(probe, move):
    left, entered, other = pages(1), pages(5), pages(2)
    assert [probe.fill(read) for read in (left, entered, other)] == [["Alpha"], [], ["Beta"]]
    move()
    probe.assert_kept(other)
    assert probe.assert_dropped(left) == []
    assert probe.assert_dropped(entered) == ["Alpha"]


@pytest.mark.parametrize("move", MOVES)
def test_write_in_transaction_drops_at_its_commit(probe, move):
    left, entered = pages(1), pages(5)
    assert [probe.fill(left), probe.fill(entered)] == [["Alpha"], []]
    with transaction.atomic():
        move()
    assert probe.assert_dropped(left) == []
    assert probe.assert_dropped(entered) == ["Alpha"]


@pytest.mark.parametrize("move", MOVES)
def test_write_that_is_rolled_back_keeps_results(probe, move):
    left, entered = pages(1), pages(5)
    assert [probe.fill(left), probe.fill(entered)] == [["Alpha"], []]
    with transaction.atomic():
        move()
        assert entered() == ["Alpha"], "its own transaction sees it"
        transaction.set_rollback(True)
    assert [left(), entered()] == [["Alpha"], []]


def test_raw_sql_drops_results_of_its_table_alone(probe):
    left = pages(1)
    tags = lambda: list(Tag.objects.filter(name="red"))
    probe.fill(left)
    probe.fill(tags)
    raw_sql()
    assert probe.assert_dropped(left) == []
    probe.assert_kept(tags)


def test_null_set_by_cascade_drops_results(probe):
    without, with_sport = titles_of(section=None, pages=2), titles_of(section_id=1)
    assert [probe.fill(without), probe.fill(with_sport)] == [[], ["Alpha"]]
    Section.objects.filter(pk=2).delete()
    assert probe.assert_dropped(without) == ["Beta"]
    probe.assert_kept(with_sport)


def test_invalidation_waits_for_the_commit_in_manual_mode(probe):
    """A transaction that the application ends itself: what it reads meanwhile is not for others."""
    entered = pages(5)
    assert probe.fill(entered) == []
    transaction.set_autocommit(False)
    try:
        Article.objects.create(pk=9, title="Delta", pages=5)
        assert entered() == ["Delta"], "its own transaction sees it"
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert entered() == []

    transaction.set_autocommit(False)
    try:
        update()
        transaction.commit()
        assert entered() == ["Alpha"]
    finally:
        transaction.rollback()  # a read began another one
        transaction.set_autocommit(True)


def test_save_asks_no_more_than_upstream(probe):
    article = Article.objects.nocache().get(pk=1)
    article.pages = 5
    with probe.queries() as queries:
        article.save()
    kinds = [query["sql"].split()[0] for query in queries.captured_queries]
    assert [kind for kind in kinds if kind in {"SELECT", "UPDATE", "INSERT"}] in (
        ["SELECT", "UPDATE"],
        ["UPDATE"],
    )
