"""What is inside a query: subqueries, wherever they are, and what has no fixed value."""

import pytest
from django.contrib.postgres.functions import RandomUUID, TransactionNow
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    FilteredRelation,
    Func,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now, Random, Rank
from django.test import override_settings

from rover_overrides.conditions.conditions import TRUE, UNCACHED
from rover_overrides.core.bounded_table import BoundedTable
from rover_overrides.keys.encoding import note_digest, statement_digest, with_aggregates
from rover_overrides.queries import dependencies as dependencies_of
from rover_overrides.queries.analysis import dependencies
from rover_overrides.queries.dependencies import dnfs
from tests.support.query_models.models import Item, Maker, Owner, Tag

A = Item.objects
MAKERS = Maker.objects.filter(name="a")


def ranks(**more):
    return Subquery(Maker.objects.filter(pk=OuterRef("maker"), **more).values("rank")[:1])


HOLDING = {
    "in": lambda: A.filter(maker__in=MAKERS),
    "in values": lambda: A.filter(number__in=MAKERS.values("rank")),
    "not in": lambda: A.exclude(maker__in=MAKERS),
    "exact": lambda: A.filter(number=Subquery(MAKERS.values("rank")[:1])),
    "in a list": lambda: A.filter(number__in=[1, Subquery(MAKERS.values("rank")[:1])]),
    "in a range": lambda: A.filter(number__range=(1, Subquery(MAKERS.values("rank")[:1]))),
    "exists": lambda: A.filter(Exists(Maker.objects.filter(pk=OuterRef("maker")))),
    "not exists": lambda: A.filter(~Exists(Maker.objects.filter(pk=OuterRef("maker")))),
    "annotation": lambda: A.annotate(found=ranks()),
    "in a function": lambda: A.annotate(found=Coalesce(ranks(), Value(0))),
    "in a case": lambda: A.annotate(
        found=Case(When(number=ranks(), then=Value(1)), default=Value(0))
    ),
    "condition of a case": lambda: A.annotate(
        found=Case(When(maker__in=MAKERS, then=Value(1)), default=Value(0))
    ),
    "filter of an aggregate": lambda: Owner.objects.annotate(
        found=Count("items", filter=Q(items__maker__in=MAKERS))
    ),
    "order": lambda: A.order_by(ranks().asc()),
    "window": lambda: A.annotate(found=Window(Rank(), partition_by=[ranks()])),
    "union": lambda: A.values_list("number").union(MAKERS.values_list("rank")),
    "filtered relation": lambda: Owner.objects.annotate(
        found=FilteredRelation("items__maker", condition=Q(items__maker__name="a"))
    ).filter(found=1),
    "two deep": lambda: A.filter(owner__in=Owner.objects.filter(maker__in=MAKERS)),
    "exclude of many": lambda: Tag.objects.exclude(items__maker__name="a"),
}


@pytest.mark.parametrize("case", HOLDING)
def test_tables_inside_are_found(case):
    found = dependencies(HOLDING[case]())
    assert found["query_models_maker"], found
    assert found["query_models_tag" if case == "exclude of many" else "query_models_item"], found


VOLATILE = {
    "now": lambda: A.filter(moment__lt=Now()),
    "random order": lambda: A.order_by("?"),
    "random": lambda: A.annotate(found=Random()),
    "deep": lambda: A.filter(
        maker__in=Maker.objects.annotate(found=Random()).filter(found__gt=0.5)
    ),
    "function by name": lambda: A.annotate(
        found=Func(function="clock_timestamp", output_field=IntegerField())
    ),
    "function by template": lambda: A.filter(moment__lt=TransactionNow()),
    "random key": lambda: A.annotate(found=RandomUUID()),
    "order": lambda: A.order_by(Random()),
}


@pytest.mark.parametrize("case", VOLATILE)
def test_what_has_no_fixed_value_is_not_kept(case):
    assert any(UNCACHED in conjs for conjs in dependencies(VOLATILE[case]()).values())


@pytest.mark.parametrize(
    "queryset",
    [
        lambda: A.annotate(found=RawSQL("SELECT 1", ())).filter(number=1),
        lambda: A.filter(number=1).extra(where=["1=1"]),
        lambda: A.filter(number=1).extra(select={"found": "1"}),
    ],
)
def test_raw_sql_makes_any_row_matter(queryset):
    assert dependencies(queryset())["query_models_item"] == [TRUE]


def test_query_that_is_too_large_is_not_kept():
    assert dependencies(A.filter(number__in=[F("number")] * 30_000)) == {
        "query_models_item": [UNCACHED]
    }


def test_dependencies_of_a_statement_are_found_again_by_its_digest(monkeypatch):
    monkeypatch.setattr(dependencies_of, "_cache", BoundedTable(100_000))
    with override_settings(CACHEOPS_INSIDEOUT=True):
        first, same, other, aggregated = (Item.objects.filter(number=n) for n in (1, 1, 2, 1))
        with_aggregates(aggregated, {"sum": Sum("number")})
        for queryset in (first, same, other, aggregated):
            sql, params = queryset.query.get_compiler("default").as_sql()
            note_digest(queryset, statement_digest(sql, params, ()))
        found = dnfs(first)
        assert dnfs(same) is found
        assert dnfs(other) != found
        assert dnfs(aggregated) is not found
        assert dnfs(same) is not found, "a digest is good for once: the queryset may change"
