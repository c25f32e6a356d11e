"""Read `upstream/lock.toml` with every field checked, and write it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from scripts.core.errors import UsageError, problems_error
from scripts.core.model import Lock, Release
from scripts.core.repository import write_atomically

_HEADER = "# Written by `nox -s pin`; checked by `nox -s vendor`. Not edited by hand.\n"


class _Release(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    version: Annotated[str, Field(pattern=r"^\d[\w.+!]*$")]
    # The name becomes a path below `.fork/sdists`.
    file: Annotated[str, Field(pattern=r"^[^/\\]+\.tar\.gz$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    uploaded: AwareDatetime  # the date of the release's commit, so its id depends on it
    tree: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class _Lock(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    locked: str
    release: list[_Release]


def read_lock(path: Path) -> Lock:
    """Decode the lock file; raise UsageError with what is wrong and how to recreate it."""
    hint = "git restore upstream/lock.toml\nrm upstream/lock.toml && nox -s pin"
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        data = _Lock.model_validate(raw)
    except FileNotFoundError as error:
        raise UsageError(
            "nothing is pinned yet: upstream/lock.toml is missing", hint="nox -s pin"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"upstream/lock.toml is not TOML: {error}", hint=hint) from error
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise problems_error("upstream/lock.toml is wrong:", problems, hint=hint) from error
    lock = Lock(
        data.name, data.locked, tuple(Release(**item.model_dump()) for item in data.release)
    )
    if lock.release(lock.locked) is None:
        raise UsageError(
            f"upstream/lock.toml locks {lock.locked}, which it does not pin", hint=hint
        )
    if len(set(lock.versions)) != len(lock.versions):
        raise UsageError("upstream/lock.toml pins a version twice", hint=hint)
    return lock


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock file atomically."""
    fields = ("version", "file", "size", "sha256", "uploaded", "tree", "commit")
    releases = [{name: getattr(release, name) for name in fields} for release in lock.releases]
    text = _HEADER + tomli_w.dumps({"name": lock.name, "locked": lock.locked, "release": releases})
    write_atomically(path, text.encode())
