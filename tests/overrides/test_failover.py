"""A replica that lags and becomes the master brings no dropped result back."""

import pytest

from rover_overrides.conditions import TRUE
from rover_overrides.registry import stamp_key
from tests.overrides import live
from tests.overrides.test_storage import DEPS, cached, drop, is_hit


@pytest.fixture
def pair(tmp_path):
    """Give a master and a replica that has all it has."""
    for name in ("master", "replica"):
        (tmp_path / name).mkdir()
    with live.Live("valkey9", tmp_path / "master") as master, live.Live("valkey9", tmp_path / "replica") as replica:
        with replica.client() as client:
            client.replicaof("127.0.0.1", master.port)
            live.until(lambda: client.info("replication")["master_link_status"] == "up", "no replication")
        yield master, replica


def test_dropped_result_does_not_come_back_with_a_replica_that_lags(pair, monkeypatch):
    master, replica = pair
    live.use(monkeypatch, master.client())
    cached(lambda: "old")
    assert is_hit()
    live.until(lambda: replica.names() == master.names(), "the replica does not follow")
    with replica.client() as client:
        client.replicaof("127.0.0.1", live.free_port())  # it hears nothing any more
        drop("u", TRUE)
        assert not is_hit()
        client.replicaof("NO", "ONE")
    assert stamp_key("", "u", TRUE) in replica.names(), "it lagged"
    live.use(monkeypatch, replica.client())
    assert not is_hit()
    assert cached(lambda: "new", DEPS) == "new"
    assert is_hit()
