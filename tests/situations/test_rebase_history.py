"""Rover's real history in long steps; `nox -s history` goes release by release."""

import pytest

from tests.support.fork_history import BROKEN, Rover, check_7_2, copy_rover, make_rover
from tests.support.harness import make_once

pytestmark = pytest.mark.xdist_group("the history of rover")

RELEASES = {
    "py311-django2.2": ">=4.0.7,<7,!=4.1,!=5.0,!=5.0.1,!=5.1,!=6.0,!=6.1",
    "py311-django3.2": ">=6.2,!=7.0,!=7.0.1,!=7.0.2",
}
AT_6_2 = {
    "unlink-conj-sets": ("4.2", "absorbed"),
    "text-conditions": ("4.2", "configurable"),
    "long-in-settings": ("4.2", "absorbed"),
    "conj-reaper": ("6.2", "absorbed"),
}
AT_7_1 = AT_6_2 | {"stepwise-invalidation": ("7.1", "configurable")}


@pytest.fixture(scope="session")
def at_6_2(tmp_path_factory, worker_id):
    """Return a fork that went from 4.0.7 to 6.2 in two steps; parallel workers share it."""
    return Rover(make_once(tmp_path_factory, worker_id, "rover", _go_to_6_2))


def _go_to_6_2(root):
    fork = make_rover(root, RELEASES)
    assert fork.advance("4.2") == [("stepwise-invalidation", "conflicts")]
    assert fork.live == ["conj-reaper", "stepwise-invalidation", "iexact-conditions"]
    assert fork.advance("6.2") == [
        ("stepwise-invalidation", "conflicts"),
        ("iexact-conditions", "conflicts"),
    ]


def test_fork_of_4_0_7_comes_to_6_2(at_6_2):
    assert (at_6_2.live, at_6_2.bases) == (["stepwise-invalidation", "iexact-conditions"], {"6.2"})
    assert at_6_2.proofs == AT_6_2
    assert at_6_2.settings == {"text-conditions": {"CACHEOPS_SKIP_FIELDS": ()}}


def test_from_6_2_to_7_2_in_one_step(at_6_2, tmp_path):
    fork = copy_rover(at_6_2, tmp_path / "fork")
    assert fork.advance("7.2") == BROKEN
    check_7_2(fork, AT_7_1)


def test_from_7_1_to_7_2_in_one_step(at_6_2, tmp_path):
    fork = copy_rover(at_6_2, tmp_path / "fork")
    assert fork.advance("7.1") == BROKEN
    assert fork.advance("7.2") == []
    check_7_2(fork, AT_7_1)
