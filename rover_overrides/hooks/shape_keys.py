"""What upstream's querysets call for keys by shape, and for `count()` and `exists()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cacheops.conf import Defaults
from cacheops.conf import settings as cacheops_settings
from cacheops.sharding import get_prefix
from cacheops.signals import cache_read

from rover_overrides.cache.getset import cache_thing, getting
from rover_overrides.core.site_settings import site_settings
from rover_overrides.core.switches import is_enabled
from rover_overrides.keys import query_keys
from rover_overrides.keys.encoding import note_digest, short_name
from rover_overrides.queries.dependencies import (
    as_count_sample,
    dnfs,
    known_dependencies,
    learn_dependencies,
)
from rover_overrides.shapes.checking import record_check, tally
from rover_overrides.shapes.structural_keys import KnownShape, digest_by_shape

CHECK_EVERY = 1000
"""One key in so many is also compiled, unless CACHEOPS_ROVER_CHECK_KEYS says; 0 checks none."""


def result_key(queryset: Any, is_read: bool) -> str:
    """Return the key of a queryset's result, with its prefix if the rows are about to be read.

    Then the queryset gets its dependencies, too.
    """
    found = _by_shape(queryset, is_count=False)
    if found is None:
        key = query_keys.result_key(queryset)
        return f"{queryset._prefix}{key}" if is_read else key
    digest, known, alias = found
    own = queryset.__dict__
    if not is_read or "_cond_dnfs" in own or not cacheops_settings.CACHEOPS_INSIDEOUT:
        note_digest(queryset, digest)
        return f"{queryset._prefix if is_read else ''}q:{short_name(digest)}"
    own["_cond_dnfs"] = known_dependencies(queryset, digest, "rows", alias) or learn_dependencies(
        queryset, digest, "rows", known.frames
    )
    if cacheops_settings.CACHEOPS_PREFIX is Defaults.CACHEOPS_PREFIX:
        own["_prefix"] = ""
        return "q:" + short_name(digest)
    return f"{queryset._prefix}q:{short_name(digest)}"


def cached_number(
    queryset: Any, cached_as: Callable[..., Any], name: str, compute: Callable[[], Any]
) -> Any:
    """Return what `count()` or `exists()` (the `name`) computes, from the cache if it is there."""
    if not cacheops_settings.CACHEOPS_INSIDEOUT or queryset._prefetch_related_lookups:
        return cached_as(as_count_sample(queryset))(compute)()
    query_key, deps = _count_key(queryset)
    alias, profile = queryset.db, queryset._cacheprofile
    prefix = ""
    if cacheops_settings.CACHEOPS_PREFIX is not Defaults.CACHEOPS_PREFIX:
        prefix = get_prefix(func=compute, _cond_dnfs=deps, dbs=[alias])
    key = f"{prefix}as:{name[0]}{query_key[2:]}"  # longer than the name of a function's call
    with getting(key, deps, prefix, lock=profile["lock"]) as held:
        cache_read.send(sender=None, func=compute, hit=held is not None)
        if held is not None:
            return held[0]
        result = compute()
        cache_thing(prefix, key, result, deps, profile["timeout"], dbs=[alias])
        return result


def _count_key(queryset: Any) -> tuple[str, Any]:
    """Return the key of a queryset as a sample of which only the number of rows is used.

    Its dependencies are with it.
    """
    found = _by_shape(queryset, is_count=True)
    if found is None:
        sample = as_count_sample(queryset)
        return query_keys.result_key(sample), dnfs(sample, "count")
    digest, known, alias = found
    deps = known_dependencies(queryset, digest, "count", alias) or learn_dependencies(
        as_count_sample(queryset), digest, "count", known.frames
    )
    return "q:" + short_name(digest), deps


def _by_shape(queryset: Any, *, is_count: bool) -> tuple[str, KnownShape, str] | None:
    """Return what `digest_by_shape` does, unless it is switched off, or differs from compiling."""
    site = site_settings()
    found = None
    if not tally.different and (
        not getattr(site, "CACHEOPS_ROVER_OFF", ()) or is_enabled("structural-keys")
    ):
        found = digest_by_shape(queryset, is_count=is_count)
    if found is None:
        tally.compiled += 1
        return None
    tally.by_shape += 1
    every = getattr(site, "CACHEOPS_ROVER_CHECK_KEYS", CHECK_EVERY)
    if every and tally.by_shape % every == 0:
        sample = as_count_sample(queryset) if is_count else queryset
        record_check("q:" + short_name(found[0]), query_keys.result_key(sample), queryset.model)
        return None if tally.different else found
    return found
