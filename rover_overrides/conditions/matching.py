"""Which conditions rows meet: the templates of a table, prepared to be compared with many rows.

Templates that compare the same columns form a group. A group is evaluated once for each
combination of values in those columns, however many rows have it.
"""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from rover_overrides.conditions.canonical_values import (
    COMPARABLE_AS_IS,
    NotComparableError,
    converter_of,
    decoder_of,
    encoder_of,
    kind_of,
)
from rover_overrides.conditions.conditions import (
    CHANGED,
    TRUE,
    Atom,
    Column,
    Conj,
    ParsedTemplate,
    Row,
    decode_template,
    parse_template,
    with_wildcards,
)
from rover_overrides.conditions.date_parts import part_kind, part_of
from rover_overrides.conditions.folding import WILDCARD, fold
from rover_overrides.conditions.patterns import PATTERNS
from rover_overrides.core.bounded_table import approximate_bytes
from rover_overrides.introspection.schema import field_of

_UNCERTAIN: Any = object()
"""A value that a row lacks or that cannot be compared, and the operand computed from it."""

# Makes a conj from its tuple without a call of a Python function.
_new_conj: Callable[[tuple[str, tuple[str, ...]]], Conj] = partial(tuple.__new__, Conj)

_Read = Callable[[Row], Any]
_Encode = Callable[[Any], str]
_Meets = Callable[[Any], bool]


class _UnknownValueError(Exception):
    """The row may meet conjs that cannot be computed."""


class TableMatcher:
    """The templates of a table, ready to be compared with rows.

    It applies the settings that are in effect when it is made. Raise ValueError, LookupError or
    TypeError for a template of another version.
    """

    def __init__(self, table: str, templates: Iterable[str]) -> None:
        self._readers: dict[tuple[Column, bool], _Read] = {}
        members: dict[_Signature, list[str]] = {}
        for template in templates:
            members.setdefault(_signature(parse_template(template)), []).append(template)
        for signature in members:
            for column, is_null_test in signature.sources:
                make = _null_reader if is_null_test else _value_reader
                self._readers.setdefault((column, is_null_test), make(table, column))
        positions = {source: number for number, source in enumerate(self._readers)}
        self._groups = [
            _Group(table, signature, some, positions) for signature, some in members.items()
        ]
        self.operand_bytes = sum([group.operand_bytes for group in self._groups])
        """About how many bytes the operands take that are in the templates."""

    def conjs_met_by(self, rows: Iterable[Row]) -> set[Conj] | None:
        """Return the conjs that any of the rows meets, or None if one of them may meet any."""
        found = {TRUE}
        readers = [*self._readers.values()]
        seen: list[set[Any]] = [set() for _ in self._groups]
        try:
            for row in rows:
                changed = row.get(CHANGED)
                values = tuple([read(row) for read in readers])
                for group, keys in zip(self._groups, seen):
                    if (
                        changed is not None
                        and group.reads is not None
                        and group.reads.isdisjoint(changed)
                    ):
                        continue
                    key = group.key_of(values)
                    if key not in keys:
                        keys.add(key)
                        found.update(group.conjs(key))
        except (_UnknownValueError, LookupError, TypeError, ValueError):
            return None
        return found


def conditions_met_by(table: str, templates: Iterable[str], *rows: Row) -> set[Conj] | None:
    """Return the conjs that any of the rows meets, or None if one of them may meet any."""
    try:
        matcher = TableMatcher(table, templates)
    except (LookupError, TypeError, ValueError):  # a template of another version
        return None
    return matcher.conjs_met_by(rows)


class _Signature(NamedTuple):
    """What templates of one group have in common: the columns that they compare and read."""

    row_operands: tuple[tuple[Column, str], ...]
    tested: tuple[Column, ...]
    reads: tuple[str, ...] | None
    has_related_columns: bool

    @property
    def sources(self) -> list[tuple[Column, bool]]:
        """The columns, each with whether only its being NULL counts; those of operands first."""
        return [
            *((column, op == "isnull") for column, op in self.row_operands),
            *((column, False) for column in self.tested),
        ]


def _signature(parsed: ParsedTemplate) -> _Signature:
    return _Signature(
        tuple(parsed.row_operands),
        tuple(parsed.tested),
        parsed.reads,
        parsed.has_related_columns,
    )


class _Group:
    """Templates with one signature. The key of a row is its values of their columns."""

    def __init__(
        self,
        table: str,
        signature: _Signature,
        templates: Iterable[str],
        positions: dict[tuple[Column, bool], int],
    ) -> None:
        sources = signature.sources
        at = [positions[source] for source in sources]
        # A slice gives a tuple even for one column or none.
        self.key_of: Callable[[Any], Any] = (
            itemgetter(*at)
            if len(at) > 1
            else itemgetter(slice(at[0], at[0] + 1) if at else slice(0))
        )
        self.reads = None if signature.reads is None else frozenset(signature.reads)
        self._encoders = [_encoder(table, column, op) for column, op in signature.row_operands]
        self._has_related_columns = signature.has_related_columns
        tested = {
            column: number
            for number, column in enumerate(signature.tested, len(signature.row_operands))
        }
        self._templates = list(templates)
        self.operand_bytes = 0
        self._members = [
            (
                template,
                [
                    (tested[atom.column], self._test(table, atom))
                    for atom in decode_template(template)
                    if atom.is_test
                ],
            )
            for template in (self._templates if tested else ())
        ]

    def _test(self, table: str, atom: Atom) -> _Meets:
        meets, operand = _test_and_operand(table, atom)
        self.operand_bytes += approximate_bytes(operand)
        return meets

    def conjs(self, key: Sequence[Any]) -> list[Conj]:
        """Return the conjs that rows with a key meet.

        Raises _UnknownValueError if a value is unknown and only the row's own columns are compared.
        """
        count = len(self._encoders)
        if None in key[count:]:  # neither a comparison with NULL nor its negation is true
            return []
        met = self._templates
        if self._members:
            met = []
            for template, tests in self._members:
                for position, meets in tests:
                    value = key[position]
                    if value is not _UNCERTAIN and not meets(value):
                        break
                else:  # a row with an uncertain value may meet a test
                    met.append(template)
        operands: Any = []
        for encode, value in zip(self._encoders, key):
            is_known = value is not None and value is not _UNCERTAIN
            operands.append(encode(value) if is_known else value)
        operands = tuple(operands)
        if met and _UNCERTAIN in operands:
            if not self._has_related_columns:
                raise _UnknownValueError
            return [with_wildcards(Conj(template, operands)) for template in met]
        return [] if None in operands else [_new_conj((template, operands)) for template in met]


def _field_of(table: str, column: Column) -> Any:
    return field_of(column.path[-1].table if column.path else table, column.name)


def _kind_of(field: Any, part: str) -> str | None:
    """Return how values of a field, or of a part of them, compare, or None if they do not."""
    kind = kind_of(field) if field is not None else None
    return part_kind(kind, part) if kind is not None and part else kind


def _value_reader(table: str, column: Column) -> _Read:
    """Return a function of a row that returns the comparable value of a column, None for NULL."""
    field = _field_of(table, column)
    kind = _kind_of(field, "")
    # A related column is in the row once, for all of its parts.
    key: Any = column._replace(part="") if column.path else column.name
    convert = None if kind is None else converter_of(kind)
    part, as_is = column.part, None if column.part else COMPARABLE_AS_IS.get(kind or "")

    def read(row: Row) -> Any:
        value = row.get(key, _UNCERTAIN)
        if value is None or type(value) is as_is:
            return value
        if convert is None or value is _UNCERTAIN:
            return _UNCERTAIN
        try:
            value = convert(field, value)
            return part_of(value, part) if part else value
        except (NotComparableError, ValueError):
            return _UNCERTAIN

    return read


def _null_reader(_table: str, column: Column) -> _Read:
    """Return a function of a row that returns whether a column is NULL."""
    key: Any = column if column.path else column.name

    def read(row: Row) -> Any:
        value = row.get(key, _UNCERTAIN)
        return value if value is _UNCERTAIN else value is None

    return read


def _encoder(table: str, column: Column, op: str) -> _Encode:
    """Return a function from a value to the operand with which a row meets an operator."""
    if op == "isnull":
        return _IS_NULL_TEXTS.__getitem__
    if op == "iexact":
        return _folded
    kind = _kind_of(_field_of(table, column), column.part)
    # Without a kind no value of the column is comparable.
    return str if kind is None else encoder_of(kind)


_IS_NULL_TEXTS = {True: "1", False: "0"}


def _folded(value: Any) -> str:
    folded = fold(value)
    return WILDCARD if folded is None else folded


def _test_and_operand(table: str, atom: Atom) -> tuple[_Meets, Any]:
    """Return a function of a value that returns whether it may meet an atom, and what it holds."""
    op, negated = atom.op, atom.negated
    if op in PATTERNS:
        matches, text = PATTERNS[op], atom.operand[0]
        return lambda value: matches(value, text, negated), text
    kind = _kind_of(_field_of(table, atom.column), atom.column.part)
    if kind is None:
        return _always, None  # no value of the column is comparable
    decode = decoder_of(kind)
    if op != "in":
        operand = decode(atom.operand[0])
        return partial(_MIRRORED[op, negated], operand), operand
    values = frozenset(map(decode, atom.operand))
    if negated:
        return lambda value: value not in values, values
    # The hashes of a list take a twentieth of its bytes. Values whose hashes are equal by chance
    # count as in the list, so the values themselves are needed for NOT IN.
    hashes = array("q", sorted(set(map(hash, values))))
    return partial(_is_in, hashes), hashes


def _is_in(hashes: Sequence[int], value: Any) -> bool:
    place = bisect_left(hashes, hash(value))
    return place < len(hashes) and hashes[place] == hash(value)


def _always(_value: Any) -> bool:
    return True


# What the operand, which comes first here, is to a value that meets the test.
_MIRRORED: dict[tuple[str, bool], Callable[[Any, Any], bool]] = {
    ("gt", False): operator.lt,
    ("gt", True): operator.ge,
    ("gte", False): operator.le,
    ("gte", True): operator.gt,
    ("lt", False): operator.gt,
    ("lt", True): operator.le,
    ("lte", False): operator.ge,
    ("lte", True): operator.lt,
}
