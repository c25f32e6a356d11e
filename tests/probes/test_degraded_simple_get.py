"""The simple cache misses when Redis is away, as querysets do.

With CACHEOPS_DEGRADE_ON_FAILURE querysets read from the database when Redis is away, but
cache.get() and functions under @cached raised ConnectionError. They did degrade up to 6.2, when the
client class handled it. Now get() raises CacheMiss again, so that @cached computes.

Drop-When: upstream handles a connection failure in RedisCache._get()
"""

import pytest
import redis
from cacheops import CacheMiss, cache, cached
from cacheops.redis import redis_client
from django.test import override_settings
from probe_project.models import Article
from probe_project.redis_watch import masters

pytestmark = pytest.mark.filterwarnings("ignore:The cacheops cache:RuntimeWarning")


@pytest.fixture(autouse=True)
def _asked_again_at_once():
    with override_settings(
        CACHEOPS_ROVER_RETRY_SECONDS=0
    ):  # for then nobody would ask a server again that failed
        yield


@pytest.fixture
def away(probe, monkeypatch, tmp_path):
    """Return what makes the server go away: from then on the client finds nobody at its socket."""
    if len(masters(redis_client)) > 1:
        pytest.skip("a cluster's client looks for its nodes anew: nobody can be put in their place")
    try:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options = {"retry": Retry(NoBackoff(), 0)}  # newer clients wait between attempts
    except ImportError:
        options = {}
    nobody = redis.ConnectionPool.from_url("unix://%s" % (tmp_path / "nobody"), **options)
    return lambda: monkeypatch.setattr(redis_client, "connection_pool", nobody)


def outcome(call):
    """Return what a call returns, or the class of what it raises."""
    try:
        return call()
    except Exception as error:
        return type(error)


def test_get_misses(probe, away):
    cache.set("answer", 42, timeout=60)
    assert outcome(lambda: cache.get("answer")) == 42
    away()
    assert outcome(lambda: cache.get("answer")) is CacheMiss


def test_cached_function_computes(probe, away):
    calls = []

    @cached(timeout=60)
    def double(number):
        calls.append(number)
        return number * 2

    assert [double(2), double(2)] == [4, 4]
    assert calls == [2], "the second call is a hit"
    away()
    assert outcome(lambda: double(2)) == 4
    assert calls == [2, 2], "with Redis away the function computes"


def test_cached_function_is_a_hit_again_when_redis_is_back(probe, away, monkeypatch):
    @cached(timeout=60)
    def titles():
        return [article.title for article in Article.objects.nocache().order_by("pk")]

    expected = titles()
    away()
    assert outcome(titles) == expected
    monkeypatch.undo()
    assert probe.count_sql(titles) == 0


def test_set_and_delete_do_nothing(probe, away):
    away()
    assert outcome(lambda: cache.set("answer", 42, timeout=60)) is None
    assert outcome(lambda: cache.delete("answer")) is None
