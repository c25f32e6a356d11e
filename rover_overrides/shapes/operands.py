"""What a lookup adds to a query's shape, and the parameters that Django makes of its operand.

A lookup is known by its class, its column and the connection. What is not exactly Django's own, or
has a value for which Django's SQL might differ, raises UnknownShapeError.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import TextChoices, fields, lookups
from django.db.models.expressions import Col
from django.db.models.fields import related, related_lookups

from rover_overrides.introspection.django_classes import is_django_field, is_unpatched_django_class

MAX_READERS = 4096
"""How many operand readers a process keeps."""


class UnknownShapeError(Exception):
    """The query has something by which its SQL may differ in a way that is not known here."""


Params = list[Any]
OperandReader = Callable[[Any, Any, Params], Any]
"""Appends the parameters of an operand on a connection, and returns what it adds to the shape."""
Acceptance = Callable[[Collection[Any]], None]
Preparation = Callable[[Any, Any], Any]

_TYPES: dict[type, frozenset[type]] = {
    kind: frozenset({held})
    for names, held in (
        (
            "AutoField BigAutoField SmallAutoField IntegerField BigIntegerField SmallIntegerField",
            int,
        ),
        ("PositiveIntegerField PositiveBigIntegerField PositiveSmallIntegerField", int),
        ("CharField TextField SlugField EmailField URLField", str),
        ("BooleanField", bool),
        ("DateField", dt.date),
        ("DateTimeField", dt.datetime),
        ("TimeField", dt.time),
        ("DurationField", dt.timedelta),
        ("DecimalField", Decimal),
        ("FloatField", float),
        ("UUIDField", UUID),
    )
    for name in names.split()
    if (kind := getattr(fields, name, None)) is not None
}
"""The types that the values of a field have once they are prepared, by the class of the field."""

_KEYS = (related.ForeignKey, related.OneToOneField)
# Cached properties of Django's that no SQL depends on.
_COMPUTED = frozenset(
    """
    allowed_default contains_aggregate contains_column_references contains_over_clause
    contains_subquery convert_value identity is_summary output_field _output_field_or_none
""".split()  # noqa: SIM905 - it reads better than thirty quotes
)
_NAMES_OF_A_COLUMN = _COMPUTED | {"_constructor_args", "alias", "target"}
_NAMES_OF_A_LOOKUP = _COMPUTED | {"_constructor_args", "bilateral_transforms", "lhs", "rhs"}


def _named(module: Any, *names: str) -> frozenset[type]:
    return frozenset(getattr(module, name) for name in names if hasattr(module, name))


_COMPARISONS = _named(
    lookups,
    "Exact",
    "GreaterThan",
    "GreaterThanOrEqual",
    "IntegerFieldExact",
    "IntegerGreaterThan",
    "IntegerGreaterThanOrEqual",
    "IntegerLessThan",
    "IntegerLessThanOrEqual",
    "LessThan",
    "LessThanOrEqual",
) | _named(
    related_lookups,
    "RelatedExact",
    "RelatedGreaterThan",
    "RelatedGreaterThanOrEqual",
    "RelatedLessThan",
    "RelatedLessThanOrEqual",
)
_LISTS = _named(lookups, "In") | _named(related_lookups, "RelatedIn")
_PATTERNS = _named(
    lookups, "Contains", "EndsWith", "IContains", "IEndsWith", "IStartsWith", "StartsWith"
)
_EXPRESSIONS = _named(lookups, "IRegex", "Regex")
_NULLS = _named(lookups, "IsNull") | _named(related_lookups, "RelatedIsNull")

# Keyed by ids; the objects are kept, so that no others get these ids.
_readers: dict[tuple[type, int, int], tuple[Any, OperandReader]] = {}


def read_column(column: Any) -> tuple[Any, ...]:
    """Return the shape of a column; raise UnknownShapeError unless it is Django's own."""
    if type(column) is not Col or column.output_field is not column.target:
        raise UnknownShapeError
    if not column.__dict__.keys() <= _NAMES_OF_A_COLUMN:
        raise UnknownShapeError
    return column.alias, id(column.target)


def read_lookup(lookup: Any, connection: Any, backend: int, params: Params) -> tuple[Any, ...]:
    """Return the shape of a lookup, and append its parameters as Django would send them.

    `backend` is the number of what the connection supports.
    """
    held = lookup.__dict__
    column = held["lhs"]
    if (
        not held.keys() <= _NAMES_OF_A_LOOKUP
        or held["bilateral_transforms"]
        or type(column) is not Col
        or not column.__dict__.keys() <= _NAMES_OF_A_COLUMN
    ):
        raise UnknownShapeError
    kind, target = type(lookup), column.target
    if column.output_field is not target:
        raise UnknownShapeError
    try:
        reader = _readers[kind, id(target), backend][1]
    except KeyError:
        reader = _reader(kind, target, connection, backend)
    return kind, column.alias, id(target), reader(held["rhs"], connection, params)


def _reader(kind: type, target: Any, connection: Any, backend: int) -> OperandReader:
    if len(_readers) >= MAX_READERS:
        _readers.clear()
    made = _make_reader(kind, target, connection)
    _readers[kind, id(target), backend] = target, made
    return made


def _make_reader(kind: type, target: Any, connection: Any) -> OperandReader:
    field = _prepared_by(target)
    types = _TYPES.get(type(field))
    if types is None or not is_unpatched_django_class(kind) or not is_django_field(target):
        return _read_unknown
    if kind in _NULLS:
        return _read_null
    if types == {bool}:
        return _read_boolean if kind is lookups.Exact else _read_unknown
    if kind in _PATTERNS or kind in _EXPRESSIONS or kind is lookups.IExact:
        return _text_reader(kind) if types == {str} else _read_unknown
    low, high = _bounds(field, connection)
    accept, prepare = _acceptance(types, low, high), _preparation(field, connection)
    if kind in _COMPARISONS:
        return _comparison_reader(types, low, high, accept, prepare)
    if kind is lookups.Range:
        return _range_reader(accept, prepare)
    if kind in _LISTS and not connection.ops.max_in_list_size():
        return _list_reader(accept, prepare)
    return _read_unknown


def _prepared_by(target: Any) -> Any:
    """Return the field that prepares the values of a column: for a key, that of its target."""
    return target.target_field if type(target) in _KEYS else target


def _preparation(field: Any, connection: Any) -> Preparation | None:
    """Return what makes a parameter of a prepared value, or None if Django sends it as it is."""
    if isinstance(field, (fields.CharField, fields.TextField, fields.FloatField)):
        return None
    if isinstance(field, fields.IntegerField) and _sends_integers(type(connection.ops)):
        return None
    prepare = field.get_db_prep_value
    return lambda value, connection: prepare(value, connection, prepared=True)


def _sends_integers(operations: type) -> bool:
    name = "adapt_integerfield_value"
    return getattr(operations, name, None) is getattr(BaseDatabaseOperations, name, None)


def _bounds(field: Any, connection: Any) -> tuple[float, float]:
    """Return the numbers between which Django compares a value with a column.

    It leaves out a comparison with a number that the column cannot hold.
    """
    if _TYPES[type(field)] != {int}:
        return -math.inf, math.inf
    low, high = connection.ops.integer_field_range(field.get_internal_type())
    return -math.inf if low is None else low, math.inf if high is None else high


def _acceptance(types: frozenset[type], low: float, high: float) -> Acceptance:
    """Return what raises UnknownShapeError for values that Django may compare in another way."""

    def accept(values: Collection[Any]) -> None:
        if not types.issuperset(map(type, values)) and not (
            types == {str}
            and all(type(value) is str or isinstance(value, TextChoices) for value in values)
        ):
            raise UnknownShapeError
        if types == {int} and (min(values) < low or max(values) > high):
            raise UnknownShapeError

    return accept


def _read_unknown(*_: Any) -> Any:
    raise UnknownShapeError


def _read_null(operand: Any, _connection: Any, _params: Params) -> Any:
    if type(operand) is not bool:
        raise UnknownShapeError
    return operand


# Django writes the value of a boolean into the SQL.
_read_boolean = _read_null


def _text_reader(kind: type) -> OperandReader:
    pattern = getattr(kind, "param_pattern", None)
    is_iexact = kind is lookups.IExact

    def read(operand: Any, connection: Any, params: Params) -> Any:
        if type(operand) is not str:
            raise UnknownShapeError
        if is_iexact:
            operand = connection.ops.prep_for_iexact_query(operand)
        elif pattern is not None:
            operand = pattern % connection.ops.prep_for_like_query(operand)
        params.append(operand)

    return read


def _comparison_reader(
    types: frozenset[type],
    low: float,
    high: float,
    accept: Acceptance,
    prepare: Preparation | None,
) -> OperandReader:
    def read(operand: Any, connection: Any, params: Params) -> Any:
        if type(operand) is not int or int not in types or not low <= operand <= high:
            accept((operand,))
        params.append(operand if prepare is None else prepare(operand, connection))

    return read


def _range_reader(accept: Acceptance, prepare: Preparation | None) -> OperandReader:
    def read(operand: Any, connection: Any, params: Params) -> Any:
        if type(operand) not in {list, tuple} or len(operand) != 2:
            raise UnknownShapeError
        accept(operand)
        params += operand if prepare is None else [prepare(one, connection) for one in operand]

    return read


def _list_reader(accept: Acceptance, prepare: Preparation | None) -> OperandReader:
    """Read a list as Django does: without None, and each value once. Its SQL shows the number."""

    def read(operand: Any, connection: Any, params: Params) -> Any:
        if type(operand) not in {list, tuple, set, frozenset}:
            raise UnknownShapeError
        values = dict.fromkeys(operand)
        values.pop(None, None)
        if not values:
            raise UnknownShapeError
        accept(values)
        params += values if prepare is None else [prepare(one, connection) for one in values]
        return len(values)

    return read
