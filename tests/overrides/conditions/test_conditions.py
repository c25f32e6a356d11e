"""Which conjs a queryset depends on, and which of them a row meets."""

import datetime as dt
import json
from collections import Counter

import pytest
from django.db.models import F, Q
from django.db.models.functions import ExtractYear, TruncMonth
from django.db.models.lookups import In
from django.test import override_settings

from rover_overrides.conditions import matching
from rover_overrides.conditions.conditions import (
    MAX_OPERAND_BYTES,
    TRUE,
    Conj,
    coarser,
    has_operands,
    related_columns,
)
from rover_overrides.conditions.matching import conditions_met_by
from rover_overrides.queries.analysis import dependencies
from tests.support.query_models.models import Document, Item, Owner, Tag

TABLE = "query_models_item"
PATCHES = [
    "join-conditions",
    "lookup-conditions",
    "long-in-conditions",
    "iexact-conditions",
    "canonical-values",
    "bounded-analysis",
]


def conjs(queryset):
    """Return the conjs on the queryset's own table, readable: columns, operators and operands or values."""
    return sorted(map(readable, dependencies(queryset)[queryset.model._meta.db_table]))


def readable(conj):
    values = iter(conj.values)
    items = json.loads(conj.template or "[]")
    return ", ".join(_readable(item, values) for item in items) or "any"


def _readable(item, values):
    path, name, part, op, operand, negated = item
    column = ".".join([*(hop[0] for hop in path), name]) + (f" {part}" if part else "")
    return f"{'not ' if negated else ''}{column} {op} {next(values) if operand is None else '|'.join(operand)}"


CASES = {
    "everything": (Q(), ["any"]),
    "exact": (Q(number=1), ["number exact 1"]),
    "and": (Q(number=1, text="a"), ["number exact 1, text exact a"]),
    "or": (Q(number=1) | Q(text="a"), ["number exact 1", "text exact a"]),
    "contradiction": (Q(number=1) & Q(number=2), []),
    "short in": (Q(number__in=[1, 2]), ["number exact 1", "number exact 2"]),
    "long in": (Q(number__in=[1, 2, 3, 4]), ["number in 1|2|3|4"]),
    "empty in": (Q(number__in=[]), []),
    "not in nothing": (~Q(In(F("number"), [])), ["any"]),
    "not in": (~Q(In(F("number"), [1, 2])), ["not number in 1|2"]),
    "iexact": (Q(text__iexact="A"), ["text iexact ANY", "text iexact a"]),
    "iexact beyond ASCII": (Q(text__iexact="\u00e9"), ["any"]),
    "two iexacts": (
        Q(text__iexact="A", owner__name__iexact="B"),
        ["text iexact ANY, owner_id.name iequal b", "text iexact a, owner_id.name iequal b"],
    ),
    "not exact": (~Q(number=1), ["not number in 1", "number isnull 1"]),
    "not (a or b)": (
        ~(Q(number__isnull=True) | Q(number__gt=1)),
        ["number isnull 0, number lte 1"],
    ),
    "range": (Q(number__range=(1, 5)), ["number gte 1, number lte 5"]),
    "not range": (~Q(number__range=(1, 5)), ["number gt 5", "number isnull 1", "number lt 1"]),
    "isnull": (Q(number__isnull=True), ["number isnull 1"]),
    "decimal": (Q(amount="1.50"), ["amount exact 1.5"]),
    "decimal of too many places": (Q(amount="1.505"), ["any"]),
    "part": (Q(day__year=2024), ["day year@ exact 2024"]),
    "part in a zone": (
        Q(moment__date=dt.date(2024, 6, 1)),
        ["moment date@America/Chicago exact 2024-06-01"],
    ),
    "foreign key": (Q(owner=1), ["owner_id exact 1"]),
    "through a foreign key": (
        Q(owner__name="a"),
        ["owner_id.name exact ANY", "owner_id.name exact a"],
    ),
    "through two": (
        Q(owner__maker__name="a"),
        ["owner_id.maker_id.name exact ANY", "owner_id.maker_id.name exact a"],
    ),
    "key through one": (
        Q(owner__maker=1),
        ["owner_id.maker_id exact 1", "owner_id.maker_id exact ANY"],
    ),
    "text in order": (Q(text__gt="a"), ["any"]),
    "regular expression": (Q(text__regex="a"), ["any"]),
    "column": (Q(number=F("maker")), ["any"]),
    "xor": (Q(number=1) ^ Q(number=2), ["any"]),
    "one of two unknown": (Q(text__regex="a", number=1), ["number exact 1"]),
    "not one of two unknown": (~Q(text__regex="a", number=1), ["any"]),
}


@pytest.mark.parametrize("case", CASES)
def test_conditions_of_a_queryset(case):
    condition, expected = CASES[case]
    assert conjs(Item.objects.filter(condition)) == sorted(expected)


COARSE = {
    "month of an annotation": lambda: Item.objects.annotate(month=TruncMonth("moment")).filter(
        month=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    ),
    "year in a zone of its own": lambda: Item.objects.annotate(
        year=ExtractYear("moment", tzinfo=dt.timezone(dt.timedelta(hours=5)))
    ).filter(year=2024),
    "null of JSON": lambda: Document.objects.filter(data__isnull=True),
    "null of a file": lambda: Document.objects.filter(file__isnull=False),
    "too much text": lambda: Item.objects.filter(text__contains="x" * (MAX_OPERAND_BYTES + 1)),
}


@pytest.mark.parametrize("case", COARSE)
def test_what_cannot_be_told_makes_any_row_matter(case):
    assert conjs(COARSE[case]()) == ["any"]


@pytest.mark.parametrize("patch", PATCHES)
def test_switched_off_patch_makes_its_conditions_coarser(patch):
    queryset = Item.objects.filter(
        owner__name="a",
        number__gt=1,
        text__iexact="a",
        maker__name__in="abcde",
        amount=1,
        flag=True,
    )
    before = conjs(queryset)
    with override_settings(CACHEOPS_ROVER_OFF=(patch,)):
        after = conjs(queryset)
    assert before != after
    assert len(str(after)) < len(str(before))


def test_absence_behind_an_absent_row_is_no_condition():
    found = dependencies(Owner.objects.filter(items__tags__name__isnull=True))
    assert [readable(conj) for conj in found["query_models_item_tags"]] == ["any"]
    assert [readable(conj) for conj in found["query_models_item"]] == ["any"]


def test_absence_counts_with_what_the_parent_must_be():
    found = dependencies(Owner.objects.filter(items__isnull=True, name="a"))
    assert [readable(conj) for conj in found["query_models_item"]] == [
        "owner_id.name exact ANY",
        "owner_id.name exact a",
    ]
    assert [readable(conj) for conj in found["query_models_owner"]] == ["name exact a"]


def test_many_to_many_pair_is_met_by_both_ends():
    found = dependencies(Item.objects.filter(tags__name="red", number=1))
    assert [readable(conj) for conj in found["query_models_item_tags"]] == [
        "item_id.number exact 1, tag_id.name exact red",
        "item_id.number exact ANY, tag_id.name exact ANY",  # where nobody can tell
    ]
    assert [readable(conj) for conj in found[Tag._meta.db_table]] == [
        "name exact ANY, id.item_id.number exact ANY",
        "name exact red, id.item_id.number exact 1",
    ]


ROWS = [
    (Q(number=1), {"number": 1}, True),
    (Q(number=1), {"number": 2}, False),
    (Q(number=1), {"number": None}, False),
    (Q(number=1), {}, None),  # unknown: all
    (Q(number__gt=1), {}, True),  # unknown: this
    (Q(number__gt=1), {"number": None}, False),
    (Q(number__gt=1), {"number": "two"}, True),
    (Q(number__isnull=True), {"number": None}, True),
    (~Q(In(F("number"), [1])), {"number": None}, False),
    (~Q(In(F("number"), [1])), {"number": 2}, True),
    (Q(text__iexact="a"), {"text": "A"}, True),
    (Q(text__iexact="a"), {"text": "\u0131"}, True),
    (Q(text__iexact="a"), {"text": "b"}, False),
    (Q(text__iexact="a"), {"text": ""}, False),
    (Q(text__iexact=""), {"text": ""}, True),
    (Q(amount="1.5"), {"amount": "1.50"}, True),
    (Q(amount="1.5"), {"amount": "1.505"}, None),
    (Q(day__month=2), {"day": dt.date(2024, 2, 1)}, True),
    (Q(day__month=2), {"day": dt.date(2024, 3, 1)}, False),
]


@pytest.mark.parametrize(("condition", "row", "expected"), ROWS)
def test_row_meets(condition, row, expected):
    wanted = set(dependencies(Item.objects.filter(condition))[TABLE])
    found = conditions_met_by(TABLE, {conj.template for conj in wanted}, row)
    assert (None if found is None else not found.isdisjoint(wanted)) is expected
    assert found is None or TRUE in found


def test_entry_that_is_not_understood_drops_all():
    assert conditions_met_by(TABLE, ['[[[],"number","","near",["1"],0]]'], {"number": 1}) is None
    assert conditions_met_by(TABLE, ["{"], {"number": 1}) is None


class CountingRow(dict):
    """A row that counts how often each value is read."""

    def __init__(self, row):
        super().__init__(row)
        self.reads = Counter()

    def get(self, key, default=None):
        self.reads[key] += 1
        return super().get(key, default)


def templates_of_ranges():
    return {
        conj.template
        for n in range(50)
        for conj in dependencies(Item.objects.filter(number__gt=n, flag=True))[TABLE]
    }


def test_row_is_read_once_for_a_column_that_many_conditions_compare():
    row = CountingRow({"number": 9, "flag": True})
    assert len(conditions_met_by(TABLE, templates_of_ranges(), row)) == 1 + 9
    assert [row.reads[name] for name in ("number", "flag")] == [1, 1]


def test_rows_with_the_same_values_are_compared_once(monkeypatch):
    compared, real = [], matching._Group.conjs
    monkeypatch.setattr(
        matching._Group, "conjs", lambda group, key: compared.append(key) or real(group, key)
    )
    rows = [{"id": n, "number": n % 3, "flag": True} for n in range(90)]
    found = matching.TableMatcher(TABLE, templates_of_ranges()).conjs_met_by(rows)
    assert len(found) == 1 + 2
    assert sorted(compared) == [(True, 0), (True, 1), (True, 2)]


def test_coarser_conj_has_no_operands():
    (conj,) = dependencies(Item.objects.filter(number=1, ratio__gt=1))[TABLE]
    assert has_operands(conj.template)
    assert not has_operands(coarser(conj).template)
    assert coarser(conj).values == ("1",)
    (bare,) = dependencies(Item.objects.filter(ratio__gt=1))[TABLE]
    assert coarser(bare) == TRUE == Conj("", ())


def test_columns_of_related_rows_are_asked_for():
    conj, whatever = dependencies(Item.objects.filter(owner__maker__name="a", number=1))[TABLE]
    assert conj.template == whatever.template
    (column,) = related_columns([conj.template])
    assert (column.name, [hop.table for hop in column.path]) == (
        "name",
        ["query_models_owner", "query_models_maker"],
    )
