"""Computing a key leaves the query as it is, of whatever kind: compared as structures before and after."""

import pytest
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    FloatField,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.fields import Field
from django.db.models.functions import Coalesce, Lower, Rank, TruncDay
from django.db.models.options import Options
from django.utils.functional import cached_property

from rover_overrides.keys import query_keys
from rover_overrides.keys.aggregates import describe_aggregation
from rover_overrides.keys.compile_copies import compile_copy
from rover_overrides.queries import analysis
from tests.support.query_models.models import Item, Maker, Owner, Tag

ITEMS, OWNERS, MAKERS = Item.objects, Owner.objects, Maker.objects


def few():
    return ITEMS.filter(number__lt=2)


def many():
    return ITEMS.filter(number__gt=3)


def rank():
    return Subquery(MAKERS.filter(pk=OuterRef("maker")).order_by("name").values("rank")[:1])


KINDS = {
    "all": ITEMS.all,
    "none": ITEMS.none,
    "filter": lambda: ITEMS.filter(text="a", number__in=[1, 2, 3]),
    "exclude": lambda: OWNERS.exclude(items__text="a"),
    "get by primary key": lambda: ITEMS.filter(pk=1),
    "empty in": lambda: ITEMS.filter(number__in=[]),
    "full": lambda: ITEMS.exclude(number__in=[]),
    "through a foreign key": lambda: ITEMS.filter(owner__maker__name="a"),
    "several times through many": lambda: ITEMS.filter(tags__name="a").filter(tags__name="b"),
    "order": lambda: ITEMS.order_by("-number", "pk"),
    "order by a relation": lambda: ITEMS.order_by("owner__maker__name", "owner"),
    "order by an expression": lambda: ITEMS.order_by(
        Lower("text").desc(), F("owner__rank").asc(nulls_last=True)
    ),
    "order by a subquery": lambda: ITEMS.order_by(rank()),
    "slice": lambda: ITEMS.order_by("pk")[2:5],
    "reversed": lambda: ITEMS.order_by("owner__name").reverse(),
    "related": lambda: ITEMS.select_related("owner__maker", "maker"),
    "only": lambda: ITEMS.only("text", "owner__name").select_related("owner"),
    "defer": lambda: ITEMS.defer("text"),
    "distinct": lambda: ITEMS.values("text").distinct(),
    "values": lambda: ITEMS.values("text", "owner__name", "tags"),
    "values of an expression": lambda: ITEMS.values("text", low=Lower("text")),
    "list of values": lambda: ITEMS.values_list("owner__maker__rank", flat=True),
    "named values": lambda: ITEMS.values_list("text", "number", named=True),
    "annotation": lambda: ITEMS.annotate(twice=F("number") * 2, day_of=TruncDay("moment")).filter(
        twice__gt=2
    ),
    "annotation through a relation": lambda: ITEMS.annotate(theirs=F("owner__maker__rank")),
    "annotation by a subquery": lambda: (
        ITEMS.annotate(theirs=rank()).filter(theirs__gt=1).order_by("theirs")
    ),
    "case": lambda: ITEMS.annotate(
        kind=Case(When(maker__in=MAKERS.filter(rank=1), then=Value(1)), default=rank())
    ),
    "wrapped": lambda: ITEMS.annotate(
        sum=ExpressionWrapper(F("number") + F("ratio"), output_field=FloatField())
    ),
    "aggregate of each": lambda: (
        OWNERS.annotate(n=Count("items", filter=Q(items__tags__name="a")))
        .filter(n__gt=0)
        .order_by("-n")
    ),
    "grouped": lambda: ITEMS.values("owner__name").annotate(
        n=Count("pk"), most=Coalesce(Sum("number"), 0)
    ),
    "window": lambda: ITEMS.annotate(place=Window(Rank(), partition_by="owner", order_by="number")),
    "alias": lambda: ITEMS.alias(low=Lower("text")).filter(low="a").order_by("low"),
    "exists": lambda: ITEMS.filter(Exists(MAKERS.filter(pk=OuterRef("maker")))),
    "not exists": lambda: ITEMS.filter(
        ~Exists(MAKERS.filter(pk=OuterRef("maker"), owners__name="a"))
    ),
    "in a query": lambda: ITEMS.filter(owner__in=OWNERS.filter(maker__in=MAKERS.filter(name="a"))),
    "in a query of values": lambda: ITEMS.filter(
        number__in=OWNERS.order_by("name").values("maker__rank")
    ),
    "in a list with a query": lambda: ITEMS.filter(number__in=[1, rank()]),
    "in the whole table": lambda: ITEMS.filter(owner__in=OWNERS.all()),
    "exact a query": lambda: ITEMS.filter(number=OWNERS.order_by("pk").values("rank")[:1]),
    "either": lambda: ITEMS.filter(Q(owner__name="a") | Q(maker__in=MAKERS.all()) & ~Q(text="b")),
    "combined by or": lambda: ITEMS.filter(owner__name="a") | ITEMS.filter(maker__name="b"),
    "filtered relation": lambda: OWNERS.annotate(
        some=FilteredRelation("items", condition=Q(items__text="a"))
    ).filter(some__number=1),
    "union": lambda: few().union(many()),
    "ordered union": lambda: few().union(many()).order_by("number"),
    "values of an ordered union": lambda: few().union(many()).order_by("number").values("text"),
    "list of an ordered union": lambda: (
        few().union(many()).order_by("number").values_list("text", flat=True)
    ),
    "union of values": lambda: (
        few().values_list("number").union(MAKERS.values_list("rank"), all=True)
    ),
    "union of annotations": lambda: (
        few().annotate(x=rank()).union(many().annotate(x=Value(1))).order_by("x")
    ),
    "sliced union": lambda: few().union(many()).order_by("-text")[:2],
    "union with nothing": lambda: few().union(ITEMS.none()),
    "union of unions": lambda: few().union(many().union(ITEMS.filter(text="a"))),
    "intersection": lambda: few().intersection(many()),
    "difference": lambda: few().difference(many()).order_by("pk"),
    "extra column": lambda: ITEMS.extra(select={"more": "number + 1"}).order_by("more"),
    "extra condition": lambda: ITEMS.extra(where=["query_models_item.number > %s"], params=[1]),
    "extra table": lambda: ITEMS.extra(
        tables=["query_models_maker"], where=["query_models_maker.id = made_by"]
    ),
    "extra table with an order": lambda: ITEMS.extra(
        tables=["query_models_maker"], where=["query_models_maker.id = 1"]
    ).order_by("text"),
    "extra table that is joined": lambda: (
        ITEMS.filter(maker__name="a").extra(tables=["query_models_maker"]).order_by("owner__name")
    ),
    "extra order": lambda: ITEMS.extra(order_by=["-number"]),
    "related manager": Owner(pk=1).items.all,
    "many to many manager": lambda: Item(pk=1).tags.order_by("items__text"),
    "datetimes": lambda: ITEMS.datetimes("moment", "day"),
    "dates": lambda: ITEMS.dates("day", "month"),
    "reverse many": lambda: Tag.objects.filter(items__owner__maker__name="a").distinct(),
    "output field": lambda: ITEMS.annotate(n=Avg("tags__rank", output_field=IntegerField())),
}

_LEAVES = (Field, Options, type, str, bytes, int, float, type(None))


def structure(value, seen=()):
    """Return what a query consists of, as values that compare; what expressions compute and keep is left out."""
    if id(value) in seen:
        return "above"
    seen = (*seen, id(value))
    if isinstance(value, _LEAVES) or hasattr(type(value), "_meta"):
        return repr(value)
    if isinstance(value, dict):
        return {key: structure(held, seen) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [structure(held, seen) for held in value]
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(map(repr, value))
    state = getattr(value, "__dict__", None)
    if state is None:
        return repr(value)
    return type(value).__qualname__, structure(
        {name: held for name, held in state.items() if is_told(value, name, held)}, seen
    )


def is_told(value, name, held):
    """Return whether an attribute says more than the class's own default, and is not just computed and kept."""
    default = getattr(type(value), name, value)
    return not isinstance(default, cached_property) and not (
        isinstance(held, bool) and held is default
    )


def sample(queryset):
    """Return the queryset as far as a key is asked of it."""
    queryset._cacheprofile = {"db_agnostic": None}
    return queryset


@pytest.mark.parametrize("kind", KINDS)
def test_query_is_equal_before_and_after_its_key(kind):
    queryset = sample(KINDS[kind]())
    before = structure(queryset.query)
    query_keys.result_key(queryset)
    assert structure(queryset.query) == before


@pytest.mark.parametrize("kind", KINDS)
def test_query_is_equal_before_and_after_its_analysis(kind):
    queryset = KINDS[kind]()
    before = structure(queryset.query)
    analysis.dependencies(queryset, "rows")
    assert structure(queryset.query) == before


@pytest.mark.parametrize("kind", KINDS)
def test_copy_compiles_to_the_same_as_the_query(kind):
    def compiled(query):
        try:
            return query.get_compiler("default").as_sql()
        except EmptyResultSet:
            return "empty"

    queryset = KINDS[kind]()
    copied = compile_copy(queryset.query)
    again = compile_copy(copied)
    assert compiled(copied) == compiled(again) == compiled(queryset.query)


@pytest.mark.parametrize("kind", KINDS)
def test_key_is_repeated(kind):
    assert query_keys.result_key(sample(KINDS[kind]())) == query_keys.result_key(
        sample(KINDS[kind]())
    )


def test_keys_of_all_kinds_differ():
    """Those apart whose rows cannot differ: no relation here is one that select_related() follows unasked."""
    named = {}
    for kind, make in KINDS.items():
        named.setdefault(query_keys.result_key(sample(make())), set()).add(kind)
    assert [kinds for kinds in named.values() if len(kinds) > 1] == [
        {"all", "full"},
        {"none", "empty in"},
    ]


@pytest.mark.parametrize(
    "kind", ["filter", "annotation", "through a foreign key", "several times through many"]
)
def test_query_is_equal_before_and_after_an_aggregate_of_it(kind):
    queryset = KINDS[kind]().filter(tags__rank=1)
    queryset.clone = queryset._clone
    before = structure(queryset.query)
    assert describe_aggregation(
        queryset,
        (Count("pk"),),
        {"sum": Sum("tags__rank"), "most": Coalesce("sum", 0), "n": Count("owner__items")},
    )
    assert structure(queryset.query) == before


def test_query_that_cannot_be_compiled_has_a_key_that_is_never_found_again():
    queryset = sample(ITEMS.order_by("text"))
    queryset.query.order_by = ("nothing",)
    assert query_keys.result_key(queryset) != query_keys.result_key(queryset)
    assert queryset.__dict__["_rover_digest"] == "unnamed"


def test_connection_that_cannot_say_what_it_is_raises_nothing():
    queryset = sample(ITEMS.using("nowhere"))
    assert query_keys.result_key(queryset) != query_keys.result_key(queryset)
    assert "nowhere" not in connections
