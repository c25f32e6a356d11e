"""Results belong to a database, whatever the alias that it is read by."""

import pytest

from tests.support import engine_redis, wheel_process


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")

    def database(name, **more):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / name), **more}

    databases = {
        "default": database("one"),
        "same": database("one"),
        "other": database("two"),
        "mirror": database("three", TEST={"MIRROR": "default"}),
    }
    plain = {"ops": "all", "timeout": 3600}
    profiles = {
        "probe_project.tag": {**plain, "db_agnostic": True},
        "probe_project.section": {**plain, "db_agnostic": False},
    }
    with engine_redis.RedisServer("valkey9", tmp_path_factory.mktemp("server")) as server:
        redis = {"host": "127.0.0.1", "port": server.port}
        return wheel_process.run_cases(
            "aliases", redis=redis, DATABASES=databases, CACHEOPS={**profiles, "*.*": plain}
        )


@pytest.mark.parametrize("case", wheel_process.case_names("aliases"))
def test_alias_reads_what_belongs_to_its_database(played, case):
    assert played[case] is None, played[case]
