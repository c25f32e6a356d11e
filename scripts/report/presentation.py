"""What every form of the report shows: texts, letters and each cell's evidence, without markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from scripts.core.model import (
    DROPPABLE,
    FAULTS,
    Applies,
    Cell,
    Feature,
    Result,
    Settings,
    State,
    TextPresence,
    Verdict,
)
from scripts.verdicts.aggregate import CellReport, FeatureReport, ReleaseReport, Report
from scripts.verdicts.forwarded import forwarded_patches

LETTERS = {
    Verdict.NEEDED: "N",
    Verdict.ABSORBED: "a",
    Verdict.CONFIGURABLE: "c",
    Verdict.REDUNDANT: "r",
    Verdict.NOT_NEEDED: "-",
    Verdict.UNTESTED: ".",
    Verdict.UNSUPPORTED: "u",
    Verdict.BROKEN: "B",
    Verdict.CONFLICT: "X",
    Verdict.UNPROVEN: "?",
    Verdict.REGRESSED: "R",
}
"""A letter for each verdict, so that a report can be read without colour."""

MEANINGS = {
    Verdict.NEEDED: (
        "bare upstream fails; where tried, the series passes, and fails without the patch"
    ),
    Verdict.ABSORBED: "bare upstream passes",
    Verdict.CONFIGURABLE: "bare upstream passes with settings",
    Verdict.REDUNDANT: "the series passes without its patch",
    Verdict.NOT_NEEDED: "bare upstream passes, on a release older than the first that fails",
    Verdict.UNTESTED: "no cell here meets its requirements",
    Verdict.UNSUPPORTED: (
        "the control probe does not pass on the bare release here: nothing is known"
    ),
    Verdict.BROKEN: "fails with the series applied",
    Verdict.CONFLICT: "its patch does not apply",
    Verdict.UNPROVEN: (
        "no proof: an error, a skip, two runs that differ, or a probe that fails nowhere"
    ),
    Verdict.REGRESSED: "upstream no longer has a retired feature",
}


@dataclass(frozen=True)
class ColumnEvidence:
    """One column of a cell: what ran, under which settings, its outcome and its detail."""

    name: str
    settings: Settings
    outcome: str
    detail: str


def headline(item: FeatureReport) -> str:
    """Return the verdict, and since when it holds if that is known."""
    match item.verdict:
        case Verdict.ABSORBED if item.absorbed_in:
            return f"absorbed in {item.absorbed_in}"
        case Verdict.CONFIGURABLE if item.configurable_since:
            return f"configurable since {item.configurable_since}"
        case _:
            return str(item.verdict)


def conclusion(item: FeatureReport, release: str) -> str:
    """Return a sentence on whether a feature can go at a release, and if not, why."""
    at = item.release(release)
    why = at.why if at else ""
    settings = f"; on {release} with {item.settings}" if item.settings else ""
    if item.feature.state is State.RETIRED:
        return (
            f"Somebody must look: {why}"
            if item.verdict in FAULTS
            else f"Stays retired: {headline(item)}{settings}."
        )
    if item.verdict in FAULTS:
        return f"Somebody must look: {why}"
    if item.verdict in DROPPABLE:
        return f"Can go: {headline(item)}{settings}."
    if item.verdict is Verdict.REDUNDANT:
        return "Can go: another patch of the series does the same."
    return f"Cannot go: {why}" if item.verdict is Verdict.NEEDED else f"Not known: {why}"


def differing_verdicts(item: FeatureReport) -> dict[Verdict, list[str]]:
    """Return the cells of the newest release by verdict, the worst first.

    Return nothing if those that count agree.
    """
    found: dict[Verdict, list[str]] = {}
    for cell in item.releases[-1].cells if item.releases else ():
        if cell.is_gating_evidence:
            found.setdefault(cell.verdict, []).append(cell.cell.id)
    return (
        {verdict: found[verdict] for verdict in Verdict if verdict in found}
        if len(found) > 1
        else {}
    )


def columns(report: CellReport, feature: Feature) -> Iterator[ColumnEvidence]:
    """Yield the columns of a cell that were run."""
    facts, base = report.facts, report.settings
    tried: list[tuple[str, Settings, Result | None]] = [("bare", base, facts.bare)]
    # Those after the one that passed were not run.
    for more, configured in zip(feature.replaced_by, facts.configured, strict=False):
        tried.append((f"bare with {more}", Settings.of(base.as_dict(), more.as_dict()), configured))
    tried += [("series", base, facts.series), ("series without it", base, facts.without)]
    tried += [("bare under the profile", base, facts.profile)]
    for name, settings, result in tried:
        if result is not None:
            yield ColumnEvidence(name, settings, *_outcome_and_detail(result))


def _outcome_and_detail(result: Result) -> tuple[str, str]:
    """Return the outcome of a column and its detail."""
    if result.control:
        return str(result.outcome), result.detail
    own = f"; the feature's own probes: {result.own}" if result.own else ""
    return "the control probe does not pass", result.detail + own


@dataclass(frozen=True)
class CellGroup:
    """Cells of a release on which a feature has the same verdict for the same reason."""

    cells: tuple[Cell, ...]
    verdict: Verdict
    reason: str
    columns: tuple[ColumnEvidence, ...]
    settings: Settings
    is_gating_evidence: bool
    is_gating: bool


def group_cells(at: ReleaseReport, feature: Feature, skipped: Mapping[str, str]) -> list[CellGroup]:
    """Return the cells of a release, grouped by what they show, those that decided first."""
    found: dict[CellGroup, list[Cell]] = {}
    for report in at.cells:
        words, shown = (
            skipped.get(report.cell.id) or _cell_reason(report, feature),
            tuple(columns(report, feature)),
        )
        same = CellGroup(
            (),
            report.verdict,
            words,
            shown,
            report.settings,
            report.is_gating_evidence,
            report.is_gating,
        )
        found.setdefault(same, []).append(report.cell)
    order = [at.verdict, *Verdict]
    ordered = sorted(
        found, key=lambda group: (not group.is_gating_evidence, order.index(group.verdict))
    )
    return [
        replace(group, cells=tuple(sorted(found[group], key=lambda cell: cell.id)))
        for group in ordered
    ]


def _cell_reason(report: CellReport, feature: Feature) -> str:
    """Return the reason of a cell's verdict, or what an untested feature needs."""
    if report.verdict is Verdict.UNTESTED and feature.needs:
        return f"not tried here: the feature counts only with {', '.join(feature.needs)}"
    return report.detail


@dataclass(frozen=True)
class Evidence:
    """What several releases show alike about a feature, newest first, with the cells of each.

    The message of a probe appears once; a column that repeats it refers to it.
    """

    group: CellGroup
    reason: str
    columns: tuple[ColumnEvidence, ...]
    places: tuple[tuple[str, tuple[Cell, ...]], ...]

    @property
    def span(self) -> str:
        """Return the releases, the newest first; if there are many, only both ends."""
        names = [release for release, _ in self.places]
        return (
            ", ".join(names)
            if len(names) <= _MAX_LISTED
            else f"{names[0]} … {names[-1]} ({len(names)} releases)"
        )

    @property
    def first(self) -> str:
        """Return the name of the first cell, to run it by hand."""
        return self.places[0][1][0].id

    @property
    def mode(self) -> str | None:
        """Return the mode of the cells, to be shown if they decide nothing."""
        return self.places[0][1][0].mode

    @property
    def cells(self) -> str:
        """Return the names of all cells."""
        return ", ".join(cell.id for _, cells in self.places for cell in cells)


_IMPLIED_TEXT = re.compile(r"bare upstream (fails|passes)( with settings)?(?!,)")
"""Text that a verdict and its columns contain anyway."""

_MAX_LISTED = 3
"""How many releases are listed by name at most."""


def evidence(item: FeatureReport, skipped: Mapping[str, str], above: str = "") -> list[Evidence]:
    """Return all evidence about a feature, the newest release first, each message once.

    `above` is text that was printed before.
    """
    found: dict[tuple[CellGroup, str], list[tuple[str, tuple[Cell, ...]]]] = {}
    for at in reversed(item.releases):
        for group in group_cells(at, item.feature, skipped):
            key = replace(group, cells=()), _group_reason(group, at)
            found.setdefault(key, []).append((at.release, group.cells))
    said: dict[str, str] = {}
    return [
        Evidence(
            group, words, tuple(_without_repeats(group, places[0][0], said, above)), tuple(places)
        )
        for (group, words), places in found.items()
    ]


def _group_reason(group: CellGroup, at: ReleaseReport) -> str:
    """Return the reason of a group and how the patch applies to the release.

    What its columns and its verdict show is left out.
    """
    words = group.reason
    for column in group.columns:
        for part in (column.detail, column.detail.partition("; the feature's own probes: ")[0]):
            words = words.replace(f": {part}", "") if part else words
    if group.columns:
        words = _IMPLIED_TEXT.sub("", words).strip(" ;()")
    applies = "" if at.applies is Applies.UNTRIED else f"applies: {at.applies}"
    text = "" if at.text is TextPresence.UNKNOWN else f"text: {at.text}"
    return "; ".join(filter(None, (words, applies, text)))


def _without_repeats(
    group: CellGroup, release: str, said: dict[str, str], above: str
) -> Iterator[ColumnEvidence]:
    """Yield the columns; a message that appeared before is replaced by where it is."""
    for column in group.columns:
        here = f"as on {release}, {column.name}"
        there = "as said above" if column.detail in above else said.setdefault(column.detail, here)
        yield column if not column.detail or there == here else replace(column, detail=there)


def unsupported(report: Report) -> dict[str, list[str]]:
    """Return the cells in which the control probe fails on the bare release, by reason."""
    found: dict[str, list[str]] = {}
    for cell in _cells(report):
        if cell.verdict is Verdict.UNSUPPORTED and not any(
            cell.cell.id in names for names in found.values()
        ):
            words = cell.facts.bare.detail if cell.facts.bare else cell.detail
            found.setdefault(
                f"the control probe does not pass on the bare release: {words}", []
            ).append(cell.cell.id)
    return found


def skipped(report: Report) -> dict[str, list[str]]:
    """Return the cells that could not be tried here, by reason."""
    found: dict[str, list[str]] = {}
    for name, reason in sorted(report.skipped.items(), key=lambda pair: pair[1]):
        found.setdefault(reason, []).append(name)
    return found


def count_cells(report: Report) -> tuple[int, int]:
    """Return the number of cells that decide something, and of those that could not be tried."""
    return len({cell.cell.id for cell in _cells(report) if cell.is_gating_evidence}), len(
        report.skipped
    )


def smallest_series_note(report: Report) -> str:
    """Return a sentence on whether the smallest series leaves out any live patch."""
    live = [patch.id for patch in report.patches if patch.state is State.ACTIVE]
    if len(report.smallest) == len(live):
        return f"none of the {len(live)} live patches can be left out"
    idle = [name for name in live if name not in report.smallest]
    return (
        f"{len(report.smallest)} of the {len(live)} live patches are enough, "
        f"without {', '.join(idle)}"
    )


def forwarded_notes(report: Report) -> dict[str, bool]:
    """Return a sentence for each patch that was sent to upstream, and whether it was taken."""
    return {
        f"{item.patch} ({item.address}): "
        + (f"taken in {item.taken_in}" if item.taken_in else "not taken yet"): bool(item.taken_in)
        for item in forwarded_patches(report)
        if item.is_known
    }


def axes(report: Report) -> dict[str, list[str]]:
    """Return the values of every axis on which cells differ, in the order of the cells.

    The release is always included.
    """
    found: dict[str, list[str]] = {}
    for cell in _cells(report):
        for axis, word in cell.cell.axes.items():
            words = found.setdefault(axis, [])
            if word not in words:
                words.append(word)
    return {axis: words for axis, words in found.items() if axis == "release" or len(words) > 1}


def advisory_modes(report: Report) -> dict[str, list[str]]:
    """Return the advisory modes by reason."""
    found: dict[str, list[str]] = {}
    for mode, reason in report.advisory_modes.items():
        found.setdefault(reason, []).append(mode)
    return found


def failures_without_patch(report: Report) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield each patch that was left out, the error of the control probe, and those of all probes.

    The error of the control probe is empty if it passed.
    """
    for name, failing in report.optional_checks.failures_without.items():
        control = next((result.detail for result in failing.values() if not result.control), "")
        yield (
            name,
            control,
            {feature: result.own or result.detail for feature, result in failing.items()},
        )


def dependencies(report: Report) -> list[tuple[str, Sequence[str], Sequence[str]]]:
    """Return each patch with its dependencies, by its header and by applying it."""
    declared, found = (
        report.optional_checks.declared_dependencies,
        report.optional_checks.actual_dependencies,
    )
    return [
        (name, declared.get(name, ()), found.get(name, ()))
        for name in dict.fromkeys([*declared, *found])
    ]


def features_of_patch(report: Report, name: str) -> list[str]:
    """Return the ids of the features in a report that a patch brings."""
    return [item.feature.id for item in report.features if item.feature.patch.id == name]


def versions_line(versions: Mapping[str, str]) -> str:
    """Return what is installed in an environment as one line, Python first."""
    rest = sorted(item for item in versions.items() if item[0] != "python")
    return ", ".join(
        [f"Python {versions.get('python', '?')}", *(f"{name} {version}" for name, version in rest)]
    )


def _cells(report: Report) -> Iterator[CellReport]:
    for item in report.features:
        for at in item.releases:
            yield from at.cells
