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
from scripts.probes.environments import Ready
from scripts.status.bench import Bench, prepared
from scripts.status.selection import Choice
from scripts.status.status import examine
from scripts.upstream.unreleased import history, parse, subject
from scripts.upstream.vendor import bring
from scripts.verdicts.aggregate import NO_TEETH, FeatureReport, judge
from scripts.verdicts.spans import REPLACEABLE, Span, flips, spans
from scripts.verdicts.summary import Findings, bites

Place = tuple[str | None, ...]
"""A cell without its release."""

SILENT = frozenset({Verdict.UNTESTED, Verdict.UNSUPPORTED, Verdict.UNPROVEN})
GOOD = {
    "absorbed": frozenset({Verdict.ABSORBED, Verdict.NOT_NEEDED}),
    "configurable": REPLACEABLE | {Verdict.NOT_NEEDED},
}


@dataclass(frozen=True)
class Found:
    """A sentence about since when a feature is absorbed or configurable, and how sure that is."""

    feature: str
    kind: str
    words: str


def first_good(count: int, good: Callable[[int], bool | None]) -> tuple[int | None, int | None]:
    """Return the last bad and the first good of `count` steps, where the bad ones come first.

    Either is None if there is no such step. `good` is called at most 2 + log2(count) times, unless
    it returns None: a step without evidence is replaced by its neighbours. So the returned steps
    are adjacent unless all steps between them have no evidence.
    """
    good = cache(good)
    last = _first_that_says(reversed(range(count)), good)
    if last is None or not last[1]:
        return (last[0] if last else None), None
    first = _first_that_says(range(count), good)
    if first is None or first[1]:
        return None, first[0] if first else None
    bad, well = first[0], last[0]
    while (said := _first_that_says(_from_the_middle(bad, well), good)) is not None:
        bad, well = (bad, said[0]) if said[1] else (said[0], well)
    return bad, well


def change(count: int, good: Callable[[int], bool | None]) -> tuple[int | None, int | None, bool]:
    """Return the steps before and after a change, and whether it was an improvement.

    If the last step is bad, the change may be a loss.
    """
    bad, well = first_good(count, good)
    if (
        well is None
        and bad is not None
        and (first := _first_that_says(range(bad), good)) is not None
        and first[1]
    ):
        kept, lost = first_good(
            bad + 1, lambda step: None if (said := good(step)) is None else not said
        )
        return kept, lost, False
    return bad, well, True


def _from_the_middle(before: int, after: int) -> list[int]:
    return sorted(range(before + 1, after), key=lambda step: abs(2 * step - before - after))


def _first_that_says(
    steps: Iterable[int], good: Callable[[int], bool | None]
) -> tuple[int, bool] | None:
    return next(((step, word) for step in steps if (word := good(step)) is not None), None)


def bisect(
    repo: Repository, names: Sequence[str], source: str | None, *, fresh: bool = False
) -> tuple[list[Found], int, int]:
    """Search the tracked releases or the commits of a range.

    Return what was found, the number of steps, and the number of jobs that ran.
    """
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        if source is None:
            report, prober = examine(
                repo, lock, Choice(features=tuple(names), fresh=fresh, bare=True)
            )
            return (
                [found for item in report.features for found in of_releases(item)],
                len(lock.releases),
                prober.ran,
            )
        wanted = parse(source)
        if wanted is None or not wanted.is_range:
            raise UsageError(f"not a range: {source!r}", hint="give git:URL@A..B")
        steps = history(repo, lock, wanted)
        every = replace(
            lock, releases=tuple(sorted({*lock.releases, *steps}, key=lambda release: release.key))
        )
        choice = Choice(features=tuple(names), fresh=fresh, bare=True)
        with prepared(repo, every, choice) as bench:
            deque(bench.each_ready(), maxlen=0)  # every environment is needed
            search = _Search(repo, bench, lock, steps)
            found = [known for feature in bench.scope.features for known in search.of(feature)]
            return found, len(steps), bench.prober.ran


def of_releases(item: FeatureReport) -> Iterator[Found]:
    """Yield what the report of `status` shows about a feature, in words, for each kind."""
    for kind, good in GOOD.items():
        if kind == "absorbed" or item.feature.replaced_by:
            yield Found(item.feature.id, kind, _of_spans(item, kind, spans(item.releases, good)))


def _of_spans(item: FeatureReport, kind: str, found: Sequence[Span]) -> str:
    said = [at for at in item.releases if at.verdict not in SILENT]
    if not said:
        return next(
            (at.detail for at in item.releases if at.verdict is Verdict.UNPROVEN),
            "no cell here can say",
        )
    if not found:
        return f"not {kind} up to {said[-1].release}"
    words = "; ".join(_of_span(kind, span) for span in found)
    return f"{words}; {flips(item.releases)}" if len(found) > 1 and flips(item.releases) else words


def _of_span(kind: str, span: Span) -> str:
    if span.before is None:
        return (
            f"{kind} up to {span.last}, not in {span.after}"
            if span.after
            else f"{kind} in {span.first} already, the first of them"
        )
    sure = confirmation(span.before, span.places, span.agreeing)
    if span.after is None:
        return f"{kind} in {span.first}; {sure}"
    return f"{kind} from {span.first} to {span.last}, not in {span.after}; {sure}"


def confirmation(before: str, places: Sequence[str], agreeing: Sequence[str]) -> str:
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
    bench: Bench
    lock: Lock
    steps: Sequence[Release]

    def of(self, feature: Feature) -> Iterator[Found]:
        """Yield what is found for each kind; settings are tried only where bare upstream fails."""
        cells = self.bench.scope.all_cells
        places = [
            place
            for place in dict.fromkeys(cell.place for cell in cells)
            if self._here(feature, place)
        ]
        for kind, good in GOOD.items():
            if kind == "configurable" and not feature.replaced_by:
                continue
            asked = [
                number for number in range(len(self.steps)) if self._cells(feature, number, places)
            ]

            # The defaults bind the values of this iteration.
            def holds(
                index: int, good: frozenset[Verdict] = good, asked: Sequence[int] = asked
            ) -> bool | None:
                verdict = self._verdict(feature, asked[index], places)
                return None if verdict is None else verdict in good

            yield Found(
                feature.id,
                kind,
                self._words(feature, kind, asked, change(len(asked), holds), places),
            )

    def _words(
        self,
        feature: Feature,
        kind: str,
        asked: Sequence[int],
        found: tuple[int | None, int | None, bool],
        places: Sequence[Place],
    ) -> str:
        one, other, gained = found
        if other is None:
            return (
                "no cell here can say"
                if one is None
                else f"not {kind} up to {self._name(asked[one])}"
            )
        if one is None:
            return (
                f"{kind} in {self._name(asked[other])} already, the first of them"
                if self._bites(feature)
                else NO_TEETH
            )
        before, at = asked[one], asked[other]
        silent = (
            f"; nothing can be said of the {other - one - 1} before it" if other - one > 1 else ""
        )
        if not gained:
            return f"{kind} up to {self._name(before)}, not in {self._name(at)}{silent}"
        shared = [
            place
            for place in places
            if self._cells(feature, before, [place]) and self._cells(feature, at, [place])
        ]
        agree = [place for place in shared if self._changes(feature, before, at, place, GOOD[kind])]
        names = [["@".join(filter(None, place)) for place in some] for some in (shared, agree)]
        doubt = self._doubt(feature, at, places)
        return (
            doubt
            or f"{kind} in {self._name(at)}{silent}; {confirmation(self._name(before), *names)}"
        )

    def _doubt(self, feature: Feature, number: int, places: Sequence[Place]) -> str:
        """Run the step that was found once more, cold, and return a text if the result differs."""
        keys = [
            (feature, cell)
            for cell in self._cells(feature, number, places)
            if (feature, cell) in self.bench.trials.facts
        ]
        self.bench.trials.ask_again(keys)
        reports = [judge(key[1], self.bench.trials.facts[key]) for key in keys]
        details = [report.detail for report in reports if report.verdict is Verdict.UNPROVEN]
        return f"unproven in {self._name(number)}: {details[0]}" if details else ""

    def _bites(self, feature: Feature) -> bool:
        """Return whether the probes fail on some pinned release, or on the feature's mutation."""
        pinned = [cell for cell in self.bench.scope.all_cells if cell.release in self.lock.versions]
        self.bench.trials.add(feature, pinned, try_series=False)
        self.bench.trials.run_bare()
        found = Findings(
            {(known.id, cell): facts for (known, cell), facts in self.bench.trials.facts.items()}
        )
        return bites(self.bench.scope, found, feature) or self.bench.trials.mutation_fails(
            feature, pinned
        )

    def _changes(
        self, feature: Feature, before: int, at: int, place: Place, good: frozenset[Verdict]
    ) -> bool:
        old, new = self._verdict(feature, before, [place]), self._verdict(feature, at, [place])
        return old is not None and old not in good and new in good

    def _verdict(self, feature: Feature, number: int, places: Sequence[Place]) -> Verdict | None:
        """Return the verdict of a step in the first place that gives evidence, or None."""
        for cell in self._cells(feature, number, places):
            self.bench.trials.add(feature, [cell], try_series=False)
            self.bench.trials.run_columns()
            verdict = judge(cell, self.bench.trials.facts[feature, cell]).verdict
            if verdict not in SILENT:
                return verdict
        return None

    def _cells(self, feature: Feature, number: int, places: Sequence[Place]) -> list[Cell]:
        version = self.steps[number].version
        return [
            cell
            for cell in self.bench.scope.all_cells
            if cell.release == version and cell.place in places and self._meets(feature, cell)
        ]

    def _here(self, feature: Feature, place: Place) -> bool:
        return any(
            self._meets(feature, cell) for cell in self.bench.scope.all_cells if cell.place == place
        )

    def _meets(self, feature: Feature, cell: Cell) -> bool:
        ready = self.bench.trials.ready(cell)
        return isinstance(ready, Ready) and ready.meets(feature.needs)

    def _name(self, number: int) -> str:
        release = self.steps[number]
        return f"{release.commit[:10]} ({subject(self.repo, release)})"
