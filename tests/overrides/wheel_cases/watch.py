"""What cases see of the cache: hits and the SQL that misses run."""

from django.db import connection
from django.test.utils import CaptureQueriesContext


def sql_of(call):
    """Return what a call returns, and how many statements it ran."""
    with CaptureQueriesContext(connection) as queries:
        said = call()
    return said, len(queries)


def fill(read):
    """Read twice; the second time must be a hit with the same result."""
    first, _ = sql_of(read)
    again, count = sql_of(read)
    assert count == 0, "a second read is no hit"
    assert again == first
    return again


def kept(read):
    """Tell whether reading is a hit."""
    return sql_of(read)[1] == 0
