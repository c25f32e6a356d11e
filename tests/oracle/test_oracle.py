"""The oracle on a short, seeded budget; `nox -s oracle` has the long one."""

from collections import Counter

import pytest
from oracle.environments import Database, is_clean
from oracle.run import ROOT

from scripts.core.lockfile import read_lock
from scripts.core.model import State
from scripts.core.repository import Repository
from scripts.series.series import read_series

DATABASES = [
    Database("sqlite"),
    Database("postgresql", "read-committed"),
    Database("postgresql", "repeatable-read"),
]


_REPOSITORY = Repository(ROOT)
FEATURES = [
    feature.id
    for feature in read_series(_REPOSITORY, read_lock(_REPOSITORY.lock_file)).features
    if feature.state is State.ACTIVE
]

STORING = ("leased-storage",)
"""Features without which no result is stored."""

TINY = 30_000
"""Bytes that a server may use beyond what it has after a few steps."""


def needless_share(figures):
    needless = figures.get("drops needless", 0)
    return needless / (needless + figures["drops needed"])


@pytest.mark.parametrize("name", ["bare", "bare-insideout"])
def test_the_judge_sees_bare_upstream_stale_in_every_case(judge, name):
    found = judge(name, "--workload", "cases")
    assert len(found) >= 26
    assert [case for case, seen in found.items() if not seen["stale"]] == []


def test_the_series_is_stale_in_no_case_and_drops_what_changed(judge):
    found = judge("series", "--workload", "cases")
    assert [case for case, seen in found.items() if seen["stale"]] == []
    alone = {case: seen for case, seen in found.items() if "steps beside" not in seen}
    assert {case: seen.get("drops needed") for case, seen in alone.items()} == dict.fromkeys(
        alone, 1
    )
    assert [
        case
        for case, seen in found.items()
        if not seen["warm"] or seen["writes done"] != seen["writes"]
    ] == []


@pytest.mark.parametrize("database", DATABASES, ids=str)
def test_no_cached_answer_of_the_series_differs_from_the_database(judge, database):
    steps = 400 if database.kind == "sqlite" else 100
    found = judge("series", "--steps", steps, "--seed", 1, "--shrink", 1, database=database)
    assert found["reproducers"] == []
    assert found["raised"] == {}
    assert found["figures"]["steps"] == steps
    assert is_clean([Counter(found["figures"])])


@pytest.mark.parametrize("feature", FEATURES)
def test_no_cached_answer_is_stale_with_a_feature_disabled(judge, feature):
    found = judge(
        "series", "--steps", 120, "--seed", 3, "--shrink", 1, CACHEOPS_ROVER_OFF=[feature]
    )
    assert found["reproducers"] == []
    assert found["raised"] == {}
    assert bool(found["figures"]["hits"]) is (feature not in STORING)


def test_no_cached_answer_is_stale_where_the_server_evicts_whatever_it_likes(judge):
    found = judge("series", "--steps", 400, "--seed", 2, "--spare", TINY)
    assert found["reproducers"] == []
    assert found["figures"]["evicted"] > 20
    assert is_clean([Counter(found["figures"])])


def test_a_random_run_shows_that_bare_upstream_is_stale_and_reduces_it_to_a_few_steps(judge):
    found = judge("bare-insideout", "--steps", 200, "--seed", 1, "--shrink", 1)
    assert found["figures"]["stale"] > 0
    (reproducer,) = found["reproducers"]
    assert reproducer["replays"]
    assert len(reproducer["steps"]) <= 3
    assert reproducer["cached"] != reproducer["database"]


def test_the_series_drops_less_for_nothing_than_bare_upstream(judge):
    words = "--workload", "rover", "--steps", 150, "--seed", 1
    bare, series = judge("bare", *words)["figures"], judge("series", *words)["figures"]
    assert bare["steps"] == series["steps"]
    assert needless_share(bare) > 0.6
    assert needless_share(series) < needless_share(bare) / 2
