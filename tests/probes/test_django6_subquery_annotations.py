"""The table inside a Subquery annotation is a dependency."""

import pytest
from django.db import models
from django.db.models import OuterRef, Subquery
from probe_project.models import Article, Section, Tag


def title_of(section):
    return Article.objects.filter(section=section).order_by("-pages").values("title")[:1]


def plain():
    return Subquery(title_of(OuterRef("pk")))


def with_output_field():
    return Subquery(title_of(OuterRef("pk")), output_field=models.TextField())


def sections(subquery):
    """Return a reader of a section and the title that the subquery finds for it."""
    return lambda: list(
        Section.objects.filter(pk=1).annotate(last=subquery()).values_list("name", "last")
    )


@pytest.mark.parametrize("subquery", [plain, with_output_field])
def test_save_in_inner_table_drops_result(probe, subquery):
    read = sections(subquery)
    assert probe.fill(read) == [("News", "Alpha")]
    Tag(pk=3, name="green").save()
    Section(pk=3, name="Culture").save()
    probe.assert_kept(read)
    Article(pk=4, title="Delta", pages=4, section_id=1).save()
    assert probe.assert_dropped(read) == [("News", "Delta")]


def test_subquery_that_is_filtered_by_counts(probe):
    read = lambda: list(
        Section.objects.annotate(last=plain()).filter(last="Delta").values_list("name", flat=True)
    )
    assert probe.fill(read) == []
    Tag(pk=3, name="green").save()
    probe.assert_kept(read)
    Article(pk=4, title="Delta", pages=4, section_id=1).save()
    assert probe.assert_dropped(read) == ["News"]


@pytest.mark.parametrize("inner", [{"draft": True}, {"pk__in": []}])
def test_subquery_on_same_table_leaves_the_outer_conditions(probe, inner):
    other = Article.objects.filter(**inner).order_by("-pages").values("title")[:1]
    read = lambda: list(
        Article.objects.filter(pages=3)
        .order_by("pk")
        .annotate(other=Subquery(other))
        .values_list("title", "other")
    )
    assert [title for title, _ in probe.fill(read)] == ["Gamma"]
    Tag(pk=3, name="green").save()
    probe.assert_kept(read)
    Article(pk=4, title="Delta", pages=3).save()
    assert [title for title, _ in probe.assert_dropped(read)] == ["Gamma", "Delta"]


def test_save_in_same_table_drops_result_of_subquery(probe):
    drafts = Article.objects.filter(draft=True).order_by("-pages").values("title")[:1]
    read = lambda: list(
        Article.objects.filter(pages=3)
        .annotate(draft_title=Subquery(drafts))
        .values_list("title", "draft_title")
    )
    assert probe.fill(read) == [("Gamma", None)]
    Article(pk=4, title="Delta", pages=9, draft=True).save()
    assert probe.assert_dropped(read) == [("Gamma", "Delta")]
