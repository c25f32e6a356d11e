"""What a server refuses to a command inside a script counts as if the command had been sent by itself."""

from contextlib import contextmanager

import pytest
import redis
from django.test import override_settings
from redis.connection import DefaultParser

from rover_overrides.cache import registry, results
from rover_overrides.transport import pipeline
from rover_overrides.transport.refusals import (
    is_out_of_memory,
    is_refusal,
    refusals_as_connection_errors,
    unwrap_script_error,
)
from tests.support import engine_redis
from tests.support.one_result import DEPS, KEY

DEGRADED = override_settings(CACHEOPS_DEGRADE_ON_FAILURE=True, CACHEOPS_ROVER_RETRY_SECONDS=0)
REFUSALS = ["NOREPLICAS", "READONLY", "MISCONF"]


@contextmanager
def refusing(server, how):
    """Have a server refuse to write."""
    with server.client() as client:
        if how == "OOM":
            client.config_set("maxmemory", 1)
        elif how == "NOREPLICAS":
            client.config_set("min-replicas-to-write", 1)
        elif how == "READONLY":
            client.replicaof("127.0.0.1", engine_redis.free_port())
        else:
            fail_to_save(server, client)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("min-replicas-to-write", 0)
            client.config_set("save", "")
            client.replicaof("NO", "ONE")


def fail_to_save(server, client):
    (server.folder / "dump.rdb").mkdir(exist_ok=True)
    client.config_set("save", "3600 1000000")
    client.bgsave()
    engine_redis.wait_until(
        lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "it was saved"
    )


def append():
    return pipeline.run([registry.with_script_source(registry.append_command("reg:t", ["x"], 100))])


@pytest.mark.parametrize("how", REFUSALS)
def test_refusal_in_a_script_is_an_absent_server(server, how):
    with (
        refusing(server, how),
        pytest.raises(redis.ConnectionError, match=r"NOREPLICAS|read only|MISCONF"),
    ):
        append()
    assert append()


def test_lack_of_memory_in_a_script_is_one(server):
    with refusing(server, "OOM"), pytest.raises(redis.ResponseError) as raised:
        append()
    assert is_out_of_memory(raised.value)
    assert append()


@DEGRADED
@pytest.mark.parametrize("how", [*REFUSALS, "OOM"])
@pytest.mark.filterwarnings("ignore:The cacheops cache:RuntimeWarning")
def test_read_comes_from_the_database_where_its_lease_is_refused(server, how):
    with refusing(server, how):
        for _ in range(3):
            with results.getting(KEY, DEPS, "") as data:
                assert data is None
                results.fill("", KEY, "computed", DEPS, 100)
    for expected in (True, False):
        with results.getting(KEY, DEPS, "") as data:
            assert (data is None) == expected
            results.fill("", KEY, "computed", DEPS, 100)


def test_server_that_refused_as_a_replica_is_asked_anew_who_it_is(server):
    before = pipeline.run([("GET", "a")])[0].identity
    with refusing(server, "READONLY"), pytest.raises(redis.ConnectionError):
        append()
    assert append()[0].identity != before


IN_62 = "Error running script (call to f_{}): @user_script:18: @user_script: 18: ".format("ab" * 20)


@pytest.mark.parametrize("start", ["", "ERR "])
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("-MISCONF Redis is configured to save RDB snapshots", "refusal"),
        ("-NOREPLICAS Not enough good replicas to write.", "refusal"),
        ("-READONLY You can't write against a read only replica.", "refusal"),
        ("-CLUSTERDOWN The cluster is down", "refusal"),
        ("-OOM command not allowed when used memory > 'maxmemory'.", "full"),
        ("The user executing the script can't run this command or subcommand", "right"),
        (
            "The user executing the script can't access at least one of the keys mentioned in the command arguments",
            "right",
        ),
        ("-WRONGTYPE Operation against a key holding the wrong kind of value", "wrong"),
        ("Wrong number of args calling Redis command From Lua script", "wrong"),
    ],
)
def test_error_of_a_command_in_a_script_of_redis_6(start, said, kind):
    error = unwrap_script_error(redis.ResponseError(start + IN_62 + said))
    found = {
        "refusal": is_refusal(error),
        "full": is_out_of_memory(error),
        "right": isinstance(error, redis.exceptions.NoPermissionError),
    }
    assert found == {name: name == kind for name in found}


def test_other_errors_stay_as_they_are():
    for error in (
        redis.ResponseError("unknown command"),
        redis.exceptions.NoScriptError("No matching script"),
    ):
        assert unwrap_script_error(error) is error


ANSWERS = """
BUSY LOADING OOM READONLY MISCONF NOREPLICAS MASTERDOWN TRYAGAIN CLUSTERDOWN UNBLOCKED DENIED
""".split()  # noqa: SIM905 - as in the docs
"""The answers that docs/cache.md says an absent Redis gives."""


@DEGRADED
@pytest.mark.parametrize("code", ANSWERS)
@pytest.mark.parametrize("before", ["", IN_62 + "-"], ids=["alone", "in a script"])
@pytest.mark.filterwarnings("ignore:The cacheops cache:RuntimeWarning")
def test_read_comes_from_the_database_whichever_of_these_redis_answers(
    server, monkeypatch, code, before
):
    said = DefaultParser.parse_error(f"{before}{code} It says why.")

    def refuse(*_args):
        raise unwrap_script_error(said) if isinstance(said, redis.ResponseError) else said

    monkeypatch.setattr(pipeline, "_run_on", refuse)
    with results.getting(KEY, DEPS, "") as data:
        assert data is None
        assert not results.has_lease(KEY)
    with refusals_as_raised():
        pipeline.run([("GET", "a")])


@contextmanager
def refusals_as_raised():
    """Expect what writers take for a Redis that is away."""
    with pytest.raises(redis.ConnectionError), refusals_as_connection_errors():
        yield


def test_docs_list_these_answers():
    docs = " ".join((engine_redis.ROOT / "docs" / "cache.md").read_text().split())
    assert f"or answers {', '.join(ANSWERS[:-1])} or {ANSWERS[-1]} (also" in docs
