"""A CI's jobs: what they are, the file each writes, and one report from all of them that says what one run says."""

import json
import re
import sys

import pytest

from scripts.__main__ import cli
from tests.support.harness import PROJECT

SECOND = """
[[environments]]
id = "second"
python = "{python}"
releases = ">=1.1"
"""


@pytest.fixture
def two(fork):
    """Return a fork with two environments."""
    fork.append("fork.toml", SECOND.format(python=".".join(map(str, sys.version_info[:2]))))
    return fork


def fan_out(fork, folder):
    """Run every job that `--format github` prints, each into its file; return what they ended with."""
    folder.mkdir()
    plan = fork.run("status", "--format", "github")
    assert plan.code == 0, plan.stderr
    codes = []
    for job in json.loads(plan.stdout)["include"]:
        done = fork.status(
            "--cells", job["cells"], "--results", str(folder / f"{job['name']}.json")
        )
        codes.append(done.code)
    return codes


def test_jobs_are_the_environments_with_their_cells(two):
    done = two.run("status", "--format", "github")
    python = ".".join(map(str, sys.version_info[:2]))
    assert json.loads(done.stdout) == {
        "include": [
            {"name": "plain", "python": python, "cells": "1.0@plain 1.1@plain 2.0@plain"},
            {"name": "second", "python": python, "cells": "1.1@second 2.0@second"},
        ]
    }
    assert done.stdout.count("\n") == 1, "a CI reads one line"


def test_joined_results_say_what_one_run_says(two, tmp_path):
    for situation in ("absorbed", "redundant", "broken"):
        two.apply_situation(situation)
    assert fan_out(two, tmp_path / "results") == [20, 20]
    joined = two.status("--merge", str(tmp_path / "results"))
    whole = two.status()
    assert (joined.code, joined.report) == (20, whole.report)
    page = two.run("status", "--merge", str(tmp_path / "results"), "--format", "html").stdout
    assert page == two.run("status", "--format", "html").stdout


def test_probe_without_teeth_in_its_own_job_gets_them_from_another(two, tmp_path):
    two.replace("fork.toml", 'releases = ">=1.1"', 'releases = ">=2"')
    fan_out(two, tmp_path / "results")
    joined = two.status("--merge", str(tmp_path / "results"))
    assert joined.verdicts["count-hits"] == "absorbed"
    assert (
        joined.features["count-hits"]["releases"]["2.0"]["cells"]["2.0@second"]["verdict"]
        == "absorbed"
    )


def test_job_that_is_missing_is_named(two, tmp_path):
    fan_out(two, tmp_path / "results")
    (tmp_path / "results/second.json").unlink()
    done = two.run("status", "--merge", str(tmp_path / "results"))
    assert done.code == 0, done.stderr
    assert (
        "not tried here: 1.1@second, 2.0@second: no result file has it; run its job again"
        in done.stdout
    )


def test_results_of_another_commit_are_refused(two, tmp_path):
    fan_out(two, tmp_path / "results")
    two.append("tests/probes/test_trim_headings.py", "\n")
    done = two.status("--merge", str(tmp_path / "results"))
    assert (done.code, done.stdout) == (2, "")
    assert "was written with other patches, probes or pins than those here" in done.stderr


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 2}', "nonsense"])
def test_file_that_is_no_result_is_refused(two, tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    done = two.status("--merge", str(tmp_path / "a.json"))
    assert (done.code, done.stdout) == (2, "")
    assert "not a result file" in done.stderr


def test_file_of_another_schema_is_refused(two, tmp_path):
    (tmp_path / "a.json").write_text('{"schema": 1}')
    done = two.status("--merge", str(tmp_path / "a.json"))
    assert (done.code, done.stdout) == (2, "")
    assert "is of schema 1, this reads 2" in done.stderr


def test_sample_workflow_uses_options_that_are_there():
    text = (PROJECT / "docs/ci-workflow.yml").read_text()
    commands = re.findall(r"nox -s status -- (.*?)(?:\)|$| >| \|\|)", text, re.MULTILINE)
    assert len(commands) == 5
    known = {name for option in cli.commands["status"].params for name in option.opts}
    assert {
        word for command in commands for word in command.split() if word.startswith("--")
    } <= known
