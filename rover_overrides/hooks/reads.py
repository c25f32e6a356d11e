"""The functions that upstream's querysets call to read."""

from rover_overrides.cache.fetching import fetch, found
from rover_overrides.cache.getset import cache_thing, getting
from rover_overrides.cache.nested_reads import learned
from rover_overrides.queries.dependencies import counted, dnfs, sampled

__all__ = ["cache_thing", "counted", "dnfs", "fetch", "found", "getting", "learned", "sampled"]
