"""Run the servers that probes use: programs from wheels, on private sockets or ports.

They stop when their run ends.
"""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from mirakuru.base import cleanup_subprocesses
from mirakuru.exceptions import ExecutorError, ProcessFinishedWithError
from mirakuru.tcp import TCPExecutor
from mirakuru.unixsocket import UnixSocketExecutor

from scripts.core.config import Server
from scripts.core.errors import EnvironmentFailedError
from scripts.core.subprocesses import run

START_SECONDS = 30
_NOBODY = "nobody"
_GUARD = Path(__file__).parent / "cell" / "guard.py"
# The golden section of 10,000: processes with adjacent ids start far apart.
_SPREAD = 6181
# Two servers that start at the same time must not find the same port free.
_port_offsets = count()

# At exit, mirakuru kills the servers of every process whose id begins with this one's.
# The guard stops the servers of this process.
atexit.unregister(cleanup_subprocesses)


@cache
def find_program(server: Server) -> Path | None:
    """Return a server's program, or None if it is missing or cannot run here.

    It comes from the server's wheel, or from PATH if the server has none.
    """
    found = _find_executable(server.command[0], server.wheel)
    return found if found is not None and not _refuses_root(server, found) else None


@cache
def server_identity(server: Server) -> str:
    """Return what results depend on: a server's origin, version or file on PATH, and options."""
    path = find_program(server)
    assert path is not None
    version = origin(server) if server.wheel else f"{path} {path.stat().st_mtime_ns}"
    options = server.model_dump(exclude={"id", "wheel", "command"}, exclude_defaults=True)
    return f"{version} {' '.join(server.command)} {options}"


def origin(server: Server) -> str:
    """Return the wheel and version that a server comes from, or that it comes from PATH."""
    return (
        f"{server.wheel} {importlib.metadata.version(server.wheel)}"
        if server.wheel
        else f"{server.command[0]} from PATH"
    )


@contextmanager
def run_server(server: Server) -> Iterator[str]:
    """Run a new, empty server and yield its address.

    Raise EnvironmentFailedError if it does not start.
    """
    with ExitStack() as stack:
        nodes = _start(server, stack)
        _reset(server, nodes, "first")
        yield server.url.format(**nodes[0], name="first")


@dataclass
class ServerPool:
    """Servers for one process of probes at a time; those that are slow to start are reused."""

    _idle: dict[str, list[list[dict[str, str]]]] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _borrowed: int = 0

    @contextmanager
    def borrow(self, server: Server | None) -> Iterator[str]:
        """Yield the address of an empty server, or "" if no server is requested."""
        if server is None or not server.reuse:
            with run_server(server) if server else nullcontext("") as url:
                yield url
            return
        with self._lock:
            idle = self._idle.setdefault(server.id, [])
            nodes = idle.pop() if idle else None
            self._borrowed += 1
            name = f"lease{self._borrowed}"
        nodes = nodes or self._start_reusable(server)
        _reset(server, nodes, name)
        yield server.url.format(**nodes[0], name=name)
        # Not reached after an exception: such a server is not reused.
        with self._lock:
            self._idle[server.id].append(nodes)

    def close(self) -> None:
        """Stop the servers that were kept running."""
        self._stack.close()

    def _start_reusable(self, server: Server) -> list[dict[str, str]]:
        with ExitStack() as stack:
            nodes = _start(server, stack)
            with self._lock:
                self._stack.push(stack.pop_all())
        return nodes


def install_hint(server: Server) -> str:
    """Return how to get a server that is missing."""
    found = _find_executable(server.command[0], server.wheel)
    if found is not None and _refuses_root(server, found):
        return f"it refuses to run as root, and {_NOBODY} cannot read {found}; run this as a user"
    if server.wheel:
        return (
            f"install {server.wheel} "
            "(it comes with the session of the verb: nox -s status, nox -s matrix)"
        )
    return f"install {server.command[0]}, so that it is on PATH"


def _start(server: Server, stack: ExitStack) -> list[dict[str, str]]:
    """Start all nodes and join them; return the placeholder values of each for later commands."""
    folder = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="fork-", ignore_cleanup_errors=True))
    )
    nodes = []
    for number in range(server.nodes):
        place = folder / str(number) if server.nodes > 1 else folder
        place.mkdir(exist_ok=True)
        if _drops_root(server):
            shutil.chown(place, _NOBODY)
        nodes.append({"socket": f"{place}/s", "folder": str(place), "port": str(free_port())})
        for command in server.prepare:
            _run_command(server, command, nodes[-1])
        stack.enter_context(_run_node(server, nodes[-1]))
    addresses = [f"127.0.0.1:{node['port']}" for node in nodes]
    for command in server.create_cluster:
        _run_command(server, command, nodes[0], addresses)
    return nodes


@contextmanager
def _run_node(server: Server, values: Mapping[str, str]) -> Iterator[None]:
    path = find_program(server)
    if path is None:
        raise EnvironmentFailedError(
            f"the server {server.id} is not here", hint=install_hint(server)
        )
    command = [
        *_guard_command(server),
        str(path),
        *(part.format(**values) for part in server.command[1:]),
    ]
    ready = server.ready_when.format(**values)
    host, colon, port = ready.rpartition(":")
    options: dict[str, Any] = {
        "timeout": START_SECONDS,
        "sleep": 0.01,
        "expected_returncode": 0,  # what the guard returns if it stopped the server
        "stdin": subprocess.PIPE,  # it closes with this process, which tells the guard to stop
        "stdout": subprocess.DEVNULL,
    }
    executor = (
        TCPExecutor(command, host, int(port), **options)
        if colon
        else UnixSocketExecutor(command, ready, **options)
    )
    try:
        with executor:
            yield
    except ProcessFinishedWithError as error:
        died = f"the server {server.id} died while it was used (code {error.exit_code})"
        raise EnvironmentFailedError(died, hint="run this again with --fresh") from error
    except ExecutorError as error:
        raise EnvironmentFailedError(
            f"the server {server.id} did not start: {error}", hint=install_hint(server)
        ) from error


def _reset(server: Server, nodes: list[dict[str, str]], name: str) -> None:
    for node in nodes:
        for command in server.reset:
            _run_command(server, command, {**node, "name": name})


def _run_command(
    server: Server,
    command: tuple[str, ...],
    values: Mapping[str, str],
    addresses: list[str] | None = None,
) -> None:
    """Run one of a server's commands to its end; `{addresses}` becomes one argument per node."""
    wheel, colon, name = command[0].rpartition(":")
    found = _find_executable(name, wheel if colon else server.wheel)
    if found is None:
        raise EnvironmentFailedError(
            f"{command[0]}, which {server.id} needs, is not here", hint=install_hint(server)
        )
    parts: list[str] = []
    for part in command[1:]:
        parts += addresses or [] if part == "{addresses}" else [part.format(**values)]
    run(
        [*_guard_command(server, "--once"), str(found), *parts],
        cwd=Path(values["folder"]),
        timeout=START_SECONDS,
        hint=install_hint(server),
    )


def _guard_command(server: Server, *values: str) -> list[str]:
    """Return the command that runs a program under the guard, without the program itself.

    The guard stops the program when this process ends, and drops root for a program that refuses
    it.
    """
    user = ["--user", str(pwd.getpwnam(_NOBODY).pw_uid)] if _drops_root(server) else []
    return [sys.executable, "-S", "-E", str(_GUARD), *values, *user]


def _drops_root(server: Server) -> bool:
    return server.unprivileged and os.geteuid() == 0


def _refuses_root(server: Server, path: Path) -> bool:
    """Return whether a program may not run as root and other users cannot reach it."""
    return _drops_root(server) and not all(
        parent.stat().st_mode & 0o001 for parent in path.resolve().parents
    )


def _find_executable(name: str, wheel: str | None) -> Path | None:
    """Return a program by its name, or the end of its path, in a wheel; without a wheel, on PATH.

    Return None if it is missing.
    """
    if wheel is None:
        found = shutil.which(name)
        return Path(found) if found else None
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [
        Path(str(file.locate()))
        for file in files
        if f"/{file}".endswith(f"/{name}") and "../" not in str(file)
    ]
    return next(
        (path for path in paths if path.is_file() and os.access(path, os.X_OK)), None
    ) or _restore_executable_bit(paths)


def _restore_executable_bit(paths: list[Path]) -> Path | None:
    """Return the first program after restoring the executable bit that some installers drop."""
    for path in paths:
        if path.is_file():
            path.chmod(0o755)
            return path
    return None


def free_port() -> int:
    """Return a free port whose cluster bus port, 10,000 above it, is free as well.

    Both are below the ports that systems give to clients, which could take the port before its
    server does. Each process starts at its own offset, so that two processes do not get the same
    port.
    """
    while True:
        port = 10_000 + (os.getpid() * _SPREAD + next(_port_offsets)) % 10_000
        with suppress(OSError), socket.socket() as own, socket.socket() as bus:
            own.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port
