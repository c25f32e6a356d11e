"""The features to try: those that exist, and a probe file that no patch names yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scripts.core.config import did_you_mean, near_commands
from scripts.core.console import info
from scripts.core.errors import UsageError
from scripts.core.model import Feature, Patch, State
from scripts.core.repository import Repository
from scripts.series.feature_record import read_feature, record_path
from scripts.series.probe_files import new_names
from scripts.series.series import Series


def features_to_try(repo: Repository, series: Series, names: Sequence[str]) -> list[Feature]:
    """Return the features that are named; raise UsageError for a name that nothing has.

    A name is that of a feature, a former one, a patch's for all of its features, or that of a probe
    file which no patch names yet.
    """
    found = {
        feature.id: feature
        for name in names
        for feature in series.features_named(name) or [_new_feature(repo, series, name)]
    }
    for feature in found.values():
        for name in set(names).intersection(feature.formerly):
            info(f"{name} is called {feature.id} now")
    return [_with_probes(repo, feature) for feature in found.values()]


def is_new(series: Series, feature: Feature) -> bool:
    """Return whether no patch of `patches/` names a feature, nor uses its file, yet."""
    used = {spec.partition("::")[0] for spec in series.probes}
    return feature.id not in series.feature_by_id and not used.intersection(feature.probes)


def _new_feature(repo: Repository, series: Series, name: str) -> Feature:
    """Return the feature of a probe file that is there before its patch is."""
    file = record_path(repo.config.probes.control[0], name)
    if name not in new_names(repo, series):
        known = list(
            dict.fromkeys([*series.feature_by_id, *series.by_id, *new_names(repo, series)])
        )
        raise UsageError(
            f"there is no feature, patch or new probe file {name}{did_you_mean(name, known)}",
            hint=f"nox -s cell -- {name}"
            if "@" in name
            else near_commands("nox -s probe --", name, known) or "nox -s status",
        )
    patch = Patch(repo.root / file, State.ACTIVE, name, "", "", "")
    # What its record lacks does not matter before it is exported.
    feature, _ = read_feature(repo.root / file, name, patch, file)
    return feature


def _with_probes(repo: Repository, feature: Feature) -> Feature:
    """Return a feature with its probes, whose files must exist.

    A record that cannot be parsed names none; the run then shows what is wrong with its file.
    """
    control = repo.config.probes.control[0]
    probes = feature.probes or (record_path(control, feature.id),)
    missing = [spec for spec in probes if not (repo.root / spec.partition("::")[0]).is_file()]
    if missing:
        raise UsageError(
            f"{feature.id} has no probe: {missing[0]} does not exist", hint="nox -s lint"
        )
    return replace(feature, probes=probes)
