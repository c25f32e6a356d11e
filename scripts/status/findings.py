"""Collect the findings of a run: the results of its columns, and the notes of its report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from scripts.core.config import Server
from scripts.core.model import Cell, Patch, State, TextPresence, Verdict
from scripts.probes.environments import MissingEnvironment, ReadyEnvironment
from scripts.probes.servers import find_program, install_hint, origin
from scripts.status.control import control_failures
from scripts.status.run_context import RunContext
from scripts.upstream.source_tree import source_warning
from scripts.verdicts.aggregate import FeatureReport
from scripts.verdicts.summary import Findings, has_failing_run, irreplaceable_features


def collect_findings(context: RunContext, under_way: str) -> Findings:
    """Return the results of the columns that ran, and the notes of the report."""
    found = Findings(
        {(feature.id, cell): facts for (feature, cell), facts in context.scheduler.facts.items()}
    )
    control = control_failures(context)
    toothless = [
        feature
        for feature in context.scope.features
        if not has_failing_run(context.scope, found, feature)
    ]
    return replace(
        found,
        texts=_text_checks(context),
        killed_mutation=frozenset(
            feature.id
            for feature in toothless
            if context.scheduler.kills_mutation(feature, _mutation_cells(context))
        ),
        versions={
            name: item.versions
            for name, item in context.environments.items()
            if isinstance(item, ReadyEnvironment)
        },
        servers={
            server.id: origin(server)
            for server in _servers(context)
            if find_program(server) is not None
        },
        skipped=_skipped(context),
        warnings=(*_warnings(context), *_control_warnings(control)),
        notes=(
            *_missing_extra_servers(context),
            *_stale_exclusions(context),
            *_control_notes(control),
        ),
        under_way=under_way,
    )


def _text_checks(context: RunContext) -> dict[tuple[str, str], TextPresence]:
    patches = dict.fromkeys(feature.patch for feature in context.scope.features)
    return {
        (patch.id, version): _text_check(context, patch, version)
        for patch, version in itertools.product(patches, context.scope.releases)
    }


def _text_check(context: RunContext, patch: Patch, version: str) -> TextPresence:
    release = context.lock.release(version)
    assert release is not None, version
    series = context.scope.series
    patches = series.with_dependencies(patch) if patch.state is State.RETIRED else series.active
    return context.builder.text_presence(patches, release).get(patch.id, TextPresence.UNKNOWN)


def _mutation_cells(context: RunContext) -> Sequence[Cell]:
    return context.scope.cells if context.selection.is_ci_shard else context.scope.all_cells


def _servers(context: RunContext) -> Iterator[Server]:
    """Yield the servers and databases of the cells."""
    config = context.repo.config
    ids = dict.fromkeys(
        word for cell in context.scope.cells for word in (cell.server, cell.database)
    )
    yield from (
        server
        for word in ids
        if (server := config.server(word) or config.database(word)) is not None
    )


def _missing_extra_servers(context: RunContext) -> Iterator[str]:
    """Yield a note for each extra server that probes need but that is missing."""
    for feature in context.scope.features:
        for server in context.prober.missing_extra_servers(feature.probes):
            yield (
                f"{feature.id} is not tried: its probes need the server {server.id}, "
                f"which is not here: {install_hint(server)}"
            )


def _stale_exclusions(context: RunContext) -> Iterator[str]:
    if context.selection.matrix:
        yield from context.repo.config.stale_exclusions(context.lock)


def _warnings(context: RunContext) -> Iterator[str]:
    warning = source_warning(context.repo, context.lock)
    if warning:
        yield warning


def _control_warnings(control: Mapping[Cell, str]) -> Iterator[str]:
    """Yield in how many cells the control probe fails, with the newest of them."""
    failed = [cell for cell, failure in control.items() if failure]
    if failed:
        newest = failed[-1]
        yield (
            f"the control probe fails in {len(failed)} of {len(control)} cells, in {newest.id}:"
            f" {control[newest]}; `nox -s cell -- {newest.id}`"
        )


def _control_notes(control: Mapping[Cell, str]) -> Iterator[str]:
    """Yield in how many cells the control probe passes, if it ran alone and fails in none."""
    if control and not any(control.values()):
        yield f"the control probe passes in all {len(control)} cells, on bare upstream"


def _skipped(context: RunContext) -> Mapping[str, str]:
    """Return the cells that cannot run here, with the way to get what they lack."""
    found = {}
    config = context.repo.config
    for cell in context.scope.cells:
        environment = context.environments[cell.environment]
        servers = [
            server
            for server in (config.server(cell.server), config.database(cell.database))
            if server
        ]
        missing = next((server for server in servers if find_program(server) is None), None)
        if isinstance(environment, MissingEnvironment):
            found[cell.id] = environment.reason
        elif missing is not None:
            found[cell.id] = f"the server {missing.id} is not here: {install_hint(missing)}"
    return found


def smallest_series(context: RunContext, reports: Sequence[FeatureReport]) -> tuple[str, ...]:
    """Return a set of live patches with which every probe passes.

    Patches are left out one after the other, as long as every probe still passes.
    """
    needed = irreplaceable_features(reports)
    names = list(dict.fromkeys(feature.patch.id for feature in needed))
    wanted = {
        report.feature.patch.id
        for report in reports
        if report.feature in needed and report.verdict is not Verdict.REDUNDANT
    }
    for name in [name for name in names if name not in wanted]:
        trial = [other for other in names if other != name]
        if context.scheduler.all_pass(trial, needed):
            names = trial
    return tuple(names)
