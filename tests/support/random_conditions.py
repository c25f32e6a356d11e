"""Random conditions and rows for the tables of `query_models`, and what the engine says of a row."""

import datetime as dt
import uuid
from decimal import Decimal

from django.db import connections
from django.db.models import Q
from hypothesis import strategies as st

from rover_overrides.conditions.conditions import TRUE, related_columns
from rover_overrides.conditions.matching import conditions_met_by
from rover_overrides.rows.related_rows import with_related
from rover_overrides.rows.rows import with_changed_columns
from tests.support.query_models import models

UTC, TOKYO = dt.UTC, dt.timezone(dt.timedelta(hours=9))
TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "AB",
    "aB",
    "b",
    "%",
    "_",
    "\\",
    "a%b",
    "a_b",
    "\\a",
    "é",
    "É",
    "ı",
    "I",
    "i",
    "İ",
    "ß",
    "SS",
    "K",
    "k",
    "ſ",
    "s",
    "ﬁ",
    "'",
    '"',
    " a",
    "a ",
]
NUMBERS = [-1, 0, 1, 2, 7, 10**12, 2**53 + 1]
MOMENT = dt.datetime(2024, 12, 31, 23, 30, 15, tzinfo=UTC)
MOMENTS = [
    MOMENT,
    MOMENT.replace(microsecond=1),
    MOMENT.astimezone(TOKYO),
    MOMENT + dt.timedelta(hours=1),
    dt.datetime(2024, 3, 31, 1, 30, tzinfo=UTC),  # an hour that Prague has twice, or not
    dt.datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
    dt.datetime(2021, 1, 3, tzinfo=UTC),
    dt.datetime(2, 1, 1, tzinfo=UTC),
]
DAYS = [dt.date(2024, 12, 31), dt.date(2025, 1, 1), dt.date(2021, 1, 3), dt.date(2024, 2, 29)]
CLOCKS = [dt.time(0), dt.time(12, 30, 15), dt.time(12, 30, 15, 500000), dt.time(23, 59, 59)]
UIDS = [uuid.UUID(int=number) for number in (0, 1, 2**127)]

VALUES = {
    "text": TEXTS,
    "body": TEXTS,
    "name": TEXTS,
    "number": NUMBERS,
    "rank": [-1, 0, 1, 2],
    "amount": [
        Decimal(text) for text in ("0", "-0.00", "1.5", "1.50", "1.51", "100", "1E+2", "-1.25")
    ],
    "ratio": [0.0, -0.0, 1.5, 2.0, -2.0, 1e300, 0.1, 0.1 + 0.2],
    "flag": [True, False],
    "moment": MOMENTS,
    "day": DAYS,
    "clock": CLOCKS,
    "span": [
        dt.timedelta(0),
        dt.timedelta(hours=1),
        dt.timedelta(days=1, microseconds=1),
        dt.timedelta(-1),
    ],
    "uid": UIDS,
    "owner": [1, 2, 3],
    "maker": [1, 2],
    "tags": [1, 2],
    "items": [1, 2],
    "owners": [1, 2],
    "pk": [1, 2, 99],
    "address": ["::1", "10.0.0.1", "::ffff:10.0.0.1", "2001:DB8::1", "2001:db8:0::1"],
}
SPELLINGS = {
    "number": ["1", "7", True, 1.0],
    "amount": ["1.50", 1.5, 2, Decimal("1.509")],
    "ratio": ["1.5", 2, Decimal("1.5"), float("inf")],
    "flag": [1, 0],
    "moment": ["2024-12-31T23:30:15Z", "2025-01-01T08:30:15+09:00"],
    "day": ["2024-12-31"],
    "clock": ["12:30:15"],
    "uid": [str(UIDS[1]), UIDS[2].hex.upper()],
    "text": [1, True],
}
ORDERED = ["gt", "gte", "lt", "lte"]
PATTERNS = [
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "iexact",
    "regex",
    "iregex",
]
DATES = {
    "year": [2024, 2025, 2, "2024"],
    "iso_year": [2020, 2024, 2025],
    "month": [1, 3, 12],
    "day": [1, 3, 31],
    "week": [1, 53],
    "week_day": [1, 3],
    "iso_week_day": [2, 7],
    "quarter": [1, 4],
}
TIMES = {"hour": [0, 8, 12, 23], "minute": [0, 30], "second": [0, 15]}
PARTS = {
    "moment": {**DATES, **TIMES, "date": DAYS, "time": CLOCKS},
    "day": DATES,
    "clock": TIMES,
}
_UNORDERED = {"flag", "owner", "maker", "tags", "items", "owners"}


def leaves(field):
    """Return a strategy of (lookup, operand) for a column."""
    name = field.rpartition("__")[2]
    operands = VALUES[name] + SPELLINGS.get(name, [])
    choices = [
        *_compared(operands, ordered=name not in _UNORDERED),
        st.tuples(st.just("isnull"), st.booleans()),
    ]
    if name in {"text", "body", "name"}:
        choices += [
            st.tuples(st.just(pattern), st.sampled_from(TEXTS).filter(_is_regex(pattern)))
            for pattern in PATTERNS
        ]
    for part, numbers in PARTS.get(name, {}).items():
        choices += [_within(part, choice) for choice in _compared(numbers, ordered=True)]
    return st.one_of(choices)


def _compared(operands, *, ordered):
    one = st.sampled_from(operands)
    yield st.tuples(st.just("exact"), one)
    yield st.tuples(st.just("in"), st.lists(one, max_size=9))
    if ordered:
        yield from (st.tuples(st.just(lookup), one) for lookup in ORDERED)
        yield st.tuples(st.just("range"), st.tuples(one, one))


def _within(part, choice):
    return choice.map(lambda leaf: (f"{part}__{leaf[0]}", leaf[1]))


def _is_regex(pattern):
    return (lambda text: "\\" not in text) if "regex" in pattern else (lambda text: True)


def trees(fields, size=8):
    """Return a strategy of Q trees over columns."""
    leaf = st.sampled_from(fields).flatmap(
        lambda field: leaves(field).map(lambda found: Q(**{f"{field}__{found[0]}": found[1]}))
    )
    return st.recursive(leaf, _combined, max_leaves=size)


def _combined(inner):
    pair = st.tuples(inner, inner)
    return st.one_of(
        inner.map(lambda one: ~one),
        pair.map(lambda two: two[0] & two[1]),
        pair.map(lambda two: two[0] | two[1]),
        pair.map(lambda two: two[0] ^ two[1]),
    )


FEW = {"name": ["a", "b"], "text": ["a", "b"], "number": [0, 1], "rank": [0, 1], "pk": [1, 2]}
FEW.update({name: [1, 2] for name in _UNORDERED if name != "flag"})


def small_trees(fields):
    """Return a strategy of small Q trees over few values, so that rows often meet them."""

    def leaf(field):
        one = st.sampled_from(FEW[field.rpartition("__")[2]])
        exact = st.tuples(
            st.sampled_from(["exact", "in"] if field in {"text", "name"} else ["exact"]), one
        )
        choice = st.one_of(
            exact, st.tuples(st.just("isnull"), st.sampled_from([True, True, False]))
        )
        return choice.map(
            lambda found: Q(
                **{f"{field}__{found[0]}": [found[1]] if found[0] == "in" else found[1]}
            )
        )

    return st.recursive(st.sampled_from(fields).flatmap(leaf), _combined, max_leaves=3)


def every_lookup(name):
    """Yield every (lookup, operand) that a column is compared with."""
    operands = VALUES[name] + SPELLINGS.get(name, [])
    yield from _every(operands, ordered=name not in _UNORDERED)
    yield from (("isnull", flag) for flag in (True, False))
    if name in {"text", "body", "name"}:
        yield from (
            (pattern, text) for pattern in PATTERNS for text in TEXTS if _is_regex(pattern)(text)
        )
    for part, numbers in PARTS.get(name, {}).items():
        yield from (
            (f"{part}__{lookup}", operand) for lookup, operand in _every(numbers, ordered=True)
        )


def _every(operands, *, ordered):
    for number, operand in enumerate(operands):
        other = operands[number - 1]
        yield "exact", operand
        yield "in", [operand, other]
        yield "in", [operand, *operands[:4]]
        if ordered:
            yield from ((lookup, operand) for lookup in ORDERED)
            yield "range", (operand, other)
            yield "range", (other, operand)
    yield "in", []


def rows(fields, *, given=False):
    """Return a strategy of a row's values."""
    return st.fixed_dictionaries(
        {
            name: st.one_of(
                st.none(),
                st.sampled_from(VALUES[name] + (SPELLINGS.get(name, []) if given else [])),
            )
            for name in fields
        }
    )


def row_of(instance):
    """Return a row by column name, as a write reports it."""
    return {
        field.column: getattr(instance, field.attname) for field in instance._meta.concrete_fields
    }


def drops_result(alias, found, model, *changed):
    """Return whether rows of a model drop a result of these dependencies; two are one row as it was and as it is."""
    table = model._meta.db_table
    conjs = found.get(table, [])
    if TRUE in conjs:
        return True
    templates = {conj.template for conj in conjs}
    versions = list(with_changed_columns(table, *changed)) if len(changed) == 2 else changed
    for row in with_related(alias, (), related_columns(templates), versions, ()):
        meets = conditions_met_by(table, templates, row)
        if meets is None or not meets.isdisjoint(conjs):
            return True
    return False


def create_tables(alias):
    with connections[alias].schema_editor() as editor:
        for model in models.MODELS:
            editor.create_model(model)


def empty_tables(alias):
    with connections[alias].cursor() as cursor:
        for model in reversed([*models.MODELS[:4], models.Item.tags.through]):
            cursor.execute(f'DELETE FROM "{model._meta.db_table}"')


def state(alias):
    """Return all rows of all tables, by model and primary key."""
    return {
        model: {row.pk: row_of(row) for row in model.objects.using(alias)}
        for model in (*models.MODELS[:4], models.Item.tags.through)
    }


def changed(before, after):
    """Yield the model of each row that differs between two states, and the row in both."""
    for model, rows_before in before.items():
        for pk in {**rows_before, **after[model]}:
            old, new = rows_before.get(pk), after[model].get(pk)
            if old != new:
                yield model, [row for row in (old, new) if row is not None]
