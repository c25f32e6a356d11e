"""Which objects come out of the cache: those that Django would have made for this reader."""

import pytest

from tests.support import live, site


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with live.Live("valkey9", tmp_path_factory.mktemp("server")) as server:
        return site.play("made", redis={"host": "127.0.0.1", "port": server.port})


@pytest.mark.parametrize("scene", site.names_of("made"))
def test_reader_gets_what_django_would_make(played, scene):
    assert played[scene] is None, played[scene]
