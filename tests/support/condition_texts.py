"""Conditions as the analysis spells them."""

import json

from rover_overrides.conditions.conditions import Conj


def equal(column, value="1"):
    """A condition whose value a row gives: every such one of a column has the same template."""
    return Conj(spelled(column, "exact", None), (value,))


def among(column, *operands):
    """A condition with operands in its template; without them nothing is left of it."""
    return Conj(spelled(column, "in", list(operands)), ())


def equal_and_among(column, value, other, *operands):
    items = json.loads(spelled(column, "exact", None)) + json.loads(
        spelled(other, "in", list(operands))
    )
    return Conj(dumped(items), (value,))


def spelled(column, op, operands):
    return dumped([[[], column, "", op, operands, 0]])


def dumped(items):
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False)
