"""Run the columns that can still change a verdict, in waves, and keep their results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.version import Version

from scripts.core.model import Cell, Feature, Outcome, Patch, Release, Result, Settings, State
from scripts.probes.environments import MissingEnvironment, ReadyEnvironment
from scripts.probes.prober import ProbeJob, Prober
from scripts.probes.servers import find_program
from scripts.series.apply import PatchedTree, TreeBuilder
from scripts.verdicts.decide import (
    UNDECLARED,
    Column,
    Facts,
    agree_on_settings,
    columns_with_result,
    keep_one_without_run,
    next_column,
    removal_column,
)
from scripts.verdicts.summary import Scope


@dataclass
class ColumnScheduler:
    """The facts of each feature on each cell, and the means to run further columns."""

    builder: TreeBuilder
    prober: Prober
    scope: Scope
    environments: Mapping[str, ReadyEnvironment | MissingEnvironment]
    facts: dict[tuple[Feature, Cell], Facts] = field(default_factory=dict)

    def ready_environment(self, cell: Cell) -> ReadyEnvironment | None:
        """Return a cell's environment, or None if it, the server or the database is missing."""
        environment = self.environments[cell.environment]
        config = self.builder.repo.config
        servers = [
            server
            for server in (config.server(cell.server), config.database(cell.database))
            if server
        ]
        if isinstance(environment, MissingEnvironment) or not all(map(find_program, servers)):
            return None
        return environment

    def can_run(self, feature: Feature, cell: Cell) -> bool:
        """Return whether a feature can run on a cell: everything that both need is available."""
        ready = self.ready_environment(cell)
        return (
            ready is not None
            and ready.meets(feature.needs)
            and not self.prober.missing_extra_servers(feature.probes)
        )

    def add(self, feature: Feature, cells: Iterable[Cell], *, try_series: bool) -> None:
        """Add a feature on those of the cells on which it can run."""
        for cell in cells:
            if self.can_run(feature, cell):
                self.facts.setdefault(
                    (feature, cell), self._initial_facts(feature, cell, try_series=try_series)
                )

    def run(self) -> None:
        """Run what can still change a verdict, and once more, cold, what would retire a feature."""
        self.run_columns()
        self.rerun_cold([key for key in self.facts if self._may_retire(*key)])
        # A result that differs when cold may require further columns.
        self.run_columns()

    def rerun_cold(self, keys: Iterable[tuple[Feature, Cell]]) -> None:
        """Run in a cold interpreter the columns that show that a feature can go.

        Neither the hash seed nor a warm module may be the reason for the result.
        """
        columns = {
            key: column for key in keys if (column := removal_column(self.facts[key])) is not None
        }
        jobs = {
            key: job
            for key, column in columns.items()
            if isinstance(job := self._job(*key, column), ProbeJob)
        }
        wanted: dict[ProbeJob, set[str]] = defaultdict(set)
        for (feature, _), job in jobs.items():
            wanted[job] |= {spec.partition("::")[0] for spec in feature.probes}
        self.prober.run_cold(wanted, "asking once more, cold")
        for key in self.facts if wanted else ():
            self._update_rerun_facts(*key, wanted)

    def _update_rerun_facts(
        self, feature: Feature, cell: Cell, asked: Mapping[ProbeJob, set[str]]
    ) -> None:
        """Update the facts of a feature from files that ran once more, for any feature."""
        files = {spec.partition("::")[0] for spec in feature.probes}
        for column in columns_with_result(self.facts[feature, cell]):
            job = self._job(feature, cell, column)
            if isinstance(job, ProbeJob) and files & asked.get(job, set()):
                self.facts[feature, cell] = self.facts[feature, cell].with_repeated_result(
                    column, self.prober.result(job, feature.probes)
                )

    def _may_retire(self, feature: Feature, cell: Cell) -> bool:
        """Return whether a verdict of this cell can make a person retire a feature."""
        counts = feature.state is State.ACTIVE and self._is_gating(cell)
        return counts and Version(cell.release) >= Version(self.scope.answer_release)

    def _is_gating(self, cell: Cell) -> bool:
        """Return whether the verdicts of a cell count: its mode is not advisory."""
        return cell.mode not in self.scope.advisory_modes

    def run_bare(self) -> None:
        """Run the bare column, with which every verdict begins, if it is not known yet."""
        self._run_columns(
            {key: Column.BARE for key, facts in self.facts.items() if facts.bare is None}
        )

    def run_columns(self) -> None:
        """Run the columns that can still change a verdict until none is left."""
        # Environments become ready in any order, but the first cell in this order is tried first.
        order = {
            cell: number for number, cell in enumerate((*self.scope.cells, *self.scope.all_cells))
        }
        places = {feature.id: number for number, feature in enumerate(self.scope.features)}
        self.facts = dict(
            sorted(self.facts.items(), key=lambda item: (places[item[0][0].id], order[item[0][1]]))
        )
        while columns := self._next_columns():
            self._run_columns(columns)

    def _run_columns(self, columns: Mapping[tuple[Feature, Cell], Column]) -> None:
        jobs = {key: self._job(*key, column) for key, column in columns.items()}
        to_run = [(key, job) for key, job in jobs.items() if isinstance(job, ProbeJob)]
        self._run_jobs(to_run, ", ".join(sorted(set(columns.values()))))
        for key, job in jobs.items():
            result = self.prober.result(job, key[0].probes) if isinstance(job, ProbeJob) else job
            self.facts[key] = self.facts[key].with_result(columns[key], result)

    def _next_columns(self) -> dict[tuple[Feature, Cell], Column]:
        """Return the next column of each feature and cell.

        The column without the patch runs in one cell of a release at a time. If it shows that the
        feature is needed, no other cell can change the verdict on that release.
        """
        self.facts = keep_one_without_run(agree_on_settings(self.facts, self._is_gating))
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

    def kills_mutation(self, feature: Feature, cells: Iterable[Cell]) -> bool:
        """Return whether the probes fail on the base with the feature's reverse mutation."""
        tree = self.builder.mutated_tree(feature) if feature.mutation else None
        quiet = self.scope.advisory_modes
        here = [
            cell
            for cell in cells
            if cell.release == feature.patch.base
            and cell.mode not in quiet
            and self.can_run(feature, cell)
        ]
        if tree is None or not here:
            return False
        job = self._job_on(tree, feature, here[0])
        self._run_jobs([((feature, here[0]), job)], "mutation")
        result = self.prober.result(job, feature.probes)
        return result.control and result.outcome is Outcome.FAILED

    def all_pass(self, names: Sequence[str], features: Sequence[Feature]) -> bool:
        """Return whether the probes of `features` pass with only the patches `names`.

        The series is applied to the locked release, and exactly these patches must apply.
        """
        builder = self.builder
        gone = [patch.id for patch in builder.series.active if patch.id not in names]
        built = builder.build(
            builder.series.active, self._release(builder.lock.locked), without=gone
        )
        keys = [
            (feature, cell)
            for feature, cell in self.facts
            if feature in features
            and cell.release == builder.lock.locked
            and cell.mode not in self.scope.advisory_modes
        ]
        jobs = {key: self._job_on(built.tree, *key) for key in keys}
        self._run_jobs(jobs.items(), "smallest series")
        results = [self.prober.result(job, feature.probes) for (feature, _), job in jobs.items()]
        return set(built.applied) == set(names) and all(result.passed for result in results)

    def failures_by_tree(
        self, trees: Sequence[str], features: Sequence[Feature], cells: Sequence[Cell]
    ) -> list[dict[str, Result]]:
        """Return for each tree the features whose probes do not pass on it in some cell.

        Each comes with its result in the first such cell.
        """
        keys = [
            (feature, cell) for feature in features for cell in cells if self.can_run(feature, cell)
        ]
        # All trees in one run, because one after the other would leave cores idle.
        jobs = [{key: self._job_on(tree, *key) for key in keys} for tree in trees]
        self._run_jobs(
            [(key, job) for tree in jobs for key, job in tree.items()],
            "without one patch",
            decides=False,
        )
        return [self._failures(tree) for tree in jobs]

    def _failures(self, jobs: Mapping[tuple[Feature, Cell], ProbeJob]) -> dict[str, Result]:
        found: dict[str, Result] = {}
        for (feature, _), job in jobs.items():
            result = self.prober.result(job, feature.probes)
            if not result.passed:
                found.setdefault(feature.id, result)
        return found

    def _initial_facts(self, feature: Feature, cell: Cell, *, try_series: bool) -> Facts:
        """Return the facts before any run: which columns count, and how the patch applies.

        For a retired feature the series column counts only on its base.
        """
        retired = feature.state is State.RETIRED
        facts = Facts(
            alternatives=len(feature.replaced_by),
            retired=retired,
            try_series=try_series and (not retired or cell.release == feature.patch.base),
            try_without=cell.mode not in self.scope.advisory_modes,
            try_profile=retired and cell.mode is None and self._upstream_replaces(cell.release),
        )
        if not facts.try_series:
            return facts
        step = self._series_tree(feature, cell).results[feature.patch.id]
        return replace(facts, applies=step.applies, applies_detail=step.detail)

    def _upstream_replaces(self, version: str) -> bool:
        """Return whether upstream must provide what a retired feature did.

        It must at the locked release, and beyond it if that release was requested.
        """
        locked = self.builder.lock.locked
        return version == locked or (
            not self.scope.is_unfiltered and Version(version) > Version(locked)
        )

    def _job(self, feature: Feature, cell: Cell, column: Column) -> ProbeJob | Result:
        """Return the job of a column, or the result of a column that cannot be built."""
        release = self._release(cell.release)
        match column:
            case Column.BARE:
                return self._job_on(release.tree, feature, cell)
            case Column.CONFIGURED:
                known = self.facts[feature, cell]
                number = (
                    len(known.configured)
                    if known.passing_alternative is None
                    else known.passing_alternative
                )
                return self._job_on(release.tree, feature, cell, feature.replaced_by[number])
            case Column.PROFILE:
                return ProbeJob(
                    release.tree,
                    cell.environment,
                    cell.server,
                    self.scope.settings(None, cell),
                    cell.database,
                )
            case Column.SERIES:
                return self._job_on(self._series_tree(feature, cell).tree, feature, cell)
            case Column.WITHOUT:
                built = self._tree_without(feature.patch, release)
                return (
                    built if isinstance(built, Result) else self._job_on(built.tree, feature, cell)
                )

    def _job_on(
        self, tree: str, feature: Feature, cell: Cell, more: Settings | None = None
    ) -> ProbeJob:
        """Return a job on a tree, under the settings of the feature and cell with `more` added."""
        settings = self.scope.settings(feature, cell)
        joined = Settings.of(settings.as_dict(), more.as_dict()) if more else settings
        return ProbeJob(tree, cell.environment, cell.server, joined, cell.database)

    def _series_tree(self, feature: Feature, cell: Cell) -> PatchedTree:
        """Return the tree of the series column.

        It has the whole series or, for a retired feature, its patch with what that depends on.
        """
        series = self.builder.series
        patches = (
            series.with_dependencies(feature.patch)
            if feature.state is State.RETIRED
            else series.active
        )
        return self.builder.build(patches, self._release(cell.release))

    def _tree_without(self, patch: Patch, release: Release) -> PatchedTree | Result:
        """Return the series without a patch and its dependents, or why it cannot be built."""
        series = self.builder.series
        gone = series.dependents(patch)
        whole = self.builder.build(series.active, release)
        built = self.builder.build(series.active, release, without=gone)
        lost = [name for name in whole.applied if name not in built.applied and name not in gone]
        if lost:
            names = ", ".join(lost)
            return Result(
                Outcome.MISSING,
                f"cannot be built: without it {names} {UNDECLARED}",
            )
        return built

    def _run_jobs(
        self,
        jobs: Iterable[tuple[tuple[Feature, Cell], ProbeJob]],
        what: str,
        *,
        decides: bool = True,
    ) -> None:
        """Run jobs, each with the files of all features that need it.

        A job runs twice if a result that decides depends on it.
        """
        wanted: dict[ProbeJob, set[str]] = defaultdict(set)
        twice: set[ProbeJob] = set()
        for (feature, cell), job in jobs:
            wanted[job] |= self.prober.files(feature.probes)
            if decides and cell.mode not in self.scope.advisory_modes:
                twice.add(job)
        self.prober.run(wanted, f"probing ({what})", once=wanted.keys() - twice)

    def _release(self, version: str) -> Release:
        release = self.builder.lock.release(version)
        assert release is not None, version
        return release
