"""What a query needs of a row to depend on it, as text that another process can hold against a row.

An *atom* compares one column. A *conj* is atoms that a row must all meet. Its `entry` names them, and the `values` are what the
row must have in the columns for which equality is asked: whoever writes a row computes those values from it, looks at the
entries in use on its table, and so finds each conj that the row meets without searching.

Where the answer is not certain the row meets the conj: an atom may be dropped, it must never be made stronger.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union

from rover_overrides.conditions.canonical_values import (
    UncertainError,
    comparable,
    kind_of,
    read,
    spell,
)
from rover_overrides.conditions.date_parts import part_kind, part_of
from rover_overrides.conditions.folding import ANY, fold
from rover_overrides.conditions.patterns import PATTERNS
from rover_overrides.introspection.schema import field_of

ANSWERED = frozenset({"exact", "isnull", "iexact"})
"""Operators whose operand a row gives. The others are tests, with their operand in the entry; only a test can be negated."""

MAX_ATOMS = 12
MAX_OPERAND_BYTES = 65_536

Path = tuple[tuple[str, ...], ...]
"""The hops to related rows: this side's column, the other table, its column; a fourth, `MANY`, where they may be many."""

MANY = "*"

READS = "reads"
"""The operator of an atom whose operands are the columns that a query reads: only a change of one of those matters."""


class Column(NamedTuple):
    """A column of the row, or of the one row that it leads to; `part` is a part of a date or time, and its zone."""

    path: Path
    name: str
    part: str = ""


class Atom(NamedTuple):
    """A comparison of a column with spelled operands."""

    column: Column
    op: str
    operand: tuple[str, ...]
    negated: bool = False

    @property
    def answered(self) -> bool:
        """Whether the row itself gives the operand."""
        return self.op in ANSWERED


class Conj(NamedTuple):
    """Atoms as an entry, and the values of those that a row answers."""

    entry: str
    values: tuple[str, ...]


TRUE = Conj("", ())
"""Any row of the table."""

UNCACHED = Conj("!", ())
"""Stands for what no row can say: a result that depends on it is not kept."""

Row = Mapping[Union[str, Column], Any]
"""The values of a row by column name, and those of rows it leads to by `Column`; what is missing is unknown."""


CHANGED = Column((), "*")
"""Stands in a row for the names of the columns in which it was updated; without it all may have been."""


class _UnknownRowError(Exception):
    """The row may meet conjs that nobody can compute."""


def conjs_of(atoms: Iterable[Atom]) -> list[Conj]:
    """Return the conjs that a row with these atoms' properties drops; empty where no row can have them."""
    kept = _fitting(atoms)
    if kept is None:
        return []
    if not kept:
        return [TRUE]
    conj = _conj(kept)
    folded = next((number for number, atom in enumerate(kept) if atom.op == "iexact"), None)
    others = (
        []
        if folded is None
        else [conj._replace(values=(*conj.values[:folded], ANY, *conj.values[folded + 1 :]))]
    )
    return [
        conj,
        *others,
        *([_whatever(conj)] if conj.values and any(atom.column.path for atom in kept) else []),
    ]


def coarser(conj: Conj) -> Conj:
    """Return a conj without the operands that take room in a registry."""
    kept = [item for item in json.loads(conj.entry or "[]") if item[4] is None]
    return Conj(_dumped(kept), conj.values) if kept else TRUE


def has_operands(entry: str) -> bool:
    """Tell which of a table's two registries an entry belongs to."""
    return template(entry).has_tests


def columns_needed(entries: Iterable[str]) -> set[Column]:
    """Return the columns of related rows that entries compare."""
    return {column for entry in entries for column in template(entry).columns if column.path}


def many_of(entry: str) -> Path:
    """Return the hop to many rows that an entry takes, as a path of one, or the empty path."""
    return next(
        (
            column.path[:1]
            for column in template(entry).columns
            if column.path and column.path[0][3:]
        ),
        (),
    )


def is_blind(entry: str, changed: Container[str], known: Container[str]) -> bool:
    """Tell whether rows that an entry leads to may have been changed along with the row itself, nobody knows from what.

    Of the many rows the changes may be `known`.
    """
    many = many_of(entry)
    beyond = {
        hop[1]
        for column in template(entry).columns
        for hop in column.path[column.path[:1] == many :]
    }
    return any(table in changed for table in beyond) or (
        many[0][1] in changed and many[0][1] not in known
    )


def met(table: str, entries: Iterable[str], row: Row) -> set[Conj] | None:
    """Return the conjs that a row meets, or None where it may meet any."""
    found = {TRUE}
    asked = _Asked(table, row)
    changed = row.get(CHANGED)
    try:
        entries = [entry for entry in entries if template(entry).is_touched(changed)]
        found.update(conj for entry in entries if (conj := _met_of(entry, asked)) is not None)
    except (_UnknownRowError, LookupError, TypeError, ValueError):  # or an entry of another version
        return None
    return found


def _met_of(entry: str, row: _Asked) -> Conj | None:
    """Return the conj of an entry that a row meets; raises _UnknownRowError where that is a matter of its own columns."""
    asked = template(entry)
    try:
        values = asked.answer(row)
    except _UnknownRowError:
        if not asked.leads:
            raise
        return _whatever(Conj(entry, asked.unanswered))
    return None if values is None else Conj(entry, values)


def _whatever(conj: Conj) -> Conj:
    """Return the conj that is dropped where nobody can tell what related rows answer."""
    return conj._replace(values=(ANY,) * len(conj.values))


class Template:
    """An entry, ready to be held against rows."""

    def __init__(self, entry: str) -> None:
        atoms = [_read_atom(item) for item in json.loads(entry)]
        self._asked = [(atom.column, atom.op) for atom in atoms if atom.answered]
        self._tests = [atom for atom in atoms if not atom.answered and atom.op != READS]
        self._reads = next((atom.operand for atom in atoms if atom.op == READS), None)
        self.has_tests = bool(self._tests)
        self.columns = {atom.column for atom in atoms}
        self.tables = frozenset(hop[1] for column in self.columns for hop in column.path)
        self.leads = bool(self.tables)
        self.unanswered = ("",) * len(self._asked)
        self._operands: dict[tuple[str, int], Any] = {}

    def is_touched(self, changed: Collection[str] | None) -> bool:
        """Tell whether an update of those columns may matter."""
        return (
            changed is None
            or self._reads is None
            or any(column in changed for column in self._reads)
        )

    def answer(self, row: _Asked) -> tuple[str, ...] | None:
        """Return the row's values in the columns that are asked for, or None where it does not meet the rest.

        Raises _UnknownRowError where a value is unknown.
        """
        for number, atom in enumerate(self._tests):
            if not self._meets(number, atom, row):
                return None
        values = [row.answer(column, op) for column, op in self._asked]
        return None if None in values else tuple(value for value in values if value is not None)

    def _meets(self, number: int, atom: Atom, row: _Asked) -> bool:
        try:
            value = row.value(atom.column)
        except (UncertainError, _UnknownRowError):
            return True
        if value is None:  # neither a comparison with NULL nor its negation is true
            return False
        if (row.table, number) not in self._operands:
            self._operands[row.table, number] = _operand(row.table, atom)
        return _TESTS[atom.op](value, self._operands[row.table, number], atom.negated)


class _Asked:
    """A row of a table that many templates ask for the same columns."""

    def __init__(self, table: str, row: Row) -> None:
        self.table = table
        self._row = row
        self._values: dict[Column, Any] = {}
        self._answers: dict[tuple[Column, str], str | None] = {}

    def value(self, column: Column) -> Any:
        """Return the comparable value of a column; raises as `_value` does."""
        if column not in self._values:
            self._values[column] = _value(self.table, column, self._row)
        return self._values[column]

    def answer(self, column: Column, op: str) -> str | None:
        """Return what the row answers to an operator; raises as `_answer` does."""
        if (column, op) not in self._answers:
            self._answers[column, op] = _answer(self.table, column, op, self._row)
        return self._answers[column, op]


@functools.lru_cache(maxsize=8192)
def template(entry: str) -> Template:
    """Return an entry ready to use; kept, as a process meets the same ones at each write."""
    return Template(entry)


def spelled(field: Any, part: str, value: Any) -> str:
    """Return the spelling of an operand; raises UncertainError."""
    kind = _kind(field, part)
    return spell(kind, comparable(field, kind, value))


def _kind(field: Any, part: str) -> str:
    kind = kind_of(field)
    if kind is not None and part:
        kind = part_kind(kind, part)
    if kind is None:
        raise UncertainError
    return kind


def _value(table: str, column: Column, row: Row) -> Any:
    """Return the comparable value of a column in a row."""
    key: str | Column = column._replace(part="") if column.path else column.name
    if key not in row:
        raise _UnknownRowError
    value = row[key]
    if value is None:
        return None
    field = field_of(column.path[-1][1] if column.path else table, column.name)
    kind = kind_of(field) if field is not None else None
    if field is None or kind is None:
        raise UncertainError
    value = comparable(field, kind, value)
    try:
        return part_of(value, column.part) if column.part else value
    except ValueError as error:
        raise UncertainError from error


def _answer(table: str, column: Column, op: str, row: Row) -> str | None:
    """Return what a row answers to an operator, or None where it meets no operand."""
    if op == "isnull":
        key: str | Column = column if column.path else column.name
        if key not in row:
            raise _UnknownRowError
        return "1" if row[key] is None else "0"
    try:
        value = _value(table, column, row)
    except UncertainError:
        raise _UnknownRowError from None
    if value is None:
        return None
    if op == "iexact":
        return fold(value) or ANY
    field = field_of(column.path[-1][1] if column.path else table, column.name)
    return spell(_kind(field, column.part), value)


def _operand(table: str, atom: Atom) -> Any:
    if atom.op in PATTERNS:
        return atom.operand[0]
    field = field_of(atom.column.path[-1][1] if atom.column.path else table, atom.column.name)
    kind = _kind(field, atom.column.part)
    values = [read(kind, text) for text in atom.operand]
    return frozenset(values) if atom.op == "in" else values[0]


def _fitting(atoms: Iterable[Atom]) -> list[Atom] | None:
    """Return the atoms worth keeping, those that are answered first, or None where two contradict each other."""
    answered: dict[tuple[Column, str], Atom] = {}
    tests: list[Atom] = []
    for atom in sorted(set(atoms)):
        if not atom.answered:
            tests.append(atom)
        elif atom.op == "iexact" and any(op == "iexact" for _, op in answered):
            # One folded column doubles the conjs, so a second one is a test.
            tests.append(atom._replace(op="iequal"))
        elif answered.setdefault((atom.column, atom.op), atom) is not atom:
            return None
    fitting = [atom for atom in tests if sum(map(len, atom.operand)) <= MAX_OPERAND_BYTES]
    return [*answered.values(), *fitting][:MAX_ATOMS]


def _conj(atoms: Sequence[Atom]) -> Conj:
    items = [
        [
            *_spelled_column(atom.column),
            atom.op,
            None if atom.answered else list(atom.operand),
            int(atom.negated),
        ]
        for atom in atoms
    ]
    return Conj(_dumped(items), tuple(atom.operand[0] for atom in atoms if atom.answered))


def _spelled_column(column: Column) -> Iterator[Any]:
    yield [list(hop) for hop in column.path]
    yield column.name
    yield column.part


def _dumped(items: Any) -> str:
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False)


def _read_atom(item: Sequence[Any]) -> Atom:
    path, name, part, op, operand, negated = item
    column = Column(tuple(map(tuple, path)), name, part)
    return Atom(column, op, () if operand is None else tuple(operand), bool(negated))


def _is_in(value: Any, operand: Any, negated: bool) -> bool:
    return (value in operand) is not negated


_TESTS = {
    "in": _is_in,
    "gt": lambda value, operand, negated: (value > operand) is not negated,
    "gte": lambda value, operand, negated: (value >= operand) is not negated,
    "lt": lambda value, operand, negated: (value < operand) is not negated,
    "lte": lambda value, operand, negated: (value <= operand) is not negated,
    **PATTERNS,
}
