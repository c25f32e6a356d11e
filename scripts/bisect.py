"""bisect: since when upstream does what a patch does, with as few runs as monotony allows, then confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from scripts.environments import Ready
from scripts.errors import UsageError
from scripts.evidence import judge
from scripts.lock import read_lock
from scripts.model import Cell, Patch, Release, Verdict
from scripts.repository import Repository
from scripts.status import Choice, Run
from scripts.trials import Trials
from scripts.unreleased import history, parse, subject
from scripts.vendor import bring

Place = tuple[str | None, ...]
"""Everything of a cell but its release."""

_SILENT = frozenset({Verdict.UNTESTED, Verdict.UNSUPPORTED, Verdict.UNPROVEN})
GOOD = {
    "absorbed": frozenset({Verdict.ABSORBED}),
    "configurable": frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE}),
}


@dataclass(frozen=True)
class Found:
    """Since when a patch is absorbed or configurable: the place in the history, and words that say how sure that is."""

    patch: str
    kind: str
    at: int | None
    words: str


def first_good(count: int, good: Callable[[int], bool | None]) -> tuple[int | None, int | None]:
    """Return the last bad and the first good of `count` steps, where bad ones come first; None for one that is not there.

    Asks at most 2 + log2(count) times. A step that says nothing (None) is passed over for its neighbours, so what is returned
    are neighbours unless all between them say nothing.
    """
    if count == 0 or not good(count - 1):
        return (count - 1 if count else None), None
    if count == 1 or good(0):
        return None, 0
    bad, well = 0, count - 1
    while True:
        nearest = sorted(range(bad + 1, well), key=lambda step: abs(2 * step - bad - well))
        said = next(((step, word) for step in nearest if (word := good(step)) is not None), None)
        if said is None:
            return bad, well
        bad, well = (bad, said[0]) if said[1] else (said[0], well)


def bisect(repo: Repository, patches: Sequence[str], source: str | None, *, fresh: bool = False) -> tuple[list[Found], int, int]:
    """Search the tracked releases or the commits of a range; return what was found, the steps there are and the runs it took."""
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        steps: Sequence[Release] = lock.releases
        if source is not None:
            wanted = parse(source)
            if wanted is None or not wanted.is_range:
                raise UsageError(f"not a range: {source!r}", hint="give git:URL@A..B")
            steps = history(repo, lock, wanted)
            lock = replace(lock, releases=tuple(sorted({*lock.releases, *steps}, key=lambda release: release.key)))
        run = Run(repo, lock, Choice(patches=tuple(patches), fresh=fresh, bare=True))
        try:
            search = _Search(repo, run.trials, steps, run.scope.all_cells, told=source is not None)
            return [found for patch in run.scope.patches for found in search.of(patch)], len(steps), run.prober.ran
        finally:
            run.prober.close()


@dataclass(frozen=True)
class _Search:
    """The steps of a history and the means to ask about each of them."""

    repo: Repository
    trials: Trials
    steps: Sequence[Release]
    cells: Sequence[Cell]
    told: bool

    def of(self, patch: Patch) -> Iterator[Found]:
        """Search for each kind; what settings do is only asked where upstream alone does not."""
        places = [place for place in dict.fromkeys(cell.place for cell in self.cells) if self._here(patch, place)]
        for kind, good in GOOD.items():
            if kind == "configurable" and not patch.replaced_by:
                continue
            asked = [number for number in range(len(self.steps)) if self._cells(patch, number, places)]

            def holds(index: int, good: frozenset[Verdict] = good, asked: Sequence[int] = asked) -> bool | None:
                verdict = self._verdict(patch, asked[index], places)
                return None if verdict is None else verdict in good

            yield self._found(patch, kind, asked, first_good(len(asked), holds), places)

    def _found(
        self,
        patch: Patch,
        kind: str,
        asked: Sequence[int],
        span: tuple[int | None, int | None],
        places: Sequence[Place],
    ) -> Found:
        if not asked:
            return Found(patch.id, kind, None, "no cell here can say")
        last_bad, first = span
        if first is None:
            return Found(patch.id, kind, None, f"not {kind} up to {self._name(asked[-1])}")
        if last_bad is None:
            return Found(patch.id, kind, asked[first], f"{kind} in {self._name(asked[first])} already, the first of them")
        at, before = asked[first], asked[last_bad]
        silent = f"; nothing can be said of the {first - last_bad - 1} before it" if first - last_bad > 1 else ""
        sure = self._confirmed(patch, before, at, places, GOOD[kind])
        return Found(patch.id, kind, at, f"{kind} in {self._name(at)}{silent}; {sure}")

    def _confirmed(self, patch: Patch, before: int, at: int, places: Sequence[Place], good: frozenset[Verdict]) -> str:
        """Ask both sides of the change in every place that runs both, so that an environment's change is not upstream's."""
        shared = [place for place in places if self._cells(patch, before, [place]) and self._cells(patch, at, [place])]
        agree = [place for place in shared if self._changes(patch, before, at, place, good)]
        if not shared:
            return f"not confirmed: no environment runs it and {self._name(before)}"
        names = ", ".join("@".join(filter(None, place)) for place in agree)
        if len(agree) < len(shared):
            return f"confirmed in {names or 'no environment'} of {len(shared)}"
        return f"confirmed in {names}, where {self._name(before)} fails"

    def _changes(self, patch: Patch, before: int, at: int, place: Place, good: frozenset[Verdict]) -> bool:
        old, new = self._verdict(patch, before, [place]), self._verdict(patch, at, [place])
        return old is not None and old not in good and new in good

    def _verdict(self, patch: Patch, number: int, places: Sequence[Place]) -> Verdict | None:
        """Run a step in the first place that says something of the patch; None where no place does."""
        for cell in self._cells(patch, number, places):
            self.trials.add(patch, [cell], try_series=False)
            self.trials.run()
            verdict = judge(cell, self.trials.facts[patch, cell]).verdict
            if verdict not in _SILENT:
                return verdict
        return None

    def _cells(self, patch: Patch, number: int, places: Sequence[Place]) -> list[Cell]:
        version = self.steps[number].version
        return [cell for cell in self.cells if cell.release == version and cell.place in places and self._meets(patch, cell)]

    def _here(self, patch: Patch, place: Place) -> bool:
        return any(self._meets(patch, cell) for cell in self.cells if cell.place == place)

    def _meets(self, patch: Patch, cell: Cell) -> bool:
        ready = self.trials.ready(cell)
        return isinstance(ready, Ready) and ready.meets(patch.needs)

    def _name(self, number: int) -> str:
        release = self.steps[number]
        return f"{release.commit[:10]} ({subject(self.repo, release)})" if self.told else release.version
