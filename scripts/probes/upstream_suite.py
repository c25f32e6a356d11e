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
from scripts.core.console import progress, say
from scripts.core.lockfile import read_lock
from scripts.core.model import Release
from scripts.core.repository import Repository
from scripts.core.result_cache import Store, digest, file_digest
from scripts.core.subprocesses import TIMED_OUT, run, stop_all
from scripts.probes.environments import Absent, Ready, requirements
from scripts.probes.report_log import first_words, read_log
from scripts.probes.servers import identity, program, running
from scripts.probes.wheel_environments import WheelFile, install
from scripts.series.apply import Workshop

THE_RUN = "the run itself"
"""The test id for a run that did not finish."""

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass(frozen=True)
class Failure:
    """A test that fails on the tree or wheel but not on bare upstream.

    `mode` and `environment` are where it ran; `words` is the first line of its error.
    """

    test: str
    mode: str
    environment: str
    words: str

    def __str__(self) -> str:
        return f"{self.test} ({self.mode}, {self.environment}): {self.words}"


@dataclass(frozen=True)
class Run:
    """The result of one run: the first error line of each failed test, and the passed tests."""

    failed: dict[str, str] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """The results of one mode in one environment, bare and on the tree or wheel."""

    mode: str
    environment: str
    server: str
    bare: Run
    tried: Run

    @property
    def failures(self) -> list[Failure]:
        """Return the new failures."""
        return [
            Failure(test, self.mode, self.environment, words)
            for test, words in compare(self.bare, self.tried).items()
        ]

    def __str__(self) -> str:
        where = f"{self.environment} on {self.server}" if self.server else self.environment
        passed = len(self.tried.passed & self.bare.passed)
        return (
            f"{where}, mode {self.mode}: "
            f"{passed} of the {len(self.bare.passed)} tests that pass bare"
        )


@dataclass(frozen=True)
class _Subject:
    """What the tests import: the folders of a tree or, without any, the installed package."""

    content: str
    folders: tuple[Path, ...]
    ready: Ready


@dataclass(frozen=True)
class _Trial:
    """One mode in one environment, with the bare subject and the one to compare with it."""

    environment: Environment
    mode: str
    bare: _Subject
    tried: _Subject


def excuses(repo: Repository, found: Sequence[Comparison]) -> dict[str, str]:
    """Return the failing tests that fork.toml excuses, with its reason."""
    failed = {failure.test for comparison in found for failure in comparison.failures}
    known = repo.config.suite.excused if repo.config.suite else {}
    return {test: reason for test, reason in known.items() if test in failed}


def counting(repo: Repository, found: Sequence[Comparison]) -> list[Failure]:
    """Return the failures that nothing excuses."""
    suite = repo.config.suite
    failures = [failure for comparison in found for failure in comparison.failures]
    return [failure for failure in failures if suite is None or not _is_excused(suite, failure)]


def comparisons(
    repo: Repository,
    workshop: Workshop,
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
    source = workshop.folder(release.tree)
    if suite is None or not all((source / name).exists() for name in suite.files):
        say(
            f"{repo.config.upstream.name} {release.version} brings no tests of its own"
            if suite
            else "fork.toml has no [suite]"
        )
        return []
    trials = list(_trials(repo, suite, workshop, release, tree, wheel))
    return _Runner(repo, suite, workshop.store, source, release).all(trials)


def _is_excused(suite: Suite, failure: Failure) -> bool:
    """Return whether fork.toml excuses a failure, or an expected failure passed."""
    return failure.test in suite.excused or "Unexpected success" in failure.words


def _trials(
    repo: Repository,
    suite: Suite,
    workshop: Workshop,
    release: Release,
    tree: str,
    wheel: WheelFile | None,
) -> Iterator[_Trial]:
    """Yield a trial for every mode in every environment that can be made here."""
    for environment in environments(repo, suite, release):
        bare, tried = _ready(repo, suite, environment), _ready(repo, suite, environment, wheel)
        if bare is None or tried is None:
            continue
        for mode in suite.modes:
            on_bare = _Subject(release.tree, workshop.folders(release.tree), bare)
            on_tried = (
                _Subject(wheel.sha256, (), tried)
                if wheel
                else _Subject(tree, workshop.folders(tree), tried)
            )
            yield _Trial(environment, mode, on_bare, on_tried)


def environments(repo: Repository, suite: Suite, release: Release) -> list[Environment]:
    """Return the environments in which upstream's tests of a release run."""
    locked = read_lock(repo.lock_file).locked
    return [
        item
        for item in repo.config.environments
        if covers(item.releases, release.version, locked)
        and (not suite.environments or item.id in suite.environments)
    ]


def compare(bare: Run, tried: Run) -> dict[str, str]:
    """Return the new failures: tests that failed only here, or passed bare and did not run.

    If the bare run did not finish, there is no baseline to compare with, which counts as a failure.
    """
    if THE_RUN in bare.failed:
        return {THE_RUN: f"nothing can be compared, for on bare upstream it {bare.failed[THE_RUN]}"}
    gone = bare.passed - tried.passed - tried.failed.keys()
    found = {test: words for test, words in tried.failed.items() if test not in bare.failed}
    return found | dict.fromkeys(
        sorted(gone) if THE_RUN not in tried.failed else (),
        "it passes on bare upstream and did not run",
    )


def read_run(log: Sequence[Mapping[str, Any]], ending: str) -> Run:
    """Return the result in a pytest-reportlog log; `ending` describes a run that did not finish."""
    failed: dict[str, str] = {}
    passed: set[str] = set()
    for entry in log:
        if entry.get("outcome") == "failed":
            failed.setdefault(entry["nodeid"] or THE_RUN, first_words(dict(entry)))
        elif entry.get("when") == "call" and entry.get("outcome") == "passed":
            passed.add(entry["nodeid"])
    if not any(entry.get("$report_type") == "SessionFinish" for entry in log):
        failed[THE_RUN] = ending
    elif not failed and not passed:
        failed[THE_RUN] = "no test was collected"
    return Run(failed, frozenset(passed - failed.keys()))


@dataclass(frozen=True)
class _Runner:
    """Runs upstream's tests and stores the results, keyed by everything that they depend on."""

    repo: Repository
    suite: Suite
    store: Store
    source: Path
    release: Release

    def all(self, trials: Sequence[_Trial]) -> list[Comparison]:
        """Return the comparison of each trial, run in parallel; Ctrl-C keeps what is finished."""
        todo = [
            trial
            for trial in trials
            if not (self._kept(trial.bare, trial) and self._kept(trial.tried, trial))
        ]
        text = (
            f"running {self.repo.config.upstream.name}'s own tests: "
            f"{len(todo)} times, bare and changed"
        )
        with progress(text, len(trials)) if todo else nullcontext(_ignore) as advance:
            pool = concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
            try:
                futures = [pool.submit(self._trial, trial) for trial in trials]
                for future in concurrent.futures.as_completed(futures):
                    future.result()
                    advance()
            except BaseException:
                stop_all()
                pool.shutdown(cancel_futures=True)
                raise
            pool.shutdown()
            return [future.result() for future in futures]

    def _trial(self, trial: _Trial) -> Comparison:
        bare, tried = self._believed(trial.bare, trial), self._believed(trial.tried, trial)
        server = self._server(trial)
        return Comparison(
            trial.mode, trial.environment.id, server.id if server else "", bare, tried
        )

    def _believed(self, subject: _Subject, trial: _Trial) -> Run:
        """Return the stored result, else run the tests, and once more those that failed.

        A test fails only if both runs agree.
        """
        kept = self._kept(subject, trial)
        if kept is not None:
            return kept
        server = self._server(trial)
        found = self._run(subject, server, trial.mode, self.suite.tests)
        if found.failed:
            again = self.suite.tests if THE_RUN in found.failed else tuple(found.failed)
            found = _both(found, self._run(subject, server, trial.mode, again))
        self.store.put(
            self._key(subject, trial), {"failed": found.failed, "passed": sorted(found.passed)}
        )
        return found

    def _kept(self, subject: _Subject, trial: _Trial) -> Run | None:
        kept = self.store.get(self._key(subject, trial))
        return None if kept is None else Run(kept["failed"], frozenset(kept["passed"]))

    def _server(self, trial: _Trial) -> Server | None:
        return self.repo.config.server(
            trial.environment.servers[0] if trial.environment.servers else None
        )

    def _key(self, subject: _Subject, trial: _Trial) -> str:
        server = self._server(trial)
        shared = file_digest(*(self.repo.root / name for name in self.suite.path))
        about = (
            self.suite.model_dump(exclude={"modes", "environments"}),
            self.suite.modes[trial.mode],
        )
        at = self.release.tree, subject.ready.fingerprint, identity(server) if server else None
        return digest("suite", subject.content, *at, *about, shared)

    def _run(
        self, subject: _Subject, server: Server | None, mode: str, tests: Sequence[str]
    ) -> Run:
        """Run tests once, in a folder and with a server of their own."""
        with (
            tempfile.TemporaryDirectory(prefix="fork-suite-") as name,
            running(server) if server else nullcontext("") as url,
        ):
            folder = Path(name) / "source"
            self._lay_out(folder)
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
                f"{ending}: {(done.complaint.splitlines() or ['no word'])[-1]}",
            )

    def _lay_out(self, folder: Path) -> None:
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


def _both(first: Run, second: Run) -> Run:
    """Join two runs: a test fails if both failed, and passes if it passed once."""
    failed = {test: words for test, words in first.failed.items() if test in second.failed}
    return Run(failed, (first.passed | second.passed) - failed.keys())


def _ready(
    repo: Repository, suite: Suite, environment: Environment, wheel: WheelFile | None = None
) -> Ready | None:
    """Return the environment for the tests, with a wheel or without.

    If they cannot run in it, print the reason and return None.
    """
    name = f"suite-wheel-{environment.id}" if wheel else f"suite-{environment.id}"
    ready = install(
        repo, name, environment, [*requirements(repo, environment), *suite.requires], wheel
    )
    server = repo.config.server(environment.servers[0]) if environment.servers else None
    if isinstance(ready, Ready) and (server is None or program(server) is not None):
        return ready
    reason = ready.reason if isinstance(ready, Absent) else "its server is not here"
    say(f"upstream's own tests are not run in {environment.id}: {reason}")
    return None
