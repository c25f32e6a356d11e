"""Keys of calls: equal where a function is called with the same arguments, and never where it is not."""

import datetime as dt
import enum
import itertools
import subprocess
import sys
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.utils.safestring import mark_safe

from rover_overrides.keys.call_keys import call_key

DAY = dt.date(2026, 1, 2)

ARGUMENTS = {
    "text": "1",
    "number": 1,
    "truth": True,
    "real": 1.0,
    "decimal": Decimal(1),
    "decimal of two places": Decimal("1.0"),
    "bytes": b"1",
    "safe text": mark_safe("1"),
    "list": ["1"],
    "tuple": ("1",),
    "set": {"1"},
    "frozen set": frozenset({"1"}),
    "mapping by number": {1: 1},
    "mapping by text": {"1": 1},
    "list of decimals": [Decimal(1)],
    "day": DAY,
    "text of a day": str(DAY),
    "moment": dt.datetime(2026, 1, 2),
    "moment of a zone": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    "time": dt.time(1),
    "span": dt.timedelta(1),
    "member of an enumeration": enum.IntEnum("Number", "ONE").ONE,
    "nothing": None,
    "text of nothing": "None",
}


class Pair(NamedTuple):
    one: Any
    two: Any


def named(value):
    """Name an object as cacheops does: a function by where it is, any other by its text."""
    return (
        [value.__module__, value.__name__, value.__code__.co_firstlineno]
        if hasattr(value, "__code__")
        else str(value)
    )


def key(*args, function=None, extra=None):
    return call_key((function, args, {}, extra), named)


def of_function(function):
    return key(function=function)


def made(value):
    return lambda: value


def with_default(value):
    def function(argument=value, *, other=value):
        return argument, other

    return function


def calling_itself(value):
    def function(depth):
        return value if depth == 0 else function(depth - 1)

    return function


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(ARGUMENTS, 2)])
def test_arguments_of_other_types_or_values_have_other_keys(one, other):
    assert key(ARGUMENTS[one]) != key(ARGUMENTS[other])


@pytest.mark.parametrize("name", ARGUMENTS)
def test_same_argument_has_the_same_key(name):
    assert key(ARGUMENTS[name]) == key(ARGUMENTS[name])


def test_order_in_a_mapping_or_a_set_makes_no_other_key():
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key({"a", "b", "c"}) == key({"c", "b", "a"})


def test_parts_cannot_imitate_each_other():
    assert key(["a", "b"]) != key(["a, b"])
    assert key("a", "b") != key("ab")
    assert key(["a"], []) != key([], ["a"])


@pytest.mark.parametrize("make", [made, with_default, calling_itself])
def test_functions_that_one_def_makes_are_told_apart_by_what_they_hold(make):
    assert of_function(make(1)) == of_function(make(1))
    assert of_function(make(1)) != of_function(make("1"))
    assert of_function(make(made(1))) != of_function(make(made(2)))
    assert of_function(make((1, made("a")))) != of_function(make((1, made("b"))))


@pytest.mark.parametrize("held", [[1], {1: 1}, {1}])
def test_what_a_function_holds_and_may_change_makes_no_other_key(held):
    assert of_function(made(held)) == of_function(made(type(held)()))


def test_function_that_holds_an_unknown_object_shares_its_key_without_asking_it_for_its_text():
    class Asked:
        def __str__(self):
            raise AssertionError("query_models")

    assert of_function(made(Asked())) == of_function(made(Asked()))


def test_parts_of_a_named_tuple_are_told_apart_by_more_than_their_text():
    class Quiet:
        def __init__(self, name):
            self.name = name

        def __repr__(self):
            return "quiet"

        def __str__(self):
            return self.name

    assert key(Pair(Quiet("a"), 1)) == key(Pair(Quiet("a"), 1))
    assert key(Pair(Quiet("a"), 1)) != key(Pair(Quiet("b"), 1))


def test_text_that_is_marked_as_safe_names_a_fragment_as_the_text_does():
    assert key(extra=(mark_safe("fragment"), "1")) == key(extra=("fragment", "1"))
    assert key(extra=("fragment", 1)) != key(extra=("fragment", "1"))


def test_request_has_the_key_of_its_uri():
    class Request:
        def build_absolute_uri(self):
            return "http://site/page"

    found = [
        call_key((None, (asked,), {}), lambda request: request.build_absolute_uri())
        for asked in (Request(), "http://site/page")
    ]
    assert found[0] == found[1]


def test_what_cannot_be_spelled_has_a_key_that_is_never_found_again():
    class Unspellable:
        def __str__(self):
            raise ValueError("no")

    assert key(Unspellable()) != key(Unspellable())


def test_key_is_the_same_in_processes_with_other_hash_seeds():
    code = "from rover_overrides.keys.call_keys import call_key; print(call_key([None, [{'a', 'b', 'c'}], {'x': 1, 'y': (2,)}], str))"
    run = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        for seed in "123"
    ]
    assert len({one.stdout for one in run}) == 1
    assert len(run[0].stdout) == len("0" * 22 + "\n")
