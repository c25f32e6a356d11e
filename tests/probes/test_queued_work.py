"""What a write has outdated leaves the server before it expires, without keeping anybody
waiting, and what lives stays.

A write only drops stamps, so results that it outdated stay in memory until they expire. Every
result now says on what it depends, and dead ones are freed by a management command, by reapconjs,
and by a job, with SCAN and a bounded number of keys at a time.

CACHEOPS_ROVER_QUEUE names a queue of RQ for those who rather have whole invalidations run by a
worker, and accept that their changes show later.

Drop-When: upstream frees what a write has outdated in bounded steps
"""

from io import StringIO

from cacheops.redis import redis_client
from django.core.management import call_command
from probe_project.api import need
from probe_project.models import Article
from probe_project.redis_watch import units, watching


def titled(pages):
    return lambda: list(Article.objects.filter(pages=pages).values_list("title", flat=True))


def test_dead_results_are_freed(probe):
    need("cacheops.reap_conjs")
    for pages in (1, 2, 3):
        probe.fill(titled(pages))
    before = set(probe.keys())
    Article.objects.filter(pk=2).update(title="Omega")
    results = [
        key
        for key in before & set(probe.keys())
        if probe.redis.type(key) == b"string" and probe.redis.strlen(key) > 40
    ]
    assert len(results) == 3, "the write only drops what tells that a result is true"
    call_command("reapconjs", stdout=StringIO())
    assert len(set(results) & set(probe.keys())) == 2
    probe.assert_kept(titled(1))
    probe.assert_kept(titled(3))
    assert probe.assert_dropped(titled(2)) == ["Omega"]


def test_it_goes_in_steps_and_may_be_repeated(probe):
    reap = need("cacheops.reap_conjs")
    for pages in range(520):
        titled(pages)()
    need("cacheops.invalidate_model")(Article)
    probe.fill(titled(1))
    for _ in range(2):
        with watching(redis_client) as commands:
            reap()
        assert (
            max(sum(max(1, len(command.args)) for command in unit) for unit in units(commands))
            <= 1000
        )
        assert not [command for command in commands if command.name in {"KEYS", "SMEMBERS"}]
    assert (
        len(
            [
                key
                for key in probe.keys()
                if probe.redis.type(key) == b"string" and probe.redis.strlen(key) > 40
            ]
        )
        == 1
    )
    probe.assert_kept(titled(1))
