"""Upstream's own tests, run on a tree or on an installed wheel, held against what they say of bare upstream."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from scripts.apply import Workshop
from scripts.config import Environment, Server, Suite
from scripts.environments import Ready, requirements
from scripts.installed import install
from scripts.model import Release
from scripts.probe import first_words, read_log
from scripts.process import TIMED_OUT, run, stop_all
from scripts.repository import Repository
from scripts.servers import identity, program, running
from scripts.store import Store, digest, file_digest
from scripts.terminal import progress, say

THE_RUN = "the run itself"
"""Stands for a test where the tests did not come to their end."""

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT")


@dataclass(frozen=True)
class Failure:
    """A test that fails on what is tried and not on bare upstream: its id, where, and the first words of its error."""

    test: str
    mode: str
    environment: str
    words: str

    def __str__(self) -> str:
        return f"{self.test} ({self.mode}, {self.environment}): {self.words}"


@dataclass(frozen=True)
class Run:
    """What the tests came to: the first words of each failure by test id, and the tests that passed."""

    failed: dict[str, str] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Subject:
    """What the tests run on: importable from a tree's folder, or installed where there is none."""

    content: str
    folder: Path | None
    ready: Ready


@dataclass(frozen=True)
class _Trial:
    """One mode in one environment, bare and with what is tried."""

    environment: Environment
    mode: str
    bare: _Subject
    tried: _Subject


def new_failures(
    repo: Repository,
    workshop: Workshop,
    release: Release,
    *,
    tree: str = "",
    wheel: tuple[Path, str] | None = None,
) -> list[Failure]:
    """Return what fails of upstream's own tests of a release on a tree, or on a wheel (path and sha256), and not on bare upstream.

    Without `[suite]` in fork.toml, or tests in the sdist, or an interpreter to run them, there is nothing to fail.
    """
    suite = repo.config.suite
    source = workshop.folder(release.tree)
    if suite is None or not all((source / name).exists() for name in suite.files):
        say(f"{repo.config.upstream.name} {release.version} brings no tests of its own" if suite else "fork.toml has no [suite]")
        return []
    trials = [
        _Trial(environment, mode, bare, tried)
        for environment in environments(repo, suite, release)
        if (bare := _on_tree(repo, suite, environment, workshop, release.tree))
        and (tried := _on_wheel(repo, suite, environment, *wheel) if wheel else _on_tree(repo, suite, environment, workshop, tree))
        for mode in suite.modes
    ]
    runner = _Runner(repo, suite, workshop.store, source, release)
    return [failure for trial, found in zip(trials, runner.all(trials), strict=True) for failure in found]


def environments(repo: Repository, suite: Suite, release: Release) -> list[Environment]:
    """List the environments in which upstream's tests of a release run."""
    return [
        item
        for item in repo.config.environments
        if SpecifierSet(item.releases).contains(release.version, prereleases=True)
        and (not suite.environments or item.id in suite.environments)
    ]


def compare(bare: Run, tried: Run) -> dict[str, str]:
    """Return the new failures: tests that fail and did not fail bare, and tests that passed bare and are gone."""
    gone = bare.passed - tried.passed - tried.failed.keys()
    found = {test: words for test, words in tried.failed.items() if test not in bare.failed}
    return found | dict.fromkeys(sorted(gone) if THE_RUN not in tried.failed else (), "it passes on bare upstream and did not run")


def read_run(log: Sequence[Mapping[str, Any]], ending: str) -> Run:
    """Sum up a log of pytest-reportlog; `ending` are the words for a run that did not come to its end."""
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
    """Runs upstream's tests and keeps what they say by all that it depends on."""

    repo: Repository
    suite: Suite
    store: Store
    source: Path
    release: Release

    def all(self, trials: Sequence[_Trial]) -> list[list[Failure]]:
        """Return the new failures of each trial, with a few trials at a time; Ctrl-C keeps what is finished."""
        text = f"running {self.repo.config.upstream.name}'s own tests: {len(trials)} times, bare and changed"
        with progress(text, len(trials)) as advance:
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

    def _trial(self, trial: _Trial) -> list[Failure]:
        bare = self._believed(trial.bare, trial.environment, trial.mode)
        tried = self._believed(trial.tried, trial.environment, trial.mode)
        return [Failure(test, trial.mode, trial.environment.id, words) for test, words in compare(bare, tried).items()]

    def _believed(self, subject: _Subject, environment: Environment, mode: str) -> Run:
        """Return what is kept, else run the tests, and once more those that failed; both must agree on a failure."""
        server = self.repo.config.server(environment.servers[0] if environment.servers else None)
        key = self._key(subject, server, mode)
        kept = self.store.get(key)
        if kept is not None:
            return Run(kept["failed"], frozenset(kept["passed"]))
        found = self._run(subject, server, mode, self.suite.tests)
        if found.failed:
            again = self.suite.tests if THE_RUN in found.failed else tuple(found.failed)
            found = _both(found, self._run(subject, server, mode, again))
        self.store.put(key, {"failed": found.failed, "passed": sorted(found.passed)})
        return found

    def _key(self, subject: _Subject, server: Server | None, mode: str) -> str:
        shared = file_digest(*(self.repo.root / name for name in self.suite.path))
        about = self.suite.model_dump(exclude={"modes", "environments"}), self.suite.modes[mode]
        at = self.release.tree, subject.ready.fingerprint, identity(server) if server else None
        return digest("suite", subject.content, *at, *about, shared)

    def _run(self, subject: _Subject, server: Server | None, mode: str, tests: Sequence[str]) -> Run:
        """Run tests once, in a folder and with a server of their own."""
        with tempfile.TemporaryDirectory(prefix="fork-suite-") as name, running(server) if server else nullcontext("") as url:
            folder = Path(name) / "source"
            self._lay_out(folder)
            words = {"python": str(subject.ready.python), "log": f"{name}/log", "server": url, "folder": str(folder)}
            command = [part.format(**words) for part in (*self.suite.command, *tests)]
            done = run(command, cwd=folder, env=self._variables(subject, folder, mode, words), timeout=self.suite.timeout, ok=None)
            ending = "ran into its timeout" if done.code == TIMED_OUT else f"ended with {done.code}"
            return read_run(read_log(Path(name) / "log"), f"{ending}: {(done.complaint.splitlines() or ['no word'])[-1]}")

    def _lay_out(self, folder: Path) -> None:
        """Copy the tests alone, so that what is tried is never taken from beside them."""
        folder.mkdir()
        for name in self.suite.files:
            origin, place = self.source / name, folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(origin, place) if origin.is_dir() else shutil.copyfile(origin, place)

    def _variables(self, subject: _Subject, folder: Path, mode: str, words: Mapping[str, str]) -> dict[str, str]:
        """Return a process environment with nothing of the user's that could steer the tests."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        given = self.suite.env | self.suite.modes[mode]
        places = [*([subject.folder] if subject.folder else []), folder, *(self.repo.root / name for name in self.suite.path)]
        path = {"PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONDONTWRITEBYTECODE": "1"}
        return kept | path | {name: value.format(**words) for name, value in given.items()}


def _both(first: Run, second: Run) -> Run:
    """Believe a failure that was seen twice; a test that passed once passes."""
    failed = {test: words for test, words in first.failed.items() if test in second.failed}
    return Run(failed, (first.passed | second.passed) - failed.keys())


def _on_tree(repo: Repository, suite: Suite, environment: Environment, workshop: Workshop, tree: str) -> _Subject | None:
    ready = install(repo, f"suite-{environment.id}", environment, [*requirements(repo, environment), *suite.requires])
    return _Subject(tree, workshop.folder(tree), ready) if _usable(repo, environment, ready) else None


def _on_wheel(repo: Repository, suite: Suite, environment: Environment, path: Path, sha256: str) -> _Subject | None:
    requires = [*requirements(repo, environment), *suite.requires, str(path)]
    ready = install(repo, f"suite-wheel-{environment.id}", environment, requires, content=sha256)
    return _Subject(sha256, None, ready) if _usable(repo, environment, ready) else None


def _usable(repo: Repository, environment: Environment, ready: object) -> bool:
    """Tell whether the tests can run there, and say why not."""
    server = repo.config.server(environment.servers[0]) if environment.servers else None
    here = isinstance(ready, Ready) and (server is None or program(server) is not None)
    if not here:
        say(f"upstream's own tests are not run in {environment.id}: {getattr(ready, 'reason', 'its server is not here')}")
    return here
