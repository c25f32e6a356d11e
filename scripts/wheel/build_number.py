"""The N of `RELEASE+LABEL.N` in `upstream/wheels.toml`: it counts a release's different wheels."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scripts.core.errors import UsageError
from scripts.core.repository import Repository, write_atomically

BUMP_COMMAND = "nox -s wheel -- --bump"
"""The command that increments N."""

_HEADER = (
    "# The number of the wheel on each release, incremented by `nox -s wheel -- --bump`; "
    "1 where none is written.\n"
)


class _Numbers(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    numbers: dict[str, Annotated[int, Field(ge=1)]] = {}


def read_number(repo: Repository, release: str) -> int:
    """Return the number of the wheel on a release; 1 if none is written."""
    return _read(_file(repo)).get(release, 1)


def increment_number(repo: Repository, release: str) -> int:
    """Increment the number of the wheel on a release, and return it."""
    numbers = _read(_file(repo))
    numbers[release] = numbers.get(release, 1) + 1
    write_atomically(_file(repo), (_HEADER + tomli_w.dumps({"numbers": numbers})).encode())
    return numbers[release]


def _file(repo: Repository) -> Path:
    return repo.lock_file.with_name("wheels.toml")


def _read(path: Path) -> dict[str, int]:
    try:
        return _Numbers.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).numbers
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise UsageError(
            f"upstream/{path.name} is wrong: {error}", hint=f"edit upstream/{path.name}"
        ) from error
