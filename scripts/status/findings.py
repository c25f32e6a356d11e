"""summarise: what the trials of a run showed, and what else its report says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from scripts.core.config import Server
from scripts.core.model import Cell, Patch, State, Text, Verdict
from scripts.probes.environments import Absent, Ready
from scripts.probes.servers import absence, origin, program
from scripts.status.bench import Bench
from scripts.upstream.source_tree import source_warning
from scripts.verdicts.aggregate import FeatureReport
from scripts.verdicts.summary import Findings, bites, kept


def findings(bench: Bench, under_way: str) -> Findings:
    """Return what the trials showed, and the notes of the report."""
    found = Findings(
        {(feature.id, cell): facts for (feature, cell), facts in bench.trials.facts.items()}
    )
    toothless = [
        feature for feature in bench.scope.features if not bites(bench.scope, found, feature)
    ]
    return replace(
        found,
        texts=_texts(bench),
        biting=frozenset(
            feature.id
            for feature in toothless
            if bench.trials.mutation_fails(feature, _others(bench))
        ),
        versions={
            name: item.versions
            for name, item in bench.environments.items()
            if isinstance(item, Ready)
        },
        servers={
            server.id: origin(server) for server in _servers(bench) if program(server) is not None
        },
        skipped=_skipped(bench),
        warnings=tuple(_warnings(bench)),
        notes=(*_missing_extra_servers(bench), *_stale_exclusions(bench)),
        under_way=under_way,
    )


def _texts(bench: Bench) -> dict[tuple[str, str], Text]:
    patches = dict.fromkeys(feature.patch for feature in bench.scope.features)
    return {
        (patch.id, version): _text(bench, patch, version)
        for patch, version in itertools.product(patches, bench.scope.releases)
    }


def _text(bench: Bench, patch: Patch, version: str) -> Text:
    release = bench.lock.release(version)
    assert release is not None, version
    series = bench.scope.series
    patches = series.needed_by(patch) if patch.state is State.RETIRED else series.active
    return bench.workshop.text(patches, release).get(patch.id, Text.UNKNOWN)


def _others(bench: Bench) -> Sequence[Cell]:
    return bench.scope.cells if bench.choice.part else bench.scope.all_cells


def _servers(bench: Bench) -> Iterator[Server]:
    """Yield the servers and databases of the cells."""
    config = bench.repo.config
    ids = dict.fromkeys(word for cell in bench.scope.cells for word in (cell.server, cell.database))
    yield from (
        server
        for word in ids
        if (server := config.server(word) or config.database(word)) is not None
    )


def _missing_extra_servers(bench: Bench) -> Iterator[str]:
    """Yield a note for each extra server that probes need but that is missing."""
    for feature in bench.scope.features:
        for server in bench.prober.missing_beside(feature.probes):
            yield (
                f"{feature.id} is not tried: its probes need the server {server.id}, "
                f"which is not here: {absence(server)}"
            )


def _stale_exclusions(bench: Bench) -> Iterator[str]:
    if bench.choice.matrix:
        yield from bench.repo.config.stale_exclusions(bench.lock)


def _warnings(bench: Bench) -> Iterator[str]:
    warning = source_warning(bench.repo, bench.lock)
    if warning:
        yield warning


def _skipped(bench: Bench) -> Mapping[str, str]:
    """Return the cells that cannot run here, with the way to get what they lack."""
    found = {}
    config = bench.repo.config
    for cell in bench.scope.cells:
        environment = bench.environments[cell.environment]
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


def smallest_series(bench: Bench, reports: Sequence[FeatureReport]) -> tuple[str, ...]:
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
        if bench.trials.all_pass(trial, needed):
            names = trial
    return tuple(names)
