"""Patterns: whether a text may contain, start with, end with or equal an operand.

A test that ignores case is certain in ASCII only. It rules out a negation only if the case of each
`i` agrees too.
"""

from __future__ import annotations

from collections.abc import Callable

from rover_overrides.conditions.folding import fold, upper_except_i

_Match = Callable[[str, str], bool]
_Test = Callable[[str, str, bool], bool]


def _equal(value: str, operand: str) -> bool:
    return value == operand


def _contains(value: str, operand: str) -> bool:
    return operand in value


_MATCHES: dict[str, _Match] = {
    "contains": _contains,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


def _exactly(match: _Match) -> _Test:
    def test(value: str, operand: str, negated: bool) -> bool:
        return match(value, operand) is not negated

    return test


def _ignoring_case(match: _Match) -> _Test:
    def test(value: str, operand: str, negated: bool) -> bool:
        folded, wanted = fold(value), fold(operand)
        if folded is None or wanted is None:
            return True  # not certain, so the row may match
        return (
            not match(upper_except_i(value), upper_except_i(operand))
            if negated
            else match(folded, wanted)
        )

    return test


PATTERNS: dict[str, _Test] = {
    **{name: _exactly(match) for name, match in _MATCHES.items()},
    **{f"i{name}": _ignoring_case(match) for name, match in _MATCHES.items()},
    "iequal": _ignoring_case(_equal),
}
