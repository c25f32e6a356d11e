"""What a deploy or a damage made unreadable is a miss, and never an exception."""

import pytest

from tests.support import engine_redis, wheel_process


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with engine_redis.RedisServer("valkey9", tmp_path_factory.mktemp("server")) as server:
        return wheel_process.run_cases(
            "unreadable", redis={"host": "127.0.0.1", "port": server.port}
        )


@pytest.mark.parametrize("case", wheel_process.case_names("unreadable"))
def test_stored_result_that_cannot_be_read_is_a_miss(played, case):
    assert played[case] is None, played[case]
