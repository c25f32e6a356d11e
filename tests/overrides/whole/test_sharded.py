"""A cluster of three masters through `redis.cluster.RedisCluster`, chosen by settings: all of upstream's behaviours work."""

import pytest

from tests.support import wheel_process

pytestmark = pytest.mark.slow

CLASS = "redis.cluster.RedisCluster"
SETTINGS = {"spread": {}, "by-table": {"CACHEOPS_ROVER_SHARD_BY_TABLE": True}}


@pytest.fixture(scope="module", params=SETTINGS)
def played(request, shared_cluster):
    shared_cluster.flush_all()
    address = {"host": "127.0.0.1", "port": shared_cluster.nodes[0].port}
    return wheel_process.run_cases(
        "sharded", redis=address, CACHEOPS_CLIENT_CLASS=CLASS, **SETTINGS[request.param]
    )


@pytest.mark.parametrize("case", wheel_process.case_names("sharded"))
def test_cluster_works(played, case):
    assert played[case] is None, played[case]
