"""Which operands and row values are folded, and which conjs a query gets for them."""

import enum

import pytest
from django.db import models
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, IExact
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe

from rover_overrides.iexact import ANY, MAX_OPERANDS, add_any, add_folded, fold, folds, iexact_terms


class Colour(str, enum.Enum):
    RED = "red"


class Shade(models.TextChoices):
    DARK = "Dark"


class Encrypted(models.CharField):
    def get_db_prep_value(self, value, connection, prepared=False):
        return value[::-1]


class Labelled(models.CharField):
    def formfield(self, **kwargs):
        return None


class Custom(IExact):
    pass


def lookup(rhs, field=None, kind=IExact):
    field = field or models.CharField()
    field.attname = "name"
    return kind(Col("t", field), rhs)


ASCII = "".join(map(chr, range(128)))


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        ("Alpha", "alpha"),
        ("", ""),
        (ASCII, "".join(chr(n + 32) if 65 <= n <= 90 else chr(n) for n in range(128))),
        (mark_safe("Alpha"), "alpha"),
        (Shade.DARK, "dark"),
        ("\u0131", None),
        ("\u212a", None),  # the Kelvin sign, which lower() makes a k
        ("stra\u00dfe", None),
        ("\ud800", None),
        (1, None),
        (None, None),
        (b"Alpha", None),
    ],
)
def test_only_ascii_text_is_folded(value, folded):
    assert fold(value) == folded


def test_enum_whose_text_is_not_its_content_is_not_folded():
    assert fold(Colour.RED) == ("red" if str(Colour.RED) == "red" else None)


def test_folded_text_is_plain():
    assert type(fold(Shade.DARK)) is str
    assert type(fold(mark_safe("a"))) is str


@pytest.mark.parametrize("text", [ASCII, "any", "ANY"])
def test_no_folded_text_is_the_mark(text):
    assert fold(text) != ANY


@pytest.mark.parametrize(
    "field",
    [models.CharField(), models.SlugField(), models.TextField(), models.EmailField(), models.URLField(), Labelled()],
)
def test_text_fields_fold(field):
    assert folds(field)


@pytest.mark.parametrize(
    "field",
    [
        models.IntegerField(),
        models.UUIDField(),
        models.GenericIPAddressField(),
        models.FileField(),
        models.CharField(db_collation="NOCASE"),
        models.TextField(db_collation="NOCASE"),
        Encrypted(),
    ],
)
def test_other_columns_do_not_fold(field):
    assert not folds(field)


@pytest.mark.parametrize(("rhs", "folded"), [("Red", "red"), (42, "42"), (lazystr("Red"), "red"), ("", "")])
def test_operand_gives_a_term(rhs, folded):
    assert iexact_terms()(lookup(rhs)) == ("t", "name__iexact", folded, True)


@pytest.mark.parametrize(
    "coarse",
    [
        lookup("r\u00e9d"),
        lookup(True),
        lookup(1.5),
        lookup("red", kind=Custom),
        lookup("red", kind=Exact),
        lookup("red", models.CharField(db_collation="C")),
    ],
)
def test_what_is_not_described_gives_no_term(coarse):
    assert iexact_terms()(coarse) is None


def test_operands_past_the_limit_give_no_term():
    term = iexact_terms()
    given = [term(lookup("red")) for _ in range(MAX_OPERANDS + 3)]
    assert [bool(one) for one in given] == [True] * MAX_OPERANDS + [False] * 3


def test_conj_without_operand_stays_as_it_is():
    assert add_any([{"pages": 1}, {}]) == [{"pages": 1}, {}]


def test_conj_with_operands_gets_one_more_for_each():
    conj = {"a__iexact": "x", "pages": 1, "b__iexact": "y"}
    assert add_any([conj]) == [conj, {"pages": 1, "a__iexact": ANY}, {"pages": 1, "b__iexact": ANY}]


def test_operands_of_one_column_share_the_additional_conj():
    assert add_any([{"a__iexact": "x"}, {"a__iexact": "y"}])[2:] == [{"a__iexact": ANY}]


def test_values_that_are_equal_in_python_alone_are_kept_apart():
    added = add_any([{"a__iexact": "x", "n": 1}, {"a__iexact": "x", "n": True}])[2:]
    assert [str(conj["n"]) for conj in added] == ["1", "True"]


@pytest.mark.parametrize(
    ("row", "value"),
    [({"name": "Red"}, "red"), ({"name": None}, None), ({"name": "r\u00e9d"}, ANY), ({"name": 5}, ANY), ({}, ANY)],
)
def test_row_gets_the_folded_value_of_its_text(row, value):
    text, number = models.CharField(), models.IntegerField()
    text.attname, number.attname = "name", "pages"
    assert add_folded([text, number], row) == {**row, "name__iexact": value}
