"""What writers prepare once for the templates in use on a table, and use for each write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from rover_overrides.conditions.canonical_values import settings_in_effect
from rover_overrides.conditions.conditions import (
    Column,
    Path,
    related_columns,
    reverse_hop,
    tables_beyond,
)
from rover_overrides.conditions.matching import TableMatcher
from rover_overrides.core.bounded_table import BoundedTable

PLANNED_BYTES = 32_000_000
"""How many bytes of plans a process keeps."""

_PER_TEMPLATE = 1500  # bytes in a plan, without its text and operands


class Group(NamedTuple):
    """Templates of a table that need the same related rows."""

    templates: list[str]
    matcher: TableMatcher
    columns: frozenset[Column]
    """The columns of related rows that they compare."""


class Plan(NamedTuple):
    """The templates of a table, by whether they have a reverse hop."""

    without_hop: Group
    by_hop: dict[Path, list[Group]]
    """Groups by their reverse hop, each with other tables beyond that."""

    @property
    def reads_related_rows(self) -> bool:
        """Whether related rows must be read to evaluate the templates."""
        return bool(self.without_hop.columns or self.by_hop)


_plans: BoundedTable[tuple[str, str], tuple[Sequence[str], Any, Plan]] = BoundedTable(PLANNED_BYTES)
"""Plans by prefixed table, each for the templates that were in use last."""


def plan_of(prefixed_table: tuple[str, str], templates: tuple[str, ...]) -> Plan | None:
    """Return what is prepared for templates, or None if one of them is of another version."""
    settings = settings_in_effect()
    known = _plans.get(prefixed_table)
    if known is not None and known[0] == templates and known[1] == settings:
        return known[2]
    try:
        plan = _make_plan(prefixed_table[1], templates)
    except (LookupError, TypeError, ValueError):
        return None
    size = sum([_PER_TEMPLATE + len(template) for template in templates])
    groups = [plan.without_hop, *(group for some in plan.by_hop.values() for group in some)]
    size += sum([group.matcher.operand_bytes for group in groups])
    _plans.put(prefixed_table, (templates, settings, plan), size)
    return plan


def _make_plan(table: str, templates: Sequence[str]) -> Plan:
    without_hop: list[str] = []
    groups: dict[tuple[Path, frozenset[str]], list[str]] = defaultdict(list)
    for template in templates:
        hop = reverse_hop(template)
        (groups[hop, tables_beyond(template)] if hop else without_hop).append(template)
    by_hop: dict[Path, list[Group]] = defaultdict(list)
    for (hop, _), some in groups.items():
        by_hop[hop].append(_make_group(table, some))
    return Plan(_make_group(table, without_hop), dict(by_hop))


def _make_group(table: str, templates: list[str]) -> Group:
    return Group(templates, TableMatcher(table, templates), frozenset(related_columns(templates)))
