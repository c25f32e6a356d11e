"""The objects that a run of `status` works with, and the environments that it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.probes.environments import MissingEnvironment, ReadyEnvironment, make_environments
from scripts.probes.prober import Prober
from scripts.series.apply import TreeBuilder
from scripts.status.scheduler import ColumnScheduler
from scripts.status.selection import Selection, scope_of
from scripts.verdicts.summary import Scope


@dataclass
class RunContext:
    """The scope of a run, and what runs it.

    `environments` grows as they become ready.
    """

    repo: Repository
    lock: Lock
    selection: Selection
    scope: Scope
    environments: dict[str, ReadyEnvironment | MissingEnvironment]
    builder: TreeBuilder
    prober: Prober
    scheduler: ColumnScheduler
    pending_environments: Iterator[Mapping[str, ReadyEnvironment | MissingEnvironment]]

    def wait_for_environments(self) -> Iterator[None]:
        """Yield whenever more environments are ready."""
        for ready in self.pending_environments:
            self.environments.update(ready)
            yield


@contextmanager
def run_context(repo: Repository, lock: Lock, selection: Selection) -> Iterator[RunContext]:
    """Yield the context of a run, and stop its interpreters and servers at the end."""
    scope = scope_of(repo, lock, selection)
    used = {cell.environment for cell in scope.all_cells}
    wanted = [item for item in repo.config.all_environments if item.id in used]
    environments: dict[str, ReadyEnvironment | MissingEnvironment] = {}
    store = ResultCache(repo.work / "results", fresh=selection.fresh)
    builder = TreeBuilder(repo, lock, scope.series, store)
    prober = Prober(repo, builder, store, environments, specs=scope.series.probes)
    scheduler = ColumnScheduler(builder, prober, scope, environments)
    with closing(prober), closing(make_environments(repo, wanted)) as pending:
        yield RunContext(
            repo, lock, selection, scope, environments, builder, prober, scheduler, pending
        )
