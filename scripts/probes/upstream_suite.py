"""Run upstream's own tests on a tree or an installed wheel, and compare with bare upstream."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.core.config import Environment, Server, Suite, covers
from scripts.core.console import info, progress
from scripts.core.lockfile import read_lock
from scripts.core.model import Release
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache, digest, file_digest
from scripts.core.subprocesses import TIMED_OUT, run, stop_all
from scripts.probes.environments import (
    MissingEnvironment,
    ReadyEnvironment,
    WheelFile,
    ensure_environment,
    requirements,
)
from scripts.probes.report_log import first_error_line, read_log
from scripts.probes.servers import find_program, run_server, server_identity
from scripts.series.apply import TreeBuilder

WHOLE_RUN = "the run itself"
"""The test id for a run that did not finish."""

NO_TEST = "no test was collected"
"""The error of a run in which no test passed or failed."""

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass(frozen=True)
class Failure:
    """A test that fails on the tree or wheel but not on bare upstream.

    `mode` and `environment` are where it ran; `error` is the first line of its error.
    """

    test: str
    mode: str
    environment: str
    error: str

    def __str__(self) -> str:
        return f"{self.test} ({self.mode}, {self.environment}): {self.error}"


@dataclass(frozen=True)
class SuiteRun:
    """The result of one run: the first error line of each failed test, and the passed tests."""

    failed: dict[str, str] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """The results of one mode in one environment, bare and on the tree or wheel."""

    mode: str
    environment: str
    server: str
    bare: SuiteRun
    changed: SuiteRun

    @property
    def failures(self) -> list[Failure]:
        """Return the new failures."""
        return [
            Failure(test, self.mode, self.environment, words)
            for test, words in new_failures(self.bare, self.changed).items()
        ]

    def __str__(self) -> str:
        where = f"{self.environment} on {self.server}" if self.server else self.environment
        passed = len(self.changed.passed & self.bare.passed)
        return (
            f"{where}, mode {self.mode}: "
            f"{passed} of the {len(self.bare.passed)} tests that pass bare"
        )


@dataclass(frozen=True)
class _Subject:
    """What the tests import: the folders of a tree or, without any, the installed package."""

    content: str
    folders: tuple[Path, ...]
    ready: ReadyEnvironment


@dataclass(frozen=True)
class _SuiteJob:
    """One mode in one environment, with the bare subject and the one to compare with it."""

    environment: Environment
    mode: str
    bare: _Subject
    changed: _Subject


def used_excuses(repo: Repository, found: Sequence[Comparison]) -> dict[str, str]:
    """Return the failing tests that fork.toml excuses, with its reason."""
    failed = {failure.test for comparison in found for failure in comparison.failures}
    known = repo.config.suite.excused if repo.config.suite else {}
    return {test: reason for test, reason in known.items() if test in failed}


def unexcused_failures(repo: Repository, found: Sequence[Comparison]) -> list[Failure]:
    """Return the failures that nothing excuses."""
    suite = repo.config.suite
    failures = [failure for comparison in found for failure in comparison.failures]
    return [failure for failure in failures if suite is None or not _is_excused(suite, failure)]


def compare_with_bare(
    repo: Repository,
    builder: TreeBuilder,
    release: Release,
    *,
    tree: str = "",
    wheel: WheelFile | None = None,
) -> list[Comparison]:
    """Run upstream's own tests of a release on a tree or a wheel, and on bare upstream.

    Return nothing if fork.toml has no `[suite]`, the sdist has no tests, or no interpreter can run
    them.
    """
    suite = repo.config.suite
    source = builder.folder(release.tree)
    if suite is None or not all((source / name).exists() for name in suite.files):
        info(
            f"{repo.config.upstream.name} {release.version} brings no tests of its own"
            if suite
            else "fork.toml has no [suite]"
        )
        return []
    trials = list(_suite_jobs(repo, suite, builder, release, tree, wheel))
    return _Runner(repo, suite, builder.store, source, release.tree).run_all(trials)


def try_new_tests(
    repo: Repository,
    builder: TreeBuilder,
    release: Release,
    tree: str,
    tests: Sequence[str],
) -> list[Comparison]:
    """Run tests that only `tree` has, as upstream's own, on it and on bare upstream.

    They run wherever the release does, for a single test costs little. Return nothing if that is
    nowhere here.
    """
    assert repo.config.suite is not None
    suite = repo.config.suite.model_copy(update={"tests": tuple(tests), "environments": ()})
    trials = list(_suite_jobs(repo, suite, builder, release, tree, None))
    runner = _Runner(repo, suite, builder.store, builder.folder(tree), tree)
    return runner.run_all(trials, "running the new test")


def _is_excused(suite: Suite, failure: Failure) -> bool:
    """Return whether fork.toml excuses a failure, or an expected failure passed."""
    return failure.test in suite.excused or "Unexpected success" in failure.error


def _suite_jobs(
    repo: Repository,
    suite: Suite,
    builder: TreeBuilder,
    release: Release,
    tree: str,
    wheel: WheelFile | None,
) -> Iterator[_SuiteJob]:
    """Yield a trial for every mode in every environment that can be made here."""
    for environment in suite_environments(repo, suite, release):
        bare, tried = (
            _test_environment(repo, suite, environment),
            _test_environment(repo, suite, environment, wheel),
        )
        if bare is None or tried is None:
            continue
        for mode in suite.modes:
            on_bare = _Subject(release.tree, builder.folders(release.tree), bare)
            on_tried = (
                _Subject(wheel.sha256, (), tried)
                if wheel
                else _Subject(tree, builder.folders(tree), tried)
            )
            yield _SuiteJob(environment, mode, on_bare, on_tried)


def suite_environments(repo: Repository, suite: Suite, release: Release) -> list[Environment]:
    """Return the environments in which upstream's tests of a release run."""
    locked = read_lock(repo.lock_file).locked
    return [
        item
        for item in repo.config.environments
        if covers(item.releases, release.version, locked)
        and (not suite.environments or item.id in suite.environments)
    ]


def new_failures(bare: SuiteRun, tried: SuiteRun) -> dict[str, str]:
    """Return the new failures: tests that failed only here, or passed bare and did not run.

    If the bare run did not finish, there is no baseline to compare with, which counts as a failure.
    """
    if WHOLE_RUN in bare.failed:
        return {WHOLE_RUN: f"nothing can be compared: on bare upstream it {bare.failed[WHOLE_RUN]}"}
    gone = bare.passed - tried.passed - tried.failed.keys()
    found = {test: words for test, words in tried.failed.items() if test not in bare.failed}
    # If the run ended early, the tests that are missing say nothing.
    return found | dict.fromkeys(
        sorted(gone) if WHOLE_RUN not in tried.failed else (),
        "it passes on bare upstream and did not run",
    )


def read_run(log: Sequence[Mapping[str, Any]], ending: str) -> SuiteRun:
    """Return the result in a pytest-reportlog log; `ending` describes a run that did not finish."""
    failed: dict[str, str] = {}
    passed: set[str] = set()
    for entry in log:
        if entry.get("outcome") == "failed":
            failed.setdefault(entry["nodeid"] or WHOLE_RUN, first_error_line(dict(entry)))
        elif entry.get("when") == "call" and entry.get("outcome") == "passed":
            passed.add(entry["nodeid"])
    if not any(entry.get("$report_type") == "SessionFinish" for entry in log):
        failed[WHOLE_RUN] = ending
    elif not failed and not passed:
        failed[WHOLE_RUN] = NO_TEST
    return SuiteRun(failed, frozenset(passed - failed.keys()))


@dataclass(frozen=True)
class _Runner:
    """Runs upstream's tests and stores the results, keyed by everything that they depend on.

    The tests are those in the folder `source`, which has the content of `tests_tree`.
    """

    repo: Repository
    suite: Suite
    store: ResultCache
    source: Path
    tests_tree: str

    def run_all(self, trials: Sequence[_SuiteJob], what: str = "") -> list[Comparison]:
        """Return the comparison of each trial, run in parallel; Ctrl-C keeps what is finished."""
        todo = [
            trial
            for trial in trials
            if not (self._stored(trial.bare, trial) and self._stored(trial.changed, trial))
        ]
        what = what or f"running {self.repo.config.upstream.name}'s own tests"
        text = f"{what}: {len(todo)} times, bare and changed"
        with progress(text, len(trials)) if todo else nullcontext(_ignore) as advance:
            pool = concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
            try:
                futures = [pool.submit(self._run_job, trial) for trial in trials]
                for future in concurrent.futures.as_completed(futures):
                    future.result()
                    advance()
            except BaseException:  # Ctrl-C too
                stop_all()
                pool.shutdown(cancel_futures=True)
                raise
            pool.shutdown()
            return [future.result() for future in futures]

    def _run_job(self, trial: _SuiteJob) -> Comparison:
        bare, tried = (
            self._confirmed_run(trial.bare, trial),
            self._confirmed_run(trial.changed, trial),
        )
        server = self._server(trial)
        return Comparison(
            trial.mode, trial.environment.id, server.id if server else "", bare, tried
        )

    def _confirmed_run(self, subject: _Subject, trial: _SuiteJob) -> SuiteRun:
        """Return the stored result, else run the tests, and once more those that failed.

        A test fails only if both runs agree.
        """
        kept = self._stored(subject, trial)
        if kept is not None:
            return kept
        server = self._server(trial)
        found = self._run(subject, server, trial.mode, self.suite.tests)
        if found.failed:
            again = self.suite.tests if WHOLE_RUN in found.failed else tuple(found.failed)
            found = _join_runs(found, self._run(subject, server, trial.mode, again))
        self.store.put(
            self._key(subject, trial), {"failed": found.failed, "passed": sorted(found.passed)}
        )
        return found

    def _stored(self, subject: _Subject, trial: _SuiteJob) -> SuiteRun | None:
        kept = self.store.get(self._key(subject, trial))
        return None if kept is None else SuiteRun(kept["failed"], frozenset(kept["passed"]))

    def _server(self, trial: _SuiteJob) -> Server | None:
        return self.repo.config.server(
            trial.environment.servers[0] if trial.environment.servers else None
        )

    def _key(self, subject: _Subject, trial: _SuiteJob) -> str:
        server = self._server(trial)
        shared = file_digest(*(self.repo.root / name for name in self.suite.path))
        about = (
            self.suite.model_dump(exclude={"modes", "environments"}),
            self.suite.modes[trial.mode],
        )
        at = (
            self.tests_tree,
            subject.ready.fingerprint,
            server_identity(server) if server else None,
        )
        return digest("suite", subject.content, *at, *about, shared)

    def _run(
        self, subject: _Subject, server: Server | None, mode: str, tests: Sequence[str]
    ) -> SuiteRun:
        """Run tests once, in a folder and with a server of their own."""
        with (
            tempfile.TemporaryDirectory(prefix="fork-suite-") as name,
            run_server(server) if server else nullcontext("") as url,
        ):
            folder = Path(name) / "source"
            self._copy_tests(folder)
            words = {
                "python": str(subject.ready.python),
                "log": f"{name}/log",
                "server": url,
                "folder": str(folder),
            }
            command = [part.format(**words) for part in (*self.suite.command, *tests)]
            done = run(
                command,
                cwd=folder,
                env=self._variables(subject, folder, mode, words),
                timeout=self.suite.timeout,
                ok=None,
            )
            ending = "ran into its timeout" if done.code == TIMED_OUT else f"ended with {done.code}"
            return read_run(
                read_log(Path(name) / "log"),
                f"{ending}: {(done.error_output.splitlines() or ['no word'])[-1]}",
            )

    def _copy_tests(self, folder: Path) -> None:
        """Copy the tests alone, so that the package beside them is never imported."""
        folder.mkdir()
        for name in self.suite.files:
            origin, place = self.source / name, folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(origin, place) if origin.is_dir() else shutil.copyfile(origin, place)

    def _variables(
        self, subject: _Subject, folder: Path, mode: str, words: Mapping[str, str]
    ) -> dict[str, str]:
        """Return a process environment without the user's variables that could affect the tests."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        given = self.suite.env | self.suite.modes[mode]
        places = [*subject.folders, folder, *(self.repo.root / name for name in self.suite.path)]
        path = {"PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONDONTWRITEBYTECODE": "1"}
        return kept | path | {name: value.format(**words) for name, value in given.items()}


def _ignore(*_: object, **__: object) -> None:
    """Do nothing, in place of a progress bar if nothing runs."""


def _join_runs(first: SuiteRun, second: SuiteRun) -> SuiteRun:
    """Join two runs: a test fails if both failed, and passes if it passed once."""
    failed = {test: words for test, words in first.failed.items() if test in second.failed}
    return SuiteRun(failed, (first.passed | second.passed) - failed.keys())


def _test_environment(
    repo: Repository, suite: Suite, environment: Environment, wheel: WheelFile | None = None
) -> ReadyEnvironment | None:
    """Return the environment for the tests, with a wheel or without.

    If they cannot run in it, print the reason and return None.
    """
    name = f"suite-wheel-{environment.id}" if wheel else f"suite-{environment.id}"
    ready = ensure_environment(
        repo, name, environment, [*requirements(repo, environment), *suite.requires], wheel
    )
    server = repo.config.server(environment.servers[0]) if environment.servers else None
    if isinstance(ready, ReadyEnvironment) and (server is None or find_program(server) is not None):
        return ready
    reason = ready.reason if isinstance(ready, MissingEnvironment) else "its server is not here"
    info(f"upstream's own tests are not run in {environment.id}: {reason}")
    return None
