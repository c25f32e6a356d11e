"""Provide the cells of `fork.toml` as tox environments; `toxfile.py` loads this.

`tox list` shows them, and `tox run -e CELL` runs by hand what `status` runs for all cells. tox
installs nothing for that: the tooling makes the environment that the cell shares with others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tox.config.loader.memory import MemoryLoader
from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State

from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository


def hooks(root: Path) -> tuple[Callable[[], Iterable[str]], Callable[[ConfigSet, State], None]]:
    """Return tox's two hooks for the fork in the folder `root`."""
    repo = Repository(root)
    # Before the first `pin` there is no lock, and so no cell.
    cells = repo.config.matrix_cells(read_lock(repo.lock_file)) if repo.lock_file.exists() else []

    @impl
    def tox_extend_envs() -> Iterable[str]:
        return [cell.id for cell in cells]

    # tox passes `core_conf` by name.
    @impl
    def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:  # noqa: ARG001
        for cell in cells:
            state.conf.memory_seed_loaders[cell.id].append(
                MemoryLoader(
                    description="every probe on "
                    f"{' with '.join(filter(None, (cell.release, *cell.configuration)))}",
                    package="skip",
                    allowlist_externals=[sys.executable],
                    commands=[f"{sys.executable} -m scripts --repo {root} cell {cell.id}"],
                    set_env=f"PYTHONPATH={Path(__file__).parents[2]}",
                    pass_env=["*"],
                )
            )

    return tox_extend_envs, tox_add_core_config
