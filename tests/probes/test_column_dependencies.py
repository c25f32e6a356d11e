"""An update in columns that a query does not read keeps its result.

A save of an article's title dropped the tags of articles with so many pages, and the number of such
articles. What a query reads of a row is known for a joined table, for values() and for count() and
exists(); a row that was updated in other columns alone drops nothing of it. A query that is not
wholly understood reads all columns, and so does a sample of `cached_as`.

Code: queries.columns_read
Formerly: columns-read
Drop-When: upstream keeps results that read none of the columns that an update changes
"""

import pytest
from django.db.models import Count, OuterRef, Subquery, Sum
from probe_project.models import Article, Section, Tag


@pytest.fixture(autouse=True)
def tagged(probe):
    """Give the first article a tag and a section; `probe` has made the rows before."""
    Article.tags.through.objects.create(
        article_id=1, tag_id=1
    )  # releases before 4.2 have no tags.add() on Django 3.0
    Article.objects.filter(pk=1).update(
        pages=1, section=Section.objects.nocache().order_by("pk").first()
    )


def titles_of(number):
    """Return a reader of values of the articles with so many pages."""
    return lambda: list(
        Article.objects.filter(pages=number).order_by("slug").values_list("title", flat=True)
    )


def tagged_by_pages():
    return list(Tag.objects.filter(article__pages=1))


def sections_of_long_articles():
    return list(
        Section.objects.filter(articles__pages__gt=0).distinct().values_list("name", flat=True)
    )


def most_pages_of_each_section():
    longest = Article.objects.filter(section=OuterRef("pk")).order_by("-pages").values("pages")[:1]
    return list(Section.objects.annotate(most=Subquery(longest)).values_list("name", "most"))


def number_of_pages():
    return Article.objects.filter(pages=1).count()


def any_of_one_page():
    return Article.objects.filter(pages=1).exists()


def pages_by_section():
    return list(
        Article.objects.values("section")
        .order_by("section_id")
        .annotate(number=Count("pk"), pages=Sum("pages"))
    )


JOINED = [tagged_by_pages, sections_of_long_articles, most_pages_of_each_section]
COUNTED = [number_of_pages, any_of_one_page]
VALUES = [titles_of(1), pages_by_section]


@pytest.mark.parametrize("read", [*JOINED, *COUNTED, *VALUES])
def test_update_of_a_column_that_is_not_read_keeps_the_result(probe, read):
    probe.fill(read)
    article = Article.objects.nocache().get(pk=1)
    article.body = "Another body."
    article.save()
    probe.assert_kept(read)


@pytest.mark.parametrize("read", [*JOINED, *COUNTED, *VALUES])
def test_update_of_a_column_that_is_read_drops_the_result(probe, read):
    probe.fill(read)
    Article.objects.filter(pk=1).update(pages=7)
    assert probe.assert_dropped(read) == read()


@pytest.mark.parametrize("column", ["title", "slug"])
def test_columns_that_are_selected_or_order_are_read(probe, column):
    read = titles_of(1)
    probe.fill(read)
    Article.objects.filter(pk=1).update(**{column: "zz"})
    probe.assert_dropped(read)


@pytest.mark.parametrize("read", [*JOINED, *COUNTED, *VALUES])
def test_row_that_goes_drops_the_result(probe, read):
    probe.fill(read)
    Article.objects.filter(pk=1).delete()
    assert probe.assert_dropped(read) == read()
