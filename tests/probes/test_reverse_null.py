"""The first related row ends the absence of any: it drops results that ask for those without
one, and no others.

filter(rel__isnull=True) over a reverse or many-to-many relation, also with FilteredRelation,
counted NULL as a value that a related row would have to have: adding the first one left the result
stale. Where a row may be absent, one that appears now matters unless the rest of the query excludes
it.

Drop-When: upstream drops filter(rel__isnull=True) when the first related row is added
"""

import pytest
from django.db.models import Count, FilteredRelation, Q
from django.test import override_settings
from probe_project.models import Article, City, Region, Section, Shop


def without_articles(name="Culture"):
    childless = {"articles__isnull": True, "name": name}
    return lambda: list(
        Section.objects.filter(**childless).order_by("pk").values_list("pk", flat=True)
    )


def without_tags(**conditions):
    return lambda: list(
        Article.objects.filter(**(conditions or {"tags__isnull": True}))
        .order_by("pk")
        .values_list("pk", flat=True)
    )


@pytest.fixture
def culture(probe):
    return Section.objects.create(pk=3, name="Culture")


def test_first_child_drops_result(probe, culture):
    read = without_articles()
    assert probe.fill(read) == [3]
    Article(pk=9, title="Delta", section=culture).save()
    assert probe.assert_dropped(read) == []


def test_last_child_that_goes_drops_result(probe, culture):
    Article(pk=9, title="Delta", section=culture).save()
    read = without_articles()
    assert probe.fill(read) == []
    Article.objects.nocache().get(pk=9).delete()
    assert probe.assert_dropped(read) == [3]


def test_child_that_moves_drops_result(probe, culture):
    read = without_articles()
    assert probe.fill(read) == [3]
    article = Article.objects.nocache().get(pk=1)
    article.section = culture
    article.save()
    assert probe.assert_dropped(read) == []


def test_child_of_another_parent_keeps_result(probe, culture):
    read = without_articles()
    assert probe.fill(read) == [3]
    Article(pk=9, title="Delta", section_id=1).save()
    probe.assert_kept(read)


def test_parent_that_does_not_match_keeps_result(probe, culture):
    read = without_articles()
    assert probe.fill(read) == [3]
    Section(pk=4, name="Weather").save()
    probe.assert_kept(read)
    Section(pk=5, name="Culture").save()
    assert probe.assert_dropped(read) == [3, 5]


@pytest.mark.parametrize(
    "conditions", [{"tags__isnull": True}, {"tags__name__isnull": True}, {"tags": None}]
)
def test_first_row_of_many_to_many_relation_drops_result(probe, conditions):
    read = without_tags(**conditions)
    assert probe.fill(read) == [1, 2, 3]
    Article.objects.nocache().get(pk=1).tags.add(2)
    assert probe.assert_dropped(read) == [2, 3]


def test_row_of_many_to_many_relation_of_another_article_keeps_result(probe):
    read = without_tags(tags__isnull=True, title="Alpha")
    assert probe.fill(read) == [1]
    Article.objects.nocache().get(pk=2).tags.add(2)
    probe.assert_kept(read)
    Article.objects.nocache().get(pk=1).tags.add(2)
    assert probe.assert_dropped(read) == []


def test_absence_behind_a_child_drops_result(probe):
    read = lambda: list(
        Section.objects.filter(articles__tags__name__isnull=True).values_list("pk", flat=True)
    )
    assert sorted(probe.fill(read)) == [1, 2, 2]
    Article.objects.nocache().get(pk=1).tags.add(1)
    assert sorted(probe.assert_dropped(read)) == [2, 2]


def test_first_child_that_has_what_its_parent_lacked_drops_result(probe):
    Region(pk=3, name="West").save()
    read = lambda: list(
        City.objects.filter(shops__city__name__isnull=True, name="Bonn").values_list(
            "pk", flat=True
        )
    )
    City(pk=3, name="Bonn", region_id=3).save()
    assert probe.fill(read) == [3]
    Shop(pk=9, name="Kiosk", city_id=3).save()
    assert probe.assert_dropped(read) == []


def test_absence_in_or_drops_result(probe, culture):
    read = lambda: sorted(
        Section.objects.filter(Q(articles__isnull=True) | Q(articles__draft=True)).values_list(
            "pk", flat=True
        )
    )
    assert probe.fill(read) == [3]
    Article(pk=9, title="Delta", section=culture).save()
    assert probe.assert_dropped(read) == []


def test_filtered_relation_drops_result(probe):
    def read():
        relation = FilteredRelation("articles", condition=Q(articles__draft=True))
        queryset = Section.objects.annotate(drafts=relation).filter(drafts__isnull=True)
        return list(queryset.order_by("pk").values_list("pk", flat=True))

    assert probe.fill(read) == [1, 2]
    Article(pk=9, title="Delta", section_id=1, draft=True).save()
    assert probe.assert_dropped(read) == [2]


def test_count_of_none_drops_result(probe, culture):
    read = lambda: list(
        Section.objects.annotate(number=Count("articles"))
        .filter(number=0)
        .values_list("pk", flat=True)
    )
    assert probe.fill(read) == [3]
    Article(pk=9, title="Delta", section=culture).save()
    assert probe.assert_dropped(read) == []


def test_exists_drops(probe, culture):
    read = lambda: Section.objects.filter(articles__isnull=True).exists()
    assert probe.fill(read) is True
    Article(pk=9, title="Delta", section=culture).save()
    assert probe.assert_dropped(read) is False


def test_switched_off_it_is_coarser_and_fresh(probe, culture):
    with override_settings(CACHEOPS_ROVER_OFF=("reverse-null",)):
        read = without_articles()
        assert probe.fill(read) == [3]
        Article(pk=8, title="Delta", section_id=1).save()
        probe.assert_dropped(read)
        probe.fill(read)
        Article(pk=9, title="Delta", section=culture).save()
        assert probe.assert_dropped(read) == []
