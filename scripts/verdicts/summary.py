"""Turn what was found on each cell into the report.

Nothing here runs anything, so results from other machines can be used, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.core.model import DROPPABLE, Applies, Cell, Feature, Settings, State, Text, Verdict
from scripts.series.profile import Profile, settings_for
from scripts.series.series import Series
from scripts.verdicts.aggregate import (
    FeatureReport,
    More,
    ReleaseReport,
    Report,
    answer,
    common_settings,
    has_teeth,
    judge,
    older_not_needed,
    over_cells,
    without_teeth,
)
from scripts.verdicts.decide import Facts
from scripts.verdicts.spans import REPLACEABLE, Span, flips, since, taken_back


@dataclass(frozen=True)
class Scope:
    """What a report covers: releases, features and cells, and the release `at` that it answers for.

    `whole` is False if only some releases or cells were requested, so that no "since when" can be
    derived. `modes` has the settings of each mode, `quiet` the reason of each advisory mode,
    `servers` the settings that clients of each server need. `excluded` is how many cells the matrix
    leaves out, by reason. `newer` is a release beyond the locked one, or empty. `verb` and `asked`
    are the verb and the options of this run.
    """

    name: str
    locked: str
    at: str
    releases: tuple[str, ...]
    features: tuple[Feature, ...]
    cells: tuple[Cell, ...]
    all_cells: tuple[Cell, ...]
    series: Series
    profile: Profile
    whole: bool = True
    modes: Mapping[str, Settings] = field(default_factory=dict)
    quiet: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, Settings] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    newer: str = ""
    verb: str = "status"
    asked: tuple[str, ...] = ()

    def settings(self, feature: Feature | None, cell: Cell) -> Settings:
        """Return the settings of a cell's columns, with those that clients of its server need.

        They are the settings of its mode, else the profile without what the feature's own patch
        brought.
        """
        found = (
            self.modes[cell.mode]
            if cell.mode
            else settings_for(self.profile, self.series, cell.release, feature)
        )
        more = self.servers.get(cell.server or "")
        return Settings.of(found.mapping(), more.mapping()) if more else found


@dataclass(frozen=True)
class Findings:
    """What was found on the cells: facts by feature id and cell, and the results of other checks.

    `texts` are the results of the text check by patch id and release. `biting` are the features
    whose probes fail on a reverse mutation.
    """

    facts: Mapping[tuple[str, Cell], Facts]
    texts: Mapping[tuple[str, str], Text] = field(default_factory=dict)
    biting: Collection[str] = ()
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    smallest: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    servers: Mapping[str, str] = field(default_factory=dict)
    more: More = field(default_factory=More)
    under_way: str = ""


def summarise(scope: Scope, found: Findings) -> Report:
    """Return the report on everything that was found."""
    reports = [_feature_report(scope, found, feature) for feature in scope.features]
    profile = settings_for(scope.profile, scope.series, scope.at, None)
    complete = len(scope.features) == len(scope.series.features)
    return Report(
        name=scope.name,
        locked=scope.locked,
        releases=scope.releases,
        features=tuple(reports),
        patches=tuple(dict.fromkeys(feature.patch for feature in scope.features)),
        answer=answer(scope.name, scope.at, reports, profile, whole=complete),
        smallest=found.smallest,
        warnings=found.warnings,
        notes=found.notes,
        skipped=found.skipped,
        versions=found.versions,
        servers=found.servers,
        modes=scope.quiet,
        excluded=scope.excluded,
        more=found.more,
        whole=complete,
        newer=scope.newer,
        under_way=found.under_way,
        verb=scope.verb,
        asked=scope.asked,
    )


def kept(reports: Iterable[FeatureReport]) -> list[Feature]:
    """Return the live features that bare upstream does not replace, even with settings."""
    live = [report for report in reports if report.feature.state is State.ACTIVE]
    return [report.feature for report in live if report.verdict not in DROPPABLE]


def reports_on(
    scope: Scope, found: Findings, feature: Feature, cells: Iterable[Cell]
) -> list[ReleaseReport]:
    """Return a report for each release of the cells, in the order of the cells."""
    by_release: dict[str, list[Cell]] = {}
    for cell in cells:
        by_release.setdefault(cell.release, []).append(cell)
    return [
        _release_report(scope, found, feature, version, here)
        for version, here in by_release.items()
    ]


def _release_report(
    scope: Scope, found: Findings, feature: Feature, version: str, cells: Sequence[Cell]
) -> ReleaseReport:
    reports = [
        judge(
            cell,
            found.facts.get((feature.id, cell), Facts(try_series=False)),
            scope.settings(feature, cell),
            decides=cell.mode not in scope.quiet,
        )
        for cell in cells
    ]
    applies = next(
        (cell.facts.applies for cell in reports if cell.facts.applies is not Applies.UNTRIED),
        Applies.UNTRIED,
    )
    return over_cells(
        version, reports, applies, found.texts.get((feature.patch.id, version), Text.UNKNOWN)
    )


def _feature_report(scope: Scope, found: Findings, feature: Feature) -> FeatureReport:
    """Return the report on a feature over its releases."""
    reports = reports_on(scope, found, feature, scope.cells)
    # Probes that fail on no bare tree and on no mutation prove nothing.
    if not bites(scope, found, feature) and feature.id not in found.biting:
        reports = without_teeth(reports)
    reports = older_not_needed(reports)
    absorbed, note = since(reports, frozenset({Verdict.ABSORBED})) if scope.whole else (None, "")
    configurable, other = since(reports, REPLACEABLE) if scope.whole else (None, "")
    back = taken_back(reports) if scope.whole else None
    at = next(report for report in reports if report.release == scope.at)
    return FeatureReport(
        feature,
        _verdict(feature, reports, at),
        tuple(reports),
        absorbed,
        back.first if back else None if configurable == absorbed else configurable,
        back.last if back else None,
        common_settings(at, feature),
        tuple(
            dict.fromkeys(
                filter(None, (note, other, _taken_back(back), flips(reports), at.difference))
            )
        ),
    )


def _taken_back(span: Span | None) -> str:
    return (
        f"configurable from {span.first} to {span.last}, no longer in {span.after}" if span else ""
    )


def bites(scope: Scope, found: Findings, feature: Feature) -> bool:
    """Return whether the probes fail on some bare tree.

    Also return True if no bare tree has a usable result, because then nothing can be concluded.
    """
    bare = [facts.bare for (name, _), facts in found.facts.items() if name == feature.id]
    return not any(result is not None and result.control for result in bare) or has_teeth(
        reports_on(scope, found, feature, scope.all_cells)
    )


def _verdict(feature: Feature, reports: Sequence[ReleaseReport], at: ReleaseReport) -> Verdict:
    """Return the verdict at the release to answer for.

    A retired feature that is broken on its base is broken.
    """
    broken = any(
        report.release == feature.patch.base and report.verdict is Verdict.BROKEN
        for report in reports
    )
    if feature.state is State.RETIRED and broken:
        return Verdict.BROKEN
    return at.verdict
