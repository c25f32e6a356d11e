"""Pre-releases are tracked where fork.toml says so, whatever `packaging` takes for a default."""

import tomllib

import pytest
from packaging.version import Version

from scripts.core.config import Upstream
from tests.support.local_index import FILES_1_1, empty_wheel

pytestmark = pytest.mark.slow


def pinned_versions(fork):
    return [release["version"] for release in tomllib.loads(fork.lock.read_text())["release"]]


@pytest.mark.parametrize("version", ["2.0rc1", "2.0a1", "2.0.dev1", "2.0b2.post1"])
def test_prerelease_is_tracked_by_request_alone(version):
    assert not Upstream(name="tally", track=">=1").tracks(Version(version))
    assert Upstream(name="tally", track=">=1", prereleases=True).tracks(Version(version))
    assert not Upstream(name="tally", track=">=3", prereleases=True).tracks(Version(version))


@pytest.mark.parametrize("version", ["2.0", "2.0.post1"])
def test_release_is_tracked_either_way(version):
    assert Upstream(name="tally", track=">=1").tracks(Version(version))
    assert Upstream(name="tally", track=">=1", prereleases=True).tracks(Version(version))


def test_newest_that_is_a_candidate_is_not_pinned(fork, index):
    index.add("2.0rc1", FILES_1_1)
    assert "1.0 to 1.1; locked: 1.1" in fork.run("pin").stderr
    assert pinned_versions(fork) == ["1.0", "1.1"]


def test_candidate_is_pinned_where_fork_toml_wants_them(fork, index):
    index.add("2.0rc1", FILES_1_1)
    config = fork.root / "fork.toml"
    config.write_text(config.read_text().replace("track =", "prereleases = true\ntrack ="))
    fork.run("pin")
    assert pinned_versions(fork) == ["1.0", "1.1", "2.0rc1"]


def test_candidate_is_pinned_when_asked_for_and_stays(fork, index):
    index.add("2.0rc1", FILES_1_1)
    fork.run("pin", "2.0rc1")
    fork.run("pin")
    assert pinned_versions(fork) == ["1.0", "1.1", "2.0rc1"]


def test_index_without_anything_but_candidates_is_named(fork, index):
    index.files.clear()
    index.add("2.0rc1", FILES_1_1)
    assert "has no release of made-up-tally that is >=1" in fork.run("pin", ok=2).stderr


def test_release_without_sdist_is_named_and_left_out(fork, index):
    index.files["made_up_tally-1.2-py3-none-any.whl"] = type(
        index.files["made_up_tally-1.1.tar.gz"]
    )(empty_wheel("1.2"))
    assert "warning: 1.2 has no sdist; left out" in fork.run("pin").stderr
    assert pinned_versions(fork) == ["1.0", "1.1"]
