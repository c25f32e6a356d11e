"""Lets the tests import what the oracle's own processes import by the same names."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle import environments, run

from scripts.core.repository import Repository

SQLITE = environments.Database()


@pytest.fixture(scope="session")
def repo():
    return Repository(run.ROOT)


@pytest.fixture(scope="session")
def subjects(repo):
    """Return bare upstream, in both its modes, and the series, by their names."""
    with repo.exclusive():
        return {
            subject.name: subject
            for subject in run.subjects_of(repo, ("bare", "bare-insideout", "series"))
        }


@pytest.fixture
def judge(repo, subjects):
    """Judge a tree in a process of the tests' own Python, and give what it printed."""

    def judged(name, *words, database=SQLITE, script="worker.py", **settings):
        subject = subjects[name]
        subject = replace(subject, settings={**subject.settings, **settings})
        with environments.Environment.prepared(
            repo, "py311-django5.2", database, Path(sys.executable)
        ) as environment:
            return environments.run_worker(
                environment, subject, [str(word) for word in words], script=script
            )

    return judged
