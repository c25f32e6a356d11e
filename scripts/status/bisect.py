"""bisect: find the release or commit since which upstream provides a feature, and confirm it.

Releases come from the report of `status`; commits are searched with few runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from scripts.core.errors import UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import Cell, Feature, Lock, Release, Verdict
from scripts.core.repository import Repository
from scripts.probes.environments import ReadyEnvironment
from scripts.status.run_context import RunContext, run_context
from scripts.status.selection import Selection
from scripts.status.status import run_status
from scripts.upstream.unreleased import commit_subject, parse_source, source_releases
from scripts.upstream.vendor import ensure_releases
from scripts.verdicts.aggregate import NO_TEETH, FeatureReport, cell_report
from scripts.verdicts.spans import REPLACEABLE, Span, flip_note, spans
from scripts.verdicts.summary import Findings, has_failing_run

CellPlace = tuple[str | None, ...]
"""A cell without its release."""

INCONCLUSIVE = frozenset({Verdict.UNTESTED, Verdict.UNSUPPORTED, Verdict.UNPROVEN})
GOOD = {
    "absorbed": frozenset({Verdict.ABSORBED, Verdict.NOT_NEEDED}),
    "configurable": REPLACEABLE | {Verdict.NOT_NEEDED},
}


@dataclass(frozen=True)
class BisectResult:
    """A sentence about since when a feature is absorbed or configurable, and how sure that is."""

    feature: str
    kind: str
    text: str


def first_good(count: int, good: Callable[[int], bool | None]) -> tuple[int | None, int | None]:
    """Return the last bad and the first good of `count` steps, where the bad ones come first.

    Either is None if there is no such step. `good` is called at most 2 + log2(count) times, unless
    it returns None: a step without evidence is replaced by its neighbours. So the returned steps
    are adjacent unless all steps between them have no evidence.
    """
    good = cache(good)
    last = _first_conclusive(reversed(range(count)), good)
    if last is None or not last[1]:
        return (last[0] if last else None), None
    first = _first_conclusive(range(count), good)
    if first is None or first[1]:
        return None, first[0] if first else None
    bad, well = first[0], last[0]
    while (said := _first_conclusive(_from_the_middle(bad, well), good)) is not None:
        bad, well = (bad, said[0]) if said[1] else (said[0], well)
    return bad, well


def find_change(
    count: int, good: Callable[[int], bool | None]
) -> tuple[int | None, int | None, bool]:
    """Return the steps before and after a change, and whether it was an improvement.

    If the last step is bad, the change may be a loss.
    """
    bad, well = first_good(count, good)
    if (
        well is None
        and bad is not None
        and (first := _first_conclusive(range(bad), good)) is not None
        and first[1]
    ):
        kept, lost = first_good(
            bad + 1, lambda step: None if (said := good(step)) is None else not said
        )
        return kept, lost, False
    return bad, well, True


def _from_the_middle(before: int, after: int) -> list[int]:
    return sorted(range(before + 1, after), key=lambda step: abs(2 * step - before - after))


def _first_conclusive(
    steps: Iterable[int], good: Callable[[int], bool | None]
) -> tuple[int, bool] | None:
    return next(((step, word) for step in steps if (word := good(step)) is not None), None)


def bisect(
    repo: Repository, names: Sequence[str], source: str | None, *, fresh: bool = False
) -> tuple[list[BisectResult], int, int]:
    """Search the tracked releases or the commits of a range.

    Return the results, the number of steps, and the number of jobs that ran.
    """
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        if source is None:
            report, prober = run_status(
                repo, lock, Selection(features=tuple(names), fresh=fresh, bare=True)
            )
            return (
                [found for item in report.features for found in release_results(item)],
                len(lock.releases),
                prober.jobs_run,
            )
        wanted = parse_source(source)
        if wanted is None or not wanted.is_range:
            raise UsageError(f"not a range: {source!r}", hint="give git:URL@A..B")
        steps = source_releases(repo, lock, wanted)
        every = replace(
            lock,
            releases=tuple(
                sorted({*lock.releases, *steps}, key=lambda release: release.parsed_version)
            ),
        )
        selection = Selection(features=tuple(names), fresh=fresh, bare=True)
        with run_context(repo, every, selection) as context:
            deque(context.wait_for_environments(), maxlen=0)  # every environment is needed
            search = _Search(repo, context, lock, steps)
            found = [
                known for feature in context.scope.features for known in search.results_for(feature)
            ]
            return found, len(steps), context.prober.jobs_run


def release_results(item: FeatureReport) -> Iterator[BisectResult]:
    """Yield what the report of `status` shows about a feature, as text, for each kind."""
    for kind, good in GOOD.items():
        if kind == "absorbed" or item.feature.replaced_by:
            yield BisectResult(
                item.feature.id, kind, _describe_spans(item, kind, spans(item.releases, good))
            )


def _describe_spans(item: FeatureReport, kind: str, found: Sequence[Span]) -> str:
    said = [at for at in item.releases if at.verdict not in INCONCLUSIVE]
    if not said:
        return next(
            (at.detail for at in item.releases if at.verdict is Verdict.UNPROVEN),
            "no cell here can say",
        )
    if not found:
        return f"not {kind} up to {said[-1].release}"
    words = "; ".join(_describe_span(kind, span) for span in found)
    return (
        f"{words}; {flip_note(item.releases)}"
        if len(found) > 1 and flip_note(item.releases)
        else words
    )


def _describe_span(kind: str, span: Span) -> str:
    if span.before is None:
        return (
            f"{kind} up to {span.last}, not in {span.after}"
            if span.after
            else f"{kind} in {span.first} already, the first of them"
        )
    sure = confirmation_note(span.before, span.shared_places, span.confirming_places)
    if span.after is None:
        return f"{kind} in {span.first}; {sure}"
    return f"{kind} from {span.first} to {span.last}, not in {span.after}; {sure}"


def confirmation_note(before: str, places: Sequence[str], agreeing: Sequence[str]) -> str:
    """Return in which of the places that run both sides of a change it was seen."""
    if not places:
        return f"not confirmed: no environment runs it and {before}"
    if len(agreeing) < len(places):
        return f"confirmed in {', '.join(agreeing) or 'no environment'} of {len(places)}"
    return f"confirmed in {', '.join(agreeing)}, where {before} fails"


@dataclass(frozen=True)
class _Search:
    """The commits of a range and the means to test them; `lock` has only the pinned releases."""

    repo: Repository
    context: RunContext
    lock: Lock
    steps: Sequence[Release]

    def results_for(self, feature: Feature) -> Iterator[BisectResult]:
        """Yield the result for each kind; settings are tried only where bare upstream fails."""
        cells = self.context.scope.all_cells
        places = [
            place
            for place in dict.fromkeys(cell.configuration for cell in cells)
            if self._is_available(feature, place)
        ]
        for kind, good in GOOD.items():
            if kind == "configurable" and not feature.replaced_by:
                continue
            candidates = [
                number for number in range(len(self.steps)) if self._cells(feature, number, places)
            ]

            # The defaults bind the values of this iteration.
            def holds(
                index: int, good: frozenset[Verdict] = good, candidates: Sequence[int] = candidates
            ) -> bool | None:
                verdict = self._verdict(feature, candidates[index], places)
                return None if verdict is None else verdict in good

            yield BisectResult(
                feature.id,
                kind,
                self._describe(
                    feature, kind, candidates, find_change(len(candidates), holds), places
                ),
            )

    def _describe(
        self,
        feature: Feature,
        kind: str,
        candidates: Sequence[int],
        found: tuple[int | None, int | None, bool],
        places: Sequence[CellPlace],
    ) -> str:
        one, other, gained = found
        if other is None:
            return (
                "no cell here can say"
                if one is None
                else f"not {kind} up to {self._step_name(candidates[one])}"
            )
        if one is None:
            return (
                f"{kind} in {self._step_name(candidates[other])} already, the first of them"
                if self._has_teeth(feature)  # no step fails, so the probes must fail elsewhere
                else NO_TEETH
            )
        before, at = candidates[one], candidates[other]
        silent = (
            f"; nothing can be said of the {other - one - 1} before it" if other - one > 1 else ""
        )
        if not gained:
            return f"{kind} up to {self._step_name(before)}, not in {self._step_name(at)}{silent}"
        shared = [
            place
            for place in places
            if self._cells(feature, before, [place]) and self._cells(feature, at, [place])
        ]
        agree = [
            place for place in shared if self._is_change_in(feature, before, at, place, GOOD[kind])
        ]
        names = [["@".join(filter(None, place)) for place in some] for some in (shared, agree)]
        # Neither the hash seed nor a warm module may be the reason for the change.
        doubt = self._rerun_cold(feature, at, places)
        note = confirmation_note(self._step_name(before), *names)
        return doubt or f"{kind} in {self._step_name(at)}{silent}; {note}"

    def _rerun_cold(self, feature: Feature, number: int, places: Sequence[CellPlace]) -> str:
        """Run the first good step once more, cold, and return a text if the result differs."""
        keys = [
            (feature, cell)
            for cell in self._cells(feature, number, places)
            if (feature, cell) in self.context.scheduler.facts
        ]
        self.context.scheduler.rerun_cold(keys)
        reports = [cell_report(key[1], self.context.scheduler.facts[key]) for key in keys]
        details = [report.detail for report in reports if report.verdict is Verdict.UNPROVEN]
        return f"unproven in {self._step_name(number)}: {details[0]}" if details else ""

    def _has_teeth(self, feature: Feature) -> bool:
        """Return whether the probes fail on some pinned release, or on the feature's mutation."""
        pinned = [
            cell for cell in self.context.scope.all_cells if cell.release in self.lock.versions
        ]
        self.context.scheduler.add(feature, pinned, try_series=False)
        self.context.scheduler.run_bare()
        found = Findings(
            {
                (known.id, cell): facts
                for (known, cell), facts in self.context.scheduler.facts.items()
            }
        )
        return has_failing_run(
            self.context.scope, found, feature
        ) or self.context.scheduler.kills_mutation(feature, pinned)

    def _is_change_in(
        self, feature: Feature, before: int, at: int, place: CellPlace, good: frozenset[Verdict]
    ) -> bool:
        old, new = self._verdict(feature, before, [place]), self._verdict(feature, at, [place])
        return old is not None and old not in good and new in good

    def _verdict(
        self, feature: Feature, number: int, places: Sequence[CellPlace]
    ) -> Verdict | None:
        """Return the verdict of a step in the first place that gives evidence, or None."""
        for cell in self._cells(feature, number, places):
            self.context.scheduler.add(feature, [cell], try_series=False)
            self.context.scheduler.run_columns()
            verdict = cell_report(cell, self.context.scheduler.facts[feature, cell]).verdict
            if verdict not in INCONCLUSIVE:
                return verdict
        return None

    def _cells(self, feature: Feature, number: int, places: Sequence[CellPlace]) -> list[Cell]:
        version = self.steps[number].version
        return [
            cell
            for cell in self.context.scope.all_cells
            if cell.release == version
            and cell.configuration in places
            and self._can_run(feature, cell)
        ]

    def _is_available(self, feature: Feature, place: CellPlace) -> bool:
        return any(
            self._can_run(feature, cell)
            for cell in self.context.scope.all_cells
            if cell.configuration == place
        )

    def _can_run(self, feature: Feature, cell: Cell) -> bool:
        ready = self.context.scheduler.ready_environment(cell)
        return isinstance(ready, ReadyEnvironment) and ready.meets(feature.needs)

    def _step_name(self, number: int) -> str:
        release = self.steps[number]
        return f"{release.commit[:10]} ({commit_subject(self.repo, release)})"
