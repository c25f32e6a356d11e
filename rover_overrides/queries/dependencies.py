"""What upstream calls for the dependencies of a queryset: the conjs of each table.

They follow from the SQL and its parameters, so the analysis of a repeated query is reused.
"""

from __future__ import annotations

from typing import Any, Literal

from cacheops.conf import settings as cacheops_settings
from cacheops.tree import dnfs as upstream_dnfs
from funcy import join_with, lcat

from rover_overrides.conditions.conditions import TRUE, UNCACHED, Conj
from rover_overrides.core.bounded_table import BoundedTable, approximate_bytes
from rover_overrides.core.site_settings import site_settings
from rover_overrides.core.switches import is_installed
from rover_overrides.keys.encoding import UNSTORABLE, pop_digest
from rover_overrides.keys.query_state import state_of, update_state
from rover_overrides.queries.prefetches import prefetched_querysets, prefetched_tables

Dependencies = dict[str, list[Conj]]
Purpose = Literal["rows", "sample", "count"]
"""What is needed of a queryset: its rows, a sample for any function, or the number of its rows."""

CACHED_BYTES = 32_000_000
"""How many bytes of analysed queries, with their plans, a process caches."""


class CachedDependencies(Dependencies):
    """Dependencies cached for the next query, with the plans of Redis keys made for them."""

    def __init__(self, key: tuple[Any, ...], found: Dependencies) -> None:
        super().__init__(found)
        self.plans: dict[str, Any] = {}
        self.misses: dict[str, int] = {}
        """For each prefix, how often in a row a result with these dependencies was missed."""
        self._key = key

    def add_plan(self, prefix: str, plan: Any) -> None:
        """Keep the plan of a prefix with the dependencies."""
        self.plans[prefix] = plan
        _cache.grow(self._key, approximate_bytes(plan))


_cache: BoundedTable[tuple[Any, ...], CachedDependencies] = BoundedTable(CACHED_BYTES)


def dnfs(queryset: Any, purpose: Purpose = "rows") -> Dependencies:
    """Return a list of conjs for each table, to be combined with those of other querysets.

    Without CACHEOPS_INSIDEOUT, upstream's own storage is used, which needs upstream's conditions.
    """
    if not cacheops_settings.CACHEOPS_INSIDEOUT:
        return upstream_dnfs(queryset)  # type: ignore[no-any-return]
    if not is_installed("bounded-analysis"):
        return {table: [TRUE] for table in upstream_dnfs(queryset)}
    digest = pop_digest(queryset)
    if digest is UNSTORABLE:
        return {queryset.model._meta.db_table: [UNCACHED]}
    if digest is None:
        return _analyse(queryset, purpose)
    return known_dependencies(queryset, digest, purpose) or learn_dependencies(
        queryset, digest, purpose
    )


def known_dependencies(
    queryset: Any, digest: str, purpose: Purpose, alias: str | None = None
) -> CachedDependencies | None:
    """Return the dependencies of a query that was analysed before, or None.

    `alias` is that of its database, if the caller knows it.
    """
    return _cache.get(_cache_key(queryset, digest, purpose, alias))


def learn_dependencies(
    queryset: Any, digest: str, purpose: Purpose, frames: dict[Any, Any] | None = None
) -> CachedDependencies:
    """Analyse a query and keep what is found; `frames` as in `queries.analysis`."""
    key = _cache_key(queryset, digest, purpose)
    return _cache.put(key, CachedDependencies(key, _analyse(queryset, purpose, frames)))


def as_count_sample(queryset: Any) -> Any:
    """Return a queryset as the sample of a function that uses only its number of rows."""
    sample = queryset._clone()
    update_state(sample.query, is_count_only=True)
    return sample


def sample_dependencies(queryset: Any) -> Dependencies:
    """Return what `dnfs` does for a sample of `cached_as`, including what it prefetches.

    A function may return the prefetched rows too.
    """
    if not (cacheops_settings.CACHEOPS_INSIDEOUT and queryset._prefetch_related_lookups):
        return dnfs(queryset, "count" if state_of(queryset.query).is_count_only else "sample")
    tables = prefetched_tables(queryset)
    along = (
        {queryset.model._meta.db_table: [UNCACHED]}
        if tables is None
        else {table: [TRUE] for table in tables}
    )
    parts = [
        dnfs(queryset, "sample"),
        along,
        *map(sample_dependencies, prefetched_querysets(queryset)),
    ]
    return join_with(lcat, parts)  # type: ignore[no-any-return]


def _cache_key(
    queryset: Any, digest: str, purpose: Purpose, alias: str | None = None
) -> tuple[Any, ...]:
    # The switches and the skipped fields affect the analysis.
    return (
        digest,
        purpose,
        queryset.model,
        queryset.db if alias is None else alias,
        *getattr(site_settings(), "CACHEOPS_ROVER_OFF", ()),
        tuple(cacheops_settings.CACHEOPS_SKIP_FIELDS),
    )


def _analyse(queryset: Any, purpose: Purpose, frames: dict[Any, Any] | None = None) -> Dependencies:
    # The module comes with a patch that the tree may lack; `dnfs` has checked that.
    from rover_overrides.queries.analysis import dependencies

    return dependencies(queryset, purpose, frames)
