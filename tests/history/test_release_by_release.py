"""Rover's real history, release by release, with upstream's own tests at each: `nox -s history` (some minutes)."""

import pytest

from tests.support.fork_history import BROKEN, check_7_2, copy_rover, make_rover

STEPWISE, IEXACT, REAPER = (
    ("stepwise-invalidation", "conflicts"),
    ("iexact-conditions", "conflicts"),
    ("conj-reaper", "conflicts"),
)
WAY = {
    "4.1": ([STEPWISE], {"unlink-conj-sets": "absorbed"}),
    "4.2": ([], {"text-conditions": "configurable", "long-in-settings": "absorbed"}),
    "5.0": ([STEPWISE, IEXACT], {}),
    "5.0.1": ([], {}),
    "5.1": ([IEXACT], {}),
    "6.0": ([], {}),
    "6.1": ([REAPER], {}),
    "6.2": ([], {"conj-reaper": "absorbed"}),
    "7.0": ([IEXACT], {"stepwise-invalidation": "configurable"}),
    "7.0.1": ([], {}),
    "7.0.2": ([], {}),
    "7.1": ([BROKEN[1]], {}),
    "7.2": ([], {}),
}
"""At each release: where the rebase stops, and which patches it makes unnecessary, how."""

PROOFS = {
    patch: (release, how) for release, (_, retired) in WAY.items() for patch, how in retired.items()
}


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """Return the fork as it stood at 6.2, at 7.1 and in the end."""
    folder = tmp_path_factory.mktemp("rover")
    fork, found = make_rover(folder / "fork"), {}
    for release, (stops, retired) in WAY.items():
        live = [name for name in fork.live if name not in retired]
        known = fork.proofs
        assert fork.advance(release) == stops, release
        assert (fork.live, fork.bases) == (live, {release})
        assert fork.proofs == known | {name: (release, how) for name, how in retired.items()}
        if release in {"6.2", "7.1"}:
            found[release] = copy_rover(fork, folder / release)
    return found | {"7.2": fork}


def test_end_of_the_way_is_green(forks):
    check_7_2(forks["7.2"], PROOFS)


def test_from_6_2_to_7_2_in_one_step(forks):
    assert forks["6.2"].advance("7.2") == BROKEN
    check_7_2(forks["6.2"], PROOFS | {"stepwise-invalidation": ("7.0", "configurable")})


def test_from_7_1_to_7_2_in_one_step(forks):
    assert forks["7.1"].advance("7.2") == []
    check_7_2(forks["7.1"], PROOFS)
