"""status: run every patch's probes where they can change a verdict, and report what upstream has made unnecessary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scripts.apply import Workshop
from scripts.config import near_miss
from scripts.environments import Absent, Ready, prepare
from scripts.errors import UsageError
from scripts.evidence import (
    PatchReport,
    ReleaseReport,
    Report,
    answer,
    common_settings,
    has_teeth,
    judge,
    older_not_needed,
    over_cells,
    since,
    without_teeth,
)
from scripts.lock import read_lock
from scripts.model import DROPPABLE, Applies, Cell, Lock, Patch, State, Text, Verdict
from scripts.probe import Prober
from scripts.profile import check_profile, settings_for
from scripts.rebase_state import read_state
from scripts.repository import Repository
from scripts.series import read_series
from scripts.servers import absence, program
from scripts.source import edited_source
from scripts.store import Store
from scripts.trials import Trials
from scripts.vendor import bring
from scripts.verdict import Facts

_T = TypeVar("_T")


@dataclass(frozen=True)
class Choice:
    """What the command line asks for: releases, patches and cells (empty: all), and whether earlier results count.

    `bare` leaves the series columns out: what does upstream do by itself?
    """

    releases: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    fresh: bool = False
    bare: bool = False

    @property
    def whole(self) -> bool:
        """Whether every release and cell counts, so that something can be said of since when."""
        return not self.releases and not self.cells


def status(repo: Repository, choice: Choice) -> tuple[Report, Prober]:
    """Return the report on the chosen patches and releases, and the prober that knows how much was run."""
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        return examine(repo, lock, choice)


def examine(repo: Repository, lock: Lock, choice: Choice) -> tuple[Report, Prober]:
    """Do what `status` does, for a verb that has the folder to itself and the releases at hand."""
    found = _Status(repo, lock, choice)
    try:
        return found.report(), found.prober
    finally:
        found.prober.close()


class _Status:
    """One run of `status`: what is chosen, and the steps from there to the report."""

    def __init__(self, repo: Repository, lock: Lock, choice: Choice) -> None:
        self.repo, self.lock, self.choice = repo, lock, choice
        self.series = read_series(repo, lock)
        self.profile = check_profile(repo, self.series)
        self.all_cells = repo.config.cells(lock)
        self.patches = _chosen("patch", choice.patches, {patch.id: patch for patch in self.series.all})
        self.cells = self._chosen_cells()
        self.releases = [version for version in lock.versions if any(cell.release == version for cell in self.cells)]
        if not self.releases:
            raise UsageError("no environment runs any of the releases asked for", hint="edit fork.toml: environments.releases")
        self.at = lock.locked if lock.locked in self.releases else self.releases[-1]
        used = {cell.environment for cell in self.all_cells}
        self.environments = prepare(repo, [item for item in repo.config.environments if item.id in used])
        ready = {name: item for name, item in self.environments.items() if isinstance(item, Ready)}
        store = Store(repo.work / "results", fresh=choice.fresh)
        self.workshop = Workshop(repo, lock, self.series, store)
        self.prober = Prober(repo, self.workshop, store, ready)
        self.trials = Trials(self.workshop, self.prober, self.profile, self.environments)

    def report(self) -> Report:
        """Run what is chosen, look for teeth elsewhere where it has none, and sum up."""
        for patch in self.patches:
            for cell in self.cells:
                self.trials.add(patch, [cell], try_series=self._tries_series(patch, cell))
        self.trials.run()
        self._look_for_teeth()
        reports = [self._patch_report(patch) for patch in self.patches]
        profile = settings_for(self.profile, self.series, self.at, None)
        return Report(
            name=self.lock.name,
            locked=self.lock.locked,
            releases=tuple(self.releases),
            patches=tuple(reports),
            answer=answer(self.lock.name, self.at, reports, profile, whole=not self.choice.patches),
            smallest=() if self.choice.patches else self._smallest(reports),
            warnings=tuple(self._warnings()),
            notes=tuple(self._under_way()),
            skipped=self._skipped(),
        )

    def _chosen_cells(self) -> list[Cell]:
        """List the cells to report on: those asked for, or those of the releases asked for, or all."""
        if self.choice.cells:
            return _chosen("cell", self.choice.cells, {cell.id: cell for cell in self.all_cells})
        wanted = _chosen("release", self.choice.releases, {release.version: release for release in self.lock.releases})
        return [cell for cell in self.all_cells if cell.release in {release.version for release in wanted}]

    def _tries_series(self, patch: Patch, cell: Cell) -> bool:
        """Tell whether the series columns count: at the locked release, where asked for by name, a retired patch's always."""
        named = not self.choice.whole or cell.release == self.lock.locked
        return not self.choice.bare and (named or patch.state is State.RETIRED)

    def _look_for_teeth(self) -> None:
        """Where nothing chosen fails bare, ask the other releases too before a probe is called toothless."""
        for patch in self.patches:
            if self._counts(patch) and not has_teeth(self._reports(patch, self.all_cells)):
                self.trials.add(patch, self.all_cells, try_series=False)
        self.trials.run()

    def _counts(self, patch: Patch) -> bool:
        return any(key[0] is patch for key in self.trials.facts)

    def _reports(self, patch: Patch, cells: Sequence[Cell]) -> list[ReleaseReport]:
        """Report on every release that the cells are of."""
        releases = [version for version in self.lock.versions if any(cell.release == version for cell in cells)]
        return [self._release_report(patch, version, [cell for cell in cells if cell.release == version]) for version in releases]

    def _release_report(self, patch: Patch, version: str, cells: Sequence[Cell]) -> ReleaseReport:
        reports = [judge(cell, self.trials.facts.get((patch, cell), Facts(try_series=False))) for cell in cells]
        applies = next((cell.facts.applies for cell in reports if cell.facts.applies is not Applies.UNTRIED), Applies.UNTRIED)
        return over_cells(version, reports, applies, self._text(patch, version))

    def _text(self, patch: Patch, version: str) -> Text:
        release = self.lock.release(version)
        assert release is not None, version
        patches = self.series.needed_by(patch) if patch.state is State.RETIRED else self.series.active
        return self.workshop.text(patches, release).get(patch.id, Text.UNKNOWN)

    def _patch_report(self, patch: Patch) -> PatchReport:
        """Sum up a patch over its releases."""
        reports = self._reports(patch, self.cells)
        teeth = not self._counts(patch) or has_teeth(self._reports(patch, self.all_cells))
        if not teeth and not self.trials.mutation_fails(patch, self.all_cells):
            reports = without_teeth(reports)
        reports = older_not_needed(reports)
        absorbed, note = since(reports, frozenset({Verdict.ABSORBED})) if self.choice.whole else (None, "")
        good = frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE})
        configurable, other = since(reports, good) if self.choice.whole else (None, "")
        at = next(report for report in reports if report.release == self.at)
        return PatchReport(
            patch,
            self._verdict(patch, reports, at),
            tuple(reports),
            absorbed,
            None if configurable == absorbed else configurable,
            common_settings(at, patch),
            tuple(dict.fromkeys(filter(None, (note, other, at.difference)))),
        )

    def _verdict(self, patch: Patch, reports: Sequence[ReleaseReport], at: ReleaseReport) -> Verdict:
        """Return the verdict at the locked release (or the newest asked for); a retired one broken on its base is broken."""
        broken = any(report.release == patch.base and report.verdict is Verdict.BROKEN for report in reports)
        if patch.state is State.RETIRED and broken:
            return Verdict.BROKEN
        return at.verdict

    def _smallest(self, reports: Sequence[PatchReport]) -> tuple[str, ...]:
        """Leave out what can be left out, one patch after the other, as long as every probe still passes."""
        kept = [report.patch for report in reports if report.patch.state is State.ACTIVE and report.verdict not in DROPPABLE]
        names = [patch.id for patch in kept]
        for report in reports:
            if report.verdict is Verdict.REDUNDANT:
                trial = [name for name in names if name != report.patch.id]
                if self.trials.all_pass(trial, kept):
                    names = trial
        return tuple(names)

    def _under_way(self) -> Iterator[str]:
        """Mention a rebase that stopped."""
        state = read_state(self.repo)
        if state is not None:
            why = f": {state.stopped.splitlines()[0]}" if state.stopped else ""
            yield f"a rebase to {state.target} is under way{why}; nox -s rebase -- --continue, --skip or --abort"

    def _warnings(self) -> Iterator[str]:
        locked = self.lock.release(self.lock.locked)
        assert locked is not None
        edits = edited_source(self.repo, locked)
        if edits:
            files = ", ".join(line.replace("\t", " ") for line in edits[:5])
            yield f"upstream/src/ was edited and is not used, the pinned {locked.version} is: {files}; see `nox -s vendor`"

    def _skipped(self) -> Mapping[str, str]:
        """Name the cells that cannot run here, with the way to get them."""
        found = {}
        for cell in self.cells:
            environment, server = self.environments[cell.environment], self.repo.config.server(cell.server)
            if isinstance(environment, Absent):
                found[cell.id] = environment.reason
            elif server is not None and program(server) is None:
                found[cell.id] = f"the server {server.id} is not here: {absence(server)}"
        return found


def _chosen(kind: str, names: Sequence[str], known: dict[str, _T]) -> list[_T]:
    """Return what is asked for by name, or everything; raises UsageError with the near miss."""
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UsageError(f"there is no {kind} {wrong[0]}{near_miss(wrong[0], list(known))}")
    return [known[name] for name in names] if names else list(known.values())
