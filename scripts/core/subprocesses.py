"""The one way to run another program: log, capture, report failures, and stop all at Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import EnvironmentFailedError, redact

log = logging.getLogger(__name__)

_FULL = re.compile(r"No space left on device|diskspace|unable to write|write error")
"""How programs, mostly git, report that the disk is full."""

TIMED_OUT = -1000
"""The return code of a program that was stopped at its timeout."""

_lock = threading.Lock()
_stopping = threading.Event()
_running: dict[subprocess.Popen[bytes], threading.Event] = {}
"""The programs that run, with the event after which their thread starts no other."""
_thread = threading.local()


@dataclass(frozen=True)
class Completed:
    """The result of a program that has finished."""

    command: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")

    @property
    def error_output(self) -> str:
        """Standard error as text, or standard output if that is empty."""
        return (self.stderr or self.stdout).decode(errors="replace").strip()


def run(
    command: Sequence[str | Path],
    *,
    ok: Collection[int] | None = (0,),
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    hint: str = "",
) -> Completed:
    """Run a program in its own process group and return its output.

    `ok` are the return codes that are results rather than failures (None: all). `timeout` is in
    seconds; after it the code is TIMED_OUT. Raises EnvironmentFailedError with the program's own
    message otherwise, and KeyboardInterrupt if the run is being stopped.
    """
    words = tuple(str(word) for word in command)
    log.debug("$ %s", redact(shlex.join(words)))
    process = start(words, cwd=cwd, env=env)
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        _kill(process)
        stdout, stderr = process.communicate()
        code = TIMED_OUT
    finally:
        kill_group(process)
    # It may have failed only because `stop_all` killed it.
    if is_stopping():
        raise KeyboardInterrupt
    done = Completed(words, code, stdout, stderr)
    if ok is not None and code not in ok:
        raise command_error(done, hint)
    return done


def command_error(done: Completed, hint: str = "") -> EnvironmentFailedError:
    """Return the error for a program that failed, with the program's own message."""
    full = "free some disk space, then run this again" if _FULL.search(done.error_output) else ""
    text = f"`{shlex.join(done.command)}` ended with {done.code}:\n{done.error_output[-4000:]}"
    return EnvironmentFailedError(text, hint=full or hint)


def start(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    discard_stderr: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, unless the run is being stopped.

    Its standard streams are pipes; `discard_stderr` discards standard error. The caller must call
    `kill_group`.
    """
    pipe = subprocess.PIPE
    errors = subprocess.DEVNULL if discard_stderr else pipe
    words = [str(word) for word in command]
    with _lock:  # so that `stop_all` cannot run between the check and the start
        if is_stopping():
            raise KeyboardInterrupt
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env=env,
                stdin=pipe,
                stdout=pipe,
                stderr=errors,
                start_new_session=True,  # so Ctrl-C reaches this process alone, which stops all
            )
        except FileNotFoundError as error:
            raise EnvironmentFailedError(f"cannot run {words[0]}: {error.strerror}") from error
        _running[process] = _own_event()
        return process


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program's whole process group, including grandchildren, and close its streams."""
    _kill(process)
    process.wait()
    for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
        with contextlib.suppress(OSError):
            stream.close()
    with _lock:
        _running.pop(process, None)


def stop_all() -> None:
    """Kill every program started here; from now on, starting another raises KeyboardInterrupt."""
    _stopping.set()
    with _lock:
        for process in _running:
            _kill(process)


@contextlib.contextmanager
def stoppable_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; leaving it by an exception kills the programs that they run."""
    event = threading.Event()
    with ThreadPoolExecutor(
        workers, initializer=setattr, initargs=(_thread, "event", event)
    ) as pool:
        try:
            yield pool
        except BaseException:  # Ctrl-C too
            event.set()
            with _lock:
                for process in [item for item, own in _running.items() if own is event]:
                    _kill(process)
            pool.shutdown(cancel_futures=True)
            raise


def is_stopping() -> bool:
    """Return whether the run, or the pool of this thread, is being stopped."""
    return _stopping.is_set() or _own_event().is_set()


def _own_event() -> threading.Event:
    event: threading.Event = getattr(_thread, "event", _stopping)
    return event


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
