"""What the gate takes for the same answer: the value, its type, and what hangs on it."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from answer_difference import difference


class Money(Decimal):
    """A value with an attribute that its pickle loses."""


def money(text, vendor):
    made = Money(text)
    made.vendor = vendor
    return made


SAME = [
    ([1, "a", None, b"x"], [1, "a", None, b"x"]),
    ([{"a": 1}], [{"a": 1}]),
    ({1, 2, 3}, {3, 2, 1}),
    (float("nan"), float("nan")),
    (memoryview(b"x"), memoryview(b"x")),
    (money("1.0", "x"), money("1.0", "x")),
]


@pytest.mark.parametrize(("one", "two"), SAME)
def test_equal_answers_are_the_same(one, two):
    assert not difference(one, two)


OTHERS = [
    (1, True, ": builtins.bool True in place of builtins.int 1"),
    (383.69, 383, ": builtins.int 383 in place of builtins.float 383.69"),
    (Decimal("1.0"), Decimal("1.00"), ": Decimal('1.00') in place of Decimal('1.0')"),
    ([1, 2], [2, 1], "[0]: 2 in place of 1"),
    ([1, 2], [1], ": 1 items in place of 2"),
    ([{"a": 1}], [{"a": 1, "b": 2}], "[0]: keys ['a', 'b'] in place of ['a']"),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ": keys ['b', 'a'] in place of ['a', 'b']"),
    ((1,), [1], ": builtins.list [1] in place of builtins.tuple (1,)"),
    (money("1.0", "x"), money("1.0", "y"), "['vendor']: 'y' in place of 'x'"),
    (money("1.0", "x"), Money("1.0"), ": keys [] in place of ['vendor']"),
]


@pytest.mark.parametrize(("one", "two", "words"), OTHERS)
def test_answers_differ_in_value_type_and_order(one, two, words):
    assert difference(one, two) == words


def test_equal_moments_of_two_zones_differ():
    one = datetime(2024, 1, 1, tzinfo=UTC)
    assert "in place of" in difference(one, one.astimezone(timezone(timedelta(hours=1))))


def test_the_callers_own_object_has_no_double():
    own = money("1.0", "x")
    double = money("1.0", "x")
    assert not difference([own], [double])
    assert difference([own], [double], {id(own): own}) == "[0]: not the caller's own Money"
    assert not difference([own], [own], {id(own): own})


def test_answers_may_contain_themselves():
    one, two = [], []
    one.append(one)
    two.append(two)
    assert not difference(one, two)
