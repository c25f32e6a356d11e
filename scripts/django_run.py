"""Runs Django's own tests in shards: a process each with a server and databases of its own; what is finished is kept."""

from __future__ import annotations

import concurrent.futures
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from packaging.version import Version

from scripts.apply import Workshop
from scripts.config import DjangoCell, DjangoGate, Server
from scripts.django_suite import MODES, Place, Run, Summary, chosen, labels_of, part, read_run, shards
from scripts.environments import Absent, Ready
from scripts.errors import EnvironmentFailedError, UsageError
from scripts.installed import install
from scripts.lock import read_lock
from scripts.model import Settings
from scripts.probe_log import read_log
from scripts.process import TIMED_OUT, run, stop_all
from scripts.profile import check_profile, settings_for
from scripts.repository import Repository
from scripts.sdist import read_sdist
from scripts.series import read_series
from scripts.servers import Servers, absence, identity, program
from scripts.store import Store, digest, file_digest
from scripts.terminal import progress, say
from scripts.vendor import bring

SQLITE = "sqlite"
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass(frozen=True, eq=False)
class Subject:
    """What the tests run under: a tree with its settings, known by its content; without a folder Django alone."""

    name: str
    folder: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    content: str = "plain"


PLAIN = Subject("plain Django")


@dataclass(frozen=True)
class Selection:
    """What of the gate is run; without a word all of it."""

    django: str = ""
    database: str = ""
    mode: str = ""
    labels: tuple[str, ...] = ()
    share: str = ""
    jobs: int = 0
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class Stand:
    """A Django that can be tested here: its environment, its version, and its tests' folder."""

    cell: DjangoCell
    ready: Ready
    version: str
    folder: Path


@dataclass(frozen=True, eq=False)
class Job:
    """One process: some labels in one place, under one subject."""

    stand: Stand
    place: Place
    labels: tuple[str, ...]
    subject: Subject
    size: int = 0


def gate_of(repo: Repository) -> DjangoGate:
    """Return fork.toml's `[django]`; raises UsageError where there is none."""
    if repo.config.django is None:
        raise UsageError("fork.toml has no [django]", hint="see docs/django.md")
    return repo.config.django


def subject_of(repo: Repository, *, upstream: bool = False, tree: Path | None = None) -> Subject:
    """Return the tree that goes into the wheel with the profile's settings, or the bare release, or a folder in their place."""
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        series = read_series(repo, lock)
        release = lock.current
        workshop = Workshop(repo, lock, series, Store(repo.work / "results"))
        if upstream:
            return Subject(f"bare {lock.name} {lock.locked}", workshop.folder(release.tree), {}, release.tree)
        settings: Settings = settings_for(check_profile(repo, series), series, lock.locked, None)
        if tree is not None:
            return Subject(str(tree), tree, settings.mapping(), file_digest(*(path for path in tree.iterdir() if path.is_dir())))
        built = workshop.build(series.active, release)
        return Subject(f"{lock.name} {lock.locked} with the series", workshop.folder(built.tree), settings.mapping(), built.tree)


def stands(repo: Repository, gate: DjangoGate, selection: Selection) -> list[Stand]:
    """Make the environments of the cells that are asked for, and bring the tests of the Django that each of them has.

    What is missing here is said. Raises EnvironmentFailedError where nothing can be run.
    """
    cells = [cell for cell in gate.cells if selection.django in {"", cell.django}]
    cells = [cell for cell in cells if selection.database in {"", *cell.databases}]
    if not cells:
        asked = " ".join(filter(None, (selection.django, "on" if selection.database else "", selection.database)))
        raise UsageError(f"fork.toml's [django] has no Django {asked}", hint="edit fork.toml")
    found = []
    for cell in cells:
        environment = repo.config.environment(cell.environment)
        ready = install(repo, f"django-{cell.environment}", environment, [*environment.requires, *gate.requires])
        if isinstance(ready, Absent):
            say(f"Django {cell.django} is not tried: {ready.reason}")
            continue
        version = ready.versions["django"]
        found.append(Stand(cell, ready, version, django_tests(repo, version)))
    if not found:
        raise EnvironmentFailedError("no Django could be tried", hint="see above for what is missing")
    return found


def django_tests(repo: Repository, version: str) -> Path:
    """Return the folder of a Django's own tests, brought from the index, whose own digest is checked, and kept under .fork/."""
    folder = repo.work / "django" / version
    if (folder / "tests").exists():
        return folder / "tests"
    from scripts.index import Index  # noqa: PLC0415 (a fifth of a second that a run with nothing to download does not need)

    index = Index(repo.clients)
    remote = next((item for item in index.sdists("Django") if item.version == Version(version)), None)
    if remote is None:
        raise EnvironmentFailedError(
            f"the index {index.address} has no sdist of Django {version}", hint="choose an index that has it"
        )
    path = repo.work / "sdists" / remote.file
    if not path.exists():
        with progress(f"downloading {remote.file}", 1) as advance:
            index.download(remote, path, advance)
    with repo.scratch() as scratch:
        for member in read_sdist(path):
            if member.path.startswith("tests/"):
                place = scratch / "django" / member.path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(member.content)
        folder.parent.mkdir(exist_ok=True)
        (scratch / "django").rename(folder)
    return folder / "tests"


def jobs(repo: Repository, gate: DjangoGate, standing: Sequence[Stand], selection: Selection, subject: Subject) -> list[Job]:
    """List every process, those without the cache before those with it."""
    found = []
    for stand in standing:
        sizes = {label: size for label, size in labels_of(stand.folder).items() if label not in gate.excluded}
        for place in _places(repo, stand, selection):
            for labels in _shards(gate, sizes, selection):
                size = sum(sizes.get(label, 1) for label in labels)
                found += [Job(stand, place, labels, which, size) for which in (PLAIN, subject)]
    return found


def _shards(gate: DjangoGate, sizes: Mapping[str, int], selection: Selection) -> list[tuple[str, ...]]:
    every: list[tuple[str, ...]] = [(label,) for label in chosen(sizes, selection.labels)]
    every = every or shards(sizes, gate.shard)
    return part(every, selection.share) if selection.share else every


def _places(repo: Repository, stand: Stand, selection: Selection) -> Iterator[Place]:
    for database in stand.cell.databases:
        server = repo.config.database(database)
        if selection.database not in {"", database}:
            continue
        if server is not None and program(server) is None:
            say(f"Django {stand.cell.django} is not tried on {database}: {absence(server)}")
            continue
        for mode in MODES:
            if selection.mode in {"", mode}:
                yield Place(stand.cell.django, database, mode)


@dataclass
class Runner:
    """Runs jobs on all cores and keeps what they came to by all that it depends on."""

    repo: Repository
    gate: DjangoGate
    store: Store
    servers: Servers = field(default_factory=Servers)
    ran: int = 0

    def all(self, todo: Sequence[Job], count: int = 0) -> list[Summary]:
        """Return what each place came to; Ctrl-C keeps what is finished and leaves nothing running."""
        left = [job for job in todo if self._kept(job) is None]
        left.sort(key=lambda job: job.size, reverse=True)  # what takes longest is not left to the end, when a core may be idle
        runs: dict[Job, Run] = {}
        with progress(f"running Django's own tests: {len(left)} of {len(todo)} shards", len(left)) as advance, self._serving():
            pool = concurrent.futures.ThreadPoolExecutor(max_workers=count or os.cpu_count() or 1)
            try:
                futures = {pool.submit(self._run, job): job for job in left}
                for future in concurrent.futures.as_completed(futures):
                    runs[futures[future]] = future.result()
                    advance()
            except BaseException:
                stop_all()
                pool.shutdown(cancel_futures=True)
                raise
            pool.shutdown()
        self.ran = len(left)
        return _summaries([(job, runs.get(job) or self._kept(job) or Run()) for job in todo])

    @contextmanager
    def _serving(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.servers.close()

    def _kept(self, job: Job) -> Run | None:
        kept = self.store.get(self._key(job))
        return None if kept is None else Run.of(kept)

    def _key(self, job: Job) -> str:
        server, database = self._server(job), self.repo.config.database(job.place.database)
        about = job.subject.content, sorted(job.subject.settings.items()), job.labels, vars(job.place), job.stand.version
        at = job.stand.ready.fingerprint, identity(server) if server else None, identity(database) if database else None
        return digest("django", about, at, self._code)

    @cached_property
    def _code(self) -> str:
        """What runs inside the processes; read once, for results are kept under what they were run with."""
        files = (path for name in self.gate.path for path in sorted((self.repo.root / name).glob("*.py")))
        return file_digest(*(path for path in files if not path.name.startswith("test_")))

    def _server(self, job: Job) -> Server | None:
        return self.repo.config.server(self.gate.server) if job.subject.folder else None

    def _run(self, job: Job) -> Run:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fork-django-", ignore_cleanup_errors=True)))
            url = stack.enter_context(self.servers.lease(self._server(job)))
            database = stack.enter_context(self.servers.lease(self.repo.config.database(job.place.database)))
            log = folder / "log"
            words = {
                "tests": str(job.stand.folder),
                "labels": job.labels,
                "mode": job.place.mode,
                "cached": job.subject.folder is not None,
                "settings": dict(job.subject.settings),
                "server": url,
                "databases": databases(database),
                "log": str(log),
            }
            done = run(
                [job.stand.ready.python, self.repo.root / self.gate.path[0] / "shard.py"],
                cwd=folder,
                env=self._variables(job, folder, words),
                timeout=self.gate.timeout,
                ok=None,
            )
            ending = "ran into its timeout" if done.code == TIMED_OUT else f"ended with {done.code}"
            found = read_run(read_log(log), f"{ending}: {(done.complaint.splitlines() or ['no word'])[-1]}")
        self.store.put(self._key(job), found.record())
        return found

    def _variables(self, job: Job, folder: Path, words: Mapping[str, Any]) -> dict[str, str]:
        """Return a process environment with nothing of the user's that could steer the tests."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        places = [*([job.subject.folder] if job.subject.folder else []), *(self.repo.root / name for name in self.gate.path)]
        path = os.pathsep.join(map(str, places))
        return kept | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder), "GATE": json.dumps(words)}


def databases(url: str) -> dict[str, dict[str, Any]]:
    """Return Django's settings for the two databases of a process: SQLite in memory without an address."""
    if not url:
        return {alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in ("default", "other")}
    parts = urlsplit(url)
    where = {"USER": parts.username or "", "HOST": parse_qs(parts.query)["host"][0]}
    test = {"TEMPLATE": "template0", "CHARSET": "UTF8"}
    name = parts.path[1:]
    return {
        alias: {"ENGINE": "django.db.backends.postgresql", "NAME": name + suffix, **where, "TEST": test}
        for alias, suffix in (("default", ""), ("other", "_other"))
    }


def _summaries(runs: Sequence[tuple[Job, Run]]) -> list[Summary]:
    """Hold each shard with the cache beside the one without it."""
    plain = {(job.place, job.labels): found for job, found in runs if job.subject is PLAIN}
    found: dict[Place, Summary] = {}
    for job, tried in runs:
        if job.subject is not PLAIN:
            summary = found.setdefault(job.place, Summary(job.place, job.stand.version))
            summary.add(plain[job.place, job.labels], tried, job.labels)
    return list(found.values())
