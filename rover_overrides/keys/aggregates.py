"""What `aggregate()` computes, described for a key; what is no valid aggregate is left to Django, which says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rover_overrides.introspection.stock import defines, target
from rover_overrides.keys.encoding import stable_digest, watching


class Aggregation(NamedTuple):
    """A sample of the rows that are aggregated, and the digest of what is made of them."""

    sample: Any
    digest: str


def described(queryset: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Aggregation | None:
    """Return what the arguments of `aggregate()` ask for, or None where Django should answer, or raise, by itself."""
    sample = queryset.clone()
    query = sample.query
    query.table_map = {
        table: aliases.copy() for table, aliases in query.table_map.items()
    }  # clones share the lists
    try:
        found = _resolved(query, {**kwargs, **{arg.default_alias: arg for arg in args}})
        if not found or not all(each.contains_aggregate for each in found.values()):
            return None
        if any(defines(target(each.output_field), ("from_db_value",)) for each in found.values()):
            return None  # what the application makes of a value may not survive in the cache
        return Aggregation(watching(sample, found), stable_digest(found))
    except Exception:  # noqa: BLE001 - resolving runs the code of expressions; Django's own attempt says what is wrong
        return None


def _resolved(query: Any, expressions: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve expressions as `Query.get_aggregation()` does: each may name those before it. Their joins stay in the query."""
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
