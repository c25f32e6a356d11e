"""spans: since and until which releases upstream does what a feature does, and where it goes back and forth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.core.model import Verdict
from scripts.verdicts.aggregate import COUNTS_NOT, CellReport, ReleaseReport

REPLACEABLE = frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE})
"""Verdicts of a feature that bare upstream, configured, does without."""


@dataclass(frozen=True)
class Span:
    """Releases in a row on which a feature is not needed: the first and the last, and those on either side (None at an end).

    `places` are those that run the first and the one before it, `agreeing` those of them that see the change.
    """

    first: str
    last: str
    before: str | None
    after: str | None
    verdicts: frozenset[Verdict]
    places: tuple[str, ...] = ()
    agreeing: tuple[str, ...] = ()


def since(reports: Sequence[ReleaseReport], good: frozenset[Verdict]) -> tuple[str | None, str]:
    """Return the first release from which on every counting one is good, and a note where that is not confirmed.

    The change is confirmed in an environment that runs both that release and the one before it, so that a change of
    the environment is not taken for upstream's.
    """
    found = spans(reports, good)
    if not found or found[-1].after is not None or found[-1].before is None:
        return None, ""
    last = found[-1]
    if last.places and not last.agreeing:
        return (
            None,
            f"the change between {last.before} and {last.first} is the environment's, not upstream's",
        )
    note = f"the change at {last.first} is not confirmed: no environment runs it and {last.before}"
    return last.first, "" if last.places else note


def spans(reports: Sequence[ReleaseReport], good: frozenset[Verdict]) -> list[Span]:
    """Return the spans of releases with a good verdict, oldest first; releases that say nothing are passed over."""
    counting = [report for report in reports if report.verdict not in COUNTS_NOT]
    numbers = [number for number, report in enumerate(counting) if report.verdict in good]
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return [_span(counting, good, start, end) for start, end in zip(starts, ends, strict=True)]


def _span(
    counting: Sequence[ReleaseReport], good: frozenset[Verdict], start: int, end: int
) -> Span:
    before = counting[start - 1] if start else None
    pairs = _common(before, counting[start]) if before else []
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
    return "@".join(filter(None, report.cell.place))


def taken_back(reports: Sequence[ReleaseReport]) -> Span | None:
    """Return the last span in which settings replaced a feature, where a later release took that back."""
    found = spans(reports, REPLACEABLE)
    last = found[-1] if found else None
    return (
        last if last and last.after is not None and Verdict.CONFIGURABLE in last.verdicts else None
    )


def flips(reports: Sequence[ReleaseReport]) -> str:
    """Say how a verdict goes back and forth between releases, if it does: upstream may, and so does chance."""
    if len(spans(reports, REPLACEABLE)) < 2:
        return ""
    counting = [report for report in reports if report.verdict not in COUNTS_NOT]
    first = [
        at
        for before, at in zip([None, *counting], counting, strict=False)
        if not before or before.verdict != at.verdict
    ]
    words = ", ".join(f"{at.verdict} in {at.release}" for at in first)
    return f"it flips between releases ({words}): upstream took it back, or its probes depend on chance"


def _common(before: ReleaseReport, after: ReleaseReport) -> list[tuple[CellReport, CellReport]]:
    return [
        (old, new)
        for old in before.cells
        for new in after.cells
        if old.counts and new.counts and old.cell.place == new.cell.place
    ]
