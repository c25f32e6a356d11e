"""Which objects come out of the cache: those that Django would have made for this reader."""

import pytest

from tests.support import engine_redis, wheel_process


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with engine_redis.RedisServer("valkey9", tmp_path_factory.mktemp("server")) as server:
        return wheel_process.run_cases("made", redis={"host": "127.0.0.1", "port": server.port})


@pytest.mark.parametrize("case", wheel_process.case_names("made"))
def test_reader_gets_what_django_would_make(played, case):
    assert played[case] is None, played[case]
