"""Digests of SQL and parameters: unambiguous, the same in every process, and never an exception."""

import array
import datetime as dt
import decimal
import enum
import functools
import json
import math
import os
import subprocess
import sys
import uuid

import pytest
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe

from rover_overrides.keys import encoding

SQL = "SELECT %s"


def sql_digest(sql, params):
    return encoding.statement_digest(sql, tuple(params), ())


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Json:
    """An adapter with slots and a text that leaves most of its value out, as psycopg's Jsonb."""

    __slots__ = ("dumps", "obj")

    def __init__(self, obj, dumps=None):
        self.obj = obj
        self.dumps = dumps

    def __repr__(self):
        return "Json(...)"


class Unpicklable:
    def __reduce_ex__(self, protocol):
        raise RuntimeError("never")


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def cycle():
    value = []
    value.append(value)
    return value


UTC = dt.timezone.utc  # noqa: UP017 - Python 3.9 has no other name for it
NOON = dt.datetime(2026, 11, 24, 12)
DIFFERENT = [
    None, "None", True, 1, 1.0, "1", b"1", bytearray(b"1"), memoryview(b"1"), decimal.Decimal(1), Number.ONE, "True",
    decimal.Decimal("1.0"), 0.0, -0.0, math.inf, "", b"", (), [], {}, set(), frozenset(), {1}, frozenset({1}), {"1"},
    "red", Colour.RED, mark_safe("red"), [1, 2], [[1], 2], [1, [2]], (1, 2), ["1, 2"], ["1", "2"], ["1', '2"], {"a": 1},
    {"a": "1"}, NOON, NOON.date(), str(NOON), NOON.replace(fold=1), NOON.replace(tzinfo=UTC),
    NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))), uuid.UUID(int=1), str(uuid.UUID(int=1)),
    Json({"a": 1}), Json({"a": 2}), Json({"a": 1}, json.dumps), Json({"a": 1}, functools.partial(json.dumps, indent=1)),
    "\ud800", "\udc00", array.array("b", [1]), 10**30, -1, "\x00", "\x00\x00", memoryview(array.array("H", [1])),
]  # fmt: skip
UNSTABLE = [Json(1, lambda value: value), Unpicklable(), lazystr("red"), nested(100_000), cycle()]


def test_values_that_differ_in_type_or_content_have_digests_of_their_own():
    digests = [sql_digest(SQL, (value,)) for value in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)


@pytest.mark.parametrize("value", DIFFERENT, ids=range(len(DIFFERENT)))
def test_digest_of_a_value_is_repeated(value):
    assert sql_digest(SQL, (value,)) == sql_digest(SQL, (value,))


@pytest.mark.parametrize("value", DIFFERENT, ids=range(len(DIFFERENT)))
def test_short_way_of_spelling_is_the_same_spelling(value):
    if type(value) in encoding.PLAIN:
        assert encoding._plain_bytes((SQL, (value, value))) == encoding._stable_bytes(
            (SQL, (value, value))
        )


@pytest.mark.parametrize("value", UNSTABLE, ids=range(len(UNSTABLE)))
def test_value_without_a_stable_spelling_never_has_the_same_digest_again(value):
    assert sql_digest(SQL, (value,)) != sql_digest(SQL, (value,))


def test_boundary_between_sql_and_parameters_is_kept():
    assert sql_digest("SELECT %s, 'a'", ("b",)) != sql_digest("SELECT %s, %s", ("b", "a"))
    assert sql_digest(SQL, ("a", "b")) != sql_digest(SQL, (("a", "b"),))


def test_list_and_tuple_of_parameters_are_the_same():
    assert sql_digest(SQL, ["a"]) == sql_digest(SQL, ("a",))


def test_equal_texts_need_not_be_one_object():
    text = "RED".lower()
    assert sql_digest(SQL, ("red", text)) == sql_digest(SQL, ("red", "red"))


def test_digest_is_the_same_on_every_python():
    params = ("red", 1, None, 1.5, decimal.Decimal("1.50"), b"x")
    assert (
        sql_digest(SQL, params)
        == "d32d04e644406e7746665312d9c12f671e855d57c386ebbc382e379677cbace7"
    )


def test_digest_is_the_same_in_processes_that_hash_differently():
    code = (
        "from rover_overrides.keys.encoding import digest;"
        "print(digest(('SELECT %s', ({'a', 'b', 'c', 'd'}, frozenset('efgh'), {'x': {'i', 'j', 'k'}}))))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(digests) == 1
