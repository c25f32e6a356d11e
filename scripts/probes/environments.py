"""Make environments with uv: the cells' while probes run in those that are ready, and others.

An environment is the folder `.fork/environments/NAME`. Its recipe tells whether it is up to date.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import json
import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from scripts.core.config import Environment
from scripts.core.console import info, progress, typed_command
from scripts.core.errors import EnvironmentFailedError
from scripts.core.repository import Repository, write_atomically
from scripts.core.result_cache import digest
from scripts.core.subprocesses import run, stoppable_pool
from scripts.probes.interpreters import find_interpreter

_PARALLEL_BUILDS = 4
"""How many environments are made at once.

Downloads wait for the network, and probes run in the environments that are ready.
"""

BATCH_SECONDS = 2
"""How long a ready environment waits for others, so that their probes run in parallel."""

_RECIPE = "recipe.json"


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


@dataclass(frozen=True)
class WheelFile:
    """A wheel to install, identified by its content."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class _Plan:
    """What an environment is made of, and where."""

    repo: Repository
    name: str
    environment: Environment
    requires: Sequence[str]
    wheel: WheelFile | None = None

    @property
    def _folder(self) -> Path:
        return self.repo.work / "environments" / self.name

    @property
    def _recipe(self) -> bytes:
        wheel = self.wheel.sha256 if self.wheel else ""
        return json.dumps(digest(self.environment.python, list(self.requires), wheel)).encode()

    def find(self) -> ReadyEnvironment | MissingEnvironment | None:
        """Return an environment that is up to date or cannot be made, or None: it must be made."""
        with suppress(OSError):
            if (self._folder / _RECIPE).read_bytes() == self._recipe:
                ready = _read_environment(self._folder, self.environment)
                if ready:
                    return ready
        python = self.environment.python
        if find_interpreter(python) is None:
            return MissingEnvironment(
                f"Python {python} is not here; get it with `uv python install {python}`"
            )
        return None

    def make(self) -> ReadyEnvironment:
        """Make the environment anew."""
        wheel = [str(self.wheel.path)] if self.wheel else []
        ready = create_environment(
            self.repo, self._folder, self.environment, [*self.requires, *wheel]
        )
        # Written last, so that an environment that a kill left half made has no recipe.
        write_atomically(self._folder / _RECIPE, self._recipe)
        return ready


def make_environments(
    repo: Repository, environments: Iterable[Environment]
) -> Generator[dict[str, ReadyEnvironment | MissingEnvironment], None, None]:
    """Yield the cells' environments by id as they become ready.

    The first ones are those that exist or cannot be made, then each that uv makes. Raise
    EnvironmentFailedError if uv cannot install one. Closing this stops what is being made.
    """
    plans = [_cell_plan(repo, item) for item in environments]
    found = {plan.name: plan.find() for plan in plans}
    yield {name: item for name, item in found.items() if item is not None}
    make = [plan for plan in plans if found[plan.name] is None]
    if not make:
        return
    info(f"making {len(make)} environments (uv): {','.join(plan.name for plan in make)}")
    with stoppable_pool(_PARALLEL_BUILDS) as pool:
        futures = {pool.submit(plan.make): plan.name for plan in make}
        while futures:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
            done, _ = concurrent.futures.wait(futures, timeout=BATCH_SECONDS)
            yield {futures.pop(future): future.result() for future in done}


def ensure_environment(
    repo: Repository,
    name: str,
    environment: Environment,
    requires: Sequence[str],
    wheel: WheelFile | None = None,
) -> ReadyEnvironment | MissingEnvironment:
    """Return the environment `name` with requirements and optionally a wheel.

    It is made again if one of these changed. Raise EnvironmentFailedError if uv cannot install
    something.
    """
    plan = _Plan(repo, name, environment, requires, wheel)
    found = plan.find()
    if found is None:
        with progress(f"making the environment {name} (uv)", None):
            return plan.make()
    return found


def create_environment(
    repo: Repository,
    folder: Path,
    environment: Environment,
    requires: Sequence[str],
    variables: Mapping[str, str] | None = None,
) -> ReadyEnvironment:
    """Make a new environment in a folder and install requirements.

    `variables` override those that name the index. Raise EnvironmentFailedError if uv cannot.
    """
    python = find_interpreter(environment.python)
    assert python is not None, environment.python
    env = client_variables(repo) | dict(variables or {})
    hint = f"check the index and what fork.toml requires, then `{typed_command()}`"
    uv, target = find_uv_bin(), ["--python", str(folder / "bin" / "python")]
    if folder.is_symlink():  # or else uv would empty an environment that others share
        folder.unlink()
    run([uv, "venv", "--quiet", "--clear", "--python", python, folder], env=env, hint=hint)
    run([uv, "pip", "install", "--quiet", *target, *requires], env=env, hint=hint)
    ready = _read_environment(folder, environment)
    if ready is None:
        raise EnvironmentFailedError(f"uv did not make {folder}", hint=typed_command())
    return ready


def requirements(repo: Repository, environment: Environment) -> list[str]:
    """Return the requirements that probes have in an environment."""
    return [*environment.requires, *repo.config.probes.requires]


def client_variables(repo: Repository) -> dict[str, str]:
    """Return the process environment for clients of the index.

    It names the one index and has nothing of an environment in which this process runs.
    """
    foreign = ("UV_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return kept | repo.index_settings.environment()


def installed_file(ready: ReadyEnvironment, name: str) -> bytes | None:
    """Return the content of an installed file by its path in `site-packages`, or None."""
    site = _site_packages(ready.python.parent.parent)
    path = site / name if site else None
    return path.read_bytes() if path and path.is_file() else None


def _cell_plan(repo: Repository, environment: Environment) -> _Plan:
    return _Plan(repo, environment.id, environment, requirements(repo, environment))


def _read_environment(folder: Path, environment: Environment) -> ReadyEnvironment | None:
    """Return the environment in a folder with its installed versions, or None if there is none."""
    python, site = folder / "bin" / "python", _site_packages(folder)
    if not python.exists() or site is None:
        return None
    installed = importlib.metadata.distributions(path=[str(site)])
    versions = {canonicalize_name(item.metadata["Name"]): item.version for item in installed}
    return ReadyEnvironment(python, versions | {"python": _python_version(folder, environment)})


def _site_packages(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("lib/python*/site-packages"))), None)


def _python_version(folder: Path, environment: Environment) -> str:
    found = re.search(
        r"^version(?:_info)?\s*=\s*([\d.]+)", (folder / "pyvenv.cfg").read_text(), re.MULTILINE
    )
    return found[1].rstrip(".") if found else environment.python
