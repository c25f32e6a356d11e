"""No single command or script frees more than 1,000 keys, however many results depend on a saved row."""

from probe_project.models import Article
from probe_project.redis_watch import freed_keys, units, watching

MOST = 1000
READS = 5
DEPENDENTS = 2500


def second_pages(limit):
    """Return a read whose result depends on the same row whatever the limit, under a key of its own."""
    return lambda: list(Article.objects.filter(pages=2).values_list("title", flat=True)[:limit])


def fill_results(probe, reads):
    """Cache the results of `reads` and return their keys, in order."""
    keys = []
    for read in reads:
        before = set(probe.redis.keys("q:*"))
        probe.fill(read)
        (key,) = set(probe.redis.keys("q:*")) - before
        keys.append(key)
    return keys


def copy_result(probe, key, count):
    """Copy a cached result `count` times and return the keys of the copies.

    A copy is listed wherever the original is: that makes it depend on the same rows where conj sets list results. Under
    INSIDEOUT nothing lists it; there its bytes hold the checksum of the stamps it depends on, which are the same.
    """
    copies = [b"q:copy:%d" % number for number in range(count)]
    value, ttl = probe.redis.get(key), probe.redis.ttl(key)
    conj_sets = [name for name in probe.redis.keys("conj:*") if probe.redis.type(name) == b"set"]
    listing = [name for name in conj_sets if probe.redis.sismember(name, key)]
    pipe = probe.redis.pipeline(transaction=False)
    for copy in copies:
        pipe.set(copy, value, ex=ttl)
        for name in listing:
            pipe.sadd(name, copy)
    pipe.execute()
    return copies


def test_save_of_row_frees_its_dependents_in_steps(probe):
    reads = [second_pages(limit) for limit in range(1, READS + 1)]
    originals = fill_results(probe, reads)
    copies = copy_result(probe, originals[-1], DEPENDENTS - READS + 1)
    # A copy in the place of its original is a hit, so the copies are results like any other.
    probe.redis.rename(copies.pop(), originals[-1])
    probe.assert_kept(reads[-1])

    with watching(probe.redis) as commands:
        Article(pk=2, title="Beta 2", pages=2).save()

    freed_at_once = {
        unit[0].name: len(freed_keys(unit)) for unit in sorted(units(commands), key=_freed)
    }
    too_much = {name: freed for name, freed in freed_at_once.items() if freed > MOST}
    assert not too_much, "more than %d keys were freed at once, by %s" % (MOST, too_much)
    left = {key for key in originals + copies if probe.redis.exists(key)}
    unseen = set(originals + copies) - left - {key.encode() for key in freed_keys(commands)}
    assert not unseen, "%d results went by other means than DEL or UNLINK" % len(unseen)

    if left & set(copies):  # as dead as its original, or it would be served
        probe.redis.rename((left & set(copies)).pop(), originals[-1])
    for read in reads:
        assert probe.assert_dropped(read) == ["Beta 2"]


def _freed(unit):
    return len(freed_keys(unit))
