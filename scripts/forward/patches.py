"""The patch that is forwarded: a live one, by its id."""

from __future__ import annotations

from scripts.core.config import did_you_mean, near_commands
from scripts.core.errors import UsageError
from scripts.core.model import Patch, State
from scripts.series.patch_series import Series


def live_patch(series: Series, name: str) -> Patch:
    """Return the live patch with an id; raise UsageError if there is none.

    A patch is forwarded as a whole, so the id of one of its features will not do.
    """
    found = series.by_id.get(name)
    if found is None:
        patches = {feature.patch.id for feature in series.features_named(name)}
        ids = [patch.id for patch in series.active]
        raise UsageError(
            f"{name} is a feature, and a patch is forwarded as a whole"
            if patches
            else f"there is no patch {name}{did_you_mean(name, ids)}",
            hint="\n".join(f"nox -s forward -- {other}" for other in sorted(patches))
            or near_commands("nox -s forward --", name, ids)
            or "nox -s status",
        )
    if found.state is State.RETIRED:
        raise UsageError(
            f"{name} is retired: upstream does it ({found.applied_upstream.partition(';')[0]})"
        )
    return found
