"""The table of lookups in the docs says what is found by running."""

import os

import pytest

from tests.support.lookups import lookups_page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("the table of lookups")]

MUST = {
    "CharField": [
        "exact",
        "iexact",
        "in",
        "isnull",
        "contains",
        "icontains",
        "startswith",
        "istartswith",
        "endswith",
        "iendswith",
    ],
    "TextField": [
        "exact",
        "iexact",
        "in",
        "isnull",
        "contains",
        "icontains",
        "startswith",
        "istartswith",
        "endswith",
        "iendswith",
    ],
    "IntegerField": ["exact", "in", "isnull", "gt", "gte", "lt", "lte", "range"],
    "DateField": [
        "exact",
        "range",
        "year",
        "iso_year",
        "month",
        "day",
        "week",
        "week_day",
        "iso_week_day",
        "quarter",
    ],
    "DateTimeField": [
        "exact",
        "range",
        "date",
        "time",
        "year",
        "month",
        "day",
        "week",
        "hour",
        "minute",
        "second",
    ],
    "TimeField": ["exact", "gt", "hour", "minute", "second"],
}


@pytest.fixture(scope="module")
def current():
    """Find the table."""
    return lookups_page.current_document()


def test_document_is_what_is_found(current):
    if os.environ.get("WRITE_DOCS"):
        lookups_page.DOCUMENT.write_text(current[0])
    assert lookups_page.DOCUMENT.read_text() == current[0], "next: run this with WRITE_DOCS=1"


@pytest.mark.parametrize("field", MUST)
def test_promised_lookups_count_everywhere_on_the_wheel(current, field):
    _, _, wheel = current
    for lookup in MUST[field]:
        # Through a reverse relation `isnull=True` asks for the absence of a row too.
        expected = [True, True, lookup != "isnull", True, True]
        assert wheel[field, lookup] == expected, (
            f"{field} {lookup}: {dict(zip(lookups_page.PLACES, wheel[field, lookup], strict=True))}"
        )


def test_nothing_that_counts_on_bare_upstream_is_lost(current):
    _, bare, wheel = current
    pairs = {key: list(zip(bare[key], wheel[key], strict=True)) for key in bare}
    assert [key for key, found in pairs.items() if (True, False) in found] == []


def test_nothing_is_stale_on_the_wheel(current):
    _, _, wheel = current
    assert [key for key, found in wheel.items() if "stale" in found] == []
