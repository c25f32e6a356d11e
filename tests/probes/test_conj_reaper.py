"""Results that expired leave the conj sets without an invalidation, and live ones stay.

The server says whether there is anything to reap: a release that lists results must offer a way to unlist those that
expired. Under INSIDEOUT a conj key holds a stamp and lists nothing, so nothing has to run, and nothing is run: 7.2's
reap_conjs() takes the stamps for sets and raises there.
"""

from django.core.management import CommandError, call_command
from probe_project.api import need
from probe_project.models import Article

EXPIRED = 10


def second_pages(limit):
    """Return a read whose result depends on the same row whatever the limit, under a key of its own."""
    return lambda: list(Article.objects.filter(pages=2).values_list("title", flat=True)[:limit])


def fill_and_expire(probe):
    """Cache a live result, and `EXPIRED` more for the same condition that expire at once; return the live read."""
    live = second_pages(limit=100)
    probe.fill(live)
    kept = set(probe.keys("q:*"))
    for limit in range(1, EXPIRED + 1):
        probe.fill(second_pages(limit))
    expiring = set(probe.keys("q:*")) - kept
    assert len(expiring) == EXPIRED, "a result each was expected: %s" % sorted(expiring)
    for key in expiring:
        probe.redis.expireat(key, 1)  # in 1970
    assert set(probe.keys("q:*")) == kept
    return live


def listed_expired(probe):
    """Return the results that a conj key of any type lists although they are gone."""
    redis = probe.redis
    lists = {
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"hash": redis.hkeys,
    }
    conj_keys = [(key, redis.type(key)) for key in redis.keys("*conj:*")]
    members = {member for key, kind in conj_keys if kind in lists for member in lists[kind](key)}
    return sorted(member for member in members if not redis.exists(member))


def reap(probe, **sizes):
    if listed_expired(probe):
        need("cacheops.reap_conjs")(min_conj_set_size=1, **sizes)


def test_expired_results_are_unlisted(probe):
    fill_and_expire(probe)
    reap(probe)
    assert listed_expired(probe) == []


def test_expired_results_are_unlisted_in_small_chunks(probe):
    fill_and_expire(probe)
    reap(probe, chunk_size=2)
    assert listed_expired(probe) == []


def test_command_unlists_expired_results(probe):
    fill_and_expire(probe)
    if listed_expired(probe):
        try:
            call_command("reapconjs", min_conj_set_size=1)
        except CommandError as error:
            raise AssertionError("upstream has no manage.py reapconjs: %s" % error) from None
    assert listed_expired(probe) == []


def test_live_result_stays_and_is_dropped_by_a_save_of_its_row(probe):
    live = fill_and_expire(probe)
    reap(probe)
    probe.assert_kept(live)
    Article(pk=4, title="Delta", pages=4).save()
    probe.assert_kept(live)
    Article(pk=5, title="Epsilon", pages=2).save()
    assert probe.assert_dropped(live) == ["Beta", "Epsilon"]
