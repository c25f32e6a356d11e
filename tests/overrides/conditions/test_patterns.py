"""Whether a text may meet a pattern, where databases may differ in case."""

import pytest

from rover_overrides.conditions.patterns import PATTERNS

MEETS = [
    # name, value, operand, met, met by the negation
    ("contains", "Delta", "elt", True, False),
    ("contains", "Delta", "ELT", False, True),
    ("contains", "100%", "%", True, False),
    ("contains", "abc", "%", False, True),
    ("startswith", "Delta", "De", True, False),
    ("endswith", "Delta", "De", False, True),
    ("icontains", "Delta", "ELT", True, False),
    ("icontains", "Delta", "x", False, True),
    ("iequal", "Delta", "dELTA", True, False),
    ("iequal", "Delta", "Delta", True, False),
    ("iequal", "Italy", "iTALY", True, True),  # in Turkish they are two words
    ("iequal", "Italy", "Italy", True, False),
    ("istartswith", "Iota", "i", True, True),
    ("istartswith", "\u0131ota", "i", True, True),
    ("iendswith", "abc", "\u212a", True, True),
    ("icontains", "a\0b", "c", True, True),  # LIKE of SQLite ends at NUL
]


@pytest.mark.parametrize(("name", "value", "operand", "met", "negated"), MEETS)
def test_text_may_meet_the_pattern(name, value, operand, met, negated):
    assert PATTERNS[name](value, operand, False) is met
    assert PATTERNS[name](value, operand, True) is negated
