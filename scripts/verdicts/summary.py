"""From what was found on each cell to the report; nothing here runs anything, so results of other machines will do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.core.model import DROPPABLE, Applies, Cell, Patch, Settings, State, Text, Verdict
from scripts.series.profile import Profile, settings_for
from scripts.series.series import Series
from scripts.verdicts.aggregate import (
    More,
    PatchReport,
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
    """What a report is about: a release to answer for, the releases, patches and cells, and what they are seen with.

    `whole` is False where only some releases or cells count, so that nothing can be said of since when; `modes` are the
    settings of the modes and `quiet` the modes that decide nothing, with the reason; `servers` are the
    settings that clients of each need; `excluded` is how many cells the matrix leaves out for which reason. `newer` is a
    release beyond the locked one, or empty; `verb` and `asked` are the words of who asked.
    """

    name: str
    locked: str
    at: str
    releases: tuple[str, ...]
    patches: tuple[Patch, ...]
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

    def settings(self, patch: Patch | None, cell: Cell) -> Settings:
        """Return the settings of a cell's columns: its mode's, else the profile without what the patch itself brought.

        With them go those that the cell's server wants.
        """
        found = self.modes[cell.mode] if cell.mode else settings_for(self.profile, self.series, cell.release, patch)
        more = self.servers.get(cell.server or "")
        return Settings.of(found.mapping(), more.mapping()) if more else found


@dataclass(frozen=True)
class Findings:
    """What was found on the cells: facts by patch id and cell, and what a second look at the patches gave.

    `biting` are the patches whose probes fail on a reverse mutation.
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
    """Return the report."""
    reports = [_patch_report(scope, found, patch) for patch in scope.patches]
    profile = settings_for(scope.profile, scope.series, scope.at, None)
    complete = len(scope.patches) == len(scope.series.all)
    return Report(
        name=scope.name,
        locked=scope.locked,
        releases=scope.releases,
        patches=tuple(reports),
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


def kept(reports: Iterable[PatchReport]) -> list[Patch]:
    """Return the live patches that bare upstream, configured, cannot do without."""
    live = [report for report in reports if report.patch.state is State.ACTIVE]
    return [report.patch for report in live if report.verdict not in DROPPABLE]


def reports_on(scope: Scope, found: Findings, patch: Patch, cells: Iterable[Cell]) -> list[ReleaseReport]:
    """Report on every release that the cells are of, in the order of the cells."""
    by_release: dict[str, list[Cell]] = {}
    for cell in cells:
        by_release.setdefault(cell.release, []).append(cell)
    return [_release_report(scope, found, patch, version, here) for version, here in by_release.items()]


def _release_report(scope: Scope, found: Findings, patch: Patch, version: str, cells: Sequence[Cell]) -> ReleaseReport:
    reports = [
        judge(
            cell,
            found.facts.get((patch.id, cell), Facts(try_series=False)),
            scope.settings(patch, cell),
            decides=cell.mode not in scope.quiet,
        )
        for cell in cells
    ]
    applies = next((cell.facts.applies for cell in reports if cell.facts.applies is not Applies.UNTRIED), Applies.UNTRIED)
    return over_cells(version, reports, applies, found.texts.get((patch.id, version), Text.UNKNOWN))


def _patch_report(scope: Scope, found: Findings, patch: Patch) -> PatchReport:
    """Sum up a patch over its releases."""
    reports = reports_on(scope, found, patch, scope.cells)
    if not bites(scope, found, patch) and patch.id not in found.biting:
        reports = without_teeth(reports)
    reports = older_not_needed(reports)
    absorbed, note = since(reports, frozenset({Verdict.ABSORBED})) if scope.whole else (None, "")
    configurable, other = since(reports, REPLACEABLE) if scope.whole else (None, "")
    back = taken_back(reports) if scope.whole else None
    at = next(report for report in reports if report.release == scope.at)
    return PatchReport(
        patch,
        _verdict(patch, reports, at),
        tuple(reports),
        absorbed,
        back.first if back else None if configurable == absorbed else configurable,
        back.last if back else None,
        common_settings(at, patch),
        tuple(dict.fromkeys(filter(None, (note, other, _taken_back(back), flips(reports), at.difference)))),
    )


def _taken_back(span: Span | None) -> str:
    return f"configurable from {span.first} to {span.last}, no longer in {span.after}" if span else ""


def bites(scope: Scope, found: Findings, patch: Patch) -> bool:
    """Tell whether the probes fail on some bare tree; where nothing was run there is nothing to ask."""
    bare = [facts.bare for (name, _), facts in found.facts.items() if name == patch.id]
    return not any(result is not None and result.control for result in bare) or has_teeth(
        reports_on(scope, found, patch, scope.all_cells)
    )


def _verdict(patch: Patch, reports: Sequence[ReleaseReport], at: ReleaseReport) -> Verdict:
    """Return the verdict at the release to answer for; a retired patch that is broken on its base is broken."""
    broken = any(report.release == patch.base and report.verdict is Verdict.BROKEN for report in reports)
    if patch.state is State.RETIRED and broken:
        return Verdict.BROKEN
    return at.verdict
