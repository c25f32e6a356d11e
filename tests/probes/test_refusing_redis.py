"""A server that is there and refuses counts as absent: the site reads from its database, and
writes go on.

A server without memory, without its replicas, read only after a failover, busy with a script, or a
cluster that is down answers with an error. It is no ConnectionError, so CACHEOPS_DEGRADE_ON_FAILURE
did not help: reads and saves raised. Now they degrade as if nobody answered. The simple cache
waited for such a server at each call, though a queryset had found it away a moment ago: they wait
for it together now, once.

Code: hooks.simple_cache
Drop-When: upstream degrades where Redis answers OOM, READONLY, NOREPLICAS or BUSY, and waits once
  for one that hangs
"""

import time
from contextlib import contextmanager

import pytest
import redis
from cacheops import CacheMiss, cache, cached
from cacheops.redis import redis_client
from django.db import connection
from django.test import override_settings
from probe_project.models import Article
from probe_project.redis_watch import masters

pytestmark = [
    pytest.mark.filterwarnings("ignore:The cacheops cache"),
    pytest.mark.usefixtures("no_waiting"),
]


@pytest.fixture(autouse=True)
def _asked_again_at_once():
    with override_settings(
        CACHEOPS_ROVER_RETRY_SECONDS=0
    ):  # for then readers would leave a server alone that failed
        yield
    cache.delete("nothing")  # it works again, so the next test need not wait


@contextmanager
def configured(probe, name, value, before):
    for master in masters(probe.redis):
        master.config_set(name, value)
    try:
        yield
    finally:
        for master in masters(probe.redis):
            master.config_set(name, before)


@contextmanager
def no_memory(probe):
    before = masters(probe.redis)[0].config_get("maxmemory")["maxmemory"]
    with configured(probe, "maxmemory", 1, before):
        yield


@contextmanager
def too_few_replicas(probe):
    with configured(probe, "min-replicas-to-write", 1, 0):
        yield


@contextmanager
def read_only(probe):
    if len(masters(probe.redis)) > 1:
        pytest.skip("a master of a cluster cannot be made a replica of somebody outside")
    probe.redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        probe.redis.replicaof("NO", "ONE")


REFUSALS = [no_memory, too_few_replicas, read_only]


def raised_by(call):
    """Call, and return in words what it raised."""
    try:
        call()
    except Exception as error:
        return repr(error)
    return None


@cached(timeout=60)
def doubled(number):
    return 2 * number


@pytest.mark.parametrize("refusing", REFUSALS)
def test_queryset_reads_the_database(probe, refusing):
    probe.fill(lambda: list(Article.objects.filter(pages=1)))
    with refusing(probe):
        assert raised_by(lambda: list(Article.objects.filter(pages=2))) is None
        assert probe.count_sql(lambda: list(Article.objects.filter(pages=2))) == 1


@pytest.mark.parametrize("refusing", REFUSALS)
def test_write_goes_on(probe, refusing):
    probe.fill(lambda: list(Article.objects.filter(pages=1)))
    with refusing(probe):
        article = Article.objects.nocache().get(pk=1)
        article.title = "Changed"
        assert raised_by(article.save) is None
    with connection.cursor() as cursor:
        cursor.execute('SELECT "title" FROM "%s" WHERE "id" = 1' % Article._meta.db_table)
        assert cursor.fetchone() == ("Changed",)


@pytest.mark.parametrize("refusing", REFUSALS)
def test_simple_cache_computes(probe, refusing):
    cache.set("known", 1)
    assert cache.get("known") == 1
    with refusing(probe):
        assert raised_by(lambda: doubled(2)) is None
        assert doubled(2) == 4
        assert raised_by(lambda: cache.set("other", 1)) is None
        assert raised_by(lambda: cache.delete("nothing")) is None
    with pytest.raises(CacheMiss):
        cache.get("other")


def test_reads_wait_once_for_a_server_that_is_away(probe, monkeypatch, tmp_path):
    if len(masters(redis_client)) > 1:
        pytest.skip("a cluster's client looks for its nodes anew: nobody can be put in their place")
    made = []

    class Nobody(redis.UnixDomainSocketConnection):
        def connect(self):
            made.append(self)
            raise redis.TimeoutError("Timeout connecting to server")

    now = time.monotonic()
    monkeypatch.setattr(
        time, "monotonic", lambda: now
    )  # the clock stands, and for the next test all this is over
    with override_settings(CACHEOPS_ROVER_RETRY_SECONDS=0.001):
        monkeypatch.setattr(
            redis_client, "connection_pool", redis.ConnectionPool(connection_class=Nobody)
        )
        assert doubled(3) == 6
        attempts = len(made)
        assert attempts
        assert [doubled(3), doubled(4)] == [6, 8]
        assert raised_by(lambda: cache.set("other", 1, timeout=60)) is None
        assert len(list(Article.objects.filter(pages=1))) == 1
        assert len(made) == attempts
