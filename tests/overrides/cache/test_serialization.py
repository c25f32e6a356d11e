"""What a deploy or a damage made unreadable is a miss, and never an exception."""

import pytest

from tests.support import engine_redis, wheel_process


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with engine_redis.RedisServer("valkey9", tmp_path_factory.mktemp("server")) as server:
        return wheel_process.run_scenes(
            "unreadable", redis={"host": "127.0.0.1", "port": server.port}
        )


@pytest.mark.parametrize("scene", wheel_process.scene_names("unreadable"))
def test_stored_result_that_cannot_be_read_is_a_miss(played, scene):
    assert played[scene] is None, played[scene]
