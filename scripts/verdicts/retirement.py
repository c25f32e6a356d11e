"""retirement: decide from verdicts which features upstream made unnecessary, with proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.version import Version

from scripts.core.model import Feature, Patch, Settings, State, Verdict
from scripts.verdicts.aggregate import FeatureReport, Report
from scripts.verdicts.decide import Facts


@dataclass(frozen=True)
class Retirement:
    """A feature or patch that upstream made unnecessary, and the proof.

    `release` is the upstream release that replaces it, `how` the reason in words, and `cells` the
    cells that showed it; `settings` are those that replace it.
    """

    id: str
    release: str
    how: str
    cells: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)

    @property
    def trailer(self) -> str:
        """Return the value of the `Applied-Upstream` trailer."""
        return f"{self.release}; {self.how}; {', '.join(self.cells)}"

    def record(self) -> dict[str, object]:
        """Return the retirement as JSON-serialisable data."""
        return {
            "id": self.id,
            "release": self.release,
            "how": self.how,
            "cells": self.cells,
            "settings": str(self.settings),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Retirement:
        """Return the retirement that `record` serialised."""
        settings = Settings.parse(record["settings"]) if record["settings"] else Settings()
        return cls(record["id"], record["release"], record["how"], tuple(record["cells"]), settings)


def retirements(report: Report) -> list[Retirement]:
    """Return a retirement for each live feature that bare upstream replaces at the locked release.

    Its probes pass there on the bare tree, with settings or without.
    """
    live = [item for item in report.features if item.feature.state is State.ACTIVE]
    return [found for item in live if (found := _retirement(item, report.locked)) is not None]


def patch_retirements(found: Sequence[Retirement], features: Sequence[Feature]) -> list[Retirement]:
    """Return a retirement for each patch that is left without a live feature.

    Its proof is that of the features that are retired now.
    """
    going = {item.id: item for item in found}
    patches = {feature.patch.id: feature.patch for feature in features if feature.id in going}
    gone = []
    for patch in patches.values():
        live = [
            feature.id
            for feature in features
            if feature.patch.id == patch.id and feature.state is State.ACTIVE
        ]
        if all(name in going for name in live):
            gone.append(_join_retirements(patch, [going[name] for name in live]))
    return gone


def _join_retirements(patch: Patch, parts: Sequence[Retirement]) -> Retirement:
    """Return the retirement of a patch, joined from those of its features.

    The joined one has no settings: the profile lists the replacing settings under the features.
    """
    # Without a `Features:` trailer, the patch is its own only feature.
    if not patch.features:
        return parts[0]
    how = f"its features went: {', '.join(part.id for part in parts)}"
    cells = tuple(dict.fromkeys(cell for part in parts for cell in part.cells))
    return Retirement(patch.id, max((part.release for part in parts), key=Version), how, cells)


def _retirement(item: FeatureReport, target: str) -> Retirement | None:
    at = item.release(target)
    if at is None:
        return None
    cells = tuple(cell.cell.id for cell in at.cells if cell.is_gating_evidence)
    if item.verdict is Verdict.ABSORBED:
        known = item.absorbed_in is not None and Version(item.absorbed_in) <= Version(target)
        release = item.absorbed_in if item.absorbed_in and known else target
        return Retirement(
            item.feature.id, release, f"absorbed, the probes pass bare on {target}", cells
        )
    # Upstream lost it later: a rebase to a later release takes the patch back.
    if item.verdict is Verdict.NOT_NEEDED:
        return Retirement(
            item.feature.id, target, f"not needed, the probes pass bare on {target}", cells
        )
    if item.verdict is Verdict.CONFIGURABLE and item.settings:
        # `;` separates the parts of the trailer.
        how = (
            f"configurable, the probes pass bare on {target} "
            f"with {str(item.settings).replace('; ', ' and ')}"
        )
        return Retirement(item.feature.id, _replaced_since(item, target), how, cells, item.settings)
    return None


def _replaced_since(item: FeatureReport, target: str) -> str:
    """Return the release since which the target's settings replace a feature in every cell.

    Releases after the target are ignored. From that release on, the settings are in the profile; an
    earlier upstream may not know them.
    """
    number = item.feature.replaced_by.index(item.settings) if item.settings else -1
    found = target
    for at in sorted(item.releases, key=lambda at: Version(at.release), reverse=True):
        counting = [cell.facts for cell in at.cells if cell.is_gating_evidence]
        if Version(at.release) <= Version(target) and counting:
            if not all(_passes_with(facts, number) for facts in counting):
                break
            found = at.release
    return found


def _passes_with(facts: Facts, number: int) -> bool:
    bare = facts.bare is not None and facts.bare.passed
    return bare or (number < len(facts.configured) and facts.configured[number].passed)
