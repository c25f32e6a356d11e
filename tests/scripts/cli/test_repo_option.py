"""`--repo` before and after the verb."""

import subprocess
import sys

import click
import pytest

from scripts.__main__ import cli
from tests.support.harness import PROJECT


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "scripts", *words], cwd=PROJECT, capture_output=True, text=True
    )


def test_every_verb_takes_the_option():
    for name, command in cli.commands.items():
        options = [text for option in command.params for text in option.opts]
        assert options.count("--repo") == 1, name


@pytest.mark.parametrize(
    "words",
    [["--repo", "{}", "pin"], ["pin", "--repo", "{}"], ["-v", "pin", "1.0", "--repo={}"]],
    ids=["before", "after", "last"],
)
def test_folder_is_the_one_that_is_named(tmp_path, words):
    done = run(*(word.format(tmp_path) for word in words))
    assert done.returncode == 2
    assert f"error: there is no fork.toml in {tmp_path}\n" in done.stderr


def test_help_shows_the_option():
    context = click.Context(cli.commands["status"], info_name="status")
    assert "--repo DIRECTORY" in cli.commands["status"].get_help(context)
