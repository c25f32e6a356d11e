"""Run Django's own tests in shards, each in a process with its own server and databases.

The results of finished shards are kept.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from scripts.core.config import DjangoGate, Server
from scripts.core.console import progress
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache, digest, file_digest
from scripts.core.subprocesses import TIMED_OUT, run, stop_all
from scripts.gates.django_findings import DjangoPlace, PlaceSummary, ShardRun, read_run
from scripts.gates.django_plan import PLAIN, ShardJob
from scripts.probes.report_log import read_log
from scripts.probes.servers import ServerPool, server_identity

_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)\b")
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass
class ShardRunner:
    """Runs jobs on all cores and stores their results, keyed by everything that they depend on."""

    repo: Repository
    gate: DjangoGate
    store: ResultCache
    servers: ServerPool = field(default_factory=ServerPool)
    ran: int = 0

    def run_all(self, todo: Sequence[ShardJob], count: int = 0) -> list[PlaceSummary]:
        """Return the summary of each place.

        Ctrl-C keeps what is finished and leaves nothing running.
        """
        # A stopped run continues where it was, and plain runs serve every wheel.
        left = [job for job in todo if self._stored(job) is None]
        # The longest jobs run first, so that no core is idle at the end.
        left.sort(key=lambda job: job.size, reverse=True)
        runs: dict[ShardJob, ShardRun] = {}
        with (
            progress(
                f"running Django's own tests: {len(left)} of {len(todo)} shards", len(left)
            ) as advance,
            self._serving(),
        ):
            pool = concurrent.futures.ThreadPoolExecutor(max_workers=count or os.cpu_count() or 1)
            try:
                futures = {pool.submit(self._run, job): job for job in left}
                for future in concurrent.futures.as_completed(futures):
                    runs[futures[future]] = future.result()
                    advance()
            except BaseException:  # Ctrl-C too
                stop_all()
                pool.shutdown(cancel_futures=True)
                raise
            pool.shutdown()
        self.ran = len(left)
        return _summaries([(job, runs.get(job) or self._stored(job) or ShardRun()) for job in todo])

    @contextmanager
    def _serving(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.servers.close()

    def _stored(self, job: ShardJob) -> ShardRun | None:
        kept = self.store.get(self._key(job))
        return None if kept is None else ShardRun.of(kept)

    def _key(self, job: ShardJob) -> str:
        server, database = self._server(job), self.repo.config.database(job.place.database)
        about = (
            job.subject.content,
            sorted(job.subject.settings.items()),
            job.labels,
            vars(job.place),
            job.django.version,
        )
        at = (
            job.django.ready.fingerprint,
            server_identity(server) if server else None,
            server_identity(database) if database else None,
        )
        return digest("django", about, at, self._code)

    @cached_property
    def _code(self) -> str:
        """Return a digest of what runs inside the processes.

        It is computed once, because results are stored under what they were run with.
        """
        files = (
            path for name in self.gate.path for path in sorted((self.repo.root / name).glob("*.py"))
        )
        # The gate's own tests do not run in these processes.
        return file_digest(*(path for path in files if not path.name.startswith("test_")))

    def _server(self, job: ShardJob) -> Server | None:
        return self.repo.config.server(self.gate.server) if job.subject.folder else None

    def _run(self, job: ShardJob) -> ShardRun:
        with ExitStack() as stack:
            folder = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="fork-django-", ignore_cleanup_errors=True)
                )
            )
            url = stack.enter_context(self.servers.borrow(self._server(job)))
            database = stack.enter_context(
                self.servers.borrow(self.repo.config.database(job.place.database))
            )
            log = folder / "log"
            parameters = {
                "tests": str(job.django.folder),
                "labels": job.labels,
                "mode": job.place.mode,
                "cached": job.subject.folder is not None,
                "settings": dict(job.subject.settings),
                "server": url,
                "databases": databases(database),
                "log": str(log),
            }
            done = run(
                [job.django.ready.python, self.repo.root / self.gate.path[0] / "shard.py"],
                cwd=folder,
                env=self._variables(job, folder, parameters),
                timeout=self.gate.timeout,
                ok=None,
            )
            ending = "ran into its timeout" if done.code == TIMED_OUT else f"ended with {done.code}"
            found = read_run(read_log(log), f"{ending}: {_last_exception_line(done.error_output)}")
        self.store.put(self._key(job), found.record())
        return found

    def _variables(
        self, job: ShardJob, folder: Path, parameters: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return a process environment without the user's variables that could affect the tests."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        places = [
            *([job.subject.folder] if job.subject.folder else []),
            *(self.repo.root / name for name in self.gate.path),
        ]
        path = os.pathsep.join(map(str, places))
        return kept | {
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(folder),
            "GATE": json.dumps(parameters),
        }


def _last_exception_line(complaint: str) -> str:
    """Return the line that names the last exception.

    A database error continues with lines that point into its statement.
    """
    lines = complaint.splitlines()
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or ["no word"])[-1]


def databases(url: str) -> dict[str, dict[str, Any]]:
    """Return Django's settings for the two databases of a process.

    Without an address they are SQLite in memory.
    """
    if not url:
        return {alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in ("default", "other")}
    parts = urlsplit(url)
    # The address has the folder of the server's socket in its query.
    where = {"USER": parts.username or "", "HOST": parse_qs(parts.query)["host"][0]}
    test = {"TEMPLATE": "template0", "CHARSET": "UTF8"}
    name = parts.path[1:]
    return {
        alias: {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name + suffix,
            **where,
            "TEST": test,
        }
        for alias, suffix in (("default", ""), ("other", "_other"))
    }


def _summaries(runs: Sequence[tuple[ShardJob, ShardRun]]) -> list[PlaceSummary]:
    """Compare each shard that ran with the cache with the one that ran without it."""
    plain = {(job.place, job.labels): found for job, found in runs if job.subject is PLAIN}
    found: dict[DjangoPlace, PlaceSummary] = {}
    for job, tried in runs:
        if job.subject is not PLAIN:
            summary = found.setdefault(job.place, PlaceSummary(job.place, job.django.version))
            summary.add(plain[job.place, job.labels], tried, job.labels)
    return list(found.values())
