"""People are told which results a save of a row would drop, by which condition, and what the
cache does.

Nobody could say which results a save drops, nor why. Now `manage.py cacheops_why app.Model.pk`
lists the conditions that a row meets, and `manage.py cacheops_counters` shows hits, misses, fills
that were refused, and drops by table and comparison. The counters are a signal too.

Formerly: told-reasons
Drop-When: upstream tells why a save drops results
"""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from probe_project.api import need
from probe_project.models import Article


def told(*words):
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def read(**conditions):
    return lambda: list(Article.objects.filter(**conditions).values_list("title", flat=True))


def test_conditions_that_a_row_meets_are_listed(probe):
    for conditions in (
        {"pages": 2},
        {"pages": 3},
        {"pages__gt": 1},
        {"title__iexact": "BETA"},
        {"section__name": "Sport"},
    ):
        probe.fill(read(**conditions))
    said = told("cacheops_why", "probe_project.Article.2")
    assert "pages = 2" in said
    assert "pages > 1" in said
    assert "title = (any case) beta" in said
    assert "section_id.name = Sport" in said
    assert "pages = 3" not in said
    before = said.count("\n")
    Article.objects.filter(pk=2).update(pages=7)
    assert "pages = 2" not in told("cacheops_why", "probe_project.Article.2")
    assert before > 4


def test_telling_drops_nothing_and_caches_nothing(probe):
    probe.fill(read(pages=2))
    before = probe.keys()
    told("cacheops_why", "probe_project.Article.2")
    assert probe.keys() == before
    probe.assert_kept(read(pages=2))


@pytest.mark.parametrize("row", ["probe_project.Article.99", "probe_project.Nothing.1", "nonsense"])
def test_row_that_is_not_there_is_named(probe, row):
    with pytest.raises(CommandError, match=row):
        told("cacheops_why", row)


def test_counters_tell_hits_misses_and_drops(probe):
    counted, report = (
        need("rover_overrides.counters.counted"),
        need("rover_overrides.counters.report"),
    )
    seen = {}

    def listen(counts, **kwargs):
        for name, number in counts.items():
            seen[name] = seen.get(name, 0) + number

    report()
    probe.redis.flushall()
    counted.connect(listen)
    try:
        probe.fill(read(pages=2))
        Article.objects.filter(pk=2).update(title="Omega")
        report()
    finally:
        counted.disconnect(listen)
    assert (seen["hits"], seen["misses"]) == (1, 1)
    assert seen["drop probe_project_article: pages ="] == 1
    said = told("cacheops_counters")
    assert "1  drop probe_project_article: pages =" in said
    assert "misses" in said


def test_counting_costs_a_hit_no_command(probe):
    need("rover_overrides.counters.report")()
    probe.fill(read(pages=2))
    with probe.commands() as ran:
        for _ in range(10):
            probe.assert_kept(read(pages=2))
    assert ran["hincrby"] == 0
