"""Conditions on other tables of a query that a row leads to by foreign keys, forwards."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.db.models import ForeignKey
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.sql.datastructures import Join

from rover_overrides.conditions import Atom, Path

MAX_HOPS = 4

Hop = tuple[str, str, str]


Steps = dict[str, list[tuple[str, Hop]]]


def routes(alias: str, steps: Steps) -> dict[str, Path]:
    """Return the paths from a row under an alias to the rows under the others that it determines."""
    found: dict[str, Path] = {alias: ()}
    waiting = [alias]
    while waiting:
        here = waiting.pop(0)
        for there, hop in steps.get(here, ()):
            if there not in found and len(found[here]) < MAX_HOPS:
                found[there] = (*found[here], hop)
                waiting.append(there)
    return found


def through(path: Path, atom: Atom) -> Atom:
    """Return an atom on the row at the end of a path as one on the row at its start; a key that both share needs no last hop."""
    # A key may lead to no row where the database does not enforce it; then the other row's is NULL and the own is not.
    while path and atom.column.name == path[-1][2] and not atom.column.part and atom.op != "isnull":
        atom = atom._replace(column=atom.column._replace(name=path[-1][0]))
        path = path[:-1]
    return atom._replace(column=atom.column._replace(path=path))


def steps_of(aliases: dict[str, Any]) -> Steps:
    """Map each alias to those whose one row its own row determines, with the hop."""
    steps: Steps = defaultdict(list)
    for alias, join in aliases.items():
        columns = _key(join)
        if columns is None or join.parent_alias not in aliases:
            continue
        parent = join.parent_alias
        own, other = columns
        if isinstance(join.join_field, ForeignKey):
            steps[parent].append((alias, (own, join.table_name, other)))
        elif isinstance(join.join_field, ForeignObjectRel) and isinstance(join.join_field.field, ForeignKey):
            steps[alias].append((parent, (other, aliases[parent].table_name, own)))
    return steps


def _key(join: Any) -> tuple[str, str] | None:
    """Return the columns of a join by one key alone, the parent's first."""
    if not isinstance(join, Join) or join.filtered_relation is not None or len(join.join_cols) != 1:
        return None
    parent, own = join.join_cols[0]
    return parent, own
