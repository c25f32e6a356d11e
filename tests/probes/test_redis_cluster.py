"""In a cluster, through `redis.cluster.RedisCluster`, results are cached and dropped; no flush
blocks, no reaping raises.

The storage under leases works in a cluster, through CACHEOPS_CLIENT_CLASS =
"redis.cluster.RedisCluster": no command has two keys. What was left blocked or raised:
invalidate_all() flushes asynchronously now, on every master, and reap_conjs() has nothing to do
under INSIDEOUT, where it took stamps for sets.

Drop-When: upstream caches and invalidates in a cluster of several masters, and flushes
  asynchronously
"""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import redis
from cacheops import invalidate_all
from django.core.management import get_commands
from probe_project.api import need
from probe_project.models import Article
from probe_project.redis_watch import masters, watching

MAIN = "import django; django.setup(); from probe_project.on_cluster import main; main()"


@cache
def site():
    """Return a process whose cacheops talks to a cluster: it answers a line with a line, and ends with this one."""
    settings = ast.literal_eval(os.environ.get("PROBE_SETTINGS", "{}"))
    settings["CACHEOPS_CLIENT_CLASS"] = "redis.cluster.RedisCluster"
    path = os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parent)])
    environment = {
        **os.environ,
        "PROBE_SERVER_URL": os.environ["PROBE_CLUSTER_URL"],
        "PROBE_SETTINGS": repr(settings),
    }
    environment["PYTHONPATH"] = path
    environment.pop("PROBE_DATABASE_URL", None)
    command, pipes = (
        [sys.executable, "-c", MAIN],
        {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
    )
    with Path("site.errors").open("wb") as errors:
        return subprocess.Popen(command, env=environment, text=True, stderr=errors, **pipes)


@pytest.fixture(scope="module")
def said():
    """Say what that process comes to in an empty cluster."""
    with redis.cluster.RedisCluster.from_url(os.environ["PROBE_CLUSTER_URL"]) as cluster:
        cluster.flushall(target_nodes=redis.cluster.RedisCluster.PRIMARIES)
    try:
        site().stdin.write("again\n")
        site().stdin.flush()
        line = site().stdout.readline()
    except BrokenPipeError:
        line = ""
    assert line, Path("site.errors").read_text()[-1000:]
    return ast.literal_eval(line)


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
    flushes = [command.args for command in ran if command.name.startswith("FLUSH")]
    assert flushes == [("ASYNC",)] * len(masters(probe.redis))


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
