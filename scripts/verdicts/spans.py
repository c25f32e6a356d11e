"""spans: find the releases since and until which upstream provides a feature, and any flips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.core.model import NO_EVIDENCE, Verdict
from scripts.verdicts.aggregate import CellReport, ReleaseReport

REPLACEABLE = frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE})
"""Verdicts of a feature that bare upstream replaces, with settings or without."""


@dataclass(frozen=True)
class Span:
    """Consecutive releases on which a feature is not needed.

    `first` and `last` are its ends, `before` and `after` the neighbouring releases (None at an
    end). `shared_places` are the places that run both `first` and `before`, `confirming_places`
    those of them in which the verdict changes.
    """

    first: str
    last: str
    before: str | None
    after: str | None
    verdicts: frozenset[Verdict]
    shared_places: tuple[str, ...] = ()
    confirming_places: tuple[str, ...] = ()


def good_since(
    reports: Sequence[ReleaseReport], good: frozenset[Verdict]
) -> tuple[str | None, str]:
    """Return the first release since which every counting release is good, and a note.

    The note is empty unless the change is not confirmed. A change is confirmed in an environment
    that runs both that release and the one before it; otherwise a change of the environment could
    be mistaken for one of upstream.

    Return no release if the newest counting one is not good, if all are good, or if the change is
    the environment's.
    """
    found = spans(reports, good)
    if not found or found[-1].after is not None or found[-1].before is None:
        return None, ""
    last = found[-1]
    if last.shared_places and not last.confirming_places:
        return (
            None,
            (
                f"the change between {last.before} and {last.first} "
                "is the environment's, not upstream's"
            ),
        )
    note = f"the change at {last.first} is not confirmed: no environment runs it and {last.before}"
    return last.first, "" if last.shared_places else note


def spans(reports: Sequence[ReleaseReport], good: frozenset[Verdict]) -> list[Span]:
    """Return the spans of releases with a verdict in `good`, oldest first.

    Releases whose verdict is no evidence are skipped.
    """
    counting = [report for report in reports if report.verdict not in NO_EVIDENCE]
    numbers = [number for number, report in enumerate(counting) if report.verdict in good]
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return [_span(counting, good, start, end) for start, end in zip(starts, ends, strict=True)]


def _span(
    counting: Sequence[ReleaseReport], good: frozenset[Verdict], start: int, end: int
) -> Span:
    before = counting[start - 1] if start else None
    pairs = _cells_of_same_place(before, counting[start]) if before else []
    agreeing = [new for old, new in pairs if old.verdict not in good and new.verdict in good]
    return Span(
        counting[start].release,
        counting[end].release,
        before.release if before else None,
        counting[end + 1].release if end + 1 < len(counting) else None,
        frozenset(report.verdict for report in counting[start : end + 1]),
        tuple(_place(new) for _, new in pairs),
        tuple(map(_place, agreeing)),
    )


def _place(report: CellReport) -> str:
    return "@".join(filter(None, report.cell.configuration))


def ended_span(reports: Sequence[ReleaseReport]) -> Span | None:
    """Return the last span in which settings replaced a feature, if a later release ended it."""
    found = spans(reports, REPLACEABLE)
    last = found[-1] if found else None
    return (
        last if last and last.after is not None and Verdict.CONFIGURABLE in last.verdicts else None
    )


def flip_note(reports: Sequence[ReleaseReport]) -> str:
    """Return a sentence if the verdict goes back and forth between releases, else "".

    Either upstream took a change back, or the probes depend on chance.
    """
    if len(spans(reports, REPLACEABLE)) < 2:
        return ""
    counting = [report for report in reports if report.verdict not in NO_EVIDENCE]
    first = [
        at
        for before, at in zip([None, *counting], counting, strict=False)
        if not before or before.verdict != at.verdict
    ]
    words = ", ".join(f"{at.verdict} in {at.release}" for at in first)
    return (
        f"it flips between releases ({words}): "
        "upstream took it back, or its probes depend on chance"
    )


def _cells_of_same_place(
    before: ReleaseReport, after: ReleaseReport
) -> list[tuple[CellReport, CellReport]]:
    return [
        (old, new)
        for old in before.cells
        for new in after.cells
        if old.is_gating_evidence
        and new.is_gating_evidence
        and old.cell.configuration == new.cell.configuration
    ]
