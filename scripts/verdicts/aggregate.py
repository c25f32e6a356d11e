"""Combine cells: the verdict on a release, since when it holds, and the answer for the whole fork.

Everything here is pure: it reads records and returns records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scripts.core.model import (
    DROPPABLE,
    FAULTS,
    NO_EVIDENCE,
    NO_SETTINGS,
    Applies,
    Cell,
    Feature,
    Outcome,
    Patch,
    Result,
    Settings,
    State,
    TextPresence,
    Verdict,
    worst,
)
from scripts.verdicts.decide import Facts, decide, reject_other_tests

NO_TEETH = "its probes pass on the bare tree of every release, so they prove nothing"
NO_COMMON_SETTINGS = "no single Replaced-By was seen to pass in every cell of this release"
REMOVABLE = DROPPABLE | {Verdict.REDUNDANT}
"""Verdicts of a live feature that can be left out: every probe passes without it."""


@dataclass(frozen=True)
class CellReport:
    """A feature on one cell: its facts, and the verdict and detail that follow from them.

    `is_gating` is False in an advisory mode, whose verdicts are shown but never count.
    """

    cell: Cell
    facts: Facts
    verdict: Verdict
    detail: str
    settings: Settings = NO_SETTINGS
    is_gating: bool = True

    @property
    def is_gating_evidence(self) -> bool:
        """Return whether the verdict is evidence, in a gating mode."""
        return self.is_evidence and self.is_gating

    @property
    def is_evidence(self) -> bool:
        """Return whether the verdict is evidence about the feature."""
        return self.verdict not in NO_EVIDENCE


@dataclass(frozen=True)
class ReleaseReport:
    """A feature on one release, over all its cells."""

    release: str
    verdict: Verdict
    cells: tuple[CellReport, ...]
    applies: Applies = Applies.UNTRIED
    text: TextPresence = TextPresence.UNKNOWN

    @property
    def difference(self) -> str:
        """Return where cells differ, such as `needed on CELL alone`; empty if they agree."""
        counting = [report for report in self.cells if report.is_gating_evidence]
        if len({report.verdict for report in counting}) < 2:
            return ""
        here = [report.cell for report in counting if report.verdict is self.verdict]
        there = [report.cell for report in counting if report.verdict is not self.verdict]
        return f"{self.verdict} on {distinguishing_axis(here, there)} alone"

    @property
    def detail(self) -> str:
        """Return the detail of the deciding cell."""
        return self._deciding_cell.detail if self._deciding_cell else ""

    @property
    def why(self) -> str:
        """Return what fails without a needed feature, if that was tried, else `detail`."""
        without = self._deciding_cell.facts.without if self._deciding_cell else None
        if self.verdict is not Verdict.NEEDED or without is None:
            return self.detail
        return (
            "without it the series fails: "
            f"{without.detail if without.control else f'the control probe, {without.detail}'}"
        )

    @property
    def _deciding_cell(self) -> CellReport | None:
        """Return the deciding cell: the first with this verdict.

        A cell that counts comes before others, then one in which the series was run without the
        patch.
        """
        agreeing = [report for report in self.cells if report.verdict is self.verdict]
        return min(
            agreeing,
            key=lambda report: (not report.is_gating_evidence, report.facts.without is None),
            default=None,
        )


@dataclass(frozen=True)
class FeatureReport:
    """A feature over all releases; `verdict` is the one at the release the report answers for."""

    feature: Feature
    verdict: Verdict
    releases: tuple[ReleaseReport, ...]
    absorbed_in: str | None = None
    configurable_since: str | None = None
    configurable_until: str | None = None
    settings: Settings | None = None
    notes: tuple[str, ...] = ()

    def release(self, version: str) -> ReleaseReport | None:
        """Return the report on one release, or None."""
        return next((report for report in self.releases if report.release == version), None)

    @property
    def has_fault(self) -> bool:
        """Return whether `verdict`, or one on a release where the series was tried, is a fault."""
        tried = [at for at in self.releases if any(cell.facts.try_series for cell in at.cells)]
        return self.verdict in FAULTS or any(at.verdict in FAULTS for at in tried)

    def needs_refresh(self, version: str) -> bool:
        """Return whether the patch applies only with an offset or by a three-way merge."""
        at = self.release(version)
        return at is not None and at.applies in (Applies.OFFSET, Applies.THREE_WAY)


@dataclass(frozen=True)
class Answer:
    """The answer that the fork exists for: is bare upstream enough, and if not, what is in the way?

    `settings` are those under which bare upstream runs. `short` is `text` without the names of the
    features in the way.
    """

    release: str
    bare_is_enough: bool
    settings: Settings
    in_the_way: tuple[str, ...]
    text: str
    short: str = ""


@dataclass(frozen=True)
class OptionalChecks:
    """Results of optional checks, which only some runs request.

    `failures_without`: for each patch, the features whose probes fail once it and its dependents
    are left out, with their results, on the newest release on which the series was tried.

    `declared_dependencies` and `actual_dependencies`: the patches that each patch depends on, by
    its header and by applying it without them.

    `suite_failures`: new failures of upstream's own tests, None if they were not run;
    `suite_runs`: what was run.
    """

    failures_without: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    declared_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    actual_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suite_failures: tuple[str, ...] | None = None
    suite_runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The result of `status`.

    `features` are those requested, `patches` those that bring them. `smallest` is a sufficient set
    of live patches.

    `versions` are the package versions of each environment, `servers` the origin of each server.
    `advisory_modes` has the reason of each advisory mode. `skipped` has the reason for each cell
    that could not run. `excluded` is how many cells the matrix leaves out, by reason.

    `has_all_features` is False if only some features were requested. `newer` is a release beyond
    the locked one, or empty. `under_way` is a sentence about a rebase in progress, or empty. `verb`
    and `cli_options` are the verb and the options of this run, from which follow-up commands are
    built.
    """

    name: str
    locked: str
    releases: tuple[str, ...]
    features: tuple[FeatureReport, ...]
    answer: Answer
    smallest: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    servers: Mapping[str, str] = field(default_factory=dict)
    advisory_modes: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    optional_checks: OptionalChecks = field(default_factory=OptionalChecks)
    has_all_features: bool = True
    newer: str = ""
    under_way: str = ""
    verb: str = "status"
    cli_options: tuple[str, ...] = ()
    patches: tuple[Patch, ...] = ()

    @property
    def summary(self) -> dict[str, int]:
        """Return the number of features by verdict."""
        found = [report.verdict for report in self.features]
        return {str(verdict): found.count(verdict) for verdict in Verdict if verdict in found}

    @property
    def needs_attention(self) -> bool:
        """Return whether anything needs attention.

        That is a warning, a new failure of upstream's own tests, or a fault of a feature.
        """
        return bool(self.warnings or self.optional_checks.suite_failures) or any(
            report.has_fault for report in self.features
        )

    @property
    def can_drop_or_refresh(self) -> bool:
        """Return whether a live feature can be dropped or its patch should be refreshed.

        A patch should be refreshed if it applies only with an offset or by a three-way merge.
        """
        return any(
            report.feature.state is State.ACTIVE
            and (report.verdict in REMOVABLE or report.needs_refresh(self.answer.release))
            for report in self.features
        )


def cell_report(
    cell: Cell, facts: Facts, settings: Settings = NO_SETTINGS, *, decides: bool = True
) -> CellReport:
    """Return the report on one cell, whose columns ran under `settings`.

    If `decides` is False, the report is shown but never counts.
    """
    facts = reject_other_tests(facts)
    verdict, detail = decide(facts)
    return CellReport(cell, facts, verdict, detail, settings, decides)


def combine_cells(
    release: str, cells: Iterable[CellReport], applies: Applies, text: TextPresence
) -> ReleaseReport:
    """Combine the cells of a release; the worst verdict of those that count is its verdict."""
    cells = tuple(cells)
    counting = [report.verdict for report in cells if report.is_gating_evidence]
    deciding = [report.verdict for report in cells if report.is_gating]
    # The verdict if no cell counts.
    alone = Verdict.UNSUPPORTED if Verdict.UNSUPPORTED in deciding else Verdict.UNTESTED
    return ReleaseReport(release, worst(counting) if counting else alone, cells, applies, text)


def distinguishing_axis(here: Sequence[Cell], there: Sequence[Cell]) -> str:
    """Return the values of one axis that distinguish cells from others, or all ids if none does."""
    for axis in ("environment", "server", "database", "mode"):
        ours, others = ([cell.axes[axis] for cell in cells] for cells in (here, there))
        if len(here) > 1 and not set(ours) & set(others):
            return ", ".join(dict.fromkeys(ours))
    return ", ".join(cell.id for cell in here)


def has_teeth(reports: Iterable[ReleaseReport]) -> bool:
    """Return whether the probes fail on some bare tree; only then does a pass prove anything."""
    return any(
        cell.is_gating
        and cell.facts.bare is not None
        and cell.facts.bare.control  # else that is why it fails
        and cell.facts.bare.outcome is Outcome.FAILED
        for report in reports
        for cell in report.cells
    )


def mark_unproven(reports: Iterable[ReleaseReport]) -> list[ReleaseReport]:
    """Return the reports of probes that fail nowhere, with their verdicts turned into `unproven`.

    Faults and verdicts that are no evidence stay.
    """
    found = []
    for report in reports:
        cells = tuple(
            replace(cell, verdict=Verdict.UNPROVEN, detail=NO_TEETH)
            if cell.is_evidence and cell.verdict not in FAULTS
            else cell
            for cell in report.cells
        )
        found.append(combine_cells(report.release, cells, report.applies, report.text))
    return found


def mark_not_needed(reports: Sequence[ReleaseReport]) -> list[ReleaseReport]:
    """Return the reports with `absorbed` as `not needed` on the oldest releases.

    These are the releases before the first one that fails: upstream lost the behaviour later.
    """
    failing = [
        number
        for number, report in enumerate(reports)
        if report.verdict not in {Verdict.ABSORBED, *NO_EVIDENCE}
    ]
    first = failing[0] if failing else 0
    return [
        replace(
            report,
            verdict=Verdict.NOT_NEEDED,
            cells=tuple(
                replace(cell, verdict=Verdict.NOT_NEEDED)
                if cell.verdict is Verdict.ABSORBED
                else cell
                for cell in report.cells
            ),
        )
        if number < first and report.verdict is Verdict.ABSORBED
        else report
        for number, report in enumerate(reports)
    ]


def common_settings(report: ReleaseReport | None, feature: Feature) -> Settings | None:
    """Return the `Replaced-By` that makes a feature configurable on a release, or None.

    It is the first that was seen to pass in every gating cell.
    """
    if report is None or report.verdict is not Verdict.CONFIGURABLE:
        return None
    passing = [
        {number for number, result in enumerate(cell.facts.configured) if result.passed}
        for cell in report.cells
        if cell.is_gating_evidence
    ]
    common = set.intersection(*passing) if passing else set()
    return feature.replaced_by[min(common)] if common else None


def mark_without_common_settings(
    reports: Sequence[ReleaseReport], feature: Feature
) -> list[ReleaseReport]:
    """Return the reports of a live feature with `configurable` as `unproven` where cells disagree.

    They disagree if no `Replaced-By` was seen to pass in every gating cell: an application can have
    only one profile.
    """
    return [
        _without_common_settings(report)
        if report.verdict is Verdict.CONFIGURABLE and common_settings(report, feature) is None
        else report
        for report in reports
    ]


def _without_common_settings(report: ReleaseReport) -> ReleaseReport:
    cells = [
        replace(cell, verdict=Verdict.UNPROVEN, detail=NO_COMMON_SETTINGS)
        if cell.is_gating and cell.verdict is Verdict.CONFIGURABLE
        else cell
        for cell in report.cells
    ]
    return combine_cells(report.release, cells, report.applies, report.text)


def answer(
    name: str,
    locked: str,
    reports: Sequence[FeatureReport],
    profile: Settings,
    *,
    whole: bool = True,
) -> Answer:
    """Return the answer whether bare upstream is enough at the release `locked`.

    `whole` is False if only some features were requested.
    """
    live = [report for report in reports if report.feature.state is State.ACTIVE]
    blocking = [report for report in reports if _is_in_the_way(report)]
    unknown = [report.feature.id for report in live if report.verdict in NO_EVIDENCE]
    settings = Settings.of(
        profile.as_dict(), *(report.settings.as_dict() for report in live if report.settings)
    )
    what = f"{name} {locked}"
    tried = any(report.verdict not in NO_EVIDENCE for report in reports) or not reports
    text = (
        _answer_sentence(what, blocking, unknown, settings)
        if tried
        else f"Not known: nothing could be run on {what} here."
    )
    short = _blocked_sentence(what, len(blocking)) if tried and blocking else text
    text = text if whole else f"Of the features asked for: {text[0].lower()}{text[1:]}"
    enough = tried and not blocking and not unknown
    return Answer(
        locked, enough, settings, tuple(report.feature.id for report in blocking), text, short
    )


def _is_in_the_way(report: FeatureReport) -> bool:
    if report.feature.state is State.RETIRED:
        return report.verdict in FAULTS
    return report.verdict not in DROPPABLE | NO_EVIDENCE


def _blocked_sentence(what: str, number: int) -> str:
    verb = "feature stands" if number == 1 else "features stand"
    return f"No: bare {what} is not enough; {number} {verb} in the way."


def _answer_sentence(
    what: str, blocking: Sequence[FeatureReport], unknown: Sequence[str], settings: Settings
) -> str:
    under = f" with {settings}" if settings else ""
    if blocking:
        names = ", ".join(report.feature.id for report in blocking)
        tail = f" Untested here: {', '.join(unknown)}." if unknown else ""
        return f"{_blocked_sentence(what, len(blocking)).rstrip('.')}: {names}.{tail}"
    if unknown:
        return (
            f"Not known: bare {what}{under} does all that was tried, "
            f"but {', '.join(unknown)} could not be tested here."
        )
    return f"Yes: bare {what} is enough{under}."
