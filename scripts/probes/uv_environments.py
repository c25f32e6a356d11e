"""Make environments for one purpose with uv: a cell's requirements, and what is tested there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from scripts.core.config import Environment
from scripts.core.console import progress
from scripts.core.errors import EnvironmentFailedError
from scripts.core.repository import Repository, write_atomically
from scripts.core.result_cache import digest
from scripts.core.subprocesses import run
from scripts.probes.environments import (
    MissingEnvironment,
    ReadyEnvironment,
    client_variables,
    find_interpreter,
    missing_environment,
    read_environment,
    site_packages,
)

_RECIPE = "recipe.json"


@dataclass(frozen=True)
class WheelFile:
    """A wheel to install, identified by its content."""

    path: Path
    sha256: str


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
    folder = repo.work / "environments" / name
    recipe = json.dumps(
        digest(environment.python, list(requires), wheel.sha256 if wheel else "")
    ).encode()
    if not _is_current(folder, recipe):
        if find_interpreter(environment.python) is None:
            return missing_environment(environment)
        with progress(f"making the environment {name} (uv)", None):
            create_environment(
                repo, folder, environment, [*requires, *([str(wheel.path)] if wheel else [])]
            )
        # Written last, so that an environment that a kill left half made has no recipe.
        write_atomically(folder / _RECIPE, recipe)
    return require_environment(folder, environment)


def create_environment(
    repo: Repository,
    folder: Path,
    environment: Environment,
    requires: Sequence[str],
    variables: Mapping[str, str] | None = None,
) -> None:
    """Make a new environment in a folder and install requirements.

    `variables` override those that name the index.
    """
    python = find_interpreter(environment.python)
    assert python is not None, environment.python
    env = client_variables(repo) | dict(variables or {})
    run([find_uv_bin(), "venv", "--quiet", "--clear", "--python", python, folder], env=env)
    command: list[str | Path] = [
        find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--python",
        folder / "bin" / "python",
        *requires,
    ]
    run(command, env=env, hint="check the index and what fork.toml requires, then run this again")


def require_environment(folder: Path, environment: Environment) -> ReadyEnvironment:
    """Return the environment in a folder; raise EnvironmentFailedError if there is none."""
    ready = read_environment(folder, environment)
    if ready is None:
        raise EnvironmentFailedError(
            f"uv did not make the environment {environment.id}", hint="run this again"
        )
    return ready


def installed_file(ready: ReadyEnvironment, name: str) -> bytes | None:
    """Return the content of an installed file by its path in `site-packages`, or None."""
    site = site_packages(ready.python.parent.parent)
    path = site / name if site else None
    return path.read_bytes() if path and path.is_file() else None


def _is_current(folder: Path, recipe: bytes) -> bool:
    try:
        return (folder / _RECIPE).read_bytes() == recipe and (folder / "bin" / "python").exists()
    except OSError:
        return False
