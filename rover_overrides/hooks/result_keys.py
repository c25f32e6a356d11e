"""The functions that upstream's querysets call for the keys of their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rover_overrides.keys.aggregates import describe_aggregation
from rover_overrides.keys.query_keys import is_unmodified, result_key

__all__ = ["cached_aggregate", "is_unmodified", "result_key"]


def cached_aggregate(
    queryset: Any, cached_as: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Return the result of `aggregate()`, from the cache if its key can be computed.

    An invalid aggregate is left to Django, which raises.
    """

    def compute() -> Any:
        return queryset._no_monkey.aggregate(queryset, *args, **kwargs)

    aggregation = describe_aggregation(queryset, args, kwargs)
    if aggregation is None:
        return compute()
    return cached_as(aggregation.sample, extra=aggregation.digest)(compute)()
