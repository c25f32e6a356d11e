"""A filter through foreign keys counts for the table that is read: a row that leads elsewhere
keeps the result.

A filter on another table did not count for the main one: a Post saved in any category dropped
filter(category__title='x'). Now a row counts with the rows that its foreign keys lead to, over
several hops. Whoever writes it looks their values up, a query a path.

Code: queries.joins
Drop-When: upstream counts a filter through a foreign key for the table that holds the key
"""

import pytest
from django.db import transaction
from django.db.models import Q
from django.test import override_settings
from probe_project.models import Article, City, Region, Section, Shop, Tag


def shops(*args, **conditions):
    return lambda: list(
        Shop.objects.filter(*args, **conditions).order_by("pk").values_list("name", flat=True)
    )


def stored(model, pk):
    return model.objects.nocache().get(pk=pk)


@pytest.mark.parametrize("hops", ["city__name", "city__region__name"])
def test_row_that_leads_elsewhere_keeps_result(probe, hops):
    read = shops(**{hops: {"city__name": "Oslo", "city__region__name": "North"}[hops]})
    assert probe.fill(read) == ["Bakery"]
    Shop(pk=8, name="Chemist", city_id=2).save()
    probe.assert_kept(read)
    Shop(pk=9, name="Dentist", city_id=1).save()
    assert probe.assert_dropped(read) == ["Bakery", "Dentist"]


def test_row_without_a_related_one_keeps_result(probe):
    read = shops(city__region__name="North")
    assert probe.fill(read) == ["Bakery"]
    Shop(pk=9, name="Chemist", city=None).save()
    probe.assert_kept(read)


def test_row_that_moves_drops_results_of_both_ends_alone(probe):
    City(pk=3, name="Bonn", region_id=1).save()
    oslo, rome, bonn = shops(city__name="Oslo"), shops(city__name="Rome"), shops(city__name="Bonn")
    assert [probe.fill(read) for read in (oslo, rome, bonn)] == [["Bakery"], ["Tailor"], []]
    shop = stored(Shop, 1)
    shop.city_id = 2
    shop.save()
    probe.assert_kept(bonn)
    assert probe.assert_dropped(oslo) == []
    assert probe.assert_dropped(rome) == ["Bakery", "Tailor"]


def test_delete_of_row_that_leads_elsewhere_keeps_result(probe):
    read = shops(city__region__name="North")
    assert probe.fill(read) == ["Bakery"]
    stored(Shop, 2).delete()
    probe.assert_kept(read)
    stored(Shop, 1).delete()
    assert probe.assert_dropped(read) == []


@pytest.mark.parametrize(("model", "pk"), [(City, 2), (Region, 2)])
def test_related_row_that_comes_to_match_drops_result(probe, model, pk):
    name = {City: "city__name", Region: "city__region__name"}[model]
    read = shops(**{name: "Elsewhere"})
    assert probe.fill(read) == []
    row = stored(model, pk)
    row.name = "Elsewhere"
    row.save()
    assert probe.assert_dropped(read) == ["Tailor"]


def test_row_in_the_middle_that_leads_elsewhere_drops_result(probe):
    read = shops(city__region__name="South")
    assert probe.fill(read) == ["Tailor"]
    city = stored(City, 1)
    city.region_id = 2
    city.save()
    assert probe.assert_dropped(read) == ["Bakery", "Tailor"]


def test_row_in_the_middle_that_leads_nowhere_near_keeps_result(probe):
    Region(pk=3, name="West").save()
    read = shops(city__region__name="South")
    assert probe.fill(read) == ["Tailor"]
    City(pk=3, name="Bonn", region_id=3).save()
    probe.assert_kept(read)


def test_own_and_related_conditions_are_both_needed(probe):
    read = shops(name="Chemist", city__name="Oslo")
    assert probe.fill(read) == []
    Shop(pk=7, name="Chemist", city_id=2).save()
    probe.assert_kept(read)
    Shop(pk=8, name="Dentist", city_id=1).save()
    probe.assert_kept(read)
    Shop(pk=9, name="Chemist", city_id=1).save()
    assert probe.assert_dropped(read) == ["Chemist"]


def test_related_condition_counts_inside_or(probe):
    read = shops(Q(city__name="Oslo") | Q(name="Chemist"))
    assert probe.fill(read) == ["Bakery"]
    Shop(pk=7, name="Dentist", city_id=2).save()
    probe.assert_kept(read)
    Shop(pk=8, name="Dentist", city_id=1).save()
    assert probe.assert_dropped(read) == ["Bakery", "Dentist"]


def test_row_of_many_to_many_relation_that_leads_elsewhere_keeps_result(probe):
    read = lambda: list(Article.objects.filter(tags__name="red").values_list("title", flat=True))
    assert probe.fill(read) == []
    article = stored(Article, 1)
    article.tags.add(2)
    probe.assert_kept(read)
    article.tags.add(1)
    assert probe.assert_dropped(read) == ["Alpha"]


def test_child_of_another_parent_keeps_result_of_reverse_filter(probe):
    read = lambda: list(
        Section.objects.filter(name="News", articles__draft=True).values_list("pk", flat=True)
    )
    assert probe.fill(read) == []
    Article(pk=8, title="Delta", draft=True, section_id=2).save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", draft=True, section_id=1).save()
    assert probe.assert_dropped(read) == [1]


def test_rows_of_one_transaction_see_each_other(probe):
    from django.db import transaction

    read = shops(city__region__name="North")
    assert probe.fill(read) == ["Bakery"]
    with transaction.atomic():
        Shop(pk=9, name="Chemist", city_id=2).save()
        city = stored(City, 2)
        city.region_id = 1
        city.save()
    assert probe.assert_dropped(read) == ["Bakery", "Tailor", "Chemist"]


def test_many_rows_are_looked_up_together(probe):
    read = shops(city__region__name="North")
    assert probe.fill(read) == ["Bakery"]
    many = [Shop(pk=10 + number, name="Kiosk", city_id=2) for number in range(50)]
    few = probe.count_sql(lambda: Shop.objects.bulk_create(many[:2]))
    probe.assert_kept(read)
    assert probe.count_sql(lambda: Shop.objects.bulk_create(many[2:])) == few
    probe.assert_kept(read)


def test_switched_off_it_is_coarser_and_fresh(probe):
    with override_settings(CACHEOPS_ROVER_OFF=("join-conditions",)):
        read = shops(city__name="Oslo")
        assert probe.fill(read) == ["Bakery"]
        Shop(pk=8, name="Chemist", city_id=2).save()
        probe.assert_dropped(read)
        probe.fill(read)
        City(pk=9, name="Bonn", region_id=1).save()
        probe.assert_kept(read)
        Shop(pk=9, name="Dentist", city_id=1).save()
        assert probe.assert_dropped(read) == ["Bakery", "Dentist"]


def test_tag_of_another_name_keeps_result(probe):
    read = lambda: Article.objects.filter(section__name="News", tags__name="red").count()
    assert probe.fill(read) == 0
    stored(Article, 2).tags.add(1)  # of another section
    probe.assert_kept(read)
    Tag(pk=9, name="green").save()
    probe.assert_kept(read)
    stored(Article, 1).tags.add(1)
    assert probe.assert_dropped(read) == 1


def test_rows_that_part_in_one_transaction_drop_result(probe):
    """Neither row alone says after the other's change that they met before."""
    read = shops(name="Bakery", city__name="Oslo")
    assert probe.fill(read) == ["Bakery"]
    with transaction.atomic():
        City.objects.filter(pk=1).update(name="Bergen")
        Shop.objects.filter(pk=1).update(name="Butcher")
    assert probe.assert_dropped(read) == []


def test_rows_that_do_not_meet_in_one_transaction_keep_result(probe):
    read = shops(name="Bakery", city__name="Oslo")
    assert probe.fill(read) == ["Bakery"]
    with transaction.atomic():
        City.objects.filter(pk=2).update(name="Oslo")
        Shop.objects.filter(pk=2).update(name="Butcher")
    probe.assert_kept(read)
