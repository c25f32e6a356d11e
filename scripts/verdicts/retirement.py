"""retirement: which features upstream made unnecessary, decided from verdicts, each with its proof."""

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
    """A feature that upstream made unnecessary, and the proof: the release, how, and the cells that showed it."""

    id: str
    release: str
    how: str
    cells: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)

    @property
    def trailer(self) -> str:
        """The value of `Applied-Upstream`."""
        return f"{self.release}; {self.how}; {', '.join(self.cells)}"

    def record(self) -> dict[str, object]:
        """Return the retirement as JSON can write it."""
        return {
            "id": self.id,
            "release": self.release,
            "how": self.how,
            "cells": self.cells,
            "settings": str(self.settings),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Retirement:
        """Read what `record` gave."""
        settings = Settings.parse(record["settings"]) if record["settings"] else Settings()
        return cls(record["id"], record["release"], record["how"], tuple(record["cells"]), settings)


def retirements(report: Report) -> list[Retirement]:
    """Return the live features whose probes pass on the bare locked release, with settings or without."""
    live = [item for item in report.features if item.feature.state is State.ACTIVE]
    return [found for item in live if (found := _retirement(item, report.locked)) is not None]


def patch_retirements(found: Sequence[Retirement], features: Sequence[Feature]) -> list[Retirement]:
    """Return the live patches of which no feature stays live, each with the proof of those that go now."""
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
            gone.append(_joined(patch, [going[name] for name in live]))
    return gone


def _joined(patch: Patch, parts: Sequence[Retirement]) -> Retirement:
    """Return the retirement of a patch; the settings that replace its features stand in the profile for these."""
    if not patch.features:
        return parts[0]
    how = f"its features went: {', '.join(part.id for part in parts)}"
    cells = tuple(dict.fromkeys(cell for part in parts for cell in part.cells))
    return Retirement(patch.id, max((part.release for part in parts), key=Version), how, cells)


def _retirement(item: FeatureReport, target: str) -> Retirement | None:
    at = item.release(target)
    if at is None:
        return None
    cells = tuple(cell.cell.id for cell in at.cells if cell.counts)
    if item.verdict is Verdict.ABSORBED:
        known = item.absorbed_in is not None and Version(item.absorbed_in) <= Version(target)
        release = item.absorbed_in if item.absorbed_in and known else target
        return Retirement(
            item.feature.id, release, f"absorbed, the probes pass bare on {target}", cells
        )
    if (
        item.verdict is Verdict.NOT_NEEDED
    ):  # upstream lost it later: a rebase to a later release takes the patch back
        return Retirement(
            item.feature.id, target, f"not needed, the probes pass bare on {target}", cells
        )
    if item.verdict is Verdict.CONFIGURABLE and item.settings:
        how = f"configurable, the probes pass bare on {target} with {str(item.settings).replace('; ', ' and ')}"
        return Retirement(item.feature.id, _settled_since(item, target), how, cells, item.settings)
    return None


def _settled_since(item: FeatureReport, target: str) -> str:
    """Return the first release from which on, up to the target, every cell does with the settings of the target.

    From there on they are in the profile; before it upstream may not know them.
    """
    number = item.feature.replaced_by.index(item.settings) if item.settings else -1
    found = target
    for at in sorted(item.releases, key=lambda at: Version(at.release), reverse=True):
        counting = [cell.facts for cell in at.cells if cell.counts]
        if Version(at.release) <= Version(target) and counting:
            if not all(_does_with(facts, number) for facts in counting):
                break
            found = at.release
    return found


def _does_with(facts: Facts, number: int) -> bool:
    bare = facts.bare is not None and facts.bare.passed
    return bare or (number < len(facts.configured) and facts.configured[number].passed)
