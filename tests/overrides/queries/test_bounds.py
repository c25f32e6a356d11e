"""Whatever a client combines, the analysis does work in proportion, and few keys hold the result."""

import functools
import operator
import sys

import pytest
from django.db.models import Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover_overrides.cache.results import MAX_KEYS, bound_dependencies
from rover_overrides.queries.analysis import dependencies
from tests.support.query_models.models import Item

LEAVES = 2000
CALLS_PER_LEAF = 300
FEW_CALLS = 3000
CHECKED = settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
COLUMNS = [
    "text",
    "body",
    "number",
    "ratio",
    "owner__name",
    "owner__maker__name",
    "tags__name",
    "maker__rank",
    "day__year",
]


def calls_of(function):
    """Return what a function gives, and how many functions Python and C it called to get there."""
    calls = 0

    def watch(frame, event, argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(watch)
    try:
        found = function()
    finally:
        sys.setprofile(None)
    return found, calls


def analysed(queryset, leaves):
    dependencies(
        Item.objects.filter(balanced(0, 30))
    )  # what a process finds out once of each class
    found, calls = calls_of(lambda: dependencies(queryset))
    assert calls <= FEW_CALLS + CALLS_PER_LEAF * leaves, f"{calls} calls for {leaves} conditions"
    kept = bound_dependencies(found)
    assert sum(map(len, (kept or {}).values())) <= MAX_KEYS
    return found


def balanced(seed, size):
    """Return a Q tree of a number of leaves; connectors, negations and columns follow from the seed."""
    waiting = [_leaf(seed, number) for number in range(size)]
    number = 0
    while len(waiting) > 1:
        number += 1
        one, other, rest = waiting[0], waiting[1], waiting[2:]
        choice = (seed * 31 + number * 17) % 7
        joined = one & other if choice < 3 else one | other
        waiting = [*rest, ~joined if choice in {2, 6} else joined]
    return waiting[0]


def _leaf(seed, number):
    column = COLUMNS[(seed + number * 7) % len(COLUMNS)]
    lookup = ["", "__in", "__isnull"][(seed + number) % 3]
    value = {"": number % 5, "__in": [number % 5, 7], "__isnull": bool(number % 2)}[lookup]
    return Q(**{column + lookup: value})


@given(seed=st.integers(0, 10_000), size=st.integers(1, LEAVES))
@CHECKED
def test_random_tree_is_analysed_in_linear_time(seed, size):
    analysed(Item.objects.filter(balanced(seed, size)), size)


def pairs(number):
    return functools.reduce(operator.or_, (Q(text=f"text {n}", number=n) for n in range(number)))


SHAPES = {
    "excluded-pairs": (lambda n: ~pairs(n // 2)),
    "pairs": (lambda n: pairs(n // 2)),
    "and-of-ors": lambda n: functools.reduce(
        operator.and_, (Q(number=i) | Q(text=str(i)) for i in range(n // 2))
    ),
    "and": lambda n: functools.reduce(operator.and_, (~Q(number=i) for i in range(n))),
    "or": lambda n: functools.reduce(operator.or_, (Q(number=i) for i in range(n))),
    "lists": lambda n: functools.reduce(
        operator.and_,
        (
            Q(**{column + "__in": range(max(1, n // 5))})
            for column in ("number", "text", "body", "owner", "maker")
        ),
    ),
}


@pytest.mark.parametrize("size", [18, 36, LEAVES])
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_is_analysed_in_linear_time(shape, size):
    analysed(Item.objects.filter(SHAPES[shape](size)), size)


@pytest.mark.parametrize("size", [10, 200])
def test_joins_are_analysed_in_linear_time(size):
    queryset = Item.objects.all()
    for number in range(size):
        queryset = queryset.filter(tags__name=f"tag {number}")
    found = analysed(queryset, 2 * size)
    assert all(conjs for conjs in found.values())


def test_five_lists_of_seven_still_count():
    found = analysed(Item.objects.filter(SHAPES["lists"](35)), 35)
    assert all(conj.template for conj in found["query_models_item"]), "any row would matter"


def test_tree_as_deep_as_django_goes_is_analysed():
    tree = Q(number=0)
    for number in range(1, 150):
        tree = ~(tree | Q(number=number)) if number % 2 else tree & Q(text=str(number))
    analysed(Item.objects.filter(tree), 150)
