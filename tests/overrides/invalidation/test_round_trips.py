"""A transaction of thousands of rows costs as many round trips at its commit as its drops fill pipelines."""

import pytest
from cacheops import no_invalidation
from cacheops.transaction import install_cacheops_transaction_support
from django.db.transaction import atomic
from django.test.utils import override_settings

from rover_overrides.cache import results
from rover_overrides.cache.registry import stamp_key
from rover_overrides.queries.analysis import dependencies
from rover_overrides.writes import compilers
from tests.support import engine_redis
from tests.support.redis_watch import watching
from tests.support.write_models.models import Tag
from tests.support.write_recorder import create_tables, drop_tables, empty_tables

ROWS = 3500


@pytest.fixture
def tags(sqlite, server):
    install_cacheops_transaction_support()
    compilers.install()
    create_tables(sqlite)
    with override_settings(CACHEOPS_INSIDEOUT=True):
        with no_invalidation:
            empty_tables(sqlite)
            Tag.objects.bulk_create([Tag(pk=n + 1, slug=f"s{n}", hits=n) for n in range(ROWS)])
        yield list(Tag.objects.order_by("pk"))
    drop_tables(sqlite)


def test_rows_of_a_transaction_are_dropped_in_a_few_round_trips(server, tags):
    deps = [
        dependencies(Tag.objects.filter(**{name: value}))
        for name, value in (("slug", "s7"), ("hits", 7), ("hits__gt", 3000))
    ]
    for number, found in enumerate(deps):
        with results.getting(f"q:{number}", found, ""):
            results.fill("", f"q:{number}", "old", found, 100)
    before = set(server.key_names())
    with (
        engine_redis.count_round_trips() as counted,
        server.client() as client,
        watching(client) as ran,
        atomic(),
    ):
        for tag in tags:
            tag.hits += ROWS
            tag.save()
        assert counted["trips"] == 0
    dropped = before - set(server.key_names())
    assert dropped == {
        stamp_key("", "write_models_tag", conj)
        for found in deps
        for conj in found["write_models_tag"]
    }
    sizes = [len(command.args) for command in ran if command.name == "UNLINK"]
    assert max(sizes) == 1000
    assert sum(sizes) > 2 * 2 * ROWS, "old and new values, before the commit and after it"
    assert 0 < counted["trips"] <= 35
