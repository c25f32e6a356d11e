"""status: run every patch's probes where they can change a verdict, and report what upstream has made unnecessary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from scripts.apply import Built, Workshop
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
from scripts.model import (
    DROPPABLE,
    Applies,
    Cell,
    Lock,
    Outcome,
    Patch,
    Release,
    Result,
    Settings,
    State,
    Text,
    Verdict,
)
from scripts.probe import Job, Prober
from scripts.profile import Profile, check_profile, settings_for
from scripts.rebase_state import read_state
from scripts.repository import Repository
from scripts.series import Series, read_series
from scripts.servers import absence, program
from scripts.source import edited_source
from scripts.store import Store
from scripts.vendor import bring
from scripts.verdict import Column, Facts, next_column

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
        return found.report()
    finally:
        found.prober.close()


class _Status:
    """One run of `status`: what is chosen, what is known so far, and the steps from there to the report."""

    def __init__(self, repo: Repository, lock: Lock, choice: Choice) -> None:
        self.repo, self.lock, self.choice = repo, lock, choice
        self.series: Series = read_series(repo, lock)
        self.profile: Profile = check_profile(repo, self.series)
        self.cells = repo.config.cells(lock)
        self.patches = _chosen("patch", choice.patches, {patch.id: patch for patch in self.series.all})
        self.releases = self._chosen_releases()
        self.environments = self._environments()
        store = Store(repo.work / "results", fresh=choice.fresh)
        ready = {name: item for name, item in self.environments.items() if isinstance(item, Ready)}
        self.workshop = Workshop(repo, lock, self.series, store)
        self.prober = Prober(repo, self.workshop, store, ready)
        self.facts: dict[tuple[Patch, Cell], Facts] = {}

    def report(self) -> tuple[Report, Prober]:
        """Run wave after wave of columns until no verdict can change, then sum up."""
        self._add(self.patches, [cell for cell in self.cells if cell.release in self.releases])
        self._run_waves()
        self._look_for_teeth()
        reports = [self._patch_report(patch) for patch in self.patches]
        profile = settings_for(self.profile, self.series, self.lock.locked, None)
        found = Report(
            name=self.lock.name,
            locked=self.lock.locked,
            releases=tuple(self.releases),
            patches=tuple(reports),
            answer=answer(self.lock.name, self.lock.locked, reports, profile),
            smallest=self._smallest(reports),
            warnings=tuple(self._warnings()),
            notes=tuple(self._under_way()),
            skipped=self._skipped(),
        )
        return found, self.prober

    # What to run

    def _chosen_releases(self) -> list[str]:
        """List the releases to report on: those asked for, or those of the cells asked for, or all tracked ones."""
        cells = {cell.id: cell for cell in self.cells}
        if self.choice.cells:
            wanted = {cell.release for cell in _chosen("cell", self.choice.cells, cells)}
        else:
            wanted = {
                release.version
                for release in _chosen("release", self.choice.releases, {item.version: item for item in self.lock.releases})
            }
        return [version for version in self.lock.versions if version in wanted]

    def _environments(self) -> dict[str, Ready | Absent]:
        """Make the environments, and turn those whose server is missing into absent ones."""
        used = {cell.environment for cell in self.cells}
        return prepare(self.repo, [item for item in self.repo.config.environments if item.id in used])

    def _ready(self, cell: Cell) -> Ready | None:
        environment = self.environments[cell.environment]
        server = self.repo.config.server(cell.server)
        if isinstance(environment, Absent) or (server is not None and program(server) is None):
            return None
        return environment

    def _add(self, patches: Sequence[Patch], cells: Sequence[Cell]) -> None:
        """Put patch x cell on the list wherever the cell is here and meets what the patch needs."""
        for patch in patches:
            for cell in cells:
                ready = self._ready(cell)
                chosen = not self.choice.cells or cell.id in self.choice.cells
                if ready is not None and chosen and ready.meets(patch.needs):
                    self.facts.setdefault((patch, cell), self._first_facts(patch, cell))

    def _first_facts(self, patch: Patch, cell: Cell) -> Facts:
        """Say which columns count: the series where it is locked or asked for by name, a retired patch at its base."""
        retired = patch.state is State.RETIRED
        named = bool(self.choice.releases or self.choice.cells)
        facts = Facts(
            alternatives=len(patch.replaced_by),
            retired=retired,
            try_series=not self.choice.bare
            and (cell.release == patch.base if retired else (named or cell.release == self.lock.locked)),
            try_profile=retired and cell.release == self.lock.locked,
        )
        if not facts.try_series:
            return facts
        step = self._built(patch, cell).steps[patch.id]
        return replace(facts, applies=step.applies, applies_detail=step.detail)

    def _run_waves(self) -> None:
        """Run what can still change a verdict until nothing can."""
        while True:
            columns = {key: column for key, facts in self.facts.items() if (column := next_column(facts)) is not None}
            if not columns:
                return
            jobs = {key: self._job(*key, column) for key, column in columns.items()}
            wanted: dict[Job, set[str]] = defaultdict(set)
            for (patch, _), job in jobs.items():
                if isinstance(job, Job):
                    wanted[job] |= self.prober.files(patch.probes)
            self.prober.run(wanted, f"probing ({', '.join(sorted(set(columns.values())))})")
            for key, job in jobs.items():
                result = self.prober.result(job, key[0].probes) if isinstance(job, Job) else job
                self.facts[key] = self.facts[key].known(columns[key], result)

    def _job(self, patch: Patch, cell: Cell, column: Column) -> Job | Result:
        """Return the job of a column, or the result of one that cannot be built."""
        release = self._release(cell.release)
        settings = settings_for(self.profile, self.series, cell.release, patch)
        tree = release.tree
        match column:
            case Column.BARE:
                pass
            case Column.CONFIGURED:
                number = len(self.facts[patch, cell].configured)
                settings = Settings.of(settings.mapping(), patch.replaced_by[number].mapping())
            case Column.PROFILE:
                settings = settings_for(self.profile, self.series, cell.release, None)
            case Column.SERIES:
                tree = self._built(patch, cell).tree
            case Column.WITHOUT:
                built = self._without(patch, release)
                if isinstance(built, Result):
                    return built
                tree = built.tree
        return Job(tree, cell.environment, cell.server, settings)

    def _built(self, patch: Patch, cell: Cell) -> Built:
        """Return the tree of the series column: the whole series, or a retired patch with what it depends on."""
        patches = self.series.needed_by(patch) if patch.state is State.RETIRED else self.series.active
        return self.workshop.build(patches, self._release(cell.release))

    def _without(self, patch: Patch, release: Release) -> Built | Result:
        """Return the series without a patch and its dependents, or why there is no such tree."""
        gone = self.series.dependents(patch)
        whole = self.workshop.build(self.series.active, release)
        built = self.workshop.build(self.series.active, release, without=gone)
        lost = [name for name in whole.applied if name not in built.applied and name not in gone]
        if lost:
            return Result(
                Outcome.MISSING,
                f"cannot be built: without it {', '.join(lost)} no longer applies (an undeclared Depends?)",
            )
        return built

    def _release(self, version: str) -> Release:
        release = self.lock.release(version)
        assert release is not None, version
        return release

    # Teeth

    def _look_for_teeth(self) -> None:
        """Where nothing chosen fails bare, ask the other releases too before a probe is called toothless."""
        soft = [patch for patch in self.patches if self._counts(patch) and not has_teeth(self._release_reports(patch))]
        if soft:
            self._add(soft, self.cells if not self.choice.cells else [])
            self._run_waves()

    def _counts(self, patch: Patch) -> bool:
        return any(key[0] is patch for key in self.facts)

    def _mutation_fails(self, patch: Patch) -> bool:
        """Run the probes on the base with the reverse mutation that the patch names."""
        tree = self.workshop.mutated(patch) if patch.mutation else None
        cells = [cell for cell in self.cells if cell.release == patch.base and self._ready(cell)]
        if tree is None or not cells:
            return False
        job = Job(tree, cells[0].environment, cells[0].server, settings_for(self.profile, self.series, patch.base, patch))
        self.prober.run({job: self.prober.files(patch.probes)}, "probing (mutation)")
        result = self.prober.result(job, patch.probes)
        return result.control and result.outcome is Outcome.FAILED

    # What it comes to

    def _release_reports(self, patch: Patch, *, all_run: bool = True) -> list[ReleaseReport]:
        """Report on every release that was run for a patch."""
        ran = {cell.release for (other, cell) in self.facts if other is patch}
        releases = [version for version in self.lock.versions if version in self.releases or (all_run and version in ran)]
        return [self._release_report(patch, version) for version in releases]

    def _release_report(self, patch: Patch, version: str) -> ReleaseReport:
        cells = [
            cell for cell in self.cells if cell.release == version and (not self.choice.cells or cell.id in self.choice.cells)
        ]
        reports = [judge(cell, self.facts.get((patch, cell), Facts(try_series=False))) for cell in cells]
        applies = next((cell.facts.applies for cell in reports if cell.facts.applies is not Applies.UNTRIED), Applies.UNTRIED)
        return over_cells(version, reports, applies, self._text(patch, version))

    def _text(self, patch: Patch, version: str) -> Text:
        patches = self.series.needed_by(patch) if patch.state is State.RETIRED else self.series.active
        return self.workshop.text(patches, self._release(version)).get(patch.id, Text.UNKNOWN)

    def _patch_report(self, patch: Patch) -> PatchReport:
        """Sum up a patch over its releases."""
        reports = self._release_reports(patch)
        if self._counts(patch) and not has_teeth(reports) and not self._mutation_fails(patch):
            reports = without_teeth(reports)
        reports = older_not_needed(reports)
        whole = not self.choice.releases and not self.choice.cells
        absorbed, note = since(reports, frozenset({Verdict.ABSORBED})) if whole else (None, "")
        configurable, other = since(reports, frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE})) if whole else (None, "")
        shown = tuple(report for report in reports if report.release in self.releases)
        at = next((report for report in reports if report.release == self.lock.locked), shown[-1] if shown else None)
        base = next((report for report in reports if report.release == patch.base), None)
        verdict = at.verdict if at else Verdict.UNTESTED
        if patch.state is State.RETIRED and base is not None and base.verdict is Verdict.BROKEN:
            verdict = Verdict.BROKEN
        notes = tuple(filter(None, (note, other if other != note else "", at.difference if at else "")))
        same = configurable == absorbed
        return PatchReport(patch, verdict, shown, absorbed, None if same else configurable, common_settings(at, patch), notes)

    def _smallest(self, reports: Sequence[PatchReport]) -> tuple[str, ...]:
        """Leave out what can be left out, one patch after the other, as long as every probe still passes."""
        kept = [report.patch.id for report in reports if report.patch.state is State.ACTIVE and report.verdict not in DROPPABLE]
        for report in reports:
            if report.verdict is Verdict.REDUNDANT:
                trial = [name for name in kept if name != report.patch.id]
                if self._all_pass(trial, [item.patch for item in reports if item.patch.id in kept]):
                    kept = trial
        return tuple(kept)

    def _all_pass(self, names: Sequence[str], patches: Sequence[Patch]) -> bool:
        """Tell whether every probe passes at the locked release with just these patches applied."""
        release = self._release(self.lock.locked)
        gone = [patch.id for patch in self.series.active if patch.id not in names]
        built = self.workshop.build(self.series.active, release, without=gone)
        jobs = {
            key: Job(
                built.tree,
                key[1].environment,
                key[1].server,
                settings_for(self.profile, self.series, release.version, key[0]),
            )
            for key in self.facts
            if key[0] in patches and key[1].release == release.version
        }
        wanted: dict[Job, set[str]] = defaultdict(set)
        for (patch, _), job in jobs.items():
            wanted[job] |= self.prober.files(patch.probes)
        self.prober.run(wanted, "probing (smallest series)")
        return set(built.applied) == set(names) and all(
            self.prober.result(job, patch.probes).passed for (patch, _), job in jobs.items()
        )

    def _under_way(self) -> Iterator[str]:
        """Mention a rebase that stopped."""
        state = read_state(self.repo)
        if state is not None:
            why = f": {state.stopped.splitlines()[0]}" if state.stopped else ""
            yield f"a rebase to {state.target} is under way{why}; nox -s rebase -- --continue, --skip or --abort"

    def _warnings(self) -> Iterator[str]:
        locked = self._release(self.lock.locked)
        edits = edited_source(self.repo, locked)
        if edits:
            files = ", ".join(line.replace("\t", " ") for line in edits[:5])
            yield f"upstream/src/ was edited and is not used, the pinned {locked.version} is: {files}; see `nox -s vendor`"

    def _skipped(self) -> dict[str, str]:
        """Name the cells that cannot run here, with the way to get them."""
        found = {}
        for cell in self.cells:
            if cell.release not in self.releases:
                continue
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
