"""What a reader sees: orders that models say, values that do not come out of a store as they went in, languages."""

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.apps.registry import Apps
from django.db.models import CharField, F, Func, Max, Model, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce, Random
from django.utils import timezone, translation
from django.utils.translation import get_language

from rover_overrides.cache.storability import is_storable
from rover_overrides.conditions.conditions import TRUE, UNCACHED
from rover_overrides.keys import made_objects, query_keys
from rover_overrides.keys.encoding import with_aggregates
from rover_overrides.keys.query_keys import result_key
from rover_overrides.queries.analysis import dependencies
from rover_overrides.queries.dependencies import as_count_sample
from tests.support.query_models.models import Item, Maker
from tests.support.write_models.models import Book, Shelf

pytestmark = pytest.mark.slow

ITEMS, MAKERS = Item._meta.db_table, Maker._meta.db_table


class Cash(Decimal):
    def __new__(cls, value: Any, currency: str = "") -> Any:
        made = super().__new__(cls, value)
        made.currency = currency
        return made


class Coin(Decimal):
    __slots__ = ("currency",)


class Handle:
    def __init__(self, name: str) -> None:
        self.name, self.lock = name, object()

    def __reduce__(self) -> Any:
        return Handle, (self.name,)


def unkept(queryset: Any) -> bool:
    return dependencies(queryset) == {queryset.model._meta.db_table: [UNCACHED]}


@pytest.mark.parametrize(
    "ordering",
    [
        ["?"],
        [Random()],
        [F("name").asc(), Random()],
        [Func(function="random", template="%(function)s()")],
    ],
)
def test_rows_in_the_random_order_of_their_model_are_not_kept(ordering, monkeypatch):
    monkeypatch.setattr(Maker._meta, "ordering", ordering)
    assert unkept(Maker.objects.all())
    assert unkept(Maker.objects.values("name"))
    assert unkept(Item.objects.filter(maker__in=Maker.objects.reverse()[:2]))
    assert not unkept(Maker.objects.order_by("name"))


def test_rows_in_the_random_order_of_a_related_model_are_not_kept(monkeypatch):
    monkeypatch.setattr(Maker._meta, "ordering", [Random()])
    assert unkept(Item.objects.order_by("maker"))


def test_number_of_rows_in_a_random_order_is_kept(monkeypatch):
    monkeypatch.setattr(Maker._meta, "ordering", ["?"])
    assert not unkept(as_count_sample(Maker.objects.all()))
    assert not unkept(with_aggregates(Maker.objects.all(), {"sum": Sum("rank")}))
    assert unkept(with_aggregates(Maker.objects.all()[:2], {"sum": Sum("rank")}))


def test_rows_depend_on_what_the_order_of_their_model_reads(monkeypatch):
    dearest = Subquery(Item.objects.filter(maker=OuterRef("pk")).order_by("-pk").values("pk")[:1])
    monkeypatch.setattr(Maker._meta, "ordering", [Coalesce(dearest, 0)])
    assert dependencies(Maker.objects.all())[ITEMS] == [TRUE]
    assert ITEMS not in dependencies(Maker.objects.order_by("name"))


def coin(currency: str) -> Coin:
    made = Coin(1)
    made.currency = currency
    return made


@pytest.mark.parametrize(
    ("value", "survives"),
    [
        (Cash(1), True),
        (Cash(1, "EUR"), False),
        (Coin(1), True),
        (coin("EUR"), False),
        (Handle("a"), True),
    ],
)
def test_object_that_would_come_back_with_another_value_is_found(value, survives):
    shelf = Shelf(pk=1)
    shelf.price = value
    middle = Book(pk=2, shelf=shelf)
    far = Book(pk=3)
    far._state.fields_cache["other"] = middle
    rows: list[Any] = [
        [value],
        [([value],)],
        [{"prices": {"a": (1, value)}}],
        [shelf],
        [middle],
        [far],
    ]
    assert [is_storable(some) for some in rows] == [survives] * len(rows)


class Slim(Shelf):
    class Meta:
        proxy = True
        app_label = "write_models"

    def __getstate__(self) -> Any:
        return {name: held for name, held in super().__getstate__().items() if name != "before"}


def test_model_that_leaves_out_an_attribute_when_it_is_stored_is_found():
    shelf = Slim(pk=1, name="a")
    assert is_storable([shelf])
    shelf.before = "a"
    assert not is_storable([shelf])


def test_object_that_cannot_be_stored_is_no_error():
    shelf = Slim(pk=1)
    shelf.after = lambda: 1
    with pytest.warns(RuntimeWarning, match="cannot be stored"):
        assert not is_storable([shelf])


class Spoken(CharField):
    def from_db_value(self, value: Any, *_: Any) -> str:
        return f"{get_language()}: {value}"


def keys(queryset: Any) -> set[str]:
    """Return the keys that a queryset has in two languages and in two time zones."""
    found = set()
    for language, zone in (("en", "UTC"), ("de", "UTC"), ("en", "Asia/Tokyo")):
        with translation.override(language), timezone.override(ZoneInfo(zone)):
            found.add(result_key(queryset.all()))
    return found


@pytest.fixture
def alone(monkeypatch):
    """A site with one database, whose process has seen no query."""
    monkeypatch.setattr(query_keys, "_database", lambda queryset, alias: "")
    query_keys._kinds.cache_clear()
    yield
    query_keys._kinds.cache_clear()


def test_key_names_the_language_where_a_model_is_made_by_code_of_its_own(monkeypatch, alone):
    assert len(keys(Maker.objects.all())) == 1
    query_keys._kinds.cache_clear()
    monkeypatch.setattr(made_objects, "runs_application_code", lambda model: model is Maker)
    monkeypatch.setattr(query_keys, "runs_application_code", lambda model: model is Maker)
    assert len(keys(Maker.objects.all())) == 3
    assert len(keys(Maker.objects.values("name"))) == 3
    assert len(keys(Item.objects.select_related("maker"))) == 3
    assert len(keys(Item.objects.values("maker__name"))) == 3
    assert len(keys(Item.objects.all())) == 1
    assert len(keys(as_count_sample(Maker.objects.all()))) == 1


def test_key_names_the_language_where_an_expression_is_read_by_a_field_of_its_own(alone):
    assert len(keys(Maker.objects.annotate(said=Max("name", output_field=Spoken())))) == 3
    assert len(keys(Maker.objects.annotate(said=Max("name", output_field=CharField())))) == 1


def test_model_with_a_maker_of_its_own_is_told():
    class Noting:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    def shelf(name: str, *bases: type, field: Any = None) -> Any:
        options = type("Meta", (), {"app_label": "write_models", "apps": Apps()})
        return type(
            name,
            (*bases, Model),
            {"__module__": __name__, "Meta": options, **({"said": field} if field else {})},
        )

    assert not made_objects.runs_application_code(Shelf)
    assert made_objects.runs_application_code(shelf("Noted", Noting))
    assert made_objects.runs_application_code(shelf("Said", field=Spoken(max_length=9)))
    assert not made_objects.runs_application_code(shelf("Silent", field=CharField(max_length=9)))


class Restriction:
    """A condition that compiles itself, as those are that relations of a library add to their joins."""

    contains_aggregate = contains_over_clause = False

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return self.sql, []


def restricted(sql: str) -> Any:
    queryset = Maker.objects.filter(rank=1)
    queryset.query.where.children.append(Restriction(sql))
    return queryset


def test_condition_that_compiles_itself_is_read_in_its_sql():
    assert set(dependencies(restricted('"query_models_maker"."rank" = 2'))) == {MAKERS}
    assert dependencies(
        restricted('"query_models_maker"."id" IN (SELECT "made_by" FROM "query_models_item")')
    )[ITEMS] == [TRUE]


@pytest.mark.parametrize(
    "sql",
    [
        '"query_models_maker"."id" IN (SELECT "id" FROM "elsewhere")',
        "nobody_knows(1) = 1",
        "now() > 1",
    ],
)
def test_condition_that_compiles_itself_to_what_nobody_can_read_is_not_kept(sql):
    assert unkept(restricted(sql))
