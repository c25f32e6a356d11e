"""Make the environments of the cells with tox, while probes run in those that are ready.

The tooling itself starts their interpreters.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import python_discovery
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.core.config import Environment
from scripts.core.console import info
from scripts.core.errors import EnvironmentFailedError, UsageError
from scripts.core.repository import Repository, write_atomically
from scripts.core.result_cache import digest
from scripts.core.subprocesses import run, stop_all

_PARALLEL_BUILDS = 4
"""How many environments are made at once.

Downloads wait for the network, and probes run in the environments that are ready.
"""

TOXFILE = "toxfile.py"
TOXFILE_TEMPLATE = Path(__file__).with_name("toxfile_template.py")
"""What `init` writes into a new fork, too."""

BATCH_SECONDS = 2
"""How long a ready environment waits for others, so that their probes run in parallel."""


@dataclass(frozen=True)
class ReadyEnvironment:
    """An environment that can run probes: its interpreter and the installed versions."""

    python: Path
    versions: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """Return a digest of the interpreter's version and every installed version."""
        return digest(sorted(self.versions.items()))

    def meets(self, needs: Iterable[str]) -> bool:
        """Return whether the environment satisfies requirements such as `Django>=6`."""
        for need in map(Requirement, needs):
            version = self.versions.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                return False
        return True


@dataclass(frozen=True)
class MissingEnvironment:
    """An environment that cannot be made here: the reason, and how to get it."""

    reason: str


def make_environments(
    repo: Repository, environments: Iterable[Environment]
) -> Iterator[dict[str, ReadyEnvironment | MissingEnvironment]]:
    """Yield environments by id as they become ready.

    The first ones are those that exist or cannot be made, then each that tox makes. Raise
    EnvironmentFailedError if tox cannot install one.
    """
    wanted = list(environments)
    stale = [item for item in wanted if not _is_current(repo, item)]
    absent = {
        item.id: missing_environment(item)
        for item in stale
        if find_interpreter(item.python) is None
    }
    make = [item for item in stale if item.id not in absent]
    yield absent | {item.id: _ready(repo, item) for item in wanted if item not in stale}
    if not make:
        return
    _require_toxfile(repo)
    info(f"making {len(make)} environments (tox): {','.join(item.id for item in make)}")
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=_PARALLEL_BUILDS)
    try:
        futures = {pool.submit(_run_tox, repo, item): item for item in make}
        while futures:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
            done, _ = concurrent.futures.wait(futures, timeout=BATCH_SECONDS)
            for future in done:
                future.result()
            yield {item.id: _ready(repo, item) for item in map(futures.pop, done)}
    except KeyboardInterrupt:
        stop_all()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _require_toxfile(repo: Repository) -> None:
    """Raise UsageError without a toxfile.py.

    tox would take the ids of environments for names of its own, and look for other interpreters.
    """
    if not (repo.root / TOXFILE).is_file():
        raise UsageError(
            f"there is no {TOXFILE} in {repo.root}: it gives tox the environments of fork.toml",
            hint=f"git restore {TOXFILE}\n"
            f"cp {shlex.quote(str(TOXFILE_TEMPLATE))} {shlex.quote(str(repo.root / TOXFILE))}",
        )


def find_interpreter(version: str) -> Path | None:
    """Return a Python of that version, even if its version manager has not selected it, or None."""
    found = python_discovery.get_interpreter(
        f"cpython{version}", env=os.environ | {"PATH": search_path()}
    )
    # `system_executable` is not a version manager's shim.
    path = (found.system_executable or found.executable) if found else None
    return Path(path) if path else None


def search_path() -> str:
    """Return PATH, followed by the folders of interpreters that pyenv and uv manage."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python")).expanduser()
    managed = sorted(
        str(path) for path in (*pyenv.glob("versions/*/bin"), *uv.glob("cpython-*/bin"))
    )
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *managed])


def requirements(repo: Repository, environment: Environment) -> list[str]:
    """Return the requirements that tox installs into an environment."""
    return [*environment.requires, *repo.config.probes.requires]


def client_variables(repo: Repository) -> dict[str, str]:
    """Return the process environment for tox and uv.

    It names the one index and has nothing of an environment in which this process runs.
    """
    foreign = ("TOX_", "UV_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return kept | repo.index_settings.environment()


def tox_variables(repo: Repository) -> dict[str, str]:
    """Return the process environment for tox, in which toxfile.py can import this package."""
    return client_variables(repo) | {"PYTHONPATH": str(Path(__file__).parents[2])}


def _folder(repo: Repository, environment: Environment) -> Path:
    return repo.root / ".tox" / environment.id


def _recipe(repo: Repository, environment: Environment) -> str:
    return digest(environment.python, requirements(repo, environment))


def _is_current(repo: Repository, environment: Environment) -> bool:
    """Return whether an environment exists and was made from the same recipe."""
    folder = _folder(repo, environment)
    try:
        recipe = json.loads((folder / "recipe.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(recipe == _recipe(repo, environment)) and (folder / "bin" / "python").exists()


def _run_tox(repo: Repository, environment: Environment) -> None:
    # What is there was made from another recipe, or by a run that was killed.
    arguments = ["run", "--notest", "--recreate", "-e", environment.id]
    run(
        [sys.executable, "-m", "tox", *arguments],
        cwd=repo.root,
        env=tox_variables(repo),
        hint=_retry_command(environment),
    )
    # Written last, so that an environment that a kill left half made has no recipe.
    write_atomically(
        _folder(repo, environment) / "recipe.json", json.dumps(_recipe(repo, environment)).encode()
    )


def read_environment(folder: Path, environment: Environment) -> ReadyEnvironment | None:
    """Return the environment in a folder with its installed versions, or None if there is none."""
    python, site = folder / "bin" / "python", site_packages(folder)
    if not python.exists() or site is None:
        return None
    installed = importlib.metadata.distributions(path=[str(site)])
    versions = {canonicalize_name(item.metadata["Name"]): item.version for item in installed}
    return ReadyEnvironment(python, versions | {"python": _python_version(folder, environment)})


def site_packages(folder: Path) -> Path | None:
    """Return the folder of an environment's packages, or None."""
    return next(iter(sorted(folder.glob("lib/python*/site-packages"))), None)


def _ready(repo: Repository, environment: Environment) -> ReadyEnvironment:
    ready = read_environment(_folder(repo, environment), environment)
    if ready is None:
        raise EnvironmentFailedError(
            f"tox did not make {environment.id}", hint=_retry_command(environment)
        )
    return ready


def _retry_command(environment: Environment) -> str:
    """Return the command that makes one environment alone, with more output.

    tox is installed in the environment of this interpreter.
    """
    return f"{shlex.quote(sys.executable)} -m tox run --notest -e {environment.id}"


def _python_version(folder: Path, environment: Environment) -> str:
    found = re.search(
        r"^version(?:_info)?\s*=\s*([\d.]+)", (folder / "pyvenv.cfg").read_text(), re.MULTILINE
    )
    return found[1].rstrip(".") if found else environment.python


def missing_environment(environment: Environment) -> MissingEnvironment:
    """Return how to get the interpreter of an environment."""
    return MissingEnvironment(
        f"Python {environment.python} is not here; "
        f"get it with `uv python install {environment.python}`"
    )
