"""probe: run features' probes on the imported tree as it stands, and on the bare release.

Nothing has to be exported, and the series need not be in order. Results are stored as those of
`status` are, under the content of the tree.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.core.console import info
from scripts.core.lockfile import read_lock
from scripts.core.model import Cell, Feature, Lock, Release, Result, Settings, State
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.editing.branch import check_imported
from scripts.editing.import_branch import branch_folder
from scripts.editing.imported_tree import ImportedTree, copy_imported
from scripts.editing.stray_modules import check_no_stray_modules
from scripts.probes.prober import ProbeJob, Prober
from scripts.probes.report_log import FileResult
from scripts.series.apply import TreeBuilder
from scripts.series.profile import read_profile
from scripts.series.series import Series, read_with_problems
from scripts.status.trial_cells import CellChooser, Environments, candidate_cells
from scripts.status.trial_features import features_to_try, is_new
from scripts.upstream.vendor import ensure_releases
from scripts.verdicts.summary import Scope


@dataclass(frozen=True)
class TrialOptions:
    """What is asked for: ids, the imported tree's folder, a cell or a default one, and bare."""

    names: tuple[str, ...]
    folder: Path | None = None
    cell: str = ""
    bare: bool = True


@dataclass(frozen=True)
class ColumnTrial:
    """What a feature's probes gave on one tree: together, by file, and each failure as text.

    If the control probe did not pass, its files are there instead.
    """

    result: Result
    files: Mapping[str, FileResult] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureTrial:
    """A feature in one cell: on the imported tree and, unless left out, on bare upstream."""

    feature: Feature
    cell: Cell
    own: ColumnTrial
    bare: ColumnTrial | None


@dataclass(frozen=True)
class Trial:
    """What was tried: the folder of the imported tree, the release below it, and each feature."""

    place: Path
    release: str
    features: tuple[FeatureTrial, ...]


def run_trial(repo: Repository, options: TrialOptions) -> Trial:
    """Run the probes, and return what they gave; raise UsageError for what cannot be tried."""
    place = branch_folder(repo, options.folder)
    check_imported(place, options.folder)
    check_no_stray_modules(repo, place)
    with repo.exclusive(), repo.scratch() as scratch:
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        # What no exported patch names yet is no problem here, but what this verb is for.
        series, _ = read_with_problems(repo, lock)
        features = features_to_try(repo, series, options.names)
        builder = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
        new = [feature.id for feature in features if is_new(series, feature)]
        tree = copy_imported(repo, builder, place, scratch / "tree", new)
        if tree.release.version != lock.locked:
            info(_other_base(place, tree.release, lock))
        cells = candidate_cells(repo.config, lock, tree.release, options.cell)
        scope = _scope(repo, lock, series, features, cells)
        return Trial(place, tree.release.version, _try(repo, tree, scope, bare=options.bare))


def files_to_watch(repo: Repository, options: TrialOptions) -> list[Path]:
    """Return the files and folders that a person edits and on which a trial depends."""
    series, _ = read_with_problems(repo, read_lock(repo.lock_file))
    features = features_to_try(repo, series, options.names)
    config = repo.config.probes
    probes = [spec for feature in features for spec in feature.probes]
    names = {spec.partition("::")[0] for spec in (*probes, *config.control, *config.support)}
    place = branch_folder(repo, options.folder)
    return [place, repo.overrides, *(repo.root / name for name in sorted(names))]


def _other_base(place: Path, release: Release, lock: Lock) -> str:
    """Return that a tree is tried on its base, because bare upstream must differ by it alone."""
    return (
        f"{place} is based on {release.version}, so it is tried there; {lock.locked} is locked\n"
        f"  next: git -C {shlex.quote(str(place))} rebase {lock.locked}"
    )


def _scope(
    repo: Repository, lock: Lock, series: Series, features: Sequence[Feature], cells: Sequence[Cell]
) -> Scope:
    """Return a scope as that of `status`, so that its settings are the same."""
    config = repo.config
    # A feature is tried without the settings that it brings, also before a patch brings them.
    new = {feature.id for feature in features if is_new(series, feature)}
    profile = {name: given for name, given in read_profile(repo).items() if name not in new}
    return Scope(
        name=lock.name,
        locked=lock.locked,
        answer_release=cells[0].release,
        releases=(cells[0].release,),
        features=tuple(features),
        cells=tuple(cells),
        all_cells=tuple(cells),
        series=series,
        profile=profile,
        modes={mode.id: Settings.of(mode.settings) for mode in config.modes},
        servers={server.id: server.settings for server in config.servers if server.settings},
    )


def _try(
    repo: Repository, tree: ImportedTree, scope: Scope, *, bare: bool
) -> tuple[FeatureTrial, ...]:
    """Run every feature of the scope in the first of its cells that will do."""
    environments: Environments = {}
    specs = [spec for feature in scope.features for spec in feature.probes]
    prober = Prober(
        repo, tree, tree.builder.store, environments, specs=(*scope.series.probes, *specs)
    )
    try:
        chooser = CellChooser(repo, scope.cells, prober, environments)
        cells = {feature: chooser.choose(feature) for feature in scope.features}
        jobs = {feature: _job(scope, feature, cell, tree.tree) for feature, cell in cells.items()}
        bare_jobs = {
            feature: replace(job, tree=tree.release.tree) for feature, job in jobs.items() if bare
        }
        _run(prober, [*jobs.items(), *bare_jobs.items()])
        return tuple(
            FeatureTrial(
                feature,
                cell,
                _column(prober, jobs[feature], feature),
                _column(prober, bare_jobs[feature], feature) if bare else None,
            )
            for feature, cell in cells.items()
        )
    finally:
        prober.close()


def _job(scope: Scope, feature: Feature, cell: Cell, tree: str) -> ProbeJob:
    """Return the job on a tree under the settings of the series column of `status`.

    For a retired feature they are those of the whole profile, which replaces it.
    """
    settings = scope.settings(None if feature.state is State.RETIRED else feature, cell)
    return ProbeJob(tree, cell.environment, cell.server, settings, cell.database)


def _run(prober: Prober, jobs: Sequence[tuple[Feature, ProbeJob]]) -> None:
    wanted: dict[ProbeJob, set[str]] = defaultdict(set)
    for feature, job in jobs:
        wanted[job] |= prober.files(feature.probes)
    prober.run(wanted, "probing")


def _column(prober: Prober, job: ProbeJob, feature: Feature) -> ColumnTrial:
    """Return what is known of a job that was run."""
    result = prober.result(job, feature.probes)
    shown = feature.probes if result.control else prober.repo.config.probes.control
    files = prober.file_results(job, shown)
    names = [name for file, found in files.items() for name in (file, *found.tests)]
    return ColumnTrial(result, files, {name: prober.failure_text(job, name) for name in names})
