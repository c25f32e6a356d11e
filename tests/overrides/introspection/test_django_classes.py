"""What counts as Django's own, and what of an application's is left alone."""

import functools

import pytest
from django.apps.registry import Apps
from django.db import connections, models
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.backends.sqlite3.features import DatabaseFeatures
from django.db.backends.sqlite3.operations import DatabaseOperations
from django.db.models import lookups
from django.db.models.functions import ExtractYear
from django.db.models.sql.query import Query

from rover_overrides.conditions.canonical_values import kind_of
from rover_overrides.conditions.conditions import TRUE
from rover_overrides.introspection import django_classes
from rover_overrides.queries import lookups as our_lookups
from rover_overrides.queries.analysis import dependencies
from rover_overrides.rows.rows import UNKNOWN, stored_value
from tests.support.condition_texts import equal
from tests.support.query_models.models import Item, Owner


class Described(models.CharField):
    """A field of which only forms and migrations can tell."""

    description = "described"

    def __init__(self, *args, **more):
        super().__init__(*args, **{"max_length": 20, **more})

    def _helper(self):
        return 1

    def check(self, **_):
        return []

    def deconstruct(self):
        return super().deconstruct()

    def formfield(self, **more):
        return super().formfield(**more)


class Shouted(models.CharField):
    def get_placeholder(self, _value, _compiler, _connection):
        return "UPPER(%s)"


class Mixed:
    def from_db_value(self, value, *_):
        return value


class Owned(models.ForeignKey):
    def get_db_prep_value(self, value, connection, prepared=False):
        return super().get_db_prep_value(value, connection, prepared)


def on_itself():
    field = models.CharField()
    field.get_db_prep_value = lambda value, *_, **__: value.upper()
    return field


def owned():
    field = Owned(Owner, models.CASCADE)
    field.set_attributes_from_name("owned")
    field.model = Item
    return field


OTHERS = [
    *(
        "get_placeholder",
        "get_placeholder_sql",
        "select_format",
        "get_lookup",
        "get_transform",
        "get_prep_value",
    ),
    *(
        "get_db_prep_value",
        "get_db_prep_save",
        "to_python",
        "from_db_value",
        "db_type",
        "rel_db_type",
        "cast_db_type",
    ),
    *(
        "get_internal_type",
        "db_parameters",
        "pre_save",
        "value_from_object",
        "get_db_converters",
        "get_col",
        "contribute_to_class",
    ),
    *("__getattribute__", "__getattr__", "__eq__", "get_attname_column", "slice_expression"),
]


@pytest.mark.parametrize("name", OTHERS)
def test_field_with_a_method_that_django_asks_for_is_not_compared(name):
    own = type("Own", (models.IntegerField,), {name: lambda self, *_, **__: None})
    assert django_classes._class_changes_sql(own)
    assert not django_classes._class_changes_sql(models.IntegerField)


@pytest.mark.parametrize(
    ("field", "known"),
    [
        (models.CharField, True),
        (models.EmailField, True),
        (Described, True),
        (Shouted, False),
        (type("Both", (Mixed, models.CharField), {}), False),
        (type("After", (models.CharField, Mixed), {}), False),
        (on_itself, False),
        (owned, False),
        (lambda: Item._meta.get_field("owner"), True),
    ],
)
def test_field_is_known_if_nothing_of_its_sql_is_its_own(field, known):
    field = field()
    assert django_classes.is_django_field(field) is known
    assert (kind_of(field) is not None) is known
    value = 1 if field.is_relation else "a"
    assert (stored_value(field, value, connections["default"]) is not UNKNOWN) is known


def test_all_fields_of_django_are_known():
    def all_of(base):
        for one in base.__subclasses__():
            yield one
            yield from all_of(one)

    djangos = [one for one in all_of(models.Field) if one.__module__.startswith("django.db.")]
    assert len(djangos) > 30
    assert [one for one in djangos if django_classes._class_changes_sql(one)] == []


def test_fields_that_are_equal_are_told_apart():
    one = models.CharField()
    two = models.CharField()
    two.creation_counter = one.creation_counter
    two.get_prep_value = str.upper
    assert one == two
    assert (django_classes.is_django_field(one), django_classes.is_django_field(two)) == (
        True,
        False,
    )


def test_what_is_kept_of_fields_is_bounded(monkeypatch):
    monkeypatch.setattr(django_classes, "MAX_CACHED", 3)
    asked = []
    once = django_classes.cached_by_identity(lambda thing: asked.append(thing) or True)
    fields = [models.CharField() for _ in range(5)]
    for field in (*fields[:3], *fields[:3], *fields[3:], fields[0]):
        assert once(field)
    assert asked == [*fields, fields[0]]


class Trimmed(lookups.Exact):
    """Has the name of Django's own."""


def test_lookup_of_an_application_under_a_standard_name_is_not_compared():
    Trimmed.__module__ = lookups.Exact.__module__
    field = Item._meta.get_field("number")
    field.register_lookup(Trimmed)
    try:
        assert dependencies(Item.objects.filter(number=1)) == {"query_models_item": [TRUE]}
    finally:
        field._unregister_lookup(Trimmed)
    assert dependencies(Item.objects.filter(number=1)) == {"query_models_item": [equal("number")]}


@pytest.mark.parametrize("method", ["as_sql", "as_sqlite"])
def test_lookup_into_which_an_application_has_put_a_method_is_not_compared(monkeypatch, method):
    monkeypatch.setattr(lookups.Exact, method, lambda self, *_: ("1", []), raising=False)
    for kept in (django_classes._is_unpatched, django_classes._has_foreign_functions):
        _forget_in(monkeypatch, django_classes, kept)
    assert dependencies(Item.objects.filter(number=1)) == {"query_models_item": [TRUE]}


def _forget_in(monkeypatch, module, asked):
    """Have what was found once be found again, now and after the test."""
    monkeypatch.setattr(
        module, asked.__name__, django_classes.cached_by_identity(asked.__wrapped__)
    )


def test_part_of_a_date_of_an_application_is_not_compared():
    class SchoolYear(ExtractYear):
        lookup_name = "school_year"

    field = Item._meta.get_field("day")
    field.register_lookup(SchoolYear)
    try:
        assert dependencies(Item.objects.filter(day__school_year=2024)) == {
            "query_models_item": [TRUE]
        }
    finally:
        field._unregister_lookup(SchoolYear)


def test_column_that_another_model_of_the_table_takes_for_something_else_is_not_compared(
    monkeypatch,
):
    field = Item._meta.get_field("number")
    _forget_in(monkeypatch, our_lookups, our_lookups._is_comparable_alike)
    monkeypatch.setattr(our_lookups, "field_of", lambda *_: models.CharField())
    assert dependencies(Item.objects.filter(number=1)) == {"query_models_item": [TRUE]}
    _forget_in(monkeypatch, our_lookups, our_lookups._is_comparable_alike)
    monkeypatch.setattr(our_lookups, "field_of", lambda *_: field)
    assert dependencies(Item.objects.filter(number=1)) == {"query_models_item": [equal("number")]}


def wrapper(**own):
    return type("DatabaseWrapper", (DatabaseWrapper,), own)(
        {"NAME": ":memory:", "OPTIONS": {}}, alias="other"
    )


@pytest.mark.parametrize(
    ("connection", "known"),
    [
        (lambda: connections["default"], True),
        (lambda: connections["postgres"], True),
        (lambda: wrapper(get_new_connection=DatabaseWrapper.get_new_connection, helper=1), True),
        (lambda: wrapper(operators={"exact": "LIKE %s"}), False),
        (
            lambda: wrapper(
                ops_class=type("Operations", (DatabaseOperations,), {"lookup_cast": None})
            ),
            False,
        ),
        (
            lambda: wrapper(
                features_class=type("Features", (DatabaseFeatures,), {"supports_timezones": True})
            ),
            False,
        ),
    ],
)
def test_engine_is_known_if_it_compares_as_djangos_own(connection, known):
    assert django_classes.is_django_connection(connection()) is known


def test_query_that_compiles_by_a_function_of_its_own_is_not_djangos():
    query = Item.objects.all().query
    assert django_classes.is_django_query(query)
    query.get_compiler = functools.partial(Query.get_compiler, query)
    assert not django_classes.is_django_query(query)


def test_relation_over_several_columns_leads_to_no_single_field():
    class Room(models.Model):
        house, number = models.IntegerField(), models.IntegerField()

        class Meta:
            apps, app_label, unique_together = Apps(), "several", [("house", "number")]

    class Guest(models.Model):
        house, number = models.IntegerField(), models.IntegerField()
        room = models.ForeignObject(
            Room, models.CASCADE, from_fields=["house", "number"], to_fields=["house", "number"]
        )

        class Meta:
            apps, app_label = Room._meta.apps, "several"

    room = Guest._meta.get_field("room")
    assert django_classes.resolve_target(room) is room
    assert django_classes.is_django_field(room)
