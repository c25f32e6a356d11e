"""The tables inside a query's subqueries are dependencies, with the conditions of the subquery.

The tables of exclude(rel__x=), of pk__in=<queryset>, of Exists() in a filter, of
Coalesce(Subquery()) and of a subquery in aggregate() were no dependencies, and on Django 6 not even
those of a Subquery annotation: results went stale. An inner query is now analysed as the outer one
is, with conditions of its own.

Probes: tests/probes/test_django6_subquery_annotations.py
Drop-When: upstream finds every query inside a query
"""

import django
import pytest
from django.db.models import Case, CharField, Exists, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.test import override_settings
from probe_project.models import Article, Section, Tag


def news():
    return Section.objects.filter(name="News")


def drafts(**conditions):
    return Article.objects.filter(section=OuterRef("pk"), draft=True, **conditions)


def in_queryset():
    return Article.objects.filter(section__in=news())


def in_values():
    return Article.objects.filter(section__name__in=news().values("name"))


def not_in_queryset():
    return Article.objects.exclude(section__in=news())


def exact_subquery():
    return Article.objects.filter(section=Subquery(news().values("pk")[:1]))


def inside_or():
    return Article.objects.filter(Q(section__in=news()) | Q(pages=77))


def annotated():
    name = Subquery(news().filter(pk=OuterRef("section")).values("name")[:1])
    return Article.objects.annotate(
        found=Coalesce(name, Value("none"), output_field=CharField())
    ).exclude(found="none")


def in_case():
    found = Case(
        When(section__in=news(), then=Value("yes")), default=Value("no"), output_field=CharField()
    )
    return Article.objects.annotate(found=found).filter(found="yes")


def nested():
    return Article.objects.filter(pk__in=Article.objects.filter(section__in=news()).values("pk"))


READS = [
    in_queryset,
    in_values,
    not_in_queryset,
    exact_subquery,
    inside_or,
    annotated,
    in_case,
    nested,
]


def titles(queryset):
    return lambda: list(queryset().order_by("pk").values_list("title", flat=True))


@pytest.mark.parametrize("queryset", READS)
def test_row_of_inner_table_that_matches_drops_result(probe, queryset):
    read = titles(queryset)
    assert probe.fill(read) == (["Beta", "Gamma"] if queryset is not_in_queryset else ["Alpha"])
    section = Section.objects.nocache().get(pk=1)
    section.name = "Culture"
    section.save()
    assert probe.assert_dropped(read) == (
        ["Alpha", "Beta", "Gamma"] if queryset is not_in_queryset else []
    )


@pytest.mark.parametrize(
    "queryset", [read for read in READS if read is not in_values]
)  # which reads the table outside too
def test_row_of_inner_table_that_does_not_match_keeps_result(probe, queryset):
    read = titles(queryset)
    probe.fill(read)
    Section(pk=9, name="Culture").save()
    probe.assert_kept(read)
    Tag(pk=9, name="green").save()
    probe.assert_kept(read)


def exists():
    return Section.objects.annotate(drafts=Exists(drafts())).filter(drafts=True)


def exists_in_filter():
    return Section.objects.filter(Exists(drafts()))


def not_exists():
    return Section.objects.filter(~Exists(drafts()))


def exclude_of_children():
    return Section.objects.exclude(articles__draft=True)


def exclude_of_children_of_children():
    return Section.objects.exclude(articles__tags__name="red")


EXISTS = [exists, exclude_of_children]
if django.VERSION >= (3, 0):
    EXISTS += [exists_in_filter, not_exists]


@pytest.mark.parametrize("queryset", EXISTS)
def test_row_that_exists_drops_result_and_others_keep_it(probe, queryset):
    read = lambda: list(queryset().order_by("pk").values_list("pk", flat=True))
    before = probe.fill(read)
    Article(pk=8, title="Delta", section_id=1, draft=False).save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", section_id=1, draft=True).save()
    assert probe.assert_dropped(read) == [pk for pk in (1, 2) if (pk in before) is not (pk == 1)]


def test_exclude_through_a_many_to_many_relation_drops_result(probe):
    read = lambda: list(
        exclude_of_children_of_children().order_by("pk").values_list("pk", flat=True)
    )
    assert probe.fill(read) == [1, 2]
    Article.objects.nocache().get(pk=1).tags.add(2)
    probe.assert_kept(read)
    Article.objects.nocache().get(pk=1).tags.add(1)
    assert probe.assert_dropped(read) == [2]


def test_condition_of_outer_query_still_counts(probe):
    read = lambda: Article.objects.filter(section__in=news(), pages=7).count()
    assert probe.fill(read) == 0
    Article(pk=8, title="Delta", section_id=1, pages=6).save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", section_id=1, pages=7).save()
    assert probe.assert_dropped(read) == 1


def test_count_and_exists_of_query_with_a_subquery_drop(probe):
    count, exists = lambda: in_queryset().count(), lambda: in_queryset().exists()
    assert (probe.fill(count), probe.fill(exists)) == (1, True)
    Section.objects.nocache().get(pk=1).delete()
    assert (probe.assert_dropped(count), probe.assert_dropped(exists)) == (0, False)


def test_switched_off_it_is_coarser_and_fresh(probe):
    with override_settings(CACHEOPS_ROVER_OFF=("tracked-subqueries",)):
        read = titles(in_queryset)
        assert probe.fill(read) == ["Alpha"]
        Section(pk=9, name="Culture").save()
        probe.assert_dropped(read)
        probe.fill(read)
        section = Section.objects.nocache().get(pk=2)
        section.name = "News"
        section.save()
        assert probe.assert_dropped(read) == ["Alpha", "Beta", "Gamma"]
