"""Whatever is asked, a row that changes the answer drops it: no write that the analysis overlooks."""

import os

import pytest
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover_overrides.queries.analysis import dependencies
from tests.support.query_models.models import Item, Maker, Owner, Tag
from tests.support.random_conditions import (
    FEW,
    SPELLINGS,
    VALUES,
    changed,
    create_tables,
    drops_result,
    every_lookup,
    row_of,
    rows,
    small_trees,
    state,
    trees,
)

EXAMPLES = int(os.environ.get("ANALYSIS_EXAMPLES", "200"))
CHECKED = settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
    derandomize="ANALYSIS_EXAMPLES" not in os.environ,
    database=None,
)
COLUMNS = [
    field.name
    for field in Item._meta.concrete_fields
    if field.name in VALUES and not field.is_relation
]
ROOTS = {
    Item: [
        "text",
        "number",
        "owner__name",
        "owner__rank",
        "owner__maker__name",
        "maker__rank",
        "owner",
        "tags__name",
        "tags",
        "pk",
    ],
    Owner: [
        "name",
        "items__text",
        "items__number",
        "items__tags__name",
        "items",
        "maker__name",
        "maker__items__text",
        "maker",
    ],
    Tag: [
        "name",
        "items",
        "items__number",
        "items__owner__name",
        "items__owner",
        "items__maker__name",
    ],
    Maker: [
        "name",
        "rank",
        "items__text",
        "owners__items__text",
        "owners__name",
        "owners__items__tags",
    ],
}
PKS = {Maker: [1, 2], Owner: [1, 2, 3], Tag: [1, 2], Item: [1, 2, 3]}
FIELDS = {
    Maker: ["name", "rank"],
    Owner: ["name", "rank", "maker"],
    Tag: ["name", "rank"],
    Item: ["text", "number", "owner", "maker"],
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def alias(request):
    alias = request.getfixturevalue(request.param)
    create_tables(alias)
    return alias


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Prague"])
def test_row_that_meets_a_lookup_or_its_negation_is_met(alias, name, zone):
    """Every value of a column against every lookup with every operand."""
    values = [None, *VALUES[name], *SPELLINGS.get(name, [])]
    with transaction.atomic(using=alias), timezone.override(zone):
        given_rows = {
            pk: row_of(Item(pk=pk, **{name: value})) for pk, value in enumerate(values, start=1)
        }
        Item.objects.using(alias).bulk_create(
            Item(pk=pk, **{name: value}) for pk, value in enumerate(values, start=1)
        )
        stored = {item.pk: row_of(item) for item in Item.objects.using(alias)}
        for lookup, operand in every_lookup(name):
            condition = Q(**{f"{name}__{lookup}": operand})
            for queryset in (
                Item.objects.using(alias).filter(condition),
                Item.objects.using(alias).exclude(condition),
            ):
                found = dependencies(queryset)
                for pk in queryset.values_list("pk", flat=True):
                    for row in (stored[pk], given_rows[pk]):
                        assert drops_result(alias, found, Item, row), (
                            f"{lookup} {operand!r}: {row[name]!r}\n{found}"
                        )
        transaction.set_rollback(True, using=alias)


@pytest.mark.slow
@given(data=st.data())
@CHECKED
def test_row_that_meets_the_conditions_is_met(alias, data):
    """Whether the row is spelled as it was given or as the database gives it."""
    with (
        transaction.atomic(using=alias),
        timezone.override(data.draw(st.sampled_from(["UTC", "Europe/Prague", "Asia/Tokyo"]))),
    ):
        given_rows = data.draw(st.lists(rows(COLUMNS, given=True), min_size=1, max_size=3))
        items = {pk: Item(pk=pk, **fields) for pk, fields in enumerate(given_rows, start=1)}
        for item in items.values():
            item.save(using=alias, force_insert=True)
        queryset = Item.objects.using(alias).filter(data.draw(trees(COLUMNS)))
        found = dependencies(queryset)
        for stored in queryset:
            for row in (row_of(stored), row_of(items[stored.pk])):
                assert drops_result(alias, found, Item, row), f"{queryset.query}\n{row}\n{found}"
        transaction.set_rollback(True, using=alias)


def _restricted(data, alias):
    root = data.draw(st.sampled_from(list(ROOTS)))
    queryset = root.objects.using(alias)
    for _ in range(data.draw(st.integers(1, 2))):
        tree = data.draw(small_trees(ROOTS[root]))
        queryset = queryset.exclude(tree) if data.draw(st.booleans()) else queryset.filter(tree)
    return queryset


def _written(data, alias, model):
    """Write a row, or the pair of a many-to-many relation; or delete one."""
    pk = data.draw(st.sampled_from(PKS[model]))
    if data.draw(st.integers(0, 4)) == 0:
        model.objects.using(alias).filter(pk=pk).delete()
        return
    fields = {name: data.draw(st.sampled_from([None, *FEW[name]])) for name in FIELDS[model]}
    keys = {name: value for name, value in fields.items() if name in {"owner", "maker"}}
    present = {
        name: value
        for name, value in keys.items()
        if _target(name).objects.using(alias).filter(pk=value).exists()
    }
    plain = {name: value for name, value in fields.items() if name not in keys}
    if data.draw(st.booleans()):
        column = data.draw(st.sampled_from(sorted(plain)))
        model.objects.using(alias).filter(pk=pk).update(**{column: plain[column]})
        return
    model(pk=pk, **plain, **{name + "_id": present.get(name) for name in keys}).save(using=alias)


def _target(name):
    return {"owner": Owner, "maker": Maker}[name]


def _tagged(data, alias):
    item = Item.objects.using(alias).filter(pk=data.draw(st.sampled_from(PKS[Item]))).first()
    tag = Tag.objects.using(alias).filter(pk=data.draw(st.sampled_from(PKS[Tag]))).first()
    if item is not None and tag is not None:
        (item.tags.remove if data.draw(st.integers(0, 3)) == 0 else item.tags.add)(tag)


def _some_writes(data, alias, number):
    for _ in range(number):
        model = data.draw(st.sampled_from([*PKS, None]))
        if model is None:
            _tagged(data, alias)
        else:
            _written(data, alias, model)


@pytest.mark.slow
@pytest.mark.parametrize("purpose", ["sample", "rows", "count"])
@given(data=st.data())
@CHECKED
def test_writes_that_change_a_result_drop_it(alias, purpose, data):
    """Through joins of every kind, the absence of rows included, and by the columns that are read."""
    with transaction.atomic(using=alias):
        for model, pks in PKS.items():
            for pk in pks:
                if data.draw(st.booleans()):
                    model(
                        pk=pk,
                        **{
                            name: data.draw(st.sampled_from([None, *FEW[name]]))
                            for name in FIELDS[model]
                            if name not in {"owner", "maker"}
                        },
                    ).save(using=alias)
        _some_writes(data, alias, data.draw(st.integers(0, 4)))
        queryset = _restricted(data, alias)
        found = dependencies(
            queryset.values_list("pk", flat=True) if purpose == "rows" else queryset, purpose
        )
        before, result = state(alias), sorted(queryset.values_list("pk", flat=True))
        _some_writes(data, alias, data.draw(st.integers(1, 2)))
        after = state(alias)
        if sorted(queryset.all().values_list("pk", flat=True)) != result:
            writes = list(changed(before, after))
            assert any(
                drops_result(alias, found, model, *versions) for model, versions in writes
            ), f"{queryset.query}\n{writes}\n{found}"
        transaction.set_rollback(True, using=alias)
