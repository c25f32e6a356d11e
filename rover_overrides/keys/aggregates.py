"""Describe for a key what `aggregate()` computes; Django itself rejects invalid aggregates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rover_overrides.introspection.django_classes import overrides_any, resolve_target
from rover_overrides.keys.encoding import stable_digest, with_aggregates


class Aggregation(NamedTuple):
    """The queryset of the aggregated rows, as a sample, and the digest of the aggregates."""

    sample: Any
    digest: str


def describe_aggregation(
    queryset: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Aggregation | None:
    """Return the description of an `aggregate()` with these arguments.

    Return None if Django should compute it uncached, or raise.
    """
    sample = queryset.clone()
    query = sample.query
    # Clones share the lists of aliases.
    query.table_map = {table: aliases.copy() for table, aliases in query.table_map.items()}
    try:
        found = _resolve(query, {**kwargs, **{arg.default_alias: arg for arg in args}})
        if not found or not all(each.contains_aggregate for each in found.values()):
            return None
        if any(
            overrides_any(resolve_target(each.output_field), ("from_db_value",))
            for each in found.values()
        ):
            return None  # the cache may not preserve what an application's converter returns
        return Aggregation(with_aggregates(sample, found), stable_digest(found))
    except Exception:  # noqa: BLE001 - resolving runs the code of expressions
        return None  # Django's own attempt raises the error


def _resolve(query: Any, expressions: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve expressions as `Query.get_aggregation()` does: each may refer to those before it.

    Their joins stay in the query.
    """
    mask, found = query.annotation_select_mask, {}
    for alias, expression in expressions.items():
        found[alias] = expression.resolve_expression(
            query, allow_joins=True, reuse=None, summarize=True
        )
        query.append_annotation_mask([alias])
        query.annotations[alias] = found[alias]
    for alias in found:
        del query.annotations[alias]
    query.set_annotation_mask(mask)
    return found
