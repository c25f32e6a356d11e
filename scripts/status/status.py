"""status: run the probes that can change a verdict; report what upstream has made unnecessary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scripts.core.lockfile import read_lock
from scripts.core.model import Cell, Feature, Lock, Release, State
from scripts.core.repository import Repository
from scripts.probes.prober import Prober
from scripts.status.findings import collect_findings, smallest_series
from scripts.status.leave_one_out import run_optional_checks
from scripts.status.run_context import RunContext, run_context
from scripts.status.selection import Selection
from scripts.upstream.unreleased import add_sources
from scripts.upstream.vendor import ensure_releases
from scripts.verdicts.aggregate import OptionalChecks, Report
from scripts.verdicts.summary import Findings, Scope, build_report, has_failing_run


def status(
    repo: Repository,
    selection: Selection,
    on_findings: Callable[[Scope, Findings], None] | None = None,
    *,
    under_way: str = "",
) -> tuple[Report, Prober]:
    """Return the report on the selected features and releases, and the prober with its counters.

    `on_findings` is called with the findings; `under_way` is a sentence about a rebase that
    stopped.
    """
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        lock, sources = add_sources(repo, lock, selection.releases)
        return run_status(
            repo, lock, selection.with_sources(sources), on_findings, under_way=under_way
        )


def run_status(
    repo: Repository,
    lock: Lock,
    selection: Selection,
    on_findings: Callable[[Scope, Findings], None] | None = None,
    *,
    under_way: str = "",
) -> tuple[Report, Prober]:
    """Do what `status` does, for a verb that already has exclusive access and the releases."""
    with run_context(repo, lock, selection) as context:
        _run_columns(context)
        found = collect_findings(context, under_way)
        report = build_report(
            context.scope, replace(found, optional_checks=_optional_checks(context))
        )
        if not selection.features:
            found = replace(found, smallest=smallest_series(context, report.features))
        if on_findings is not None:
            on_findings(context.scope, found)
        return replace(report, smallest=found.smallest), context.prober


def _run_columns(context: RunContext) -> None:
    """Run every column that can change a verdict."""
    for _ in context.wait_for_environments():
        _add(context, context.scope.cells)
        context.scheduler.run_bare()  # while the other environments are made
    context.scheduler.run()
    _find_teeth(context)


def _optional_checks(context: RunContext) -> OptionalChecks:
    """Return the results of the checks that only some runs request."""
    selection = context.selection
    return run_optional_checks(
        context.repo,
        context.builder,
        context.scheduler,
        _tried_releases(context),
        graph=selection.graph,
        suite=selection.suite,
    )


def _add(context: RunContext, cells: Sequence[Cell]) -> None:
    """Add every feature on the cells whose environment is ready."""
    for feature in context.scope.features:
        for cell in cells:
            if cell.environment in context.environments:
                context.scheduler.add(
                    feature, [cell], try_series=_tries_series(context, feature, cell)
                )


def _tries_series(context: RunContext, feature: Feature, cell: Cell) -> bool:
    """Return whether the series columns count.

    They count at the locked release, on what was requested by name, and for retired features,
    but never with `bare`.
    """
    named = (
        not (context.selection.is_unfiltered or context.selection.is_ci_shard)
        or cell.release == context.lock.locked
    )
    return not context.selection.bare and (named or feature.state is State.RETIRED)


def _find_teeth(context: RunContext) -> None:
    """Try features whose probes failed on no selected bare tree on the other releases.

    A probe is called unproven only if it fails on none of these either.
    """
    if context.selection.is_ci_shard:
        return  # what other jobs find is known when their results are joined
    found = Findings(
        {(feature.id, cell): facts for (feature, cell), facts in context.scheduler.facts.items()}
    )
    for feature in context.scope.features:
        if not has_failing_run(context.scope, found, feature):
            context.scheduler.add(feature, context.scope.all_cells, try_series=False)
    context.scheduler.run()


def _tried_releases(context: RunContext) -> list[Release]:
    """Return the releases on which the live series is tried."""
    tried = (
        {context.lock.locked}
        if context.selection.is_unfiltered or context.selection.is_ci_shard
        else set(context.scope.releases)
    )
    return [release for release in context.lock.releases if release.version in tried]
