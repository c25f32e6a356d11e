"""Optional checks of the series: what fails without each patch, dependencies, upstream's tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from scripts.core.model import Applies, Cell, Feature, Lock, Patch, Release, Result, State
from scripts.core.repository import Repository
from scripts.probes.upstream_suite import compare_with_bare, unexcused_failures, used_excuses
from scripts.series.apply import TreeBuilder
from scripts.status.scheduler import ColumnScheduler
from scripts.verdicts.aggregate import OptionalChecks


def run_optional_checks(
    repo: Repository,
    builder: TreeBuilder,
    scheduler: ColumnScheduler,
    releases: Sequence[Release],
    *,
    graph: bool,
    suite: bool,
) -> OptionalChecks:
    """Return the results of the requested checks.

    `releases` are those on which the series was tried; patches are left out on the last of them.
    """
    if not releases:
        return OptionalChecks()
    active, at = builder.series.active, releases[-1]
    checks = OptionalChecks()
    if graph:
        scope = scheduler.scope
        deciding = [
            cell
            for cell in scope.cells
            if cell.release == at.version and cell.mode not in scope.advisory_modes
        ]
        cells = _default_cells(repo, scheduler, builder.lock, _live(builder), deciding)
        checks = OptionalChecks(
            failures_without=failures_without_each(builder, scheduler, at, cells),
            declared_dependencies={patch.id: patch.depends for patch in active},
            actual_dependencies=find_dependencies(builder, at),
        )
    return _add_suite(checks, repo, builder, releases) if suite else checks


def _default_cells(
    repo: Repository,
    scheduler: ColumnScheduler,
    lock: Lock,
    features: Sequence[Feature],
    cells: Sequence[Cell],
) -> list[Cell]:
    """Return the default cells that are available, and others for features that need them.

    One other cell is added for each feature that runs on no default cell. Leaving out each patch
    takes long, and a matrix has many cells.
    """
    default = repo.config.default_cells(lock)
    chosen = [cell for cell in cells if cell in default and scheduler.ready_environment(cell)]
    for feature in features:
        if not any(scheduler.can_run(feature, cell) for cell in chosen):
            chosen += [cell for cell in cells if scheduler.can_run(feature, cell)][:1]
    return chosen


def failures_without_each(
    builder: TreeBuilder, scheduler: ColumnScheduler, release: Release, cells: Iterable[Cell]
) -> dict[str, dict[str, Result]]:
    """Return for each live patch the features that fail once it and its dependents are left out.

    A patch is skipped if none of its features runs on any of the cells. Probes that do not pass
    with the whole series are no evidence about a patch.
    """
    active, live, cells = builder.series.active, _live(builder), list(cells)
    trees = [builder.build(active, release).tree]
    trees += [
        builder.build(active, release, without=builder.series.dependents(patch)).tree
        for patch in active
    ]
    whole, *others = scheduler.failures_by_tree(trees, live, cells)
    return {
        patch.id: {
            other.id: failing[other.id]
            for other in live
            if other.id in failing.keys() - whole.keys()
        }
        for patch, failing in zip(active, others, strict=True)
        if any(
            scheduler.can_run(feature, cell)
            for feature in live
            if feature.patch.id == patch.id
            for cell in cells
        )
    }


def _live(builder: TreeBuilder) -> list[Feature]:
    return [feature for feature in builder.series.features if feature.state is State.ACTIVE]


def find_dependencies(builder: TreeBuilder, release: Release) -> dict[str, tuple[str, ...]]:
    """Return the earlier patches that each live patch needs in order to apply.

    To find them, it is applied alone, and with others.
    """
    active = builder.series.active
    found = {}
    for number, patch in enumerate(active):
        before = [other.id for other in active[:number]]
        found[patch.id] = (
            ()
            if _applies(builder, release, patch, ())
            else _needed_patches(builder, release, patch, before)
        )
    return found


def _needed_patches(
    builder: TreeBuilder, release: Release, patch: Patch, before: Sequence[str]
) -> tuple[str, ...]:
    """Return one earlier patch that is enough, else all of them without those that can go."""
    for name in before:
        if _applies(builder, release, patch, [name]):
            return (name,)
    kept = list(before)
    for name in before:
        less = [other for other in kept if other != name]
        if _applies(builder, release, patch, less):
            kept = less
    return tuple(kept)


def _applies(builder: TreeBuilder, release: Release, patch: Patch, beside: Iterable[str]) -> bool:
    active, kept = builder.series.active, {patch.id, *beside}
    built = builder.build(
        active, release, without=[other.id for other in active if other.id not in kept]
    )
    return all(built.results[name].applies is not Applies.CONFLICT for name in kept)


def _add_suite(
    checks: OptionalChecks, repo: Repository, builder: TreeBuilder, releases: Sequence[Release]
) -> OptionalChecks:
    """Add the results of upstream's own tests."""
    failures: list[str] = []
    ran: list[str] = []
    excused: dict[str, str] = {}
    for release in releases:
        built = builder.build(builder.series.active, release)
        found = compare_with_bare(repo, builder, release, tree=built.tree)
        failures += [f"{release.version}: {failure}" for failure in unexcused_failures(repo, found)]
        ran += [f"{release.version}: {comparison}" for comparison in found]
        excused |= used_excuses(repo, found)
    ran += [f"{test} counts for nothing: {reason}" for test, reason in excused.items()]
    return replace(checks, suite_failures=tuple(failures), suite_runs=tuple(ran))
