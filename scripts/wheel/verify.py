"""Prove a wheel as a file and as an installation.

Check its metadata and its record, and run every probe and upstream's own tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.console import info
from scripts.core.errors import AttentionError, EnvironmentFailedError
from scripts.core.model import Cell, Feature, Lock
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.core.subprocesses import run
from scripts.probes.environments import (
    ReadyEnvironment,
    WheelFile,
    ensure_environment,
    installed_file,
    requirements,
)
from scripts.probes.prober import ProbeJob, Prober
from scripts.probes.servers import find_program
from scripts.probes.upstream_suite import compare_with_bare, unexcused_failures
from scripts.series.apply import TreeBuilder
from scripts.series.profile import check_profile, settings_for
from scripts.series.series import Series
from scripts.wheel import provenance
from scripts.wheel.contents import read_contents
from scripts.wheel.file_checks import cached_file_problems


def verify_wheel(
    repo: Repository, lock: Lock, series: Series, wheel: WheelFile, *, waived: Collection[str] = ()
) -> None:
    """Install a wheel for every environment of the locked release and run all that it must pass.

    The probes of features whose verdict is waived are left out. Raises AttentionError with
    everything that fails, EnvironmentFailedError if nothing can run here.
    """
    store = ResultCache(repo.work / "results")
    _raise_problems(
        "the wheel is not valid",
        cached_file_problems(store, wheel),
        "nox -s wheel -- --no-verify",
    )
    cells = _installed_cells(repo, lock, wheel)
    environments = {cell.environment: ready for cell, ready in cells.items()}
    problems = [
        problem
        for name, ready in environments.items()
        for problem in installation_problems(repo, wheel, name, ready)
    ]
    _raise_problems("the installed wheel is not what was built", problems, "run this again")
    trial = ProbedInstallation(repo, lock, series, wheel.sha256, store)
    problems = trial.problems(
        [feature for feature in series.features if feature.id not in waived], cells
    )
    found = compare_with_bare(
        repo, TreeBuilder(repo, lock, series, store), lock.locked_release, wheel=wheel
    )
    problems += map(str, unexcused_failures(repo, found))
    _raise_problems("the installed wheel fails its tests", problems, "nox -s status -- --why")


@dataclass(frozen=True)
class ProbedInstallation:
    """Runs probes against the wheel installed in the cells' environments, under the profile."""

    repo: Repository
    lock: Lock
    series: Series
    content: str
    store: ResultCache

    def problems(
        self, features: Sequence[Feature], cells: Mapping[Cell, ReadyEnvironment]
    ) -> list[str]:
        """Return the failures of features' probes in the cells that meet their needs.

        The control probe runs in every cell; without features, it runs alone.
        """
        environments = {cell.environment: ready for cell, ready in cells.items()}
        # Preloaded modules would be those of the wheel under test.
        prober = Prober(
            self.repo, self, self.store, environments, specs=self.series.probes, preload=False
        )
        jobs = {cell: self._job(cell) for cell in cells}
        pairs = [
            (feature, cell)
            for feature in features
            for cell, ready in cells.items()
            if ready.meets(feature.needs) and not prober.missing_extra_servers(feature.probes)
        ]
        control = self.repo.config.probes.control
        wanted: dict[ProbeJob, set[str]] = defaultdict(set)
        for cell, job in jobs.items():
            wanted[job] |= prober.files(control).union(
                *(prober.files(feature.probes) for feature, at in pairs if at is cell)
            )
        try:
            prober.run(wanted, "probing the installed wheel")
        finally:
            prober.close()
        results = [
            ("the control probe", cell, prober.result(job, control)) for cell, job in jobs.items()
        ]
        results += [
            (feature.id, cell, prober.result(jobs[cell], feature.probes)) for feature, cell in pairs
        ]
        untested = sorted(
            {feature.id for feature in features} - {feature.id for feature, _ in pairs}
        )
        if untested:
            info(
                f"no environment here meets the needs of {', '.join(untested)}: "
                "not tried on the installed wheel"
            )
        return [
            f"{name} on {cell.id}: {found.outcome} {found.detail}"
            for name, cell, found in results
            if not found.passed
        ]

    def places(self, tree: str) -> tuple[str, ...]:  # noqa: ARG002 (the prober passes a tree)
        """Return no folder, because the installed wheel is imported, not a tree."""
        return ()

    def folders(self, tree: str) -> tuple[Path, ...]:  # noqa: ARG002 (the same)
        """Return no folder, for the same reason."""
        return ()

    def _job(self, cell: Cell) -> ProbeJob:
        profile = check_profile(self.repo, self.series)
        settings = settings_for(profile, self.series, self.lock.locked, None)
        return ProbeJob(f"installed {self.content}", cell.environment, cell.server, settings)


def installation_problems(
    repo: Repository, wheel: WheelFile, name: str, ready: ReadyEnvironment
) -> Iterator[str]:
    """Yield the differences between an installation and the wheel that was built.

    Its record is compared with the wheel's. Then the fork's package checks itself, if it can.
    """
    package = repo.config.overrides.package
    built = read_contents(wheel.path).library
    record = f"{package}/{provenance.RECORD}"
    if installed_file(ready, record) != built[record]:
        yield f"{name}: another wheel is installed than the one that was built"
    elif f"{package}/__main__.py" in built:
        # Without `-I`, Python would take the package of the current folder, which has no record.
        done = run([ready.python, "-I", "-m", package], ok=None)
        if done.code != 0:
            yield f"{name}: {done.error_output}"


def available_cells(repo: Repository, lock: Lock) -> list[Cell]:
    """List the cells of the locked release whose server is available here."""
    return [
        cell
        for cell in repo.config.default_cells(lock)
        if cell.release == lock.locked and _has_server(repo, cell)
    ]


def no_environment_error(lock: Lock) -> EnvironmentFailedError:
    """Return the error for a release that no environment can run."""
    return EnvironmentFailedError(
        f"no environment here can run {lock.locked}", hint="nox -s status"
    )


def _installed_cells(
    repo: Repository, lock: Lock, wheel: WheelFile
) -> dict[Cell, ReadyEnvironment]:
    """Install the wheel for every cell of the locked release that can run here.

    Raises EnvironmentFailedError if there is none.
    """
    cells = available_cells(repo, lock)
    found = {}
    for name in dict.fromkeys(cell.environment for cell in cells):
        environment = repo.config.environment(name)
        ready = ensure_environment(
            repo, f"wheel-{name}", environment, requirements(repo, environment), wheel
        )
        if isinstance(ready, ReadyEnvironment):
            found[name] = ready
        else:
            info(f"the wheel is not tried in {name}: {ready.reason}")
    if not found:
        raise no_environment_error(lock)
    return {cell: found[cell.environment] for cell in cells if cell.environment in found}


def _has_server(repo: Repository, cell: Cell) -> bool:
    server = repo.config.server(cell.server)
    return server is None or find_program(server) is not None


def _raise_problems(title: str, problems: Sequence[str], hint: str) -> None:
    if problems:
        raise AttentionError(
            "\n".join([f"{title}:", *(f"  - {problem}" for problem in problems)]), hint=hint
        )
