"""The probe files that belong to no feature yet, and the features that have no probe file."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.core.config import near_misses
from scripts.core.errors import Problem
from scripts.core.model import Patch
from scripts.core.repository import Repository
from scripts.series.feature_record import has_own_record, record_path
from scripts.series.patch_series import Series

_MAX_NAMED = 3


def new_names(repo: Repository, series: Series) -> Iterator[str]:
    """Yield the ids that the probe files without a feature would give one."""
    control = repo.config.probes.control[0]
    for path in sorted((repo.root / control).parent.glob("test_*.py")):
        name = path.stem.removeprefix("test_").replace("_", "-")
        if name not in series.feature_by_id and record_path(control, name) != control:
            yield name


def missing_records(repo: Repository, series: Series) -> Iterator[Problem]:
    """Yield the features whose probe file is not there, with the file that is probably meant."""
    for feature in series.features:
        if not has_own_record(feature) or feature.record.exists():
            continue
        others, patch = _unused_names(repo, series), feature.patch
        meant = near_misses(feature.id, others) or others[:_MAX_NAMED]
        asked = f"; did you mean {' or '.join(meant)}?" if meant else ""
        ways = [_features_line(patch, feature.id, meant[0])] if meant else []
        ways.append(f"write {feature.record.relative_to(repo.root)}")
        ways += [_features_line(patch, feature.id, "")] if len(patch.features) > 1 else []
        yield Problem(
            f"the feature {feature.id} has no probe file{asked}",
            "\n".join(ways),
            str(patch.path.relative_to(repo.root)),
        )


def _features_line(patch: Patch, name: str, instead: str) -> str:
    names = (instead if other == name else other for other in patch.features)
    return f"write `Features: {', '.join(filter(None, names))}`"


def _unused_names(repo: Repository, series: Series) -> list[str]:
    """Return the new names whose files no feature uses as its probes."""
    used = {spec.partition("::")[0] for spec in series.probes}
    config = repo.config.probes
    used |= {spec.partition("::")[0] for spec in (*config.control, *config.support)}
    control = config.control[0]
    return [name for name in new_names(repo, series) if record_path(control, name) not in used]
