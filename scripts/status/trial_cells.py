"""The cell in which a feature is tried: a named one, or the first default one that will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scripts.core.config import Config, did_you_mean
from scripts.core.errors import EnvironmentFailedError, UsageError
from scripts.core.model import Cell, Feature, Lock, Release
from scripts.core.repository import Repository
from scripts.probes.environments import MissingEnvironment, ReadyEnvironment, make_environments
from scripts.probes.prober import Prober
from scripts.probes.servers import find_program, install_hint

Environments = dict[str, ReadyEnvironment | MissingEnvironment]


def candidate_cells(config: Config, lock: Lock, release: Release, name: str) -> list[Cell]:
    """Return the default cells of a release, or the named cell; raise UsageError if none is."""
    if name:
        return [_named_cell(config, lock, release, name)]
    found = [cell for cell in config.default_cells(lock) if cell.release == release.version]
    if not found:
        raise UsageError(
            f"no environment runs {release.version}",
            hint="edit fork.toml: environments.releases",
        )
    return found


def _named_cell(config: Config, lock: Lock, release: Release, name: str) -> Cell:
    cells = {cell.id: cell for cell in config.matrix_cells(lock)}
    here = [cell.id for cell in cells.values() if cell.release == release.version]
    if name not in cells:
        text = f"there is no cell {name}{did_you_mean(name, here)}"
        raise UsageError(text, hint="nox -s matrix -- --list")
    if name not in here:
        raise UsageError(
            f"{name} is a cell of {cells[name].release},"
            f" and the imported tree is based on {release.version}",
            hint="nox -s matrix -- --list",
        )
    return cells[name]


@dataclass
class CellChooser:
    """Chooses cells, and makes their environments one after the other until one will do."""

    repo: Repository
    cells: Sequence[Cell]
    prober: Prober
    environments: Environments = field(default_factory=dict)

    def choose(self, feature: Feature) -> Cell:
        """Return the first cell that runs a feature; raise EnvironmentFailedError without one."""
        reasons = {}
        for cell in self.cells:
            reasons[cell.id] = self._why_not(feature, cell)
            if not reasons[cell.id]:
                return cell
        lines = [f"  - {name}: {reason}" for name, reason in reasons.items()]
        raise EnvironmentFailedError(
            "\n".join([f"{feature.id} cannot be tried here:", *lines]),
            hint="provide what is missing, or give another cell with --cell NAME",
        )

    def _why_not(self, feature: Feature, cell: Cell) -> str:
        """Return why a cell cannot run a feature here, or an empty text."""
        config = self.repo.config
        servers = filter(None, (config.server(cell.server), config.database(cell.database)))
        absent = [server for server in servers if find_program(server) is None]
        absent += self.prober.missing_extra_servers(feature.probes)
        if absent:
            return f"the server {absent[0].id} is not here: {install_hint(absent[0])}"
        environment = self._environment(cell)
        if isinstance(environment, MissingEnvironment):
            return environment.reason
        return (
            ""
            if environment.meets(feature.needs)
            else f"the feature needs {', '.join(feature.needs)}"
        )

    def _environment(self, cell: Cell) -> ReadyEnvironment | MissingEnvironment:
        if cell.environment not in self.environments:
            wanted = [self.repo.config.environment(cell.environment)]
            for ready in make_environments(self.repo, wanted):
                self.environments.update(ready)
        return self.environments[cell.environment]
