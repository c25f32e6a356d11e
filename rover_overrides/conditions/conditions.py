"""Row conditions that a cached query depends on, encoded so that another process can test a row.

An *atom* compares one column. A *conj* is a conjunction of atoms: a row must meet all of them. Its
`template` is their text, without the operands of atoms that test equality; its `values` are these
operands. A writer takes the templates in use on its table and computes the `values` from its row.
So it gets each conj that the row meets without a search.

If it is not certain whether a row meets a conj, the row counts as meeting it: an atom may be
dropped, but it must never be made stronger.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union

from rover_overrides.conditions.canonical_values import (
    NotComparableError,
    encode_value,
    kind_of,
    to_comparable,
)
from rover_overrides.conditions.date_parts import part_kind
from rover_overrides.conditions.folding import WILDCARD
from rover_overrides.core.bounded_table import BoundedTable

ROW_OPERAND_OPERATORS = frozenset({"exact", "isnull", "iexact"})
"""Operators of atoms whose operand is computed from the row, so it is not in the template.

The other atoms are tests, whose operand is in the template. Only a test can be negated.
"""

MAX_ATOMS = 12
MAX_OPERAND_BYTES = 65_536
PARSED_BYTES = 32_000_000
"""How many bytes of parsed templates a process keeps."""


class Hop(NamedTuple):
    """A step to a related row: `column` of the row refers to `target` of the other table.

    A *reverse hop* goes backwards along a foreign key, and may lead to many rows.
    """

    column: str
    table: str
    target: str
    is_reverse: bool = False


Path = tuple[Hop, ...]
"""The hops from a row to a related one."""

_REVERSE = "*"
"""The fourth item of a reverse hop in a template."""

READS = "reads"
"""The operator of an atom that lists the columns a query reads: only their changes matter."""


class Column(NamedTuple):
    """A column of the row, or of the row that `path` leads to.

    `part` is a part of a date or time and its time zone.
    """

    path: Path
    name: str
    part: str = ""


class Atom(NamedTuple):
    """A comparison of a column with operands in canonical text."""

    column: Column
    op: str
    operand: tuple[str, ...]
    negated: bool = False

    @property
    def has_row_operand(self) -> bool:
        """Whether the operand is computed from the row."""
        return self.op in ROW_OPERAND_OPERATORS

    @property
    def is_test(self) -> bool:
        """Whether the operand is in the template, and a row is compared with it."""
        return not self.has_row_operand and self.op != READS


class Conj(NamedTuple):
    """A conjunction of atoms: their template, and the operands that a row gives."""

    template: str
    values: tuple[str, ...]


TRUE = Conj("", ())
"""The conj that any row of the table meets."""

UNCACHED = Conj("!", ())
"""A condition that no row can decide: a result that depends on it is not stored."""

Row = Mapping[Union[str, Column], Any]
"""The values of a row by column name, and of related rows by `Column`; a missing one is unknown."""


CHANGED = Column((), "*")
"""The key in a row for the names of its updated columns. Without it, any column may be updated."""


def conjs_of(atoms: Iterable[Atom]) -> list[Conj]:
    """Return the conjs that a row which meets the atoms invalidates; empty if no row can meet them.

    Those with `WILDCARD` are for rows whose values are uncertain: a folded text, or related rows.
    """
    kept = _atoms_to_keep(atoms)
    if kept is None:
        return []
    if not kept:
        return [TRUE]
    conj = _conj(kept)
    folded = next((number for number, atom in enumerate(kept) if atom.op == "iexact"), None)
    others = (
        []
        if folded is None
        else [conj._replace(values=(*conj.values[:folded], WILDCARD, *conj.values[folded + 1 :]))]
    )
    return [
        conj,
        *others,
        *([with_wildcards(conj)] if conj.values and any(atom.column.path for atom in kept) else []),
    ]


def coarser(conj: Conj) -> Conj:
    """Return a conj without the atoms whose operands take space in a registry."""
    kept = [atom for atom in decode_template(conj.template) if atom.has_row_operand]
    return Conj(_encode_template(kept), conj.values) if kept else TRUE


def has_operands(template: str) -> bool:
    """Return whether a template has tests; those with and without have registries of their own."""
    return parse_template(template).has_tests


def related_columns(templates: Iterable[str]) -> set[Column]:
    """Return the columns of related rows that the templates compare."""
    return {
        column
        for template in templates
        for column in parse_template(template).columns
        if column.path
    }


def reverse_hop(template: str) -> Path:
    """Return the reverse hop of a template, as a path of one hop, or an empty path."""
    return parse_template(template).reverse_hop


def may_miss_changes(template: str, changed: Container[str], known: Container[str]) -> bool:
    """Return whether a template's related rows may also have changed, from unknown old values.

    The template must have a reverse hop. `changed` are the tables written along with the row.
    `known` are the tables whose changed rows are known; that counts only for the table of the
    reverse hop, not for those behind it.
    """
    many = reverse_hop(template)
    return any(table in changed for table in tables_beyond(template)) or (
        many[0].table in changed and many[0].table not in known
    )


def tables_beyond(template: str) -> frozenset[str]:
    """Return the tables of a template's related rows, without that of its reverse hop."""
    many = reverse_hop(template)
    return frozenset(
        hop.table
        for column in parse_template(template).columns
        for hop in column.path[column.path[:1] == many :]
    )


def with_wildcards(conj: Conj) -> Conj:
    """Return the conj that is invalidated if the values of related rows are unknown."""
    return conj._replace(values=(WILDCARD,) * len(conj.values))


class ParsedTemplate:
    """A parsed template.

    It keeps no operands: a list may be long.
    """

    def __init__(self, template: str) -> None:
        atoms = decode_template(template)
        self.row_operands = [(atom.column, atom.op) for atom in atoms if atom.has_row_operand]
        self.tested = list(dict.fromkeys(atom.column for atom in atoms if atom.is_test))
        self.reads = next((atom.operand for atom in atoms if atom.op == READS), None)
        self.has_tests = bool(self.tested)
        self.columns = {atom.column for atom in atoms}
        self.tables = frozenset(hop.table for column in self.columns for hop in column.path)
        self.has_related_columns = bool(self.tables)
        self.comparisons = ""
        """The text of `describe.comparisons`, once that is known."""
        self.reverse_hop: Path = next(
            (
                column.path[:1]
                for column in self.columns
                if column.path and column.path[0].is_reverse
            ),
            (),
        )


_parsed: BoundedTable[str, ParsedTemplate] = BoundedTable(PARSED_BYTES, ParsedTemplate)

parse_template = _parsed.__getitem__
"""Return the parsed template, cached because each write tests the same templates."""


def encode_operand(field: Any, part: str, value: Any) -> str:
    """Return the canonical text of an operand; raise NotComparableError if it has none."""
    kind = _kind(field, part)
    return encode_value(kind, to_comparable(field, kind, value))


def _kind(field: Any, part: str) -> str:
    kind = kind_of(field)
    if kind is not None and part:
        kind = part_kind(kind, part)
    if kind is None:
        raise NotComparableError
    return kind


def _atoms_to_keep(atoms: Iterable[Atom]) -> list[Atom] | None:
    """Return the atoms to keep, those with row operands first, or None if two of them conflict."""
    has_row_operand: dict[tuple[Column, str], Atom] = {}
    tests: list[Atom] = []
    # Sorted, so that every process writes the same conj as the same text.
    for atom in sorted(set(atoms)):
        if not atom.has_row_operand:
            tests.append(atom)
        elif atom.op == "iexact" and any(op == "iexact" for _, op in has_row_operand):
            # A folded column doubles the conjs, so a second one becomes a test.
            tests.append(atom._replace(op="iequal"))
        elif has_row_operand.setdefault((atom.column, atom.op), atom) is not atom:
            return None  # no row meets the same operator with two operands
    fitting = [atom for atom in tests if sum(map(len, atom.operand)) <= MAX_OPERAND_BYTES]
    return [*has_row_operand.values(), *fitting][:MAX_ATOMS]


def _conj(atoms: Sequence[Atom]) -> Conj:
    return Conj(
        _encode_template(atoms), tuple(atom.operand[0] for atom in atoms if atom.has_row_operand)
    )


def _encode_template(atoms: Iterable[Atom]) -> str:
    return _to_json(
        [
            [
                *_encoded_column(atom.column),
                atom.op,
                None if atom.has_row_operand else list(atom.operand),
                int(atom.negated),
            ]
            for atom in atoms
        ]
    )


def _encoded_column(column: Column) -> Iterator[Any]:
    yield [
        [hop.column, hop.table, hop.target, *([_REVERSE] if hop.is_reverse else [])]
        for hop in column.path
    ]
    yield column.name
    yield column.part


def _to_json(items: Any) -> str:
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False)


def decode_template(template: str) -> list[Atom]:
    """Return the atoms of a template; those with row operands have none."""
    return [_decode_atom(item) for item in json.loads(template or "[]")]


def _decode_atom(item: Sequence[Any]) -> Atom:
    path, name, part, op, operand, negated = item
    column = Column(tuple(_decode_hop(hop) for hop in path), name, part)
    return Atom(column, op, () if operand is None else tuple(operand), bool(negated))


def _decode_hop(item: Sequence[str]) -> Hop:
    column, table, target, *reverse = item
    return Hop(column, table, target, is_reverse=bool(reverse))
