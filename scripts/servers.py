"""The servers that probes talk to: programs from wheels, on private sockets, gone when their run is."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from mirakuru.exceptions import ExecutorError
from mirakuru.unixsocket import UnixSocketExecutor

from scripts.config import Server
from scripts.errors import EnvironmentFailedError

START_SECONDS = 30

_GUARD = Path(__file__).parent / "cell" / "guard.py"


@cache
def program(server: Server) -> Path | None:
    """Find a server's program: in its wheel, else on PATH; None where it is not here."""
    name = server.command[0]
    if server.wheel is None:
        found = shutil.which(name)
        return Path(found) if found else None
    try:
        files = importlib.metadata.files(server.wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.name == name]
    return next((path for path in paths if path.is_file() and os.access(path, os.X_OK)), None) or _repaired(paths)


def identity(server: Server) -> str:
    """Return what results depend on: the wheel's version, or the program's own words where it comes from PATH."""
    if server.wheel is not None:
        return f"{server.wheel} {importlib.metadata.version(server.wheel)} {' '.join(server.command)}"
    path = program(server)
    assert path is not None
    return f"{path} {path.stat().st_mtime_ns} {' '.join(server.command)}"


@contextmanager
def running(server: Server) -> Iterator[str]:
    """Run an empty server of one's own and give its address; raises EnvironmentFailedError where it does not start."""
    path = program(server)
    if path is None:
        raise EnvironmentFailedError(f"the server {server.id} is not here", hint=absence(server))
    with tempfile.TemporaryDirectory(prefix="fork-") as folder:
        words = {"socket": f"{folder}/s", "folder": folder}
        command = [
            sys.executable,
            "-S",
            "-E",
            str(_GUARD),
            str(path),
            *(part.format(**words) for part in server.command[1:]),
        ]
        executor = UnixSocketExecutor(
            command,
            words["socket"],
            timeout=START_SECONDS,
            sleep=0.01,
            expected_returncode=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        try:
            with executor:
                yield server.url.format(**words)
        except ExecutorError as error:
            raise EnvironmentFailedError(f"the server {server.id} did not start: {error}", hint=absence(server)) from error


def absence(server: Server) -> str:
    """Say how to get a server that is missing."""
    return f"install {server.wheel or server.command[0]} (it comes with `nox -s status`)"


def _repaired(paths: list[Path]) -> Path | None:
    """Put back the executable bit that some installers drop."""
    for path in paths:
        if path.is_file():
            path.chmod(0o755)
            return path
    return None
