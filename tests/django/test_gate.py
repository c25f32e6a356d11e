"""The gate on a short choice of Django's own tests: the wheel comes through it, and a broken engine does not."""

import shutil
import sys

import django
import pytest

from scripts.core.errors import EnvironmentFailedError
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.gates import django_plan
from scripts.gates.django_excuses import read_excuses, unexcused
from scripts.gates.django_plan import (
    AvailableDjango,
    DjangoSelection,
    Subject,
    gate_of,
    plan_jobs,
    subject_of,
)
from scripts.gates.django_run import ShardRunner
from scripts.probes.environments import ReadyEnvironment
from tests.support.wheel_process import ROOT

pytestmark = pytest.mark.xdist_group("gate")

CHOICE = DjangoSelection(django="5.2", database="sqlite", mode="committing")


@pytest.fixture(scope="module")
def repo():
    return Repository(ROOT)


@pytest.fixture(scope="module")
def available(repo):
    """Return the tests of the Django that is installed here; without an index they cannot be had."""
    try:
        folder = django_plan.django_tests(repo, django.__version__)
    except EnvironmentFailedError as error:
        pytest.skip(f"Django's own tests are not here: {error}")
    cell = next(cell for cell in gate_of(repo).cells if cell.django == CHOICE.django)
    versions = {"django": django.__version__, "python": sys.version}
    return AvailableDjango(
        cell, ReadyEnvironment(sys.executable, versions), django.__version__, folder
    )


@pytest.fixture(scope="module")
def judge(repo, available):
    """Return a function that runs labels under a subject and sums up what they came to."""

    def judged(subject, *labels):
        selection = DjangoSelection(
            CHOICE.django, CHOICE.database, CHOICE.mode, labels or gate_of(repo).short
        )
        todo = plan_jobs(repo, gate_of(repo), [available], selection, subject)
        (summary,) = ShardRunner(repo, gate_of(repo), ResultCache(repo.work / "results")).run_all(
            todo
        )
        return summary

    return judged


def test_the_wheel_fails_no_test_of_djangos_and_gives_no_wrong_answer(repo, judge):
    summary = judge(subject_of(repo))
    assert unexcused(summary, read_excuses(repo.root / gate_of(repo).excused)) == ({}, [])
    assert summary.tests > 100
    assert summary.figures["hits"] > 800
    assert summary.hit_share > 0.85


def test_an_engine_that_drops_nothing_of_a_condition_is_seen(repo, judge, tmp_path):
    whole = subject_of(repo)
    shutil.copytree(whole.folder, tmp_path / "tree")
    with (tmp_path / "tree" / "rover_overrides" / "invalidation" / "two_phase.py").open(
        "a"
    ) as file:
        file.write("\n\ndef _conjs_met(*_args: Any) -> set[Conj]:\n    return set()\n")
    summary = judge(
        Subject("broken", tmp_path / "tree", whole.settings, f"{whole.content}, drops nothing"),
        "update",
    )
    assert {item.when for item in summary.wrong} == {"at once", "after a write"}
    assert {item.test for item in summary.wrong} == {
        "update.tests.AdvancedTests.test_update_negated_f"
    }


def test_bare_upstream_is_seen_to_be_wrong(repo, judge):
    summary = judge(subject_of(repo, upstream=True), "many_to_one")
    assert len(summary.wrong) > 20
