"""The series as one record: the live patches in order, the retired ones, and their features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from scripts.core.model import Feature, Patch


@dataclass(frozen=True)
class Series:
    """The live patches in order, the retired ones, and the features that they bring."""

    active: tuple[Patch, ...]
    retired: tuple[Patch, ...]
    features: tuple[Feature, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, Patch]:
        """Every patch by its id."""
        return {patch.id: patch for patch in self.all}

    @property
    def all(self) -> tuple[Patch, ...]:
        """The live patches, then the retired ones."""
        return self.active + self.retired

    def dependents(self, patch: Patch) -> set[str]:
        """Return the ids of the live patches that need `patch`, its own included."""
        found = {patch.id}
        # A patch comes after those that it depends on, so one pass finds all.
        for other in self.active:
            if found.intersection(other.depends):
                found.add(other.id)
        return found

    @cached_property
    def feature_by_id(self) -> dict[str, Feature]:
        """Every feature by its id."""
        return {feature.id: feature for feature in self.features}

    def features_of(self, patch: Patch) -> tuple[Feature, ...]:
        """Return the features that a patch brings, retired ones included."""
        return tuple(feature for feature in self.features if feature.patch.id == patch.id)

    def features_named(self, name: str) -> tuple[Feature, ...]:
        """Return the feature with an id or a former id, or all features of the patch with the id.

        Returns nothing if there is none.
        """
        if name in self.by_id:
            return self.features_of(self.by_id[name])
        return tuple(
            feature for feature in self.features if name in (feature.id, *feature.formerly)
        )

    @property
    def lines(self) -> int:
        """How many upstream lines the live patches add and remove."""
        return sum(patch.lines for patch in self.active)

    @property
    def probes(self) -> tuple[str, ...]:
        """The paths and node ids of every feature's probes."""
        return tuple(spec for feature in self.features for spec in feature.probes)

    def with_dependencies(self, patch: Patch) -> tuple[Patch, ...]:
        """Return the patches that a patch depends on, in order, with the patch itself last."""
        before = [
            part for name in patch.depends for part in self.with_dependencies(self.by_id[name])
        ]
        return tuple(dict.fromkeys([*before, patch]))

    def reachable(self, name: str) -> set[str]:
        """Return a patch's id and those of all that it depends on, even if they form a cycle."""
        found: set[str] = set()
        left = [name]
        while left:
            name = left.pop()
            if name not in found and name in self.by_id:
                found.add(name)
                left += self.by_id[name].depends
        return found
