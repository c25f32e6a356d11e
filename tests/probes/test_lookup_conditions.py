"""Comparisons, ranges, parts of dates, patterns, NULL and negations count as conditions.

Of Django's lookups only equality, IN and isnull counted; any other made the result depend on its
whole table. Now whoever writes a row holds it against the operands in use, in Python: gt to range,
the parts of dates and times, contains to iendswith, and the negation of each. Text is not ordered
here, for its order is the collation's.

Code: queries.comparisons
Drop-When: upstream counts those lookups as conditions
"""

import datetime as dt

import pytest
from django.db.models import DateTimeField, Q
from django.test import override_settings
from django.utils import timezone
from probe_project.models import Article, Measure


def pks(model, *args, **conditions):
    return lambda: list(
        model.objects.filter(*args, **conditions).order_by("pk").values_list("pk", flat=True)
    )


def holds(probe, model, condition, outside, inside):
    """Assert that rows outside of a condition keep its result, and that one inside drops it."""
    condition = condition if isinstance(condition, Q) else Q(**condition)
    read = pks(model, condition)
    before = probe.fill(read)
    for number, fields in enumerate(outside):
        model(pk=50 + number, **fields).save()
        probe.assert_kept(read)
    model(pk=90, **inside).save()
    assert probe.assert_dropped(read) == [*before, 90]


NUMBERS = {
    "gt": (5, [5, 4], 6),
    "gte": (5, [4], 5),
    "lt": (-5, [-5, 0], -6),
    "lte": (-5, [-4], -5),
    "range": ((10, 20), [9, 21], 20),
}


@pytest.mark.parametrize("lookup", NUMBERS)
def test_number_outside_the_bounds_keeps_result(probe, lookup):
    operand, outside, inside = NUMBERS[lookup]
    rows = [{"title": "x", "pages": number} for number in outside]
    holds(probe, Article, {"pages__" + lookup: operand}, rows, {"title": "x", "pages": inside})


@pytest.mark.parametrize("lookup", NUMBERS)
@pytest.mark.parametrize("field", ["amount", "ratio"])
def test_fraction_outside_the_bounds_keeps_result(probe, lookup, field):
    operand, outside, inside = NUMBERS[lookup]
    # SQLite keeps more places of a decimal than Django reads, so a value that reads as the bound may be beyond it.
    rows = [{field: number} for number in outside if (field, number) != ("amount", operand)] + [
        {field: None}
    ]
    holds(probe, Measure, {field + "__" + lookup: operand}, rows, {field: inside})


NOON = dt.datetime(2024, 2, 29, 12, 30, 15, tzinfo=dt.timezone.utc)
LATER = dt.datetime(2025, 4, 30, 23, 45, 59, tzinfo=dt.timezone.utc)
PARTS = {
    "moment__gt": NOON + dt.timedelta(days=1),
    "moment__range": (NOON + dt.timedelta(days=1), NOON + dt.timedelta(days=1000)),
    "moment__date": dt.date(2025, 4, 30),
    "moment__date__gt": dt.date(2025, 3, 1),
    "moment__time": dt.time(23, 45, 59),
    "moment__year": 2025,
    "moment__year__gte": 2025,
    "moment__year__in": [2023, 2025],
    "moment__iso_year": 2025,
    "moment__month": 4,
    "moment__month__range": (4, 12),
    "moment__day": 30,
    "moment__week": 18,
    "moment__week_day": 4,
    "moment__iso_week_day": 3,
    "moment__quarter__in": [2, 3],
    "moment__hour": 23,
    "moment__hour__gt": 12,
    "moment__minute": 45,
    "day__year": 2025,
    "day__gte": dt.date(2024, 3, 1),
    "day__month": 4,
    "day__day__gt": 29,
    "clock__gt": dt.time(12, 30, 15),
    "clock__hour": 23,
    "span__gt": dt.timedelta(hours=1),
}


if "iso_week_day" not in DateTimeField.get_lookups():  # before Django 3.1
    del PARTS["moment__iso_week_day"]


@pytest.mark.parametrize("lookup", PARTS)
def test_part_of_another_time_keeps_result(probe, lookup):
    field = lookup.partition("__")[0]
    values = {
        "moment": (NOON, LATER),
        "day": (NOON.date(), LATER.date()),
        "clock": (NOON.time(), LATER.time()),
        "span": (dt.timedelta(hours=1), dt.timedelta(hours=2)),
    }
    outside, inside = values[field]
    with timezone.override("UTC"):
        holds(
            probe,
            Measure,
            {lookup: PARTS[lookup]},
            [{field: outside}, {field: None}],
            {field: inside},
        )


def test_date_is_taken_in_the_current_time_zone(probe):
    late = dt.datetime(2024, 6, 1, 23, 30, tzinfo=dt.timezone.utc)
    with timezone.override("Asia/Tokyo"):
        read = pks(Measure, moment__date=dt.date(2024, 6, 2))
        assert probe.fill(read) == []
        Measure(pk=1, moment=late - dt.timedelta(hours=12)).save()
        probe.assert_kept(read)
    Measure(pk=2, moment=late).save()  # by somebody in another zone
    with timezone.override("Asia/Tokyo"):
        assert probe.assert_dropped(read) == [2]


PATTERNS = {
    "contains": ("elt", ["Dell", "alp"], "Delta"),
    "icontains": ("ELT", ["Dell", "alp"], "Delta"),
    "startswith": ("De", ["Alde", "Ale"], "Delta"),
    "istartswith": ("dE", ["Alde", "Ale"], "Delta"),
    "endswith": ("ta", ["tad", "ale"], "Delta"),
    "iendswith": ("TA", ["tad", "ale"], "Delta"),
    "contains-percent": ("%", ["x", "\\"], "100%"),
    "startswith-underscore": ("_", ["x", "a_"], "_a"),
    "icontains-backslash": ("\\", ["x", "/"], "a\\b"),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("field", ["title", "body"])
def test_text_beside_the_pattern_keeps_result(probe, pattern, field):
    operand, outside, inside = PATTERNS[pattern]
    condition = {"%s__%s" % (field, pattern.partition("-")[0]): operand}
    holds(probe, Article, condition, [{field: text} for text in outside], {field: inside})


def test_text_beyond_ascii_drops_result_of_pattern_without_case(probe):
    read = pks(Article, title__icontains="istan")
    assert probe.fill(read) == []
    Article(pk=9, title="\u0131stanbul").save()
    probe.assert_dropped(read)


def test_regular_expression_stays_fresh(probe):
    read = pks(Article, title__regex="^D.*a$")
    assert probe.fill(read) == []
    Article(pk=9, title="Delta").save()
    assert probe.assert_dropped(read) == [9]


def test_null_counts(probe):
    holds(probe, Article, {"subtitle__isnull": False}, [{"subtitle": None}], {"subtitle": ""})


def test_not_null_counts(probe):
    read = pks(Article, subtitle__isnull=True, title="Delta")
    assert probe.fill(read) == []
    Article(pk=8, title="Delta", subtitle="").save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", subtitle=None).save()
    assert probe.assert_dropped(read) == [9]


NEGATIONS = {
    "exact": (~Q(title="Delta"), "Delta", "Epsilon"),
    "in": (~Q(title__in=["Delta", "Beta"]), "Delta", "Epsilon"),
    "iexact": (~Q(title__iexact="Delta"), "Delta", "Epsilon"),
    "contains": (~Q(title__contains="elt"), "Delta", "Epsilon"),
    "istartswith": (~Q(title__istartswith="De"), "Delta", "Epsilon"),
    "or": (~(Q(title="Delta") | Q(title="Omega")), "Omega", "Epsilon"),
    "nested": (~Q(~Q(title="Delta")), "Epsilon", "Delta"),
}


@pytest.mark.parametrize("negation", NEGATIONS)
def test_row_that_a_negation_leaves_out_keeps_result(probe, negation):
    condition, outside, inside = NEGATIONS[negation]
    holds(probe, Article, condition, [{"title": outside}], {"title": inside})


@pytest.mark.parametrize(
    ("lookup", "operand", "outside", "inside"),
    [("gt", 5, 6, 5), ("lte", 5, 5, 6), ("range", (5, 7), 7, 8)],
)
def test_number_that_a_negation_leaves_out_keeps_result(probe, lookup, operand, outside, inside):
    rows = [{"title": "x", "pages": outside}]
    holds(
        probe, Article, ~Q(**{"pages__" + lookup: operand}), rows, {"title": "x", "pages": inside}
    )


def test_exclude_keeps_and_drops(probe):
    read = lambda: list(
        Article.objects.exclude(subtitle="x").order_by("pk").values_list("pk", flat=True)
    )
    assert probe.fill(read) == [1, 2, 3]
    Article(pk=8, title="Delta", subtitle="x").save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", subtitle=None).save()
    assert probe.assert_dropped(read) == [1, 2, 3, 9]


def test_save_across_a_bound_drops_result(probe):
    read = pks(Article, pages__gte=3)
    assert probe.fill(read) == [3]
    article = Article.objects.nocache().get(pk=3)
    article.pages = 0
    article.save()
    assert probe.assert_dropped(read) == []


def test_condition_of_related_table_counts(probe):
    read = pks(Article, section__name__startswith="Cul", pages__gt=1)
    assert probe.fill(read) == []
    Article(pk=8, title="Delta", pages=9, section_id=2).save()
    probe.assert_kept(read)
    section = Article.objects.nocache().get(pk=2).section
    section.name = "Culture"
    section.save()
    assert probe.assert_dropped(read) == [2, 3, 8]


def test_switched_off_it_is_coarser_and_fresh(probe):
    with override_settings(CACHEOPS_ROVER_OFF=("lookup-conditions",)):
        read = pks(Article, pages__gt=5)
        assert probe.fill(read) == []
        Article(pk=8, title="Delta", pages=4).save()
        probe.assert_dropped(read)
        probe.fill(read)
        Article(pk=9, title="Delta", pages=6).save()
        assert probe.assert_dropped(read) == [9]
