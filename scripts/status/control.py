"""Run the control probe alone: what a fork without any feature can know of its cells."""

from __future__ import annotations

from scripts.core.model import Cell
from scripts.probes.prober import ProbeJob
from scripts.status.run_context import RunContext


def control_failures(context: RunContext) -> dict[Cell, str]:
    """Return what the control probe says on the bare release of each cell that can run.

    The text is empty where it passes. With a feature this returns nothing, because the features'
    own columns run it.
    """
    if context.scope.series.features:
        return {}
    cells = [cell for cell in context.scope.cells if context.scheduler.ready_environment(cell)]
    jobs = {cell: _job(context, cell) for cell in cells}
    control = context.repo.config.probes.control
    files = context.prober.files(control)
    context.prober.run(dict.fromkeys(jobs.values(), files), "probing (control)")
    results = {cell: context.prober.control_result(job) for cell, job in jobs.items()}
    return {
        cell: "" if result.passed else result.detail or str(result.outcome)
        for cell, result in results.items()
    }


def _job(context: RunContext, cell: Cell) -> ProbeJob:
    release = context.lock.release(cell.release)
    assert release is not None, cell
    settings = context.scope.settings(None, cell)
    return ProbeJob(release.tree, cell.environment, cell.server, settings, cell.database)
