"""status: run the probes that can change a verdict; report what upstream has made unnecessary."""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from scripts.core.config import Server, near_miss
from scripts.core.errors import UsageError, without_secret
from scripts.core.lockfile import read_lock
from scripts.core.model import Cell, Feature, Lock, Patch, Release, Settings, State, Text, Verdict
from scripts.core.repository import Repository
from scripts.core.result_cache import Store
from scripts.probes.environments import Absent, Ready, prepare
from scripts.probes.runner import Prober
from scripts.probes.servers import absence, origin, program
from scripts.series.apply import Workshop
from scripts.series.profile import check_profile
from scripts.series.series import Series, read_series
from scripts.status.last_watch import newer_release
from scripts.status.leave_one_out import second_look
from scripts.status.scheduler import Trials
from scripts.upstream.source_tree import source_warning
from scripts.upstream.unreleased import bring_sources
from scripts.upstream.vendor import bring
from scripts.verdicts.aggregate import FeatureReport, Report
from scripts.verdicts.summary import Findings, Scope, bites, kept, summarise

_T = TypeVar("_T")


@dataclass(frozen=True)
class Choice:
    """What the command line requests: releases, features or patches, and cells (empty: all).

    `fresh` ignores earlier results. `sources` are the requested releases that upstream did not
    release; the report answers for the last of them. `asked` are the releases and sources as they
    were named. `bare` leaves out the series columns, to show what upstream does by itself. `matrix`
    takes every cell instead of the default cells. `graph` leaves out each patch in turn and finds
    what it depends on. `suite` runs upstream's own tests. `part` means that the cells are one job's
    share of all.
    """

    releases: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    fresh: bool = False
    bare: bool = False
    matrix: bool = False
    graph: bool = False
    suite: bool = False
    part: bool = False
    sources: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Return whether every release and cell counts; only then is a "since when" derived."""
        return not self.releases and not self.cells

    def with_sources(self, found: Mapping[str, Sequence[str]]) -> Choice:
        """Return the choice with the names of sources replaced by their versions."""
        releases = [version for name in self.releases for version in found.get(name, [name])]
        sources = tuple(version for made in found.values() for version in made)
        return replace(self, releases=tuple(releases), sources=sources, asked=self.releases)


def status(
    repo: Repository,
    choice: Choice,
    tell: Callable[[Scope, Findings], None] | None = None,
    *,
    under_way: str = "",
) -> tuple[Report, Prober]:
    """Return the report on the chosen features and releases, and the prober with its counters.

    `tell` is called with what was found; `under_way` is a sentence about a rebase that stopped.
    """
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        lock, sources = bring_sources(repo, lock, choice.releases)
        return examine(repo, lock, choice.with_sources(sources), tell, under_way=under_way)


def examine(
    repo: Repository,
    lock: Lock,
    choice: Choice,
    tell: Callable[[Scope, Findings], None] | None = None,
    *,
    under_way: str = "",
) -> tuple[Report, Prober]:
    """Do what `status` does, for a verb that already has exclusive access and the releases."""
    run = Run(repo, lock, choice, under_way)
    try:
        report = run.report()
        if tell is not None:
            tell(run.scope, run.found)
        return report, run.prober
    finally:
        run.prober.close()


class Run:
    """One run of `status`: the selection, and the steps from there to the report."""

    def __init__(self, repo: Repository, lock: Lock, choice: Choice, under_way: str = "") -> None:
        self.repo, self.lock, self.choice, self.under_way = repo, lock, choice, under_way
        self.scope = scope_of(repo, lock, choice)
        self.found = Findings({})
        used = {cell.environment for cell in self.scope.all_cells}
        self.environments: dict[str, Ready | Absent] = {}
        self._coming = prepare(
            repo, [item for item in repo.config.all_environments if item.id in used]
        )
        store = Store(repo.work / "results", fresh=choice.fresh)
        self.workshop = Workshop(repo, lock, self.scope.series, store)
        self.prober = Prober(
            repo, self.workshop, store, self.environments, specs=self.scope.series.probes
        )
        self.trials = Trials(self.workshop, self.prober, self.scope, self.environments)

    def prepare(self) -> None:
        """Make every environment that the cells need."""
        for ready in self._coming:
            self.environments.update(ready)

    def report(self) -> Report:
        """Run what is chosen, then more cells for probes that failed on no bare tree; summarise."""
        for ready in self._coming:
            self.environments.update(ready)
            self._add(self.scope.cells)
            self.trials.run_bare()  # while the other environments are made
        self.trials.run()
        self._look_for_teeth()
        self.found = found = self._findings()
        more = second_look(
            self.repo,
            self.workshop,
            self.trials,
            self._tried_releases(),
            graph=self.choice.graph,
            suite=self.choice.suite,
        )
        report = summarise(self.scope, replace(found, more=more))
        if not self.choice.features:
            self.found = replace(found, smallest=self._smallest(report.features))
        return replace(report, smallest=self.found.smallest)

    def _add(self, cells: Sequence[Cell]) -> None:
        """Add every feature on the cells whose environment is ready."""
        for feature in self.scope.features:
            for cell in cells:
                if cell.environment in self.environments:
                    self.trials.add(feature, [cell], try_series=self._tries_series(feature, cell))

    def _findings(self) -> Findings:
        found = Findings(
            {(feature.id, cell): facts for (feature, cell), facts in self.trials.facts.items()}
        )
        toothless = [
            feature for feature in self.scope.features if not bites(self.scope, found, feature)
        ]
        return replace(
            found,
            texts=self._texts(),
            biting=frozenset(
                feature.id
                for feature in toothless
                if self.trials.mutation_fails(feature, self._others())
            ),
            versions={
                name: item.versions
                for name, item in self.environments.items()
                if isinstance(item, Ready)
            },
            servers={
                server.id: origin(server)
                for server in self._servers()
                if program(server) is not None
            },
            skipped=self._skipped(),
            warnings=tuple(self._warnings()),
            notes=(*self._missing_beside(), *self._stale_exclusions()),
            under_way=self.under_way,
        )

    def _others(self) -> Sequence[Cell]:
        return self.scope.cells if self.choice.part else self.scope.all_cells

    def _texts(self) -> dict[tuple[str, str], Text]:
        patches = dict.fromkeys(feature.patch for feature in self.scope.features)
        return {
            (patch.id, version): self._text(patch, version)
            for patch, version in itertools.product(patches, self.scope.releases)
        }

    def _tries_series(self, feature: Feature, cell: Cell) -> bool:
        """Return whether the series columns count.

        They count at the locked release, on what was requested by name, and for retired features,
        but never with `bare`.
        """
        named = not (self.choice.whole or self.choice.part) or cell.release == self.lock.locked
        return not self.choice.bare and (named or feature.state is State.RETIRED)

    def _tried_releases(self) -> list[Release]:
        """Return the releases on which the live series is tried."""
        tried = (
            {self.lock.locked}
            if self.choice.whole or self.choice.part
            else set(self.scope.releases)
        )
        return [release for release in self.lock.releases if release.version in tried]

    def _look_for_teeth(self) -> None:
        """Try features whose probes failed on no chosen bare tree on the other releases.

        A probe is called unproven only if it fails on none of these either.
        """
        if self.choice.part:
            return  # what other jobs find is known when their results are joined
        found = Findings(
            {(feature.id, cell): facts for (feature, cell), facts in self.trials.facts.items()}
        )
        for feature in self.scope.features:
            if not bites(self.scope, found, feature):
                self.trials.add(feature, self.scope.all_cells, try_series=False)
        self.trials.run()

    def _text(self, patch: Patch, version: str) -> Text:
        release = self.lock.release(version)
        assert release is not None, version
        series = self.scope.series
        patches = series.needed_by(patch) if patch.state is State.RETIRED else series.active
        return self.workshop.text(patches, release).get(patch.id, Text.UNKNOWN)

    def _smallest(self, reports: Sequence[FeatureReport]) -> tuple[str, ...]:
        """Return a set of live patches with which every probe passes.

        Patches are left out one after the other, as long as every probe still passes.
        """
        needed = kept(reports)
        names = list(dict.fromkeys(feature.patch.id for feature in needed))
        wanted = {
            report.feature.patch.id
            for report in reports
            if report.feature in needed and report.verdict is not Verdict.REDUNDANT
        }
        for name in [name for name in names if name not in wanted]:
            trial = [other for other in names if other != name]
            if self.trials.all_pass(trial, needed):
                names = trial
        return tuple(names)

    def _servers(self) -> Iterator[Server]:
        """Yield the servers and databases of the cells."""
        config = self.repo.config
        ids = dict.fromkeys(
            word for cell in self.scope.cells for word in (cell.server, cell.database)
        )
        yield from (
            server
            for word in ids
            if (server := config.server(word) or config.database(word)) is not None
        )

    def _missing_beside(self) -> Iterator[str]:
        """Yield a note for each extra server that probes need but that is missing."""
        for feature in self.scope.features:
            for server in self.prober.missing_beside(feature.probes):
                yield (
                    f"{feature.id} is not tried: its probes need the server {server.id}, "
                    f"which is not here: {absence(server)}"
                )

    def _stale_exclusions(self) -> Iterator[str]:
        if self.choice.matrix:
            yield from self.repo.config.stale_exclusions(self.lock)

    def _warnings(self) -> Iterator[str]:
        warning = source_warning(self.repo, self.lock)
        if warning:
            yield warning

    def _skipped(self) -> Mapping[str, str]:
        """Return the cells that cannot run here, with the way to get what they lack."""
        found = {}
        config = self.repo.config
        for cell in self.scope.cells:
            environment = self.environments[cell.environment]
            servers = [
                server
                for server in (config.server(cell.server), config.database(cell.database))
                if server
            ]
            missing = next((server for server in servers if program(server) is None), None)
            if isinstance(environment, Absent):
                found[cell.id] = environment.reason
            elif missing is not None:
                found[cell.id] = f"the server {missing.id} is not here: {absence(missing)}"
        return found


def scope_of(repo: Repository, lock: Lock, choice: Choice) -> Scope:
    """Return what a run covers; raise UsageError for a name that does not exist."""
    series = read_series(repo, lock)
    short, every = repo.config.cells(lock), repo.config.matrix_cells(lock)
    all_cells = (
        every
        if choice.matrix
        else [*short, *(cell for cell in every if cell.id in choice.cells and cell not in short)]
    )
    cells = _chosen_cells(lock, choice, all_cells)
    releases = [
        version for version in lock.versions if any(cell.release == version for cell in cells)
    ]
    if not releases:
        raise UsageError(
            "no environment runs any of the releases asked for",
            hint="edit fork.toml: environments.releases",
        )
    return Scope(
        name=lock.name,
        locked=lock.locked,
        at=_answers_for(lock, choice, releases),
        releases=tuple(releases),
        features=_chosen_features(series, choice.features),
        cells=tuple(cells),
        all_cells=tuple(all_cells),
        series=series,
        profile=check_profile(repo, series),
        whole=choice.whole,
        modes={mode.id: Settings.of(mode.settings) for mode in repo.config.modes},
        quiet={mode.id: mode.reason for mode in repo.config.modes if not mode.decides},
        servers={server.id: server.settings for server in repo.config.servers if server.settings},
        excluded=Counter(reason for _, reason in repo.config.product(lock) if reason)
        if choice.matrix
        else {},
        newer=newer_release(repo, lock),
        verb="matrix" if choice.matrix else "status",
        asked=tuple(_asked(choice)),
    )


def _asked(choice: Choice) -> Iterator[str]:
    """Yield the options that request the same releases and cells again."""
    yield from (
        f"--upstream {shlex.quote(without_secret(name))}"
        for name in choice.asked or choice.releases
    )
    if choice.cells:
        yield f"--cells {shlex.quote(' '.join(choice.cells))}"


def _chosen_features(series: Series, names: Sequence[str]) -> tuple[Feature, ...]:
    """Return the requested features in the order of the series, or all of them.

    Each is named by itself or by its patch. Raise UsageError for an unknown name.
    """
    wrong = [name for name in names if not series.features_named(name)]
    if wrong:
        known = [*series.feature_by_id, *series.by_id]
        raise UsageError(f"there is no patch {wrong[0]}{near_miss(wrong[0], known)}")
    found = {feature.id for name in names for feature in series.features_named(name)}
    return tuple(feature for feature in series.features if not names or feature.id in found)


def _answers_for(lock: Lock, choice: Choice, releases: Sequence[str]) -> str:
    """Return the release that the report answers for.

    It is the last requested source, else the locked release, else the newest.
    """
    sources = [version for version in releases if version in choice.sources]
    return sources[-1] if sources else lock.locked if lock.locked in releases else releases[-1]


def _chosen_cells(lock: Lock, choice: Choice, all_cells: Sequence[Cell]) -> list[Cell]:
    """Return the requested cells, or those of the requested releases, or all."""
    if choice.cells:
        return _chosen("cell", choice.cells, {cell.id: cell for cell in all_cells})
    wanted = _chosen(
        "release", choice.releases, {release.version: release for release in lock.releases}
    )
    return [cell for cell in all_cells if cell.release in {release.version for release in wanted}]


def _chosen(kind: str, names: Sequence[str], known: dict[str, _T]) -> list[_T]:
    """Return what is requested by name, or everything; raise UsageError with the near miss."""
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UsageError(f"there is no {kind} {wrong[0]}{near_miss(wrong[0], list(known))}")
    return [known[name] for name in names] if names else list(known.values())
