"""What a verb says while another one has the folder to itself: who that is, and what was found the last time."""

import re

import pytest
from filelock import FileLock

from scripts.core.repository import Repository
from tests.support.harness import (
    PATIENCE_SECONDS,
    TRIM_PROBE,
    WAITING_PROBE,
    CommandResult,
    wait_until,
)


@pytest.fixture
def waiting(fork, tmp_path):
    """Yield a fork with results of a whole run, and a run that waits in an edited probe."""
    fork.append(TRIM_PROBE, WAITING_PROBE)
    started = tmp_path / "started"
    process = fork.start("status", "--format", "json", LARDER_STARTED=str(started))
    try:
        wait_until(lambda: started.exists() or process.poll() is not None, "the probe that waits")
        yield fork, process, started
    finally:
        process.kill()
        process.communicate()


ENDED = 4_194_305
"""The number of no process: beyond the largest that Linux gives."""


def run_with_timeout(fork, *words):
    """Run the command line to its end, and fail where it waits for the other run."""
    process = fork.start(*words)
    try:
        output, complaint = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    return CommandResult(process.returncode, output, complaint)


def test_status_beside_another_run_shows_the_last_results_and_who_that_is(waiting):
    fork, process, _ = waiting
    done = run_with_timeout(fork, "status")
    assert process.poll() is None, "it did not wait"
    assert done.code == 0, done.stderr
    assert (
        done.stdout.splitlines()[0]
        == "Nothing to do: all features are needed on 2.0; 2 are retired."
    )
    assert re.search(
        r"\nthese are the results of 20\d\d-\d\d-\d\d \d\d:\d\d; patches, probes or pins have changed since\n",
        done.stdout,
    )
    words = f"python -m scripts --repo {fork.root} status --format json"
    who = rf"`{re.escape(words)}` \(process {process.pid}, since \d\d:\d\d\) works on this folder, so nothing is run\n"
    assert re.fullmatch(who, done.stderr)


def test_chosen_patch_is_shown_from_the_last_results_too(waiting):
    fork, process, _ = waiting
    done = run_with_timeout(fork, "status", "--patch", "count-hits")
    assert process.poll() is None
    assert done.stdout.splitlines()[0] == "count-hits stays retired on 2.0: absorbed in 2.0."


@pytest.mark.parametrize("words", [["--check"], ["--fresh"], ["--format", "markdown"]])
def test_who_asks_for_a_run_waits_and_is_told_for_whom(waiting, words):
    fork, first, started = waiting
    second = fork.start("status", *words)
    assert (
        second.stderr.readline() == "another run works on this folder; waiting for it to finish\n"
    )
    assert f" status --format json` (process {first.pid}, since " in second.stderr.readline()
    started.with_name("started.go").touch()
    assert first.wait(PATIENCE_SECONDS) == 0
    second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0


def test_killed_run_is_not_named(fork):
    repo = Repository(fork.root)
    (repo.work / "holder.json").write_text(
        f'{{"words": "nox -s pin", "process": {ENDED}, "since": "09:00"}}'
    )
    assert repo.lock_holder() is None
    with FileLock(repo.work / "lock"):
        assert repo.lock_holder() == "one that has not named its command yet"
        (repo.work / "holder.json").write_text("{")
        assert repo.lock_holder() == "one that has not named its command yet"


def test_run_leaves_no_name_behind(fork):
    with Repository(fork.root).exclusive():
        assert (fork.root / ".fork/holder.json").exists()
    assert not (fork.root / ".fork/holder.json").exists()


def test_lint_names_what_is_wrong_with_the_series_and_the_profile_in_one_run(fork):
    fork.replace("patches/series", "0001-trim-headings.patch", "")
    fork.replace("larder_overrides/profile.py", '"fold-names"', '"fold-nmaes"')
    done = fork.run("lint")
    assert done.code == 2
    assert "patches/0001-trim-headings.patch: not listed in patches/series" in done.stderr
    assert (
        "the entry 'fold-nmaes' stands for no feature or patch\n      fix: write `fold-names` for it"
        in done.stderr
    )


def test_help_and_complaints_say_what_is_typed(fork):
    usage = fork.run("status", "--formt")
    assert f"Try 'python -m scripts --repo {fork.root} status --help' for help." in usage.stderr
