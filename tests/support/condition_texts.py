"""Conditions as the analysis spells them."""

import json

from rover_overrides.conditions.conditions import Conj


def equal(column, value="1"):
    """A condition whose value a row gives: every such one of a column has the same template."""
    return Conj(one_condition(column, "exact", None), (value,))


def among(column, *operands):
    """A condition with operands in its template; without them nothing is left of it."""
    return Conj(one_condition(column, "in", list(operands)), ())


def equal_and_among(column, value, other, *operands):
    items = json.loads(one_condition(column, "exact", None)) + json.loads(
        one_condition(other, "in", list(operands))
    )
    return Conj(as_json(items), (value,))


def one_condition(column, op, operands):
    return as_json([[[], column, "", op, operands, 0]])


def as_json(items):
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False)
