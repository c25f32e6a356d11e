"""The benchmark runs: every measure once, of three contenders; the figures are not looked at."""

import sys
from dataclasses import replace

import pytest

from scripts.core.repository import Repository
from tests.support.harness import PROJECT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found():
    sys.path.insert(0, str(PROJECT / "tests"))
    from benchmarks import contenders, run

    repo = Repository(PROJECT)
    setup = contenders.prepare_setup(repo, "py311-django5.2")
    few = tuple(one for one in setup.contenders if one.number in (1, 2, 5))
    smallest = run.Sizes(1, 1, 0.1, 20, 1, 20, (1_000,), processes=1)
    server = repo.config.server("valkey9")
    return run.measure(replace(setup, contenders=few), server, smallest)


def test_table_has_every_measure_of_every_contender(found):
    from benchmarks import measurements, report

    table = dict(report.rows({**found, "workload": []}))
    assert all(len(cells) == 3 for cells in table.values())
    for operation in measurements.OPERATIONS:
        assert f"{operation}, PostgreSQL (time)" in table
    for kind in measurements.RESULTS:
        assert table[f"memory: {kind}"][:2] != ["–", "–"]
    assert "page of the API, four processes (p99)" in table


def test_calls_of_every_operation_are_counted(found):
    for operation, calls in found["calls"].items():
        assert all(calls.values()), operation
