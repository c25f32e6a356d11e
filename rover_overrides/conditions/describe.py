"""Conditions as text for people, such as `status = new and price < 10`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rover_overrides.conditions.conditions import (
    READS,
    Atom,
    Conj,
    decode_template,
    parse_template,
)

_SIGNS = {
    "exact": "=",
    "iexact": "= (any case)",
    "isnull": "is null",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "in": "in",
}
_LONGEST = 60  # characters of an operand


def comparisons(template: str) -> str:
    """Return the columns and operators of a template, without its operands."""
    parsed = parse_template(template)
    if not parsed.comparisons:
        atoms, _ = _split_reads(decode_template(template))
        parsed.comparisons = " and ".join(map(_comparison_text, atoms)) or "any row"
    return parsed.comparisons


def condition(conj: Conj) -> str:
    """Return a condition with its operands and values."""
    values = iter(conj.values)
    atoms, columns = _split_reads(decode_template(conj.template))
    texts = [f"{_comparison_text(atom)} {_operand_text(atom, values)}" for atom in atoms]
    return (" and ".join(texts) or "any row") + columns


def _split_reads(atoms: Sequence[Atom]) -> tuple[list[Atom], str]:
    """Return the comparisons, and as text which columns of a row are read."""
    read = [column for atom in atoms if atom.op == READS for column in atom.operand]
    others = [atom for atom in atoms if atom.op != READS]
    return others, f" (reads {', '.join(read)})" if read else ""


def _comparison_text(atom: Atom) -> str:
    path, name, part = atom.column
    hops = (hop.table if hop.is_reverse else hop.column for hop in path)
    column = ".".join([*hops, name, *([part.split(" ")[0]] if part else [])])
    return f"{'not ' if atom.negated else ''}{column} {_SIGNS.get(atom.op, atom.op)}"


def _operand_text(atom: Atom, values: Iterator[str]) -> str:
    text = next(values) if atom.has_row_operand else ", ".join(atom.operand)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
