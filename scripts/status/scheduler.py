"""Trials: run the columns that can still change a verdict, in waves, and keep their results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.version import Version

from scripts.core.model import Cell, Feature, Outcome, Patch, Release, Result, Settings, State
from scripts.probes.environments import Absent, Ready
from scripts.probes.runner import Job, Prober
from scripts.probes.servers import program
from scripts.series.apply import Built, Workshop
from scripts.verdicts.decide import (
    Column,
    Facts,
    known_columns,
    next_column,
    retiring_column,
    without_once,
)
from scripts.verdicts.summary import Scope


@dataclass
class Trials:
    """The facts of each feature on each cell, and the means to run further columns."""

    workshop: Workshop
    prober: Prober
    scope: Scope
    environments: Mapping[str, Ready | Absent]
    facts: dict[tuple[Feature, Cell], Facts] = field(default_factory=dict)

    def ready(self, cell: Cell) -> Ready | None:
        """Return a cell's environment, or None if it, the server or the database is missing."""
        environment = self.environments[cell.environment]
        config = self.workshop.repo.config
        servers = [
            server
            for server in (config.server(cell.server), config.database(cell.database))
            if server
        ]
        if isinstance(environment, Absent) or not all(map(program, servers)):
            return None
        return environment

    def takes(self, feature: Feature, cell: Cell) -> bool:
        """Return whether a feature can run on a cell: everything that both need is available."""
        ready = self.ready(cell)
        return (
            ready is not None
            and ready.meets(feature.needs)
            and not self.prober.missing_beside(feature.probes)
        )

    def add(self, feature: Feature, cells: Iterable[Cell], *, try_series: bool) -> None:
        """Add a feature on those of the cells on which it can run."""
        for cell in cells:
            if self.takes(feature, cell):
                self.facts.setdefault(
                    (feature, cell), self._first(feature, cell, try_series=try_series)
                )

    def run(self) -> None:
        """Run what can still change a verdict, and once more, cold, what would retire a feature."""
        self.run_columns()
        self.ask_again([key for key in self.facts if self._retires(*key)])
        # A result that differs when cold may require further columns.
        self.run_columns()

    def ask_again(self, keys: Iterable[tuple[Feature, Cell]]) -> None:
        """Run in a cold interpreter the columns that show that a feature can go.

        Neither the hash seed nor a warm module may be the reason for the result.
        """
        columns = {
            key: column for key in keys if (column := retiring_column(self.facts[key])) is not None
        }
        jobs = {
            key: job
            for key, column in columns.items()
            if isinstance(job := self._job(*key, column), Job)
        }
        wanted: dict[Job, set[str]] = defaultdict(set)
        for (feature, _), job in jobs.items():
            wanted[job] |= {spec.partition("::")[0] for spec in feature.probes}
        self.prober.run_cold(wanted, "asking once more, cold")
        for key in self.facts if wanted else ():
            self._look_again(*key, wanted)

    def _look_again(self, feature: Feature, cell: Cell, asked: Mapping[Job, set[str]]) -> None:
        """Update the facts of a feature from files that ran once more, for any feature."""
        files = {spec.partition("::")[0] for spec in feature.probes}
        for column in known_columns(self.facts[feature, cell]):
            job = self._job(feature, cell, column)
            if isinstance(job, Job) and files & asked.get(job, set()):
                self.facts[feature, cell] = self.facts[feature, cell].again(
                    column, self.prober.result(job, feature.probes)
                )

    def _retires(self, feature: Feature, cell: Cell) -> bool:
        """Return whether a verdict of this cell can make a person retire a feature."""
        counts = feature.state is State.ACTIVE and cell.mode not in self.scope.quiet
        return counts and Version(cell.release) >= Version(self.scope.at)

    def run_bare(self) -> None:
        """Run the bare column, with which every verdict begins, if it is not known yet."""
        self._run_all({key: Column.BARE for key, facts in self.facts.items() if facts.bare is None})

    def run_columns(self) -> None:
        """Run the columns that can still change a verdict until none is left."""
        order = {
            cell: number for number, cell in enumerate((*self.scope.cells, *self.scope.all_cells))
        }
        places = {feature.id: number for number, feature in enumerate(self.scope.features)}
        self.facts = dict(
            sorted(self.facts.items(), key=lambda item: (places[item[0][0].id], order[item[0][1]]))
        )
        while columns := self._next_columns():
            self._run_all(columns)

    def _run_all(self, columns: Mapping[tuple[Feature, Cell], Column]) -> None:
        jobs = {key: self._job(*key, column) for key, column in columns.items()}
        to_run = [(key, job) for key, job in jobs.items() if isinstance(job, Job)]
        self._run(to_run, ", ".join(sorted(set(columns.values()))))
        for key, job in jobs.items():
            result = self.prober.result(job, key[0].probes) if isinstance(job, Job) else job
            self.facts[key] = self.facts[key].known(columns[key], result)

    def _next_columns(self) -> dict[tuple[Feature, Cell], Column]:
        """Return the next column of each feature and cell.

        The column without the patch runs in one cell of a release at a time. If it shows that the
        feature is needed, no other cell can change the verdict on that release.
        """
        self.facts = without_once(self.facts)
        columns = {
            key: column
            for key, facts in self.facts.items()
            if (column := next_column(facts)) is not None
        }
        first: dict[tuple[str, str], Cell] = {}
        for (feature, cell), column in columns.items():
            if column is Column.WITHOUT:
                first.setdefault((feature.id, cell.release), cell)
        return {
            (feature, cell): column
            for (feature, cell), column in columns.items()
            if column is not Column.WITHOUT or first[feature.id, cell.release] == cell
        }

    def mutation_fails(self, feature: Feature, cells: Iterable[Cell]) -> bool:
        """Return whether the probes fail on the base with the feature's reverse mutation."""
        tree = self.workshop.mutated(feature) if feature.mutation else None
        quiet = self.scope.quiet
        here = [
            cell
            for cell in cells
            if cell.release == feature.patch.base
            and cell.mode not in quiet
            and self.takes(feature, cell)
        ]
        if tree is None or not here:
            return False
        job = self._job_on(tree, feature, here[0])
        self._run([((feature, here[0]), job)], "mutation")
        result = self.prober.result(job, feature.probes)
        return result.control and result.outcome is Outcome.FAILED

    def all_pass(self, names: Sequence[str], features: Sequence[Feature]) -> bool:
        """Return whether the probes of `features` pass with only the patches `names`.

        The series is applied to the locked release, and exactly these patches must apply.
        """
        shop = self.workshop
        gone = [patch.id for patch in shop.series.active if patch.id not in names]
        built = shop.build(shop.series.active, self._release(shop.lock.locked), without=gone)
        keys = [
            (feature, cell)
            for feature, cell in self.facts
            if feature in features
            and cell.release == shop.lock.locked
            and cell.mode not in self.scope.quiet
        ]
        jobs = {key: self._job_on(built.tree, *key) for key in keys}
        self._run(jobs.items(), "smallest series")
        results = [self.prober.result(job, feature.probes) for (feature, _), job in jobs.items()]
        return set(built.applied) == set(names) and all(result.passed for result in results)

    def failing(
        self, trees: Sequence[str], features: Sequence[Feature], cells: Sequence[Cell]
    ) -> list[dict[str, Result]]:
        """Return for each tree the features whose probes do not pass on it in some cell.

        Each comes with its result in the first such cell.
        """
        keys = [
            (feature, cell) for feature in features for cell in cells if self.takes(feature, cell)
        ]
        jobs = [{key: self._job_on(tree, *key) for key in keys} for tree in trees]
        self._run(
            [(key, job) for tree in jobs for key, job in tree.items()],
            "without one patch",
            decides=False,
        )
        return [self._failing(tree) for tree in jobs]

    def _failing(self, jobs: Mapping[tuple[Feature, Cell], Job]) -> dict[str, Result]:
        found: dict[str, Result] = {}
        for (feature, _), job in jobs.items():
            result = self.prober.result(job, feature.probes)
            if not result.passed:
                found.setdefault(feature.id, result)
        return found

    def _first(self, feature: Feature, cell: Cell, *, try_series: bool) -> Facts:
        """Return the facts before any run: which columns count, and how the patch applies.

        For a retired feature the series column counts only on its base.
        """
        retired = feature.state is State.RETIRED
        facts = Facts(
            alternatives=len(feature.replaced_by),
            retired=retired,
            try_series=try_series and (not retired or cell.release == feature.patch.base),
            try_without=cell.mode not in self.scope.quiet,
            try_profile=retired and cell.mode is None and self._upstream_replaces(cell.release),
        )
        if not facts.try_series:
            return facts
        step = self._built(feature, cell).steps[feature.patch.id]
        return replace(facts, applies=step.applies, applies_detail=step.detail)

    def _upstream_replaces(self, version: str) -> bool:
        """Return whether upstream must provide what a retired feature did.

        It must at the locked release, and beyond it if that release was requested.
        """
        locked = self.workshop.lock.locked
        return version == locked or (not self.scope.whole and Version(version) > Version(locked))

    def _job(self, feature: Feature, cell: Cell, column: Column) -> Job | Result:
        """Return the job of a column, or the result of a column that cannot be built."""
        release = self._release(cell.release)
        match column:
            case Column.BARE:
                return self._job_on(release.tree, feature, cell)
            case Column.CONFIGURED:
                known = self.facts[feature, cell]
                number = len(known.configured) if known.replaced is None else known.replaced
                return self._job_on(release.tree, feature, cell, feature.replaced_by[number])
            case Column.PROFILE:
                return Job(
                    release.tree,
                    cell.environment,
                    cell.server,
                    self.scope.settings(None, cell),
                    cell.database,
                )
            case Column.SERIES:
                return self._job_on(self._built(feature, cell).tree, feature, cell)
            case Column.WITHOUT:
                built = self._without(feature.patch, release)
                return (
                    built if isinstance(built, Result) else self._job_on(built.tree, feature, cell)
                )

    def _job_on(self, tree: str, feature: Feature, cell: Cell, more: Settings | None = None) -> Job:
        """Return a job on a tree, under the settings of the feature and cell with `more` added."""
        settings = self.scope.settings(feature, cell)
        joined = Settings.of(settings.mapping(), more.mapping()) if more else settings
        return Job(tree, cell.environment, cell.server, joined, cell.database)

    def _built(self, feature: Feature, cell: Cell) -> Built:
        """Return the tree of the series column.

        It has the whole series or, for a retired feature, its patch with what that depends on.
        """
        series = self.workshop.series
        patches = (
            series.needed_by(feature.patch) if feature.state is State.RETIRED else series.active
        )
        return self.workshop.build(patches, self._release(cell.release))

    def _without(self, patch: Patch, release: Release) -> Built | Result:
        """Return the series without a patch and its dependents, or why it cannot be built."""
        series = self.workshop.series
        gone = series.dependents(patch)
        whole = self.workshop.build(series.active, release)
        built = self.workshop.build(series.active, release, without=gone)
        lost = [name for name in whole.applied if name not in built.applied and name not in gone]
        if lost:
            names = ", ".join(lost)
            return Result(
                Outcome.MISSING,
                f"cannot be built: without it {names} no longer applies (an undeclared Depends?)",
            )
        return built

    def _run(
        self, jobs: Iterable[tuple[tuple[Feature, Cell], Job]], what: str, *, decides: bool = True
    ) -> None:
        """Run jobs, each with the files of all features that need it.

        A job runs twice if a result that decides depends on it.
        """
        wanted: dict[Job, set[str]] = defaultdict(set)
        twice: set[Job] = set()
        for (feature, cell), job in jobs:
            wanted[job] |= self.prober.files(feature.probes)
            if decides and cell.mode not in self.scope.quiet:
                twice.add(job)
        self.prober.run(wanted, f"probing ({what})", once=wanted.keys() - twice)

    def _release(self, version: str) -> Release:
        release = self.workshop.lock.release(version)
        assert release is not None, version
        return release
