"""Optional checks of the series: what fails without each patch, dependencies, upstream's tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from scripts.core.model import Applies, Cell, Feature, Lock, Patch, Release, Result, State
from scripts.core.repository import Repository
from scripts.probes.upstream_suite import comparisons, counting, excuses
from scripts.series.apply import Workshop
from scripts.status.scheduler import Trials
from scripts.verdicts.aggregate import More


def second_look(
    repo: Repository,
    workshop: Workshop,
    trials: Trials,
    releases: Sequence[Release],
    *,
    graph: bool,
    suite: bool,
) -> More:
    """Return the results of the requested checks.

    `releases` are those on which the series was tried; patches are left out on the last of them.
    """
    if not releases:
        return More()
    active, at = workshop.series.active, releases[-1]
    more = More()
    if graph:
        scope = trials.scope
        deciding = [
            cell
            for cell in scope.cells
            if cell.release == at.version and cell.mode not in scope.quiet
        ]
        cells = _few_cells(repo, trials, workshop.lock, _live(workshop), deciding)
        more = More(
            left_out=left_out(workshop, trials, at, cells),
            declared={patch.id: patch.depends for patch in active},
            found=dependencies(workshop, at),
        )
    return _with_suite(more, repo, workshop, releases) if suite else more


def _few_cells(
    repo: Repository, trials: Trials, lock: Lock, features: Sequence[Feature], cells: Sequence[Cell]
) -> list[Cell]:
    """Return the default cells that are available, and others for features that need them.

    One other cell is added for each feature that runs on no default cell. Leaving out each patch
    takes long, and a matrix has many cells.
    """
    short = repo.config.cells(lock)
    chosen = [cell for cell in cells if cell in short and trials.ready(cell)]
    for feature in features:
        if not any(trials.takes(feature, cell) for cell in chosen):
            chosen += [cell for cell in cells if trials.takes(feature, cell)][:1]
    return chosen


def left_out(
    workshop: Workshop, trials: Trials, release: Release, cells: Iterable[Cell]
) -> dict[str, dict[str, Result]]:
    """Return for each live patch the features that fail once it and its dependents are left out.

    A patch is skipped if none of its features runs on any of the cells. Probes that do not pass
    with the whole series are no evidence about a patch.
    """
    active, live, cells = workshop.series.active, _live(workshop), list(cells)
    trees = [workshop.build(active, release).tree]
    trees += [
        workshop.build(active, release, without=workshop.series.dependents(patch)).tree
        for patch in active
    ]
    whole, *others = trials.failing(trees, live, cells)
    return {
        patch.id: {
            other.id: failing[other.id]
            for other in live
            if other.id in failing.keys() - whole.keys()
        }
        for patch, failing in zip(active, others, strict=True)
        if any(
            trials.takes(feature, cell)
            for feature in live
            if feature.patch.id == patch.id
            for cell in cells
        )
    }


def _live(workshop: Workshop) -> list[Feature]:
    return [feature for feature in workshop.series.features if feature.state is State.ACTIVE]


def dependencies(workshop: Workshop, release: Release) -> dict[str, tuple[str, ...]]:
    """Return the earlier patches that each live patch needs in order to apply.

    They are found by applying it alone, and with others.
    """
    active = workshop.series.active
    found = {}
    for number, patch in enumerate(active):
        before = [other.id for other in active[:number]]
        found[patch.id] = (
            ()
            if _applies(workshop, release, patch, ())
            else _needed(workshop, release, patch, before)
        )
    return found


def _needed(
    workshop: Workshop, release: Release, patch: Patch, before: Sequence[str]
) -> tuple[str, ...]:
    """Return one earlier patch that is enough, else all of them without those that can go."""
    for name in before:
        if _applies(workshop, release, patch, [name]):
            return (name,)
    kept = list(before)
    for name in before:
        less = [other for other in kept if other != name]
        if _applies(workshop, release, patch, less):
            kept = less
    return tuple(kept)


def _applies(workshop: Workshop, release: Release, patch: Patch, beside: Iterable[str]) -> bool:
    active, kept = workshop.series.active, {patch.id, *beside}
    built = workshop.build(
        active, release, without=[other.id for other in active if other.id not in kept]
    )
    return all(built.steps[name].applies is not Applies.CONFLICT for name in kept)


def _with_suite(
    more: More, repo: Repository, workshop: Workshop, releases: Sequence[Release]
) -> More:
    """Add the results of upstream's own tests."""
    failures: list[str] = []
    ran: list[str] = []
    excused: dict[str, str] = {}
    for release in releases:
        built = workshop.build(workshop.series.active, release)
        found = comparisons(repo, workshop, release, tree=built.tree)
        failures += [f"{release.version}: {failure}" for failure in counting(repo, found)]
        ran += [f"{release.version}: {comparison}" for comparison in found]
        excused |= excuses(repo, found)
    ran += [f"{test} counts for nothing: {reason}" for test, reason in excused.items()]
    return replace(more, suite=tuple(failures), suite_ran=tuple(ran))
