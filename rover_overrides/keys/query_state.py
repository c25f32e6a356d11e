"""What the cache knows of a query, in one object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

_KEY = "rover_state"


@dataclass(frozen=True)
class QueryState:
    """The state of one query. It never changes, because clones of the query share it."""

    aggregates: tuple[Any, ...] | None = None
    """The expressions of `aggregate()`, which are not part of the query yet; None without one."""
    is_count_only: bool = False
    """Whether only the number of its rows is used."""
    ordering: tuple[Any, ...] = ()
    """The expressions that order its rows, once they are resolved."""

    @property
    def makes_objects(self) -> bool:
        """Whether objects are made of the rows, not only a number or the values of aggregates."""
        return self.aggregates is None and not self.is_count_only


_NEW = QueryState()


def state_of(query: Any) -> QueryState:
    """Return the state of a query."""
    return query.__dict__.get(_KEY, _NEW)  # type: ignore[no-any-return]


def update_state(query: Any, **changes: Any) -> None:
    """Give a query a state with some fields changed."""
    query.__dict__[_KEY] = replace(state_of(query), **changes)
