"""Reading, storing and dropping one result, as cacheops and a write do."""

from cacheops.conf import settings as cacheops_settings

from rover_overrides.cache.registry import stamp_key
from rover_overrides.cache.results import fill, getting
from rover_overrides.conditions.conditions import TRUE
from rover_overrides.transport import pipeline
from tests.support.condition_texts import among, equal

DEPS = {"t": [equal("x"), among("y", "1", "2")], "u": [TRUE]}


KEY = "q:1"


def cached(compute, deps=DEPS, key=KEY, *, lock=False, prefix="", timeout=100, dbs=(), expected=""):
    """Read a result, or compute and store it, as cacheops does."""
    with getting(key, deps, prefix, lock=lock) as data:
        if data is not None:
            return cacheops_settings.CACHEOPS_SERIALIZER.loads(data)
        computed = compute()
        fill(prefix, key, computed, deps, timeout, dbs, expected)
        return computed


def is_hit(deps=DEPS, key=KEY, **options):
    return cached(lambda: None, deps, key, timeout=0, **options) is not None


def drop(table, conj, prefix=""):
    pipeline.unlink([stamp_key(prefix, table, conj)])
