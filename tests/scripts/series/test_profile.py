"""The settings that count on a release, by what each entry of the profile stands for."""

from pathlib import Path

from scripts.core.model import Feature, Patch, Settings, State
from scripts.series.profile import settings_for
from scripts.series.series import Series

PROFILE = {"several": {"PATCH": 1}, "gone": {"GONE": 2}, "here": {"HERE": 3}}


def series(*retired):
    """Return a live patch that brings two features, those in `retired` since release 2."""
    path = Path("several.patch")
    patch = Patch(path, State.ACTIVE, "several", "", "2", "", features=("gone", "here"))
    features = [
        Feature(
            name, patch, path, "", applied_upstream="2; absorbed; plain" if name in retired else ""
        )
        for name in patch.features
    ]
    return Series((patch,), (), tuple(features))


def names(release, *retired):
    """Return the settings that count on a release."""
    found = settings_for(PROFILE, series(*retired), release, None)
    assert isinstance(found, Settings)
    return list(found.as_dict())


def test_settings_of_a_live_feature_and_of_its_patch_always_count():
    assert names("1", "gone") == ["HERE", "PATCH"]
    assert names("1") == ["GONE", "HERE", "PATCH"]


def test_settings_of_a_retired_feature_count_from_its_release_on():
    assert names("2", "gone") == ["GONE", "HERE", "PATCH"]


def test_settings_of_a_patch_without_a_live_feature_count_from_that_release_on():
    assert names("1", "gone", "here") == []
    assert names("2", "gone", "here") == ["GONE", "HERE", "PATCH"]
