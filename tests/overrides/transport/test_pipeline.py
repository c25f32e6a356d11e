"""Commands reach a server or a cluster in one round trip, and each reply says which server it is from."""

import os
import socket
import threading
from contextlib import contextmanager

import pytest
import redis
from django.test import override_settings

from rover_overrides.transport import pipeline
from rover_overrides.transport.pipeline import run, unlink
from tests.support import engine_redis
from tests.support.redis_watch import watching

FEW = [("SET", "a", 1), ("GET", "a"), ("GET", "b")]


def values(commands):
    return [reply.value for reply in run(commands)]


def identities(commands):
    return {reply.identity.decode() for reply in run(commands)}


def identity_of(node):
    with node.client() as client:
        return f"{client.info('server')['run_id']} {client.info('replication')['master_replid']}"


def test_replies_come_in_order_with_the_server_that_gave_them(server):
    assert values(FEW) == [b"OK", b"1", None]
    assert identities(FEW) == {identity_of(server)}
    assert run([]) == []


def test_server_is_asked_who_it_is_once_a_connection_in_the_same_round_trip(server):
    pipeline.client().connection_pool.disconnect()
    with (
        server.client() as client,
        engine_redis.count_round_trips() as counted,
        watching(client) as ran,
    ):
        run(FEW)
        run(FEW)
    names = [command.name for command in ran if command.name in {"INFO", "SET", "GET"}]
    assert names == ["INFO", "INFO", "SET", "GET", "GET", "SET", "GET", "GET"]
    assert counted["trips"] == 2


def test_connection_that_was_closed_is_made_anew_and_asked_again(server):
    run(FEW)
    with server.client() as client, watching(client) as ran:
        mine = client.client_id()
        for connection in client.client_list(_type="normal"):
            if int(connection["id"]) != mine and connection["cmd"] != "monitor":
                client.client_kill_filter(_id=connection["id"])
        assert values(FEW) == [b"OK", b"1", None]
    assert [command.name for command in ran].count("INFO") == 2


def test_restart_is_another_identity(tmp_path, monkeypatch):
    with engine_redis.RedisServer("valkey9", tmp_path) as server:
        engine_redis.use_client(monkeypatch, server.client())
        before = identities(FEW)
        server.kill()
        server.start()
        assert identities(FEW) == {identity_of(server)} != before


def test_promotion_is_another_identity_on_a_connection_that_stays(tmp_path, monkeypatch):
    for name in ("master", "replica"):
        (tmp_path / name).mkdir()
    with (
        engine_redis.RedisServer("valkey9", tmp_path / "master") as master,
        engine_redis.RedisServer("valkey9", tmp_path / "replica") as server,
    ):
        engine_redis.use_client(monkeypatch, server.client())
        before = identities(FEW)
        with server.client() as client:
            client.replicaof("127.0.0.1", master.port)
            engine_redis.wait_until(
                lambda: client.info("replication")["master_link_status"] == "up", "no replication"
            )
            with pytest.raises(redis.ConnectionError):
                run(FEW)
            client.replicaof("NO", "ONE")
        assert identities(FEW) == {identity_of(server)} != before


def test_wrong_command_raises_and_leaves_the_connection_usable(server):
    with pytest.raises(redis.ResponseError, match="not an integer"):
        run([("SET", "a", "text"), ("INCR", "a"), ("GET", "a")])
    assert values([("GET", "a")]) == [b"text"]


def test_connection_whose_handshake_is_interrupted_is_not_used(server, monkeypatch):
    engine_redis.use_client(monkeypatch, server.client(protocol=3))
    base = redis.connection.AbstractConnection
    with monkeypatch.context() as patched:
        patched.setattr(base, "send_packed_command", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run([("GET", "missing")])
    assert values([("GET", "missing"), ("SET", "a", "1"), ("GET", "a")]) == [None, b"OK", b"1"]


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


def test_busy_server_counts_as_absent(server):
    with server.client() as client:
        client.config_set("lua-time-limit", 5)
        endless = threading.Thread(target=run_endless, args=(client,))
        endless.start()
        with server.client() as other:
            engine_redis.wait_until(
                lambda: refuses(other), "the script does not make the server busy"
            )
            try:
                with pytest.raises(redis.ConnectionError, match="BUSY"):
                    run(FEW)
            finally:
                other.script_kill()
        endless.join()
    assert values(FEW) == [b"OK", b"1", None]


def run_endless(client):
    with pytest.raises(redis.ResponseError):  # when it is killed
        client.eval("while true do end", 0)


def refuses(client):
    try:
        return not client.ping()
    except redis.ResponseError:
        return True


@contextmanager
def listening(answer):
    """Listen on a port, do `answer(connection)` with every connection, and yield the list of them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted = []

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                accepted.append(connection)
                answer(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield accepted, listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in accepted:
                connection.close()


def test_server_that_refuses_is_not_waited_for(monkeypatch):
    client = redis.Redis(host="127.0.0.1", port=engine_redis.free_port())
    engine_redis.use_client(monkeypatch, client)
    monkeypatch.setattr(
        "redis.retry.sleep", pytest.fail
    )  # what redis-py does between its own attempts
    with pytest.raises(redis.ConnectionError):
        run(FEW)


def test_retries_that_the_application_chose_are_kept(server):
    chosen = redis.retry.Retry(redis.backoff.ConstantBackoff(0.01), 2)
    client = server.client(retry=chosen)
    pipeline._disable_library_retries(client.connection_pool)
    assert client.connection_pool.connection_kwargs["retry"] == chosen


def test_connection_that_resets_is_tried_twice(monkeypatch):
    with listening(lambda connection: connection.close()) as (accepted, port):
        engine_redis.use_client(monkeypatch, redis.Redis(host="127.0.0.1", port=port, protocol=2))
        with pytest.raises(redis.ConnectionError):
            run(FEW)
    assert 2 <= len(accepted) <= 8  # each attempt connects a few times at most


def test_server_that_hangs_costs_one_timeout(monkeypatch):
    with listening(lambda connection: None) as (accepted, port):
        engine_redis.use_client(
            monkeypatch,
            redis.Redis(
                host="127.0.0.1",
                port=port,
                socket_timeout=0.05,
                retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            ),
        )
        with pytest.raises(redis.TimeoutError):
            run(FEW)
        assert len(accepted) == 1
        assert pipeline.circuit_is_open()
        with override_settings(CACHEOPS_ROVER_RETRY_SECONDS=0):
            with pytest.raises(redis.TimeoutError):
                run(FEW)
            assert not pipeline.circuit_is_open()


def test_success_ends_the_rest(server):
    pipeline.circuit.record_failure()
    assert pipeline.circuit_is_open()
    run(FEW)
    assert not pipeline.circuit_is_open()


def test_threads_share_the_client(server):
    wrong = []

    def work(name):
        said = [values([("SET", name, number), ("GET", name)])[1] for number in range(50)]
        wrong.extend(set(said) ^ {b"%d" % number for number in range(50)})

    threads = [threading.Thread(target=work, args=(f"key{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forked_process_uses_connections_of_its_own(server):
    run(FEW)
    child = os.fork()
    if not child:
        right = all(
            values([("SET", "child", n), ("GET", "child")]) == [b"OK", b"%d" % n] for n in range(50)
        )
        os._exit(0 if right else 1)
    right = all(
        values([("SET", "parent", n), ("GET", "parent")]) == [b"OK", b"%d" % n] for n in range(50)
    )
    assert os.waitpid(child, 0)[1] == 0
    assert right


def test_unlink_goes_in_steps(server, monkeypatch):
    run([("SET", f"key{n}", n) for n in range(2500)])
    sizes, real = [], pipeline._run

    def seen(commands, first, get_keys, unlink_keys):
        sizes.append((len(unlink_keys), len(commands)))
        return real(commands, first, get_keys, unlink_keys)

    monkeypatch.setattr(pipeline, "_run", seen)
    unlink([f"key{n}" for n in range(2500)], then=[("SET", "after", 1)])
    assert sizes == [(1000, 0), (1000, 0), (500, 1)]
    assert server.key_names() == ["after"]


def test_what_follows_a_drop_runs_without_one(server):
    unlink([], then=[("SET", "after", 1)])
    assert server.key_names() == ["after"]


def test_values_come_before_the_replies_of_commands_and_drops_before_both(server):
    run([("SET", "a", 1), ("SET", "b", 2)])
    with (
        engine_redis.count_round_trips() as counted,
        server.client() as client,
        watching(client) as ran,
    ):
        assert [
            reply.value
            for reply in run([("EXISTS", "b")], get_keys=["a", "b", "c"], unlink_keys=["b"])
        ] == [b"1", None, None, 0]
    assert [
        command.name for command in ran if command.name in {"UNLINK", "MGET", "GET", "EXISTS"}
    ] == [
        "UNLINK",
        "MGET",
        "EXISTS",
    ]
    assert counted["trips"] == 1


def test_cluster_takes_values_and_drops_key_by_key(cluster):
    run([("SET", key, key) for key in MANY])
    replies = run([("EXISTS", MANY[0])], get_keys=MANY, unlink_keys=MANY[:2])
    assert [reply.value for reply in replies] == [
        None,
        None,
        *(key.encode() for key in MANY[2:]),
        0,
    ]
    assert len({reply.identity for reply in replies}) == 3


def test_unlink_says_that_it_failed(monkeypatch):
    engine_redis.use_client(
        monkeypatch, redis.Redis(host="127.0.0.1", port=engine_redis.free_port())
    )
    with pytest.raises(redis.ConnectionError):
        unlink(["a"])


MANY = [f"key{n}" for n in range(30)]


def test_cluster_gets_one_pipeline_a_node_at_a_time(cluster):
    run([("SET", key, key) for key in MANY])
    with engine_redis.count_round_trips() as counted:
        replies = run([("GET", key) for key in MANY])
    assert [reply.value.decode() for reply in replies] == MANY
    assert {reply.identity.decode() for reply in replies} == {
        identity_of(node) for node in cluster.nodes
    }
    assert counted["trips"] == 1
    assert all(node.key_names() for node in cluster.nodes)


def test_node_that_another_thread_drops_meanwhile_is_still_used(cluster, monkeypatch):
    client = pipeline.client()

    def finds(key, find=client.get_node_from_key):
        node = find(key)
        client.nodes_manager.nodes_cache.pop(node.name, None)  # as after a failover
        return node

    monkeypatch.setattr(client, "get_node_from_key", finds)
    run([("SET", key, key) for key in MANY])
    assert values([("GET", key) for key in MANY]) == [key.encode() for key in MANY]


def test_script_goes_to_the_node_of_its_key(cluster):
    said = values(
        [("EVAL", "return redis.call('set', KEYS[1], ARGV[1])", 1, key, key) for key in MANY]
    )
    assert said == [b"OK"] * len(MANY)


def move_slot(cluster, slot, source, target, *, finish):
    source_id, target_id = cluster.id_of(source), cluster.id_of(target)
    with source.client() as old, target.client() as new:
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        if finish:
            for client in (new, old):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)


@pytest.fixture
def moving(tmp_path, monkeypatch):
    """Give a cluster of its own whose slots may be moved, and the slot and the nodes of a key."""
    with engine_redis.Cluster(tmp_path) as cluster:
        client = cluster.client()
        engine_redis.use_client(monkeypatch, client)
        port = client.get_node_from_key("key0").port
        source = next(node for node in cluster.nodes if node.port == port)
        target = next(node for node in cluster.nodes if node.port != port)
        run([("GET", key) for key in MANY])
        yield cluster, client.keyslot("key0"), source, target


def test_key_that_moved_is_found(moving):
    cluster, slot, source, target = moving
    move_slot(cluster, slot, source, target, finish=True)
    (reply,) = run([("SET", "key0", "moved")])
    assert reply.identity.decode() == identity_of(target)
    assert target.key_names() == ["key0"]


def test_key_that_is_moving_is_asked_for_at_its_target(moving):
    cluster, slot, source, target = moving
    move_slot(cluster, slot, source, target, finish=False)
    replies = run([("SET", key, key) for key in MANY])
    assert replies[0].value == b"OK"
    assert replies[0].identity.decode() == identity_of(target)
    assert "key0" in target.key_names()
    assert sorted(cluster.key_names()) == sorted(MANY)
    unlink(MANY)
    assert cluster.key_names() == []


def test_cluster_that_is_down_counts_as_absent(moving):
    _, _, source, _ = moving
    source.kill()
    with pytest.raises(redis.ConnectionError):
        run([("GET", key) for key in MANY])


def test_cluster_that_was_never_there_counts_as_absent(monkeypatch):
    port = engine_redis.free_port()
    monkeypatch.setattr(pipeline, "client", lambda: redis.RedisCluster(host="127.0.0.1", port=port))
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)
    with pytest.raises(redis.ConnectionError):
        run(FEW)


def test_cluster_is_tried_three_times(cluster, monkeypatch):
    tried = []

    def resets(*_args):
        tried.append(1)
        raise redis.ConnectionError("reset")

    monkeypatch.setattr(pipeline, "_cluster_round", resets)
    with pytest.raises(redis.ConnectionError, match="reset"):
        run(FEW)
    assert len(tried) == 3
