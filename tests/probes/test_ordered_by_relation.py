"""What only orders or completes a result is a dependency: the rows of relations in order_by and
select_related.

order_by() and select_related() through a relation, and a model's own ordering, join their tables
only when the query is compiled, after upstream has looked: renaming a section left a list sorted by
the old name. The query is now looked at as it is compiled.

Drop-When: upstream sees the tables of order_by() and select_related() through a relation
"""

import pytest
from django.db.models import F
from django.test import override_settings
from probe_project.models import Article, City, Region, Section, Shop


def rename(model, pk, name):
    row = model.objects.nocache().get(pk=pk)
    row.name = name
    row.save()


def titles(*order):
    queryset = Article.objects.filter(pages__in=[1, 2])
    return lambda: list(queryset.order_by(*order).values_list("title", flat=True))


ORDERS = {
    "name": "section__name",
    "name-down": "-section__name",
    "expression": F("section__name").asc(),
}


@pytest.mark.parametrize("order", ORDERS)
def test_change_of_order_drops_result(probe, order):
    read = titles(ORDERS[order], "pk")
    before = probe.fill(read)
    assert sorted(before) == ["Alpha", "Beta"]
    rename(Section, 1, "Xylophones")
    assert probe.assert_dropped(read) == before[::-1]


def test_order_of_the_model_drops_result(probe):
    read = lambda: list(Shop.objects.all().values_list("name", flat=True))
    assert probe.fill(read) == ["Bakery", "Tailor"]
    rename(City, 1, "Turin")
    assert probe.assert_dropped(read) == ["Tailor", "Bakery"]


def test_order_by_a_relation_whose_model_is_ordered_by_another_drops_result(probe):
    read = lambda: list(Shop.objects.order_by("city__region__name").values_list("name", flat=True))
    assert probe.fill(read) == ["Bakery", "Tailor"]
    rename(Region, 1, "West")
    assert probe.assert_dropped(read) == ["Tailor", "Bakery"]


def test_slice_drops_when_the_order_changes(probe):
    read = lambda: [
        article.title for article in Article.objects.order_by("section__name", "pk")[:1]
    ]
    assert probe.fill(read) == ["Alpha"]
    rename(Section, 1, "Zoo")
    assert probe.assert_dropped(read) == ["Beta"]


@pytest.mark.parametrize("related", [("section",), ()])
def test_change_of_selected_related_row_drops_result(probe, related):
    read = lambda: [
        article.section.name
        for article in Article.objects.select_related("section").filter(pages=1)
    ]
    if not related:
        read = lambda: [
            city.region.name for city in City.objects.select_related().filter(name="Oslo")
        ]
    before = probe.fill(read)
    rename(*((Section, 1) if related else (Region, 1)), name="Elsewhere")
    assert probe.assert_dropped(read) == ["Elsewhere"] != before


def test_selected_row_two_hops_away_drops_result(probe):
    read = lambda: [
        shop.city.region.name for shop in Shop.objects.select_related("city__region").order_by("pk")
    ]
    assert probe.fill(read) == ["North", "South"]
    rename(Region, 2, "Down")
    assert probe.assert_dropped(read) == ["North", "Down"]


def test_row_that_the_conditions_leave_out_keeps_result(probe):
    ordered = lambda: list(
        Article.objects.filter(pages=1).order_by("section__name").values_list("title", flat=True)
    )
    selected = lambda: [
        article.section.name
        for article in Article.objects.select_related("section").filter(pages=1)
    ]
    for read in (ordered, selected):
        probe.fill(read)
    Article(pk=9, title="Delta", pages=2, section_id=1).save()
    for read in (ordered, selected):
        probe.assert_kept(read)


def test_condition_of_the_ordering_relation_counts(probe):
    news = Article.objects.filter(section__name="News").order_by("section__name", "pk")
    read = lambda: list(news.all().values_list("pk", flat=True))
    assert probe.fill(read) == [1]
    Section(pk=9, name="Culture").save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", section_id=2).save()
    probe.assert_kept(read)
    rename(Section, 2, "News")
    assert probe.assert_dropped(read) == [1, 2, 3, 9]


def test_switched_off_it_is_coarser_and_fresh(probe):
    with override_settings(CACHEOPS_ROVER_OFF=("ordered-by-relation",)):
        read = titles("section__name", "pk")
        assert probe.fill(read) == ["Alpha", "Beta"]
        Article(pk=9, title="Delta", pages=9).save()
        probe.assert_dropped(read)
        probe.fill(read)
        rename(Section, 1, "Xylophones")
        assert probe.assert_dropped(read) == ["Beta", "Alpha"]
