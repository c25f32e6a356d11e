"""A field that an object does not hold a value of may have any: explicit invalidation drops the
results of all of them.

A deferred field, and one that holds F(), became the text "nil" instead of "any value" when an
object was invalidated: .only('id') then delete(), .only('id').invalidated_update() and save() with
F() left stale results. Partial rows now count for what they have, and what they lack may be
anything.

Formerly: unknown-fields
Drop-When: upstream's invalidate_obj() drops the results of all values of a field that the object
  lacks
"""

import pytest
from cacheops import invalidate_model, invalidate_obj, no_invalidation
from django.db.models import F
from probe_project.models import Article, Tag


def pages(number):
    """Return a reader of the titles with so many pages."""
    return lambda: list(
        Article.objects.filter(pages=number).order_by("pk").values_list("title", flat=True)
    )


def deferred():
    return Article.objects.nocache().only("pk").get(pk=1)


def expressed():
    article = Article.objects.nocache().get(pk=1)
    article.pages = F("pages") + 1
    return article


@pytest.fixture
def reads(probe):
    """Give a read of the row, cached, after which the row changed unseen."""
    read = pages(1)
    assert probe.fill(read) == ["Alpha"]
    with no_invalidation:
        Article.objects.filter(pk=1).update(pages=4)
    probe.assert_kept(read)
    return read


@pytest.mark.parametrize("get", [deferred, expressed])
def test_unknown_field_drops_results_of_any_value(probe, reads, get):
    invalidate_obj(get())
    assert probe.assert_dropped(reads) == []


@pytest.mark.parametrize("get", [deferred, expressed])
def test_known_fields_keep_results_of_other_values(probe, get):
    other = lambda: list(Article.objects.filter(pk=2).values_list("title", flat=True))
    tags = lambda: list(Tag.objects.filter(name="red"))
    probe.fill(other)
    probe.fill(tags)
    invalidate_obj(get())
    probe.assert_kept(other)
    probe.assert_kept(tags)


def test_whole_object_drops_its_own_results_alone(probe, reads):
    other = pages(2)
    probe.fill(other)
    article = Article.objects.nocache().get(pk=1)
    article.pages = 1
    invalidate_obj(article)
    probe.assert_kept(other)
    assert probe.assert_dropped(reads) == []


def test_model_drops_all_its_results_without_looking_for_keys(probe, reads):
    tags = lambda: list(Tag.objects.filter(name="red"))
    probe.fill(tags)
    with probe.commands() as ran:
        invalidate_model(Article)
    assert ran["keys"] + ran["scan"] == 0
    assert probe.assert_dropped(reads) == []
    probe.assert_kept(tags)
