"""prepare: what a run of `status` works with, and the environments that it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.core.result_cache import Store
from scripts.probes.environments import Absent, Ready, prepare
from scripts.probes.runner import Prober
from scripts.series.apply import Workshop
from scripts.status.scheduler import Trials
from scripts.status.selection import Choice, scope_of
from scripts.verdicts.summary import Scope


@dataclass
class Bench:
    """The scope of a run, and what runs it.

    `environments` grows as they become ready.
    """

    repo: Repository
    lock: Lock
    choice: Choice
    scope: Scope
    environments: dict[str, Ready | Absent]
    workshop: Workshop
    prober: Prober
    trials: Trials
    coming: Iterator[Mapping[str, Ready | Absent]]

    def each_ready(self) -> Iterator[None]:
        """Yield whenever more environments are ready."""
        for ready in self.coming:
            self.environments.update(ready)
            yield


@contextmanager
def prepared(repo: Repository, lock: Lock, choice: Choice) -> Iterator[Bench]:
    """Return the bench of a run; at the end its interpreters are stopped."""
    scope = scope_of(repo, lock, choice)
    used = {cell.environment for cell in scope.all_cells}
    wanted = [item for item in repo.config.all_environments if item.id in used]
    environments: dict[str, Ready | Absent] = {}
    store = Store(repo.work / "results", fresh=choice.fresh)
    workshop = Workshop(repo, lock, scope.series, store)
    prober = Prober(repo, workshop, store, environments, specs=scope.series.probes)
    trials = Trials(workshop, prober, scope, environments)
    try:
        yield Bench(
            repo,
            lock,
            choice,
            scope,
            environments,
            workshop,
            prober,
            trials,
            prepare(repo, wanted),
        )
    finally:
        prober.close()
