"""The conditions of `iexact`: equality of text without regard to case."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise

from rover_overrides.conditions.folding import fold
from rover_overrides.queries.lookups import ANYTHING, ComparedColumn, Disjunction


def iexact_atoms(compared: ComparedColumn, operand: Any) -> Disjunction:
    """Return the condition of an `iexact`; `ANYTHING` for an operand that is not ASCII text."""
    # Unlike other lookups, iexact does not prepare its operand: the database gets its text.
    text = str(operand) if isinstance(operand, (int, Promise)) else operand
    if compared.kind != "text" or compared.column.part or not isinstance(text, str):
        return ANYTHING
    wanted = fold(str.__str__(text))
    return ANYTHING if wanted is None else [compared.atom_from_text("iexact", wanted)]
