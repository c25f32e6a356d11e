"""A write that leaves a row as it was keeps all results.

A save of an object as it was dropped all results that its row matches, and so did an update() to
the same values. The old row is known, and where the new one is the same, down to the types inside a
JSON document, nothing is dropped.

Drop-When: upstream keeps results when a saved object is as it was
"""

import pytest
from probe_project.models import Article, Section, Tag


def pages(number):
    """Return a reader of the titles with so many pages."""
    return lambda: list(
        Article.objects.filter(pages=number).order_by("pk").values_list("title", flat=True)
    )


def save():
    Article.objects.nocache().get(pk=1).save()


def save_one_field():
    Article.objects.nocache().get(pk=1).save(update_fields=["title"])


def save_over_itself():
    article = Article.objects.nocache().get(pk=1)
    article._state.adding = True
    article.save()


def update():
    Article.objects.filter(pages=1).update(pages=1, title="Alpha")


def set_same_tags():
    Article.objects.nocache().get(pk=1).tags.set(list(Tag.objects.filter(pk=1)))


@pytest.mark.parametrize("write", [save, save_one_field, save_over_itself, update, set_same_tags])
def test_write_of_the_same_values_keeps_results(probe, write):
    set_same_tags()
    reads = [
        pages(1),
        Article.objects.all().count,
        lambda: list(
            Section.objects.filter(articles__title="Alpha").values_list("name", flat=True)
        ),
        lambda: list(Tag.objects.filter(article__pk=1).values_list("name", flat=True)),
    ]
    for read in reads:
        probe.fill(read)
    write()
    for read in reads:
        probe.assert_kept(read)


def test_write_of_one_other_value_drops_results(probe):
    read = pages(1)
    assert probe.fill(read) == ["Alpha"]
    Article.objects.filter(pages=1).update(pages=1, title="Omega")
    assert probe.assert_dropped(read) == ["Omega"]
