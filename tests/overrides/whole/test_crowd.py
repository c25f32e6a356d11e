"""Processes that share a database and a server: writers that are killed, wheels of two formats, and workers of RQ."""

import pytest

from tests.support import engine_redis, wheel_process

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crowd")
    with engine_redis.RedisServer("valkey9", folder) as server:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}
        at = {"host": "127.0.0.1", "port": server.port}
        yield {
            "redis": at,
            "DATABASES": {"default": database},
            "CACHEOPS_ROVER_QUEUE_REDIS": {**at, "db": 1},
        }


@pytest.fixture(scope="module")
def crowd(place):
    return wheel_process.run_cases("crowd", **place)


@pytest.fixture(scope="module")
def queued(place):
    return wheel_process.run_cases("queued", **place, CACHEOPS_ROVER_QUEUE="work")


@pytest.mark.parametrize("case", wheel_process.case_names("crowd"))
def test_processes_see_nothing_stale(crowd, case):
    assert crowd[case] is None, crowd[case]


@pytest.mark.parametrize("case", wheel_process.case_names("queued"))
def test_worker_invalidates(queued, case):
    assert queued[case] is None, queued[case]
