"""However a client combines conditions, their analysis is linear in their number and few keys
hold the result.

The conditions of a query were multiplied out: exclude() of 18 OR-ed pairs took seconds of CPU and
doubled with each pair, five 7-item INs made 16,807 keys to read at each hit. With filters written
by clients either stops a server. Now the tree is walked once, and a condition that would make too
many is left out, which only makes more rows matter. A result depends on at most 32 keys.

What has no fixed value (Now(), random order) is not cached. A query with raw SQL depends on its
whole tables.

Drop-When: upstream's analysis is linear in the size of a query, and bounds its keys
"""

import sys
from functools import reduce
from operator import or_

import pytest
from django.db.models import Q
from django.test import override_settings
from probe_project.models import Article, Wide

KEYS = 32
COLUMNS = "abcdefghijk"


def count(*args, **conditions):
    return lambda: Article.objects.filter(*args, **conditions).count()


def calls_of(read):
    """Return how many functions Python calls for `read`."""
    calls = 0

    def watch(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        read()
    finally:
        sys.setprofile(before)
    return calls


def pairs(number):
    return reduce(or_, (Q(title="title %d" % n, slug="slug-%d" % n) for n in range(number)))


def lists(number):
    return reduce(
        lambda one, other: one & other,
        (Q(**{column + "__in": range(number)}) for column in COLUMNS[:4]),
    )


def kinds_of_keys(probe):
    return [key for key in probe.keys() if "conj:" in key]


def test_analysis_of_an_excluded_or_is_linear(probe):
    count(~pairs(2))()  # imports and the like
    small, large = (calls_of(count(~pairs(number))) for number in (5, 10))
    assert large < 3 * small, "twice the pairs take %.0f times the calls" % (large / small)


def test_analysis_of_lists_is_linear(probe):
    read = lambda number: lambda: Wide.objects.filter(lists(number)).count()
    read(1)()
    small, large = (calls_of(read(number)) for number in (2, 6))
    assert large < 4 * small, "lists three times as long take %.0f times the calls" % (
        large / small
    )


@pytest.mark.parametrize(
    "condition",
    [lists(3), reduce(or_, (Q(**{column: 1}) & Q(k=n) for n, column in enumerate(COLUMNS * 5)))],
)
def test_result_depends_on_few_keys(probe, condition):
    read = lambda: Wide.objects.filter(condition).count()
    assert probe.fill(read) == 0
    found = kinds_of_keys(probe)
    assert len(found) <= KEYS, "%d keys" % len(found)
    Wide(pk=1, a=2, b=2, c=2, d=2, k=0).save()
    Wide(pk=2, a=1, k=0).save()
    assert probe.assert_dropped(read) > 0


def test_condition_that_fits_counts_beside_one_that_does_not(probe):
    read = count(~pairs(10), pages=7)
    assert probe.fill(read) == 0
    Article(pk=8, title="Delta", pages=8).save()
    probe.assert_kept(read)
    Article(pk=9, title="Delta", pages=7).save()
    assert probe.assert_dropped(read) == 1


def test_switched_off_it_is_coarser_and_fresh(probe):
    with override_settings(CACHEOPS_ROVER_OFF=("bounded-analysis",)):
        read = count(pages=7)
        inner = count(pages__in=Article.objects.filter(title="Delta").values("pages"))
        assert (probe.fill(read), probe.fill(inner)) == (0, 0)
        Article(pk=8, title="Epsilon", pages=8).save()
        probe.assert_dropped(read)
        probe.fill(read)
        Article(pk=9, title="Delta", pages=7).save()
        assert (probe.assert_dropped(read), probe.assert_dropped(inner)) == (1, 1)
