"""A value is the same however it is spelled: a save drops what its row matches for the database,
and nothing else.

A decimal 1.5 and 1.50, a moment in two time zones, -0.0 and 0.0 are equal for the database, but
were spelled apart, so that the save of a row missed the query for it. Both now spell a value of the
column's own type. A value without one certain spelling makes the query depend on more rows.

Drop-When: upstream spells decimals, floats, times and moments of queries and rows alike
"""

import datetime as dt
import enum
import uuid
from decimal import Decimal

import django
import pytest
from django.test import override_settings
from probe_project.models import Article, Label, Measure, Shade

ZONE = dt.timezone(dt.timedelta(hours=9))
NOON = dt.datetime(2024, 6, 1, 12, tzinfo=dt.timezone.utc)


class Code(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    SEVEN = 7


UID = uuid.UUID("12345678-1234-5678-1234-567812345678")

SPELLINGS = {
    "decimal-text": ("amount", "1.50", Decimal("1.5"), Decimal("1.51")),
    "decimal-places": ("amount", Decimal("1.5"), Decimal("1.50"), Decimal("15.0")),
    "decimal-int": ("amount", 2, Decimal("2.00"), Decimal("2.01")),
    "decimal-float": ("amount", 1.5, Decimal("1.5"), Decimal("1.4")),
    "decimal-exponent": ("amount", Decimal("1E+2"), Decimal(100), Decimal(10)),
    "decimal-zero": ("amount", Decimal("-0.00"), Decimal(0), Decimal("0.01")),
    "decimal-row-text": ("amount", Decimal("1.5"), "1.50", "1.51"),
    "float-int": ("ratio", 2, 2.0, 2.5),
    "float-text": ("ratio", "2.50", 2.5, 2.0),
    "float-zero": ("ratio", 0.0, -0.0, 1e-300),
    "float-minus-zero": ("ratio", -0.0, 0.0, 1e-300),
    "moment-zone": ("moment", NOON.astimezone(ZONE), NOON, NOON + dt.timedelta(hours=9)),
    "moment-row-zone": ("moment", NOON, NOON.astimezone(ZONE), NOON.replace(tzinfo=ZONE)),
    "moment-text": ("moment", "2024-06-01T21:00:00+09:00", NOON, NOON.replace(tzinfo=ZONE)),
    "day-text": ("day", "2024-06-01", dt.date(2024, 6, 1), dt.date(2024, 6, 2)),
    "clock-text": ("clock", "12:30", dt.time(12, 30), dt.time(12, 31)),
    "span-units": ("span", dt.timedelta(minutes=60), dt.timedelta(hours=1), dt.timedelta(hours=2)),
    "address-case": ("address", "2001:DB8::0:1", "2001:db8::1", "2001:db8::2"),
    "address-row-case": ("address", "2001:db8::1", "2001:DB8:0::1", "2001:DB8::2"),
    "uid-text": ("uid", str(UID), UID, uuid.uuid4()),
    "uid-row-text": ("uid", UID, UID.hex.upper(), uuid.uuid4().hex),
    "text-enum": ("code", Code.RED, "red", "blue"),
    "text-row-enum": ("code", "red", Code.RED, "Code.RED"),
}


def pks(model, **conditions):
    return lambda: list(
        model.objects.filter(**conditions).order_by("pk").values_list("pk", flat=True)
    )


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_spelling_of_the_value_drops_result_and_other_values_keep_it(probe, spelling):
    field, operand, same, other = SPELLINGS[spelling]
    read = pks(Measure, **{field: operand})
    assert probe.fill(read) == []
    Measure(pk=8, **{field: other}).save()
    probe.assert_kept(read)
    Measure(pk=9, **{field: same}).save()
    assert probe.assert_dropped(read) == [9]


@pytest.mark.parametrize("operand", [Number.SEVEN, "7", True + 6])
def test_other_spelling_of_a_number_drops_result(probe, operand):
    read = pks(Article, pages=operand)
    assert probe.fill(read) == []
    Article(pk=8, title="Delta", pages=8).save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", pages="7").save()
    assert probe.assert_dropped(read) == [9]


def test_list_of_spellings_counts(probe):
    read = pks(Measure, amount__in=["1.5", Decimal("2.50"), 3])
    assert probe.fill(read) == []
    Measure(pk=7, amount=Decimal("1.55")).save()
    probe.assert_kept(read)
    Measure(pk=8, amount=Decimal("2.5")).save()
    assert probe.assert_dropped(read) == [8]
    probe.fill(read)
    Measure(pk=9, amount=3).save()
    assert probe.assert_dropped(read) == [8, 9]


def test_value_that_the_column_rounds_stays_fresh(probe):
    read = pks(Measure, amount=Decimal("1.12"))
    assert probe.fill(read) == []
    Measure(pk=9, amount=Decimal("1.1200001")).save()
    assert read() == list(
        Measure.objects.nocache().filter(amount=Decimal("1.12")).values_list("pk", flat=True)
    )


COLLATED = [Shade, Label] if django.VERSION >= (3, 2) else [Shade]


@pytest.mark.parametrize("model", COLLATED)
@pytest.mark.parametrize("condition", [{"name": "red"}, {"name__in": ["red", "blue"]}])
def test_equality_under_a_collation_without_case_stays_fresh(probe, model, condition):
    read = lambda: model.objects.filter(**condition).count()
    assert probe.fill(read) == 0
    model(name="RED").save()
    assert read() == model.objects.nocache().filter(**condition).count()


def test_switched_off_it_is_coarser_and_fresh(probe):
    with override_settings(CACHEOPS_ROVER_OFF=("canonical-values",)):
        read = pks(Measure, amount=Decimal("1.5"))
        assert probe.fill(read) == []
        Measure(pk=8, amount=Decimal("1.51")).save()
        probe.assert_dropped(read)
        probe.fill(read)
        Measure(pk=9, amount=Decimal("1.50")).save()
        assert probe.assert_dropped(read) == [9]
