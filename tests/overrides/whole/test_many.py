"""Redis is never kept from serving others: seen by MONITOR, with many results stored."""

import pytest

from tests.support import engine_redis, wheel_process

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with engine_redis.RedisServer("valkey9", tmp_path_factory.mktemp("server")) as server:
        return wheel_process.run_cases("many", redis={"host": "127.0.0.1", "port": server.port})


@pytest.mark.parametrize("case", wheel_process.case_names("many"))
def test_no_command_touches_many_keys(played, case):
    assert played[case] is None, played[case]
