"""What a deploy or a damage made unreadable is a miss, and never an exception."""

import pytest

from tests.support import live, site


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with live.Live("valkey9", tmp_path_factory.mktemp("server")) as server:
        return site.play("unreadable", redis={"host": "127.0.0.1", "port": server.port})


@pytest.mark.parametrize("scene", site.names_of("unreadable"))
def test_stored_result_that_cannot_be_read_is_a_miss(played, scene):
    assert played[scene] is None, played[scene]
