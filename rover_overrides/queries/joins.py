"""Conditions on other tables of a query that a row leads to by foreign keys.

Foreign keys are followed forwards, and backwards once: a reverse hop leads to many rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import ForeignKey
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.sql.constants import INNER
from django.db.models.sql.datastructures import Join

from rover_overrides.conditions.conditions import Atom, Column, Hop, Path
from rover_overrides.introspection.schema import field_of

MAX_HOPS = 4

HopsByAlias = dict[str, list[tuple[str, Hop]]]


def paths_from(alias: str, hops: HopsByAlias, back: HopsByAlias) -> dict[str, Path]:
    """Return the paths from an alias's row to the rows of others that must exist for it to matter.

    The forward hops lead to one row each. Then one reverse hop leads to the many rows of one alias
    that refer to the row, and forward hops lead on from those.
    """
    found: dict[str, Path] = {alias: ()}
    _follow(found, [alias], hops)
    for there, hop in back.get(alias, ()):
        if there not in found:
            found[there] = (hop,)
            _follow(found, [there], hops)
            break
    return found


def _follow(found: dict[str, Path], waiting: list[str], hops: HopsByAlias) -> None:
    while waiting:
        here = waiting.pop(0)
        for there, hop in hops.get(here, ()):
            if there not in found and len(found[here]) < MAX_HOPS:
                found[there] = (*found[here], hop)
                waiting.append(there)


def lift(path: Path, atom: Atom) -> Atom:
    """Return an atom on the row at the end of a path as an atom on the row at its start.

    An atom on a key that both sides of the last hop have does not need that hop.
    """
    # Not for isnull: a key that the database does not enforce may lead to no row. Then the other
    # side's column is NULL, and the own one is not.
    while (
        path
        and atom.column.name == path[-1].target
        and not atom.column.part
        and atom.op != "isnull"
    ):
        atom = atom._replace(column=atom.column._replace(name=path[-1].column))
        path = path[:-1]
    return atom._replace(column=atom.column._replace(path=path))


def existence(paths: Iterable[Path]) -> Iterator[Atom]:
    """Yield the condition that a row exists at the end of a reverse hop, if the key is unique.

    With a unique key, it is cheap to check.
    """
    for path in paths:
        if len(path) == 1 and path[0].is_reverse:
            hop = path[0]
            if getattr(field_of(hop.table, hop.target), "unique", False):
                yield Atom(Column(path, hop.target), "isnull", ("0",))


def forward_hops(aliases: dict[str, Any]) -> HopsByAlias:
    """Map each alias to the aliases whose single row its own row determines, with the hop."""
    hops: HopsByAlias = defaultdict(list)
    for alias, join, own, other in _by_key(aliases):
        parent = join.parent_alias
        if isinstance(join.join_field, ForeignKey):
            hops[parent].append((alias, Hop(own, join.table_name, other)))
        elif isinstance(join.join_field, ForeignObjectRel) and isinstance(
            join.join_field.field, ForeignKey
        ):
            hops[alias].append((parent, Hop(other, aliases[parent].table_name, own)))
    return hops


def reverse_hops(aliases: dict[str, Any]) -> HopsByAlias:
    """Map each alias to the aliases of which many rows may lead to its own row, with the hop.

    If there is no such row, its own row does not matter.
    """
    hops: HopsByAlias = defaultdict(list)
    for alias, join, own, other in _by_key(aliases):
        parent = join.parent_alias
        if isinstance(join.join_field, ForeignKey):
            hops[alias].append(
                (parent, Hop(other, aliases[parent].table_name, own, is_reverse=True))
            )
        elif join.join_type == INNER and isinstance(
            getattr(join.join_field, "field", None), ForeignKey
        ):
            hops[parent].append((alias, Hop(own, join.table_name, other, is_reverse=True)))
    return hops


def _by_key(aliases: dict[str, Any]) -> Iterator[tuple[str, Join, str, str]]:
    """Yield the joins on a single column: alias, join, the parent's column, the own column."""
    for alias, join in aliases.items():
        if (
            not isinstance(join, Join)
            or join.filtered_relation is not None
            or join.parent_alias not in aliases
        ):
            continue
        if len(join.join_cols) == 1:
            yield alias, join, *join.join_cols[0]
