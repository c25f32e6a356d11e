"""What a probe can see of cacheops: SQL queries, the server's keys and the commands it ran."""

from collections import Counter
from contextlib import contextmanager
from functools import cache

import redis
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string

from probe_project.redis_watch import masters


class Probe:
    """Watches the database and the server for one test."""

    def __init__(self, server_url):
        self.redis = _client(server_url)

    def close(self):
        """Give connections back; a cluster's client cannot be used again after it was closed."""
        if isinstance(self.redis, redis.Redis):
            self.redis.close()

    def queries(self):
        """Capture the SQL queries that run inside the `with`."""
        return CaptureQueriesContext(connection)

    def count_sql(self, call):
        """Return the number of SQL queries that `call()` runs."""
        with self.queries() as queries:
            call()
        return len(queries)

    def fill(self, read):
        """Read twice, assert that the second time was a hit with the same result, and return that."""
        filled = read()
        with self.queries() as queries:
            hit = read()
        assert len(queries) == 0, "not a hit, a second read ran SQL: %s" % _sql(queries)
        assert hit == filled, "the hit differs from what filled it: %r, not %r" % (hit, filled)
        return hit

    def assert_kept(self, read):
        """Assert that the result still comes from the cache."""
        with self.queries() as queries:
            read()
        assert len(queries) == 0, "the result was dropped, reading it ran SQL: %s" % _sql(queries)

    def assert_dropped(self, read):
        """Assert that the result left the cache, and return what the database says now."""
        with self.queries() as queries:
            fresh = read()
        assert len(queries) > 0, "the result was kept, reading it ran no SQL and gave %r" % (fresh,)
        return fresh

    @contextmanager
    def commands(self):
        """Yield a Counter that holds, after the `with`, the commands the server ran in between."""
        ran = Counter()
        before = self._command_calls()
        yield ran
        ran.update(self._command_calls() - before)
        del ran["info"]

    def _command_calls(self):
        calls = Counter()
        for stats in (master.info("commandstats") for master in masters(self.redis)):
            calls.update(
                {name.split("_", 1)[1].lower(): stat["calls"] for name, stat in stats.items()}
            )
        return calls

    def keys(self, pattern="*"):
        """Return the keys on the server, or on all masters of a cluster, sorted, as text."""
        found = [key for master in masters(self.redis) for key in master.keys(pattern)]
        return sorted(key.decode("utf-8", "backslashreplace") for key in found)


@cache
def _client(url):
    """Return one client for all tests: redis-py looks up its own version, which takes longer than a test's commands."""
    kind = import_string(getattr(settings, "CACHEOPS_CLIENT_CLASS", "redis.Redis"))
    return kind.from_url(url)


def _sql(queries):
    return "; ".join(query["sql"] for query in queries.captured_queries)
