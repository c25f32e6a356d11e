"""Turn the findings on each cell into the report.

Nothing here runs anything, so results from other machines can be used, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.core.model import (
    DROPPABLE,
    Applies,
    Cell,
    Feature,
    Settings,
    State,
    TextPresence,
    Verdict,
)
from scripts.series.profile import Profile, settings_for
from scripts.series.series import Series
from scripts.verdicts.aggregate import (
    FeatureReport,
    OptionalChecks,
    ReleaseReport,
    Report,
    answer,
    cell_report,
    combine_cells,
    common_settings,
    has_teeth,
    mark_not_needed,
    mark_unproven,
    mark_without_common_settings,
)
from scripts.verdicts.decide import Facts
from scripts.verdicts.spans import REPLACEABLE, Span, ended_span, flip_note, good_since


@dataclass(frozen=True)
class Scope:
    """What a report covers: releases, features and cells.

    `answer_release` is the release that it answers for. `is_unfiltered` is False if only some
    releases or cells were requested, so that no "since when" can be derived. `modes` has the
    settings of each mode, `advisory_modes` the reason of each advisory mode, `servers` the settings
    that clients of each server need. `excluded` is how many cells the matrix leaves out, by reason.
    `newer` is a release beyond the locked one, or empty. `verb` and `cli_options` are the verb and
    the options of this run.
    """

    name: str
    locked: str
    answer_release: str
    releases: tuple[str, ...]
    features: tuple[Feature, ...]
    cells: tuple[Cell, ...]
    all_cells: tuple[Cell, ...]
    series: Series
    profile: Profile
    is_unfiltered: bool = True
    modes: Mapping[str, Settings] = field(default_factory=dict)
    advisory_modes: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, Settings] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    newer: str = ""
    verb: str = "status"
    cli_options: tuple[str, ...] = ()

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
        return Settings.of(found.as_dict(), more.as_dict()) if more else found


@dataclass(frozen=True)
class Findings:
    """The results of a run: facts by feature id and cell, and the results of other checks.

    `texts` are the results of the text check by patch id and release. `killed_mutation` are the
    features whose probes fail on a reverse mutation.
    """

    facts: Mapping[tuple[str, Cell], Facts]
    texts: Mapping[tuple[str, str], TextPresence] = field(default_factory=dict)
    killed_mutation: Collection[str] = ()
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    smallest: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    servers: Mapping[str, str] = field(default_factory=dict)
    optional_checks: OptionalChecks = field(default_factory=OptionalChecks)
    under_way: str = ""


def build_report(scope: Scope, found: Findings) -> Report:
    """Return the report on all findings."""
    reports = [_feature_report(scope, found, feature) for feature in scope.features]
    profile = settings_for(scope.profile, scope.series, scope.answer_release, None)
    complete = len(scope.features) == len(scope.series.features)
    return Report(
        name=scope.name,
        locked=scope.locked,
        releases=scope.releases,
        features=tuple(reports),
        patches=tuple(dict.fromkeys(feature.patch for feature in scope.features)),
        answer=answer(scope.name, scope.answer_release, reports, profile, whole=complete),
        smallest=found.smallest,
        warnings=found.warnings,
        notes=found.notes,
        skipped=found.skipped,
        versions=found.versions,
        servers=found.servers,
        advisory_modes=scope.advisory_modes,
        excluded=scope.excluded,
        optional_checks=found.optional_checks,
        has_all_features=complete,
        newer=scope.newer,
        under_way=found.under_way,
        verb=scope.verb,
        cli_options=scope.cli_options,
    )


def irreplaceable_features(reports: Iterable[FeatureReport]) -> list[Feature]:
    """Return the live features that bare upstream does not replace, even with settings."""
    live = [report for report in reports if report.feature.state is State.ACTIVE]
    return [report.feature for report in live if report.verdict not in DROPPABLE]


def release_reports(
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
        cell_report(
            cell,
            found.facts.get((feature.id, cell), Facts(try_series=False)),
            scope.settings(feature, cell),
            decides=cell.mode not in scope.advisory_modes,
        )
        for cell in cells
    ]
    applies = next(
        (cell.facts.applies for cell in reports if cell.facts.applies is not Applies.UNTRIED),
        Applies.UNTRIED,
    )
    return combine_cells(
        version,
        reports,
        applies,
        found.texts.get((feature.patch.id, version), TextPresence.UNKNOWN),
    )


def _feature_report(scope: Scope, found: Findings, feature: Feature) -> FeatureReport:
    """Return the report on a feature over its releases."""
    reports = release_reports(scope, found, feature, scope.cells)
    # Probes that fail on no bare tree and on no mutation prove nothing.
    if not has_failing_run(scope, found, feature) and feature.id not in found.killed_mutation:
        reports = mark_unproven(reports)
    if feature.state is State.ACTIVE:
        reports = mark_without_common_settings(reports, feature)
    reports = mark_not_needed(reports)
    absorbed, note = (
        good_since(reports, frozenset({Verdict.ABSORBED})) if scope.is_unfiltered else (None, "")
    )
    configurable, other = good_since(reports, REPLACEABLE) if scope.is_unfiltered else (None, "")
    back = ended_span(reports) if scope.is_unfiltered else None
    at = next(report for report in reports if report.release == scope.answer_release)
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
                filter(None, (note, other, _ended_note(back), flip_note(reports), at.difference))
            )
        ),
    )


def _ended_note(span: Span | None) -> str:
    return (
        f"configurable from {span.first} to {span.last}, no longer in {span.after}" if span else ""
    )


def has_failing_run(scope: Scope, found: Findings, feature: Feature) -> bool:
    """Return whether the probes fail on some bare tree.

    Also return True if no bare tree has a usable result, because then nothing can be concluded.
    """
    bare = [facts.bare for (name, _), facts in found.facts.items() if name == feature.id]
    return not any(result is not None and result.control for result in bare) or has_teeth(
        release_reports(scope, found, feature, scope.all_cells)
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
