"""In a cluster, through `redis.cluster.RedisCluster`, results are cached and dropped; no flush blocks, no reaping raises."""

import ast
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from cacheops import invalidate_all
from django.core.management import get_commands
from probe_project.api import need
from probe_project.models import Article
from probe_project.redis_watch import watching

MAIN = "import django; django.setup(); from probe_project.on_cluster import main; main()"
SLOTS = 16384
SECONDS = 30
# The server ends with the process that reads from it here, however that ends.
GUARDED = '"$@" > /dev/null & server=$!; cat; kill -9 $server'


def free_port():
    """Return a port that is free, and so is the one that the nodes of a cluster talk through."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        if port < 55000:
            return port


@contextmanager
def cluster_like(client, folder):
    """Run a cluster of one node, of the program that `client` talks to; it refuses what crosses slots like any other."""
    port, program = free_port(), client.info("server")["executable"]
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--cluster-enabled",
        "yes",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    with subprocess.Popen(["sh", "-c", GUARDED, "sh", *command], stdin=subprocess.PIPE) as guard:
        try:
            with redis.Redis(port=port) as node:
                until(lambda: answers(node))
                node.execute_command("CLUSTER ADDSLOTS", *range(SLOTS))
                until(lambda: node.cluster("INFO")["cluster_state"] == "ok")
            yield "redis://127.0.0.1:%d" % port
        finally:
            guard.stdin.close()


def answers(node):
    try:
        return node.ping()
    except redis.ConnectionError:
        return False


def until(true):
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "no cluster came up"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Say what a process in a cluster came to."""
    client = redis.Redis.from_url(os.environ["PROBE_SERVER_URL"])
    with client, cluster_like(client, tmp_path_factory.mktemp("cluster")) as url:
        settings = ast.literal_eval(os.environ.get("PROBE_SETTINGS", "{}"))
        settings["CACHEOPS_CLIENT_CLASS"] = "redis.cluster.RedisCluster"
        path = os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parent)])
        environment = {**os.environ, "PROBE_SERVER_URL": url, "PROBE_SETTINGS": repr(settings), "PYTHONPATH": path}
        environment.pop("PROBE_DATABASE_URL", None)
        done = subprocess.run([sys.executable, "-c", MAIN], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


@pytest.mark.parametrize("what", ["row", "relation", "function", "simple", "lock"])
def test_cached_in_a_cluster(said, what):
    assert said[what] == "hit"


@pytest.mark.parametrize("what", ["row", "relation", "function"])
def test_dropped_by_a_save_in_a_cluster(said, what):
    assert said[what + " after a save"] == "fresh"


@pytest.mark.parametrize("how", ["invalidate_obj", "invalidate_model", "invalidate_all"])
def test_dropped_explicitly_in_a_cluster(said, how):
    assert said[how] == "fresh"


def test_flush_does_not_block(probe):
    probe.fill(lambda: list(Article.objects.filter(pages=1)))
    with watching(probe.redis) as ran:
        invalidate_all()
    assert probe.keys() == []
    assert [command.args for command in ran if command.name.startswith("FLUSH")] == [("ASYNC",)]


def test_reaper_does_no_harm(probe):
    def read():
        return list(Article.objects.filter(pages=1))

    probe.fill(read)
    if "reapconjs" in get_commands():
        try:
            need("cacheops.reap_conjs")(min_conj_set_size=0)
        except redis.ResponseError as error:
            raise AssertionError("reap_conjs() raised %r" % error) from None
    probe.assert_kept(read)
