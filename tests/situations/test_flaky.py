"""A probe that chance decides is named, whatever chance it is: the hash seed, the order, or what was imported before."""

import os
import re
import subprocess

import pytest

from tests.support.harness import ENVIRONMENTS

PROBE = "tests/probes/test_count_hits.py"


@pytest.fixture
def absorbed(fork):
    """Return a fork with a live patch that upstream absorbed, so that its probes passing would retire it."""
    fork.apply_situation("absorbed")
    done = fork.status()
    assert (done.code, done.verdicts["hits"]) == (0, "absorbed")
    return fork


def hashes(fork, *seeds):
    """Return what a word hashes to under hash seeds, in the fork's own environment."""
    command = [fork.root / ENVIRONMENTS / "plain/bin/python", "-c", "print(hash('larder'))"]
    return [
        int(
            subprocess.run(
                command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
            ).stdout
        )
        for seed in seeds
    ]


def doubt(fork, *words):
    """Return why the patch is unproven on the locked release, with numbers nobody chose replaced."""
    done = fork.status(*words)
    assert (done.code, done.verdicts["hits"]) == (20, "unproven"), done.stderr
    detail = done.cell("hits")["detail"]
    assert fork.status().cell("hits")["detail"] == detail, "the seed is kept with the result"
    return re.sub(r"PYTHONHASHSEED=\d{3,}", "PYTHONHASHSEED=N", detail)


ROUNDS = "(in order with PYTHONHASHSEED=1, then in reverse with PYTHONHASHSEED=2)"


def test_seed_that_tells_the_rounds_apart(absorbed):
    (one,) = hashes(absorbed, "1")
    absorbed.append(
        PROBE, f"\n\ndef test_set():\n    assert hash('larder') == {one}, 'other order'\n"
    )
    found = doubt(absorbed)
    start = "flaky: two runs of the bare column differ: test_count_hits.py::test_set: passed, then failed: AssertionError: other order"
    assert found.startswith(start)
    assert found.endswith(f"{ROUNDS}; failed in a cold interpreter with PYTHONHASHSEED=N")


def test_seed_that_no_other_process_has(absorbed):
    absorbed.append(
        PROBE,
        f"\n\ndef test_set():\n    assert hash('larder') in {hashes(absorbed, '1', '2')}, 'other order'\n",
    )
    assert doubt(absorbed).startswith(
        "flaky: two runs of the bare column differ: test_count_hits.py::test_set: "
        "passed twice, then failed in a cold interpreter with PYTHONHASHSEED=N: AssertionError: other order"
    )


ORDER = """

SEEN = []


def test_first():
    SEEN.append(1)


def test_second():
    assert SEEN, "nobody was here"
"""


def test_order(absorbed):
    absorbed.append(PROBE, ORDER)
    found = doubt(absorbed)
    assert "test_second: passed, then failed: AssertionError: nobody was here" in found
    assert found.endswith(f"{ROUNDS}; passed in a cold interpreter with PYTHONHASHSEED=N")


def test_module_that_another_probe_left_warm(absorbed):
    absorbed.append("tests/probes/test_trim_headings.py", "\nimport wave\n")
    absorbed.status("--fresh")
    absorbed.append(
        PROBE, "\n\ndef test_wave():\n    assert 'wave' in __import__('sys').modules, 'cold'\n"
    )
    assert (
        "test_wave: passed twice, then failed in a cold interpreter with PYTHONHASHSEED=N: AssertionError: cold"
        in doubt(absorbed)
    )


def test_what_decides_a_retirement_is_asked_cold_with_a_seed_that_is_shown(absorbed):
    done = absorbed.run("status", "--patch", "hits", "--why", "--fresh")
    assert "asking once more, cold: 1 processes" in done.stderr
    words = " ".join(done.stdout.split())
    assert re.search(
        r"bare: passed once more in a cold interpreter with PYTHONHASHSEED=\d{3,}", words
    )


SEES = """

def test_sees():
    import os, sys

    assert os.environ["PYTHONHASHSEED"] != "7"
    assert not [place for place in sys.path if place.endswith(("scripts/probes/cell", "/elsewhere")) or place in ("", os.getcwd())]
    assert not sys.flags.optimize
    assert not __import__("site").ENABLE_USER_SITE
"""


def test_interpreters_see_nothing_of_the_users_python(absorbed, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    absorbed.append(PROBE, SEES)
    outside = {
        "PYTHONHASHSEED": "7",
        "PYTHONUSERBASE": str(tmp_path / "elsewhere"),
        "PYTHONOPTIMIZE": "2",
    }
    done = absorbed.status(PYTHONPATH=str(tmp_path / "elsewhere"), **outside)
    assert (done.code, done.verdicts["hits"]) == (0, "absorbed"), done.stdout
