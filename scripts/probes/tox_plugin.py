"""Provide the environments and cells of `fork.toml` as tox environments; `toxfile.py` loads this.

`tox list` shows them. An environment holds upstream's requirements. A cell runs its probes in the
environment that it shares with other cells, so `tox run -e CELL` runs by hand what `status` runs
for all cells.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tox.config.loader.memory import MemoryLoader
from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State

from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.probes.environments import requirements, search_path

_KEYRING = ["DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "KEYRING_*", "PYTHON_KEYRING_*", "XDG_*"]
"""The variables that a keyring needs to give the index password to the uv that tox starts."""


def hooks(root: Path) -> tuple[Callable[[], Iterable[str]], Callable[[ConfigSet, State], None]]:
    """Return tox's two hooks for the fork in the folder `root`.

    Also extend PATH, so that tox finds the same interpreters as the tooling.
    """
    os.environ["PATH"] = search_path()
    repo = Repository(root)
    # Before the first `pin` there is no lock, and so no cell.
    cells = repo.config.matrix_cells(read_lock(repo.lock_file)) if repo.lock_file.exists() else []

    @impl
    def tox_extend_envs() -> Iterable[str]:
        return [*(item.id for item in repo.config.all_environments), *(cell.id for cell in cells)]

    # tox passes `core_conf` by name.
    @impl
    def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:  # noqa: ARG001
        for item in repo.config.all_environments:
            state.conf.memory_seed_loaders[item.id].append(
                MemoryLoader(
                    description=f"Python {item.python} with {', '.join(item.requires)}",
                    base_python=[f"python{item.python}"],
                    package="skip",
                    deps=requirements(repo, item),
                    pass_env=_KEYRING,
                )
            )
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
