"""Features are switched by their ids, also by those that they had, and public modules are where settings find them."""

import warnings

import pytest
from django.test import override_settings

from rover_overrides.core import switches
from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.series.series import read_series
from tests.support.engine_redis import ROOT

SETTINGS = """
from rover_overrides.profile import *
from rover_overrides.counters import counted
from rover_overrides.jobs import drain_outbox, invalidate, reclaim, retry
from rover_overrides.switches import off, on

CACHEOPS_ROVER_OFF = ("join-conditions",)
"""
"""What an application's settings may import."""


@pytest.fixture(scope="module")
def features():
    """Return the live features of this repository's own series."""
    repo = Repository(ROOT)
    return [
        feature
        for feature in read_series(repo, read_lock(repo.lock_file)).features
        if not feature.retired_in
    ]


def test_settings_of_today_import_what_they_need():
    found = {}
    exec(compile(SETTINGS, "settings.py", "exec"), found)
    assert found["CACHEOPS_INSIDEOUT"] is True
    assert callable(found["on"])


def test_former_ids_are_those_of_the_records(features):
    formerly = {name: feature.id for feature in features for name in feature.formerly}
    assert formerly == switches._FORMER_IDS


def test_former_id_switches_off_and_warns():
    switches._current_ids.cache_clear()
    with override_settings(CACHEOPS_ROVER_OFF=("seen-writes",)):
        with pytest.warns(RuntimeWarning, match="seen-writes, which is called track-all-writes"):
            assert not switches.is_enabled("track-all-writes")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not switches.is_enabled("track-all-writes")  # once is enough
    assert switches.is_enabled("track-all-writes")
