"""Run probes in the cells' environments against trees, each content once, on all cores."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from scripts.core.config import Server
from scripts.core.console import Advance, progress
from scripts.core.model import Outcome, Result, Settings
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache, digest, file_digest
from scripts.core.subprocesses import stop_all
from scripts.probes.environments import MissingEnvironment, ReadyEnvironment
from scripts.probes.failure_text import Places, failure_texts
from scripts.probes.fork_server_pool import (
    RUNNER_FILES,
    SEEDS,
    ForkServerPool,
    ProcessExit,
    random_seed,
)
from scripts.probes.report_log import (
    COLD_ROUND,
    OUTCOME_PRECEDENCE,
    FileResult,
    Log,
    add_cold_round,
    first_failures,
    is_finished,
    join_rounds,
    read_log,
)
from scripts.probes.servers import ServerPool, find_program, server_identity

_RUNNER_FILES = (*RUNNER_FILES, Path(__file__).with_name("report_log.py"))
"""The files that decide how a probe is run and how its result is read."""


@dataclass(frozen=True)
class ProbeJob:
    """One column of probes: a tree in an environment, with settings, a server and a database.

    `database` is None for the probes' own database. A job runs one process for each round, but is
    counted once.
    """

    tree: str
    environment: str
    server: str | None
    settings: Settings
    database: str | None = None


FilesByJob = Mapping[ProbeJob, Iterable[str]]


class TreeFolders(Protocol):
    """Provides the folders from which probes import a job's tree."""

    def places(self, tree: str) -> tuple[str, ...]:
        """Return the folders, relative to the tree."""

    def folders(self, tree: str) -> tuple[Path, ...]:
        """Return the folders, which contain the tree's files."""


@dataclass
class Prober:
    """Runs jobs and remembers their results, in memory and in the store.

    `specs` are all probe paths and node ids that may be requested. A file of which no single test
    is named stops at its first failure. `preload` lets an interpreter import installed packages
    before its jobs; it is False if the jobs test those packages.

    `jobs_run` is the number of jobs that ran, `processes` the number of their processes,
    `results_reused` the number of stored results that were used.
    """

    repo: Repository
    trees: TreeFolders
    store: ResultCache
    environments: Mapping[str, ReadyEnvironment | MissingEnvironment]
    specs: Iterable[str] = ()
    preload: bool = True
    jobs_run: int = 0
    processes: int = 0
    results_reused: int = 0
    _known: dict[tuple[ProbeJob, str], FileResult] = field(default_factory=dict)
    _texts: dict[tuple[ProbeJob, str], dict[str, str]] = field(default_factory=dict)

    _warmed_up: set[str] = field(default_factory=set)
    _locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def __post_init__(self) -> None:
        self.repo.work.mkdir(exist_ok=True)
        self._fork_servers = ForkServerPool(self.repo.work)
        self._complete = _files_with_single_tests((*self.repo.config.probes.control, *self.specs))
        self._servers = ServerPool()

    def close(self) -> None:
        """Stop the idle interpreters and servers."""
        self._fork_servers.close()
        self._servers.close()

    def run(self, wanted: FilesByJob, text: str, once: Collection[ProbeJob] = ()) -> None:
        """Run the files of every job that have no result yet; Ctrl-C keeps what is finished.

        A job in `once` runs one round, every other job two.
        """
        self._run(wanted, text, {job: 1 if job in once else 2 for job in wanted}, self._run_job)

    def run_cold(self, wanted: FilesByJob, text: str) -> None:
        """Run every file once more, alone in a new interpreter with a random hash seed."""
        self._run(wanted, text, dict.fromkeys(wanted, COLD_ROUND), self._run_cold)

    def _run(
        self,
        wanted: FilesByJob,
        text: str,
        rounds: Mapping[ProbeJob, int],
        run: Callable[[ProbeJob, list[str], int], None],
    ) -> None:
        shared = self._shared_digest()
        todo = {
            job: missing
            for job, files in wanted.items()
            if (
                missing := sorted(
                    file
                    for file in set(files)
                    if not self._load_stored(job, file, rounds[job], shared)
                )
            )
        }
        if not todo:
            return
        # Written here, and not by several threads at the same time.
        for tree in {job.tree for job in todo}:
            self.trees.folders(tree)
        with progress(f"{text}: {len(todo)} processes", len(todo)) as advance, self._pool() as pool:
            futures = [
                pool.submit(run, job, todo[job], rounds[job]) for job in self._round_robin(todo)
            ]
            self._wait_for(futures, advance)

    def result(self, job: ProbeJob, probes: Iterable[str]) -> Result:
        """Return the joint result of probes in a job that was run.

        If the control probe did not pass, `control` is False, `detail` is about that probe, and
        `own` is the result of the probes themselves.
        """
        control = self.control_result(job)
        found = self._join_tests(job, probes)
        if control.outcome is Outcome.PASSED:
            return found
        own = f"{found.outcome}: {found.detail}" if found.detail else str(found.outcome)
        return Result(
            found.outcome,
            f"{control.outcome}: {control.detail}",
            control=False,
            tests=found.tests,
            own=own,
        )

    def control_result(self, job: ProbeJob) -> Result:
        """Return the result of the control probe alone in a job that was run."""
        return self._join_tests(job, self.repo.config.probes.control)

    def files(self, probes: Iterable[str]) -> set[str]:
        """Return the files of the probes and of the control probe."""
        return {spec.partition("::")[0] for spec in (*probes, *self.repo.config.probes.control)}

    def file_results(self, job: ProbeJob, probes: Iterable[str]) -> dict[str, FileResult]:
        """Return the result of each file in a job that was run, with the tests that probes name."""
        specs: dict[str, list[str]] = defaultdict(list)
        for spec in probes:
            specs[spec.partition("::")[0]].append(spec)
        return {
            file: dataclasses.replace(
                known,
                tests={name: test for name, test in known.tests.items() if _is_named(name, named)},
                left_out=tuple(name for name in known.left_out if _is_named(name, named)),
            )
            for file, named in specs.items()
            for known in [self._known[job, file]]
        }

    def failure_text(self, job: ProbeJob, name: str) -> str:
        """Return how pytest shows the failure of a test or file in a job that was run, or "".

        Results of runs that did not store it have none.
        """
        texts = self._texts.get((job, name.partition("::")[0]), {})
        return texts.get(name) or texts.get("", "")

    def missing_extra_servers(self, probes: Iterable[str]) -> list[Server]:
        """Return the extra servers that probes need but that are missing here."""
        return [
            server
            for server in self._extra_servers(self.files(probes)).values()
            if find_program(server) is None
        ]

    def _load_stored(self, job: ProbeJob, file: str, rounds: int, shared: str) -> bool:
        if (job, file) in self._known:
            return self._known[job, file].rounds >= rounds
        kept = self.store.get(self._key(job, file, shared))
        # A result of one round decides nothing, so it does not stand for two.
        if kept is None or kept["rounds"] < rounds:
            return False
        self.results_reused += 1
        tests = {
            name: (Outcome(outcome), words) for name, (outcome, words) in kept["tests"].items()
        }
        self._known[job, file] = FileResult(
            tests, kept["problem"], tuple(kept["left_out"]), kept["rounds"], kept["seed"]
        )
        self._texts[job, file] = kept.get("texts", {})
        return True

    def _shared_digest(self) -> str:
        """Return the digest of the files that every probe depends on."""
        return file_digest(
            *(self.repo.root / name for name in self.repo.config.probes.support), *_RUNNER_FILES
        )

    def _key(self, job: ProbeJob, file: str, shared: str) -> str:
        """Return the key of a result: a digest of everything that it depends on."""
        server, database = (
            self.repo.config.server(job.server),
            self.repo.config.database(job.database),
        )
        return digest(
            "probed",
            {
                # fork.toml can change from which folder a tree is imported.
                "tree": (job.tree, self.trees.places(job.tree)),
                "file": (file, file_digest(self.repo.root / file)),
                "shared": shared,
                "environment": self._ready(job.environment).fingerprint,
                "server": server_identity(server) if server else None,
                "database": server_identity(database) if database else None,
                "beside": {
                    name: server_identity(server)
                    for name, server in self._extra_servers([file]).items()
                },
                "settings": str(job.settings),
                # A file that stops at its first failure has fewer results.
                "complete": file in self._complete,
            },
        )

    def _ready(self, environment: str) -> ReadyEnvironment:
        ready = self.environments[environment]
        assert isinstance(ready, ReadyEnvironment), ready
        return ready

    def _extra_servers(self, files: Iterable[str]) -> dict[str, Server]:
        """Return the extra servers that files need, by the variable for their address."""
        return {
            item.variable: server
            for item in self.repo.config.probes.extra_servers
            if set(item.files).intersection(files)
            and (server := self.repo.config.server(item.server)) is not None
        }

    def _run_job(self, job: ProbeJob, files: list[str], rounds: int) -> None:
        """Run files together, or each alone if one spoils the others: a crash, a hang, a leak.

        A file whose rounds differ runs once more in a cold interpreter.
        """
        keys = {file: self._key(job, file, self._shared_digest()) for file in files}
        logs, ended = self._run_rounds(job, files, rounds)
        found = {
            file: join_rounds(file, logs, ended, stops=file not in self._complete) for file in files
        }
        control = {
            spec.partition("::")[0] for spec in self.repo.config.probes.control
        }.intersection(files)
        if len(files) > 1 and not all(map(is_finished, logs)):
            for file in files:
                self._run_job(job, [file], rounds)
            return
        # Run a control probe that fails beside other files alone: they may have spoiled it.
        if len(files) > len(control) and not self._control_passed(found):
            self._run_job(job, sorted(control), rounds)
            if self._control_passed({file: self._known[job, file] for file in control}):
                for file in set(files) - control:
                    self._run_job(job, [file], rounds)
                return
            # The run alone has stored the result of the control probe.
            found = {file: result for file, result in found.items() if file not in control}
        self._store_results(job, keys, found)
        self._run_cold(job, [file for file, result in found.items() if result.is_flaky], COLD_ROUND)

    def _run_cold(self, job: ProbeJob, files: list[str], rounds: int) -> None:
        """Run each file, whose two rounds are known, once more in a new interpreter."""
        assert rounds == COLD_ROUND
        for file in files:
            keys = {file: self._key(job, file, self._shared_digest())}
            known, seed = self._known[job, file], random_seed()
            log, ended = self._run_process(job, [file], seed=seed, cold=True)
            self.jobs_run += 1
            self._store_results(job, keys, {file: add_cold_round(file, known, log, ended, seed)})

    def _store_results(
        self, job: ProbeJob, keys: Mapping[str, str], found: Mapping[str, FileResult]
    ) -> None:
        """Remember results; do not store those of files that were edited while they ran."""
        shared = self._shared_digest()
        for file, result in found.items():
            self._known[job, file] = result
            if keys[file] == self._key(job, file, shared):
                # Beside the result and not in it: no verdict depends on how a failure is shown.
                texts = {"texts": self._texts.get((job, file), {})}
                self.store.put(keys[file], dataclasses.asdict(result) | texts)

    def _run_rounds(
        self, job: ProbeJob, files: list[str], rounds: int
    ) -> tuple[list[Log], ProcessExit]:
        """Run files once in each of the two interpreters, in reverse order in the second.

        If the first round crashes, the second does not run.
        """
        logs: list[Log] = []
        for seed in SEEDS[:rounds]:
            failed = first_failures(logs[-1], self._complete) if logs else {}
            log, ended = self._run_process(job, files, seed=seed, failed=failed, reverse=bool(logs))
            logs.append(log)
            if not is_finished(log):
                break
        self.jobs_run += 1
        return logs, ended

    def _control_passed(self, found: Mapping[str, FileResult]) -> bool:
        """Return whether every test of the control probe among these files passed."""
        control = {
            spec.partition("::")[0] for spec in self.repo.config.probes.control
        } & found.keys()
        return not any(
            found[file].problem
            or any(outcome is not Outcome.PASSED for outcome, _ in found[file].tests.values())
            for file in control
        )

    def _run_process(
        self,
        job: ProbeJob,
        files: list[str],
        *,
        seed: int,
        failed: Mapping[str, str] | None = None,
        reverse: bool = False,
        cold: bool = False,
    ) -> tuple[Log, ProcessExit]:
        """Run files in one process with its own servers; return its log and how it ended."""
        config = self.repo.config
        ready = self._ready(job.environment)
        preload_key = self._preload_key(job.environment)
        preloads = self.preload and not cold
        folders = self.trees.folders(job.tree)
        with (
            self._first_process_alone(job.environment),
            tempfile.TemporaryDirectory(prefix="fork-run-") as name,
            self._servers.borrow(config.server(job.server)) as url,
            self._servers.borrow(config.database(job.database)) as database,
            ExitStack() as stack,
        ):
            beside = {
                key: stack.enter_context(self._servers.borrow(server))
                for key, server in self._extra_servers(files).items()
            }
            folder = Path(name)
            ended = self._fork_servers.run(
                ready.python,
                folder=folder,
                path=folders,
                root=self.repo.root,
                files=[self.repo.root / file for file in files],
                complete=self._complete.intersection(files),
                failed=failed or {},
                reverse=reverse,
                seed=seed,
                cold=cold,
                env=_environment(folders, url, job.settings, database) | beside,
                preload=(self.store.get(preload_key) or []) if preloads else [],
                timeout=self.repo.config.probes.timeout,
            )
            log = read_log(folder / "log")
            places = Places(self.repo.root, folders[-1] if folders else None, folder)
            self._keep_texts(job, files, failure_texts(log, ended, places))
            modules = folder / "log.modules"
            # Later interpreters of this environment preload the modules that the jobs imported.
            if preloads and modules.exists():
                known = dict.fromkeys(self.store.get(preload_key) or [])
                joined = [
                    *known,
                    *(module for module in json.loads(modules.read_text()) if module not in known),
                ]
                # Stored even if it is empty: `_is_warmed_up` only checks that there is a list.
                if len(joined) > len(known) or not known:
                    self.store.put(preload_key, joined)
        self.processes += 1
        return log, ended

    def _keep_texts(self, job: ProbeJob, files: Iterable[str], texts: Mapping[str, str]) -> None:
        """Remember how the failures of a process are shown."""
        for file in files:
            known = self._texts.get((job, file), {})
            self._texts[job, file] = {key: text for key, text in known.items() if key} | {
                key: text for key, text in texts.items() if key.partition("::")[0] in {"", file}
            }

    def _round_robin(self, todo: Mapping[ProbeJob, list[str]]) -> list[ProbeJob]:
        """Return the longest job of each environment, then the second longest, and so on.

        A long job that starts last would delay the end of the run. In an environment that no job
        has entered, the shortest comes first, because the others wait for it.
        """
        queues: dict[str, list[ProbeJob]] = defaultdict(list)
        for job in sorted(todo, key=lambda job: len(todo[job]), reverse=True):
            queues[job.environment].append(job)
        for environment, queue in queues.items():
            if not self._is_warmed_up(environment):
                queue.insert(0, queue.pop())
        return [job for turn in zip_longest(*queues.values()) for job in turn if job is not None]

    def _is_warmed_up(self, environment: str) -> bool:
        return (
            not self.preload
            or environment in self._warmed_up
            or self.store.get(self._preload_key(environment)) is not None
        )

    def _preload_key(self, environment: str) -> str:
        return digest("warm", self._ready(environment).fingerprint)

    @contextmanager
    def _first_process_alone(self, environment: str) -> Iterator[None]:
        """Let the first process of an environment finish alone: it compiles what others import."""
        if self._is_warmed_up(environment):
            yield
            return
        with self._locks[environment]:
            yield
            self._warmed_up.add(environment)

    def _join_tests(self, job: ProbeJob, probes: Iterable[str]) -> Result:
        """Join the tests that probe paths and node ids name into one result."""
        found: dict[str, tuple[Outcome, str]] = {}
        names: set[str] = set()
        problems = []
        for spec in probes:
            file, _, node = spec.partition("::")
            known = self._known[job, file]
            problems += [known.problem] if known.problem else []
            found |= {
                name: test
                for name, test in known.tests.items()
                if not node or _is_selected(name, spec)
            }
            names.update(
                name
                for name in (*known.tests, *known.left_out)
                if not node or _is_selected(name, spec)
            )
        if problems:
            return Result(Outcome.ERROR, problems[0], tests=tuple(sorted(names)))
        if not found:
            return Result(Outcome.MISSING, f"nothing collected from {', '.join(probes)}")
        name, (outcome, words) = min(
            found.items(), key=lambda item: OUTCOME_PRECEDENCE.index(item[1][0])
        )
        detail = words if outcome is Outcome.PASSED else f"{name.rpartition('/')[2]}: {words}"
        return Result(outcome, detail, tests=tuple(sorted(names)))

    @contextmanager
    def _pool(self) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
        # One more than cores, because some wait for a server to start or for a subprocess.
        pool = concurrent.futures.ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1)
        try:
            yield pool
        except BaseException:  # Ctrl-C too
            stop_all()
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown()

    @staticmethod
    def _wait_for(futures: list[concurrent.futures.Future[None]], advance: Advance) -> None:
        for future in concurrent.futures.as_completed(futures):
            future.result()
            advance()


def _files_with_single_tests(specs: Iterable[str]) -> frozenset[str]:
    """Return the files of which single tests are named, so that all of their tests must run."""
    return frozenset(file for file, test, _ in (spec.partition("::") for spec in specs) if test)


def _environment(
    folders: Iterable[Path], url: str, settings: Settings, database: str
) -> dict[str, str]:
    """Return a clean process environment that imports only `folders` and installed packages."""
    kept = {
        key: value
        for key, value in os.environ.items()
        # These would change how a probe runs, and so its verdict.
        if not key.startswith(("PYTHON", "PYTEST", "DJANGO", "PROBE_", "VIRTUAL_ENV", "COV"))
    }
    return kept | {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PROBE_SERVER_URL": url,
        "PROBE_SETTINGS": repr(settings.as_dict()),
        **({"PROBE_DATABASE_URL": database} if database else {}),
    }


def _is_named(name: str, specs: Iterable[str]) -> bool:
    """Return whether paths and node ids name a test; a path names every test of its file."""
    return any("::" not in spec or _is_selected(name, spec) for spec in specs)


def _is_selected(name: str, spec: str) -> bool:
    """Return whether a node id is the named one, one of its parameters, or inside it."""
    return name == spec or name.startswith((f"{spec}[", f"{spec}::"))
