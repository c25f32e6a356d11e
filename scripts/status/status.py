"""status: run the probes that can change a verdict; report what upstream has made unnecessary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scripts.core.lockfile import read_lock
from scripts.core.model import Cell, Feature, Lock, Release, State
from scripts.core.repository import Repository
from scripts.probes.runner import Prober
from scripts.status.bench import Bench, prepared
from scripts.status.findings import findings, smallest_series
from scripts.status.leave_one_out import second_look
from scripts.status.selection import Choice
from scripts.upstream.unreleased import bring_sources
from scripts.upstream.vendor import bring
from scripts.verdicts.aggregate import More, Report
from scripts.verdicts.summary import Findings, Scope, bites, summarise


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
    with prepared(repo, lock, choice) as bench:
        _schedule(bench)
        found = findings(bench, under_way)
        report = summarise(bench.scope, replace(found, more=_optional_checks(bench)))
        if not choice.features:
            found = replace(found, smallest=smallest_series(bench, report.features))
        if tell is not None:
            tell(bench.scope, found)
        return replace(report, smallest=found.smallest), bench.prober


def _schedule(bench: Bench) -> None:
    """Run every column that can change a verdict."""
    for _ in bench.each_ready():
        _add(bench, bench.scope.cells)
        bench.trials.run_bare()  # while the other environments are made
    bench.trials.run()
    _look_for_teeth(bench)


def _optional_checks(bench: Bench) -> More:
    """Return what only some runs ask for."""
    choice = bench.choice
    return second_look(
        bench.repo,
        bench.workshop,
        bench.trials,
        _tried_releases(bench),
        graph=choice.graph,
        suite=choice.suite,
    )


def _add(bench: Bench, cells: Sequence[Cell]) -> None:
    """Add every feature on the cells whose environment is ready."""
    for feature in bench.scope.features:
        for cell in cells:
            if cell.environment in bench.environments:
                bench.trials.add(feature, [cell], try_series=_tries_series(bench, feature, cell))


def _tries_series(bench: Bench, feature: Feature, cell: Cell) -> bool:
    """Return whether the series columns count.

    They count at the locked release, on what was requested by name, and for retired features,
    but never with `bare`.
    """
    named = not (bench.choice.whole or bench.choice.part) or cell.release == bench.lock.locked
    return not bench.choice.bare and (named or feature.state is State.RETIRED)


def _look_for_teeth(bench: Bench) -> None:
    """Try features whose probes failed on no chosen bare tree on the other releases.

    A probe is called unproven only if it fails on none of these either.
    """
    if bench.choice.part:
        return  # what other jobs find is known when their results are joined
    found = Findings(
        {(feature.id, cell): facts for (feature, cell), facts in bench.trials.facts.items()}
    )
    for feature in bench.scope.features:
        if not bites(bench.scope, found, feature):
            bench.trials.add(feature, bench.scope.all_cells, try_series=False)
    bench.trials.run()


def _tried_releases(bench: Bench) -> list[Release]:
    """Return the releases on which the live series is tried."""
    tried = (
        {bench.lock.locked}
        if bench.choice.whole or bench.choice.part
        else set(bench.scope.releases)
    )
    return [release for release in bench.lock.releases if release.version in tried]
