"""The functions that upstream's querysets call to read."""

from rover_overrides.cache.fetching import complete_rows, fetch
from rover_overrides.cache.getset import cache_thing, getting
from rover_overrides.cache.nested_reads import with_learned_tables
from rover_overrides.queries.dependencies import as_count_sample, dnfs, sample_dependencies

__all__ = [
    "as_count_sample",
    "cache_thing",
    "complete_rows",
    "dnfs",
    "fetch",
    "getting",
    "sample_dependencies",
    "with_learned_tables",
]
