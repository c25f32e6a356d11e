"""Keys by the structure of a query: those of compiling, and in any doubt compiled."""

import pytest

from tests.support import engine_redis, wheel_process

FILES = "shapes", "patched"


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with engine_redis.RedisServer("valkey9", tmp_path_factory.mktemp("server")) as server:
        redis = {"host": "127.0.0.1", "port": server.port}
        found = {}
        for file in FILES:
            found |= wheel_process.run_cases(file, redis=redis)
        return found


@pytest.mark.parametrize(
    "case", [case for file in FILES for case in wheel_process.case_names(file)]
)
def test_key_is_that_of_the_compiled_query(played, case):
    assert played[case] is None, played[case]
