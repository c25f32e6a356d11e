"""What a person may ask of `status`, and what it says to a word that it does not know."""

import os
import subprocess
import sys

import pytest

from tests.support.harness import PROJECT


def test_release_is_chosen_and_the_series_tried_on_it(fork):
    done = fork.status("--upstream", "1.1")
    assert done.code == 0, done.stderr
    assert done.report["upstream"]["releases"] == ["1.1"]
    cell = done.cell("trim-headings", "1.1")
    assert [cell[name] for name in ("bare", "configured", "series", "without")] == [
        "failed",
        None,
        "passed",
        "failed",
    ]
    assert done.features["trim-headings"]["releases"]["1.1"]["applies"] == "clean"


def test_releases_stay_in_their_order_however_they_are_asked_for(fork):
    assert fork.status("--upstream", "2.0", "--upstream", "1.0").report["upstream"]["releases"] == [
        "1.0",
        "2.0",
    ]


def test_patch_is_chosen(fork):
    done = fork.status("--patch", "count-hits", "--patch", "trim-headings")
    assert (done.code, set(done.verdicts), done.probe_processes_run) == (
        0,
        {"count-hits", "trim-headings"},
        0,
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["status", "--patch", "trim-heading"],
            (
                "error: there is no feature or patch trim-heading; did you mean trim-headings?\n"
                "  next: nox -s status -- --patch trim-headings\n"
            ),
        ),
        (
            ["status", "--patch", "zzz"],
            (
                "error: there is no feature or patch zzz; known: trim-headings, count-hits, fold-names\n"
                "  next: nox -s status\n"
            ),
        ),
        (
            ["status", "--upstream", "2.O"],
            (
                "error: there is no release 2.O; did you mean 2.0?\n"
                "  next: nox -s status -- --upstream 2.0\n"
            ),
        ),
        (
            ["status", "--upstream", "nine"],
            (
                "error: there is no release nine; known: 1.0, 1.1, 2.0\n"
                "  next: nox -s matrix -- --list\n"
            ),
        ),
        (
            ["cell", "2.0@plane"],
            (
                "error: there is no cell 2.0@plane; did you mean 2.0@plain?\n"
                "  next: nox -s cell -- 2.0@plain\n"
            ),
        ),
    ],
    ids=["patch", "strange-patch", "release", "strange-release", "cell"],
)
def test_unknown_name_gets_its_near_miss(fork, words, complaint):
    done = fork.run(*words)
    assert (done.code, done.stdout, done.stderr) == (2, "", complaint)


@pytest.mark.parametrize("words", ["statu", "status --formt json", "status --format xml", "cell"])
def test_wrong_use_exits_with_2(fork, words):
    done = fork.run(*words.split())
    assert (done.code, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_folder_that_is_no_fork_is_said_so(tmp_path, fork):
    (fork.root / "fork.toml").unlink()
    done = fork.status()
    assert (done.code, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"error: there is no fork.toml in {fork.root}\n  next: run this in a fork, or give --repo DIR\n"
    )


def test_fork_without_pins_is_told_to_pin(fork):
    (fork.root / "upstream/lock.toml").unlink()
    done = fork.status()
    assert (done.code, done.stderr) == (
        2,
        "error: nothing is pinned yet: upstream/lock.toml is missing\n  next: nox -s pin\n",
    )


def test_all_mistakes_of_the_configuration_are_listed_at_once(fork):
    fork.replace("fork.toml", 'track = ">=1"', 'trak = ">=1"')
    fork.replace("fork.toml", 'releases = ">=1"', 'releases = "newest"')
    done = fork.status()
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: fork.toml is wrong:\n"
        "  - upstream.track: Field required\n"
        "  - upstream.trak: unknown key; did you mean track?\n"
        "  - environments[0].releases: not a version specifier such as '>=7,<8': 'newest'\n"
        "  next: edit fork.toml\n"
    )


def test_terminal_says_the_answer_first_and_a_letter_a_release(fork):
    done = fork.run("status")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[:4] == [
        "Nothing to do: all features are needed on 2.0; 2 are retired.",
        "next: nox -s watch",
        "",
        "No: bare made-up-larder 2.0 is not enough; 1 feature stands in the way.",
    ]
    rows = [line.split() for line in lines]
    assert ["trim-headings", "needed", "N", "N", "N"] in rows
    assert ["count-hits", "absorbed", "in", "2.0", "N", "N", "a"] in rows
    assert ["fold-names", "configurable", "since", "2.0", "N", "N", "c"] in rows
    assert "N needed   c configurable   a absorbed" in lines
    assert "\x1b" not in done.stdout, "what is piped has no colours"


def test_why_shows_every_column_that_was_run(fork):
    done = fork.run("status", "--patch", "trim-headings", "--why")
    assert done.code == 0
    words = " ".join(done.stdout.split())
    assert "A heading with white space around it sorts before all others." in words
    failed = "test_trim_headings.py::test_heading_has_no_space_around_it: AssertionError: assert ' bread ' == 'Bread'"
    assert words.startswith(
        f"trim-headings is needed on 2.0: without it the series fails: {failed} next: nox -s cell -- 2.0@plain "
    )
    assert words.count(failed) == 1, "no sentence twice"
    assert (
        "2.0: needed applies: clean; text: absent "
        "bare: failed as said above series: passed series without it: failed as said above cells: 2.0@plain "
        "1.1, 1.0: needed series untried; text: absent bare: failed as said above cells: 1.1@plain, 1.0@plain"
    ) in words


def test_cell_is_run_by_hand(fork):
    done = fork.run("cell", "2.0@plain")
    assert done.code == 0, done.stderr
    assert "2.0: needed applies: clean; text: absent bare: failed " in " ".join(done.stdout.split())
    assert "1.0@plain" not in done.stdout


def test_check_exits_with_0_where_nothing_can_be_dropped(fork):
    assert fork.status("--check").code == 0


def test_stdout_holds_the_report_alone(fork):
    done = fork.run("-v", "status", "--format", "json", "--fresh")
    assert done.report["schema"] == 2
    assert "$ git" in done.stderr


def test_tox_lists_the_cells_and_runs_one(fork):
    def tox(*words):
        return subprocess.run(
            [sys.executable, "-m", "tox", *words],
            cwd=fork.root,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
        )

    assert "2.0@plain -> every probe on 2.0 with plain" in " ".join(tox("list").stdout.split())
    done = tox("run", "-e", "2.0@plain")
    assert done.returncode == 0, done.stdout
    answer, following, *_ = fork.run("cell", "2.0@plain").stdout.splitlines()
    assert f"{answer}\n{following}\n" in done.stdout
    assert [path.name for path in (fork.root / ".fork/environments").iterdir()] == ["plain"]
