"""Find the interpreters from which environments are made."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import python_discovery


@cache  # a search starts interpreters
def find_interpreter(version: str) -> Path | None:
    """Return a Python of that version, even if its version manager has not selected it, or None."""
    found = python_discovery.get_interpreter(
        f"cpython{version}", env=os.environ | {"PATH": _search_path()}
    )
    # `system_executable` is not a version manager's shim.
    path = (found.system_executable or found.executable) if found else None
    return Path(path) if path else None


def _search_path() -> str:
    """Return PATH, followed by the folders of interpreters that pyenv and uv manage."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python")).expanduser()
    managed = sorted(
        str(path) for path in (*pyenv.glob("versions/*/bin"), *uv.glob("cpython-*/bin"))
    )
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *managed])
