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
from scripts.core.repository import Repository, write_whole
from scripts.core.result_cache import digest
from scripts.core.subprocesses import run
from scripts.probes.environments import (
    Absent,
    Ready,
    client_variables,
    found_in,
    interpreter,
    missing,
    site_packages,
)

_RECIPE = "recipe.json"


@dataclass(frozen=True)
class WheelFile:
    """A wheel to install, identified by its content."""

    path: Path
    sha256: str


def install(
    repo: Repository,
    name: str,
    environment: Environment,
    requires: Sequence[str],
    wheel: WheelFile | None = None,
) -> Ready | Absent:
    """Return the environment `name` with requirements and optionally a wheel.

    It is made again if one of these changed. Raise EnvironmentFailedError if uv cannot install
    something.
    """
    folder = repo.work / "environments" / name
    recipe = json.dumps(
        digest(environment.python, list(requires), wheel.sha256 if wheel else "")
    ).encode()
    if not _made(folder, recipe):
        if interpreter(environment.python) is None:
            return missing(environment)
        with progress(f"making the environment {name} (uv)", None):
            fill(repo, folder, environment, [*requires, *([str(wheel.path)] if wheel else [])])
        write_whole(folder / _RECIPE, recipe)
    return ready_in(folder, environment)


def fill(
    repo: Repository,
    folder: Path,
    environment: Environment,
    requires: Sequence[str],
    variables: Mapping[str, str] | None = None,
) -> None:
    """Make a new environment in a folder and install requirements.

    `variables` override those that name the index.
    """
    python = interpreter(environment.python)
    assert python is not None, environment.python
    known = client_variables(repo) | dict(variables or {})
    run([find_uv_bin(), "venv", "--quiet", "--clear", "--python", python, folder], env=known)
    words: list[str | Path] = [
        find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--python",
        folder / "bin" / "python",
        *requires,
    ]
    run(words, env=known, hint="check the index and what fork.toml requires, then run this again")


def ready_in(folder: Path, environment: Environment) -> Ready:
    """Return the environment in a folder; raise EnvironmentFailedError if there is none."""
    ready = found_in(folder, environment)
    if ready is None:
        raise EnvironmentFailedError(
            f"uv did not make the environment {environment.id}", hint="run this again"
        )
    return ready


def installed_file(ready: Ready, name: str) -> bytes | None:
    """Return the content of an installed file by its path in `site-packages`, or None."""
    site = site_packages(ready.python.parent.parent)
    path = site / name if site else None
    return path.read_bytes() if path and path.is_file() else None


def _made(folder: Path, recipe: bytes) -> bool:
    try:
        return (folder / _RECIPE).read_bytes() == recipe and (folder / "bin" / "python").exists()
    except OSError:
        return False
