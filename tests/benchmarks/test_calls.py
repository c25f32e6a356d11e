"""What a hit, a fill and a save cost, in calls of Python functions: a limit for each, so that nobody makes it slower unawares.

Calls do not depend on the machine. They are counted beside upstream's default mode in one run, on SQLite.
"""

import sys
import tempfile
from pathlib import Path

import pytest

from scripts.core.repository import Repository
from scripts.probes.servers import run_server
from tests.support.harness import PROJECT

# The measured ratio, and a few calls for another release of redis-py or Django.
LIMITS = {
    "hit: one row": 0.62,
    "hit: page of 20": 0.44,
    "hit: page of 20 through a foreign key": 0.41,
    "hit: count": 0.56,
    "hit: exists": 0.56,
    "hit: IN of 1,000": 0.60,
    "fill": 1.15,
    "save": 0.78,
}


@pytest.fixture(scope="module")
def workers():
    """Start a process of this wheel and one of upstream, each with its own rows."""
    sys.path.insert(0, str(PROJECT / "tests"))
    from benchmarks import contenders

    repo = Repository(PROJECT)
    setup = contenders.prepare_setup(repo, "py311-django5.2")
    ours, upstream = (one for one in setup.contenders if one.number in (1, 2))
    with (
        run_server(repo.config.server("valkey9")) as server,
        tempfile.TemporaryDirectory(prefix="calls-") as folder,
    ):
        stores = contenders.Stores(server, Path(folder), "")
        started = [contenders.worker(setup, one, stores, "sqlite") for one in (ours, upstream)]
        yield started
        for process in started:
            process.close()


@pytest.mark.parametrize("operation", LIMITS)
def test_operation_calls_no_more_than_its_share_of_upstreams(workers, operation):
    ours, upstream = (worker.call("count_calls", operation=operation) for worker in workers)
    assert ours / upstream <= LIMITS[operation], (ours, upstream)


def test_a_fill_takes_two_round_trips_and_a_hit_one(workers):
    assert workers[0].call("count_trips", operation="fill") == 2
    assert workers[0].call("count_trips", operation="hit: one row") == 1
    assert workers[0].call("count_trips", operation="hit: count") == 1
