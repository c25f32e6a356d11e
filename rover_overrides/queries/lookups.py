"""The atoms of one lookup, as far as it is known what it compares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models.expressions import Col
from django.db.models.functions import datetime as datetime_functions
from django.db.models.functions.datetime import TimezoneMixin

from rover_overrides.conditions.canonical_values import (
    NotComparableError,
    kind_of,
    max_digits,
    stores_none_as_null,
)
from rover_overrides.conditions.conditions import Atom, Column, encode_operand
from rover_overrides.core.switches import is_enabled
from rover_overrides.introspection.django_classes import (
    cached_by_identity,
    is_django_lookup,
    is_unpatched_django_class,
)
from rover_overrides.introspection.schema import field_of

AliasedAtom = tuple[str, Atom]
"""An alias of the query, and an atom on one of its columns."""
Disjunction = list[frozenset[AliasedAtom]]

ANYTHING: Disjunction = [frozenset()]

SHORT_IN_OPERANDS = 4
"""An IN with fewer operands becomes as many equalities, any other becomes one atom with a list."""

_PARTS = frozenset(
    one
    for one in vars(datetime_functions).values()
    if isinstance(one, type)
    and issubclass(one, TimezoneMixin)
    and isinstance(getattr(one, "lookup_name", None), str)
)
"""The functions behind Django's lookups of parts of dates and times."""
_FLOAT_DIGITS = 15
"""Up to how many digits SQLite distinguishes decimals, which it stores as floats."""


class Backend(NamedTuple):
    """How a database compares values."""

    vendor: str
    utc: bool
    """Whether stored moments sort in chronological order."""
    known: bool = True
    """Whether the backend is one of Django's own; how another one compares is unknown."""

    @property
    def bytewise(self) -> bool:
        """Whether text is compared by its bytes, unless a collation is named."""
        return self.vendor in {"postgresql", "sqlite"}

    def compares(self, kind: str, field: Any) -> bool:
        """Return whether values of a kind compare in the database as they do in Python."""
        if not self.known:
            return False
        if kind == "text":
            return self.bytewise
        if kind == "datetime":
            return self.utc
        return not (
            kind == "decimal" and self.vendor == "sqlite" and max_digits(field) > _FLOAT_DIGITS
        )


class OperandPlace(str):
    """Stands for the operand of an equality, whose value does not matter to the analysis."""

    __slots__ = ()


class ComparedColumn:
    """The left side of a lookup: a column or a part of one."""

    def __init__(self, alias: str, field: Any, column: Column, backend: Backend) -> None:
        self.alias, self.field, self.column, self.backend = alias, field, column, backend

    @property
    def kind(self) -> str | None:
        """The kind of the column itself, or None if this database may compare it differently."""
        kind = kind_of(self.field)
        return kind if kind is not None and self.backend.compares(kind, self.field) else None

    def atom(self, op: str, *operands: Any, negated: bool = False) -> frozenset[AliasedAtom]:
        """Return a conj of one atom.

        Raises NotComparableError if an operand has no canonical text.
        """
        if self.kind is None:
            raise NotComparableError
        texts = tuple(
            sorted({encode_operand(self.field, self.column.part, operand) for operand in operands})
        )
        return self.atom_from_text(op, *texts, negated=negated)

    def atom_from_text(self, op: str, *texts: str, negated: bool = False) -> frozenset[AliasedAtom]:
        """Return a conj of one atom whose operands are in canonical text already."""
        return frozenset({(self.alias, Atom(self.column, op, texts, negated))})


def lookup_atoms(lookup: Any, backend: Backend, *, negated: bool) -> Disjunction:
    """Return a lookup, or its negation, as a disjunction; `ANYTHING` if it is not understood."""
    compared = _compared(lookup, backend)
    if compared is None:
        return ANYTHING
    try:
        return _lookup_disjunction(compared, lookup.lookup_name, lookup.rhs, negated=negated)
    except NotComparableError:
        return ANYTHING


def merge_equalities(part: Disjunction) -> Disjunction:
    """Return equalities of one column as one atom with a list; other disjunctions as they are."""
    found = [next(iter(conj)) for conj in part if len(conj) == 1]
    same = {(alias, atom.column) for alias, atom in found if atom.op == "exact"}
    if len(found) < len(part) or len(same) != 1 or not all(atom.op == "exact" for _, atom in found):
        return part
    alias, column = same.pop()
    return [
        frozenset(
            {(alias, Atom(column, "in", tuple(sorted(atom.operand[0] for _, atom in found))))}
        )
    ]


def _compared(lookup: Any, backend: Backend) -> ComparedColumn | None:
    """Return the left side of one of Django's own lookups with a plain operand, or None."""
    if (
        not is_django_lookup(lookup)
        or getattr(lookup, "bilateral_transforms", None)
        or _is_expression(lookup.rhs)
    ):
        return None
    lhs: Any = lookup.lhs
    part: str | None = ""
    if (
        type(lhs) in _PARTS
        and is_unpatched_django_class(type(lhs))
        and is_enabled("lookup-conditions")
    ):
        part, lhs = _part(lhs), lhs.lhs
    if type(lhs) is not Col or part is None or not _is_comparable_alike(lhs.target):
        return None
    if lhs.output_field is not lhs.target and kind_of(lhs.output_field) != kind_of(lhs.target):
        return None
    return ComparedColumn(lhs.alias, lhs.target, Column((), str(lhs.target.column), part), backend)


@cached_by_identity
def _is_comparable_alike(field: Any) -> bool:
    """Return whether writers treat a column as a query does: a table may have several models."""
    model = getattr(field, "model", None)
    other = None if model is None else field_of(model._meta.db_table, field.column)
    return other is None or other is field or kind_of(other) == kind_of(field)


def _part(transform: Any) -> str | None:
    """Return the name and the time zone of a part, or None if the query sets its own time zone."""
    target = getattr(transform.lhs, "target", None)
    # Django ignores a time zone of the query when it compares a year by its bounds.
    if target is None or transform.tzinfo is not None:
        return None
    zone = transform.get_tzname() if kind_of(target) == "datetime" else None
    return f"{transform.lookup_name}@{zone or ''}"


def _is_expression(operand: Any) -> bool:
    operands: Iterable[Any] = (
        operand if isinstance(operand, (list, tuple, set, frozenset)) else (operand,)
    )
    return any(hasattr(item, "as_sql") or hasattr(item, "resolve_expression") for item in operands)


def _lookup_disjunction(
    compared: ComparedColumn, name: str, operand: Any, *, negated: bool
) -> Disjunction:
    if name == "isnull":
        # Oracle stores '' as NULL.
        if (
            not (stores_none_as_null(compared.field) and compared.backend.known)
            or compared.backend.vendor == "oracle"
        ):
            return ANYTHING
        return [compared.atom_from_text("isnull", "1" if bool(operand) is not negated else "0")]
    if name == "exact" and operand is not None and not negated:
        if type(operand) is OperandPlace and compared.kind is not None:
            return [compared.atom_from_text("exact", operand)]
        return [compared.atom("exact", operand)]
    if name == "in" and not negated:
        return _in(compared, [item for item in operand if item is not None])
    if name == "iexact" and not negated and is_enabled("iexact-conditions"):
        # The module goes with its feature, so it is imported only where that is enabled.
        from rover_overrides.queries.iexact import iexact_atoms

        return iexact_atoms(compared, operand)
    if is_enabled("lookup-conditions"):
        from rover_overrides.queries.comparisons import comparison_atoms

        return comparison_atoms(compared, name, operand, negated=negated)
    return ANYTHING


def _in(compared: ComparedColumn, operands: list[Any]) -> Disjunction:
    """Return a short IN as equalities, a longer one as one atom with a list."""
    if len(operands) < SHORT_IN_OPERANDS:
        return [compared.atom("exact", operand) for operand in operands]
    return [compared.atom("in", *operands)] if is_enabled("long-in-conditions") else ANYTHING
