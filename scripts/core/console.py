"""Output of a running verb: messages and progress on stderr, so that stdout can be piped."""

from __future__ import annotations

import io
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PIPED_WIDTH = 160
"""Columns of piped output if COLUMNS is not set: wide enough that no row of the table wraps."""

REPORT_SECONDS = 10
"""Seconds between two progress reports where there is no terminal to draw a bar on."""

err = Console(stderr=True, highlight=False, soft_wrap=True)
_knows_width = os.environ.get("COLUMNS", "").isdigit() or (
    sys.stdout is not None and sys.stdout.isatty()  # it is None if it was closed (`>&-`)
)
out = Console(highlight=False, width=None if _knows_width else PIPED_WIDTH)


_running: list[Progress] = []
"""The progress bars that are open, innermost last."""


def info(message: str) -> None:
    """Print a message that is not the verb's result to stderr."""
    err.print(message, markup=False)


def typed_command() -> str:
    """Return the command line of this process as the user would type it again."""
    program, *words = sys.argv
    # nox and `python -m scripts` give this path; anything else is shown as it is.
    if not program.endswith("scripts/__main__.py"):
        return shlex.join([Path(program).name, *words])
    if words and not words[0].startswith("-"):
        return shlex.join(["nox", "-s", words[0], *(["--", *words[1:]] if words[1:] else [])])
    return shlex.join(["python", "-m", "scripts", *words])


class Advance(Protocol):
    """A callback that advances a progress bar."""

    def __call__(
        self, done: float = 1, *, total: float | None = None, text: str | None = None
    ) -> None:
        """Add `done` to the progress, and change the total or the text if given."""


@contextmanager
def progress(text: str, total: float | None) -> Iterator[Advance]:
    """Show a bar on a terminal; elsewhere print a line at once and one every REPORT_SECONDS.

    A terminal shows one bar at a time. A progress that begins inside another is printed as lines.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    shown = err.is_terminal and not _running
    with Progress(*columns, console=err, transient=True, disable=not shown) as bar:
        task = bar.add_task(text, total=total)

        def advance(
            done: float = 1, *, total: float | None = None, text: str | None = None
        ) -> None:
            bar.update(task, advance=done, total=total, description=text)

        _running.append(bar)
        try:
            with nullcontext() if shown else _print_progress_lines(bar):
                yield advance
        finally:
            _running.remove(bar)


@contextmanager
def heartbeat(verb: str) -> Iterator[None]:
    """Report every REPORT_SECONDS that a verb is still running, if stderr is not a terminal.

    Nothing is printed while a `progress` is open, because it prints its own lines.
    """
    began = time.monotonic()

    def line() -> str:
        return "" if _running else f"{verb}: at work for {time.monotonic() - began:.0f} s"

    with nullcontext() if err.is_terminal else _print_periodically(line):
        yield


@contextmanager
def _print_progress_lines(bar: Progress) -> Iterator[None]:
    """Print what has begun, and its progress every REPORT_SECONDS."""
    (task,) = bar.tasks
    began = time.monotonic()

    def line() -> str:
        share = "" if task.total is None else f"{task.completed:.0f} of {task.total:.0f}, "
        return f"{task.description}: {share}{time.monotonic() - began:.0f} s"

    info(task.description)
    with _print_periodically(line):
        yield


@contextmanager
def _print_periodically(line: Callable[[], str]) -> Iterator[None]:
    """Print the line every REPORT_SECONDS, unless it is empty."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_SECONDS):
            text = line()
            if text:
                info(text)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _PipeTolerantStream(io.FileIO):
    """A stream that drops output once its reader has closed the pipe; the work continues."""

    def write(self, data: object) -> int:
        """Write the data, or drop it if the pipe is closed."""
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except BrokenPipeError:
            # With less than all bytes, the buffer above would keep the rest and write it again.
            return memoryview(data).nbytes  # type: ignore[arg-type]


def ignore_closed_pipes() -> None:
    """Make `status | head -1` end with the verb's own exit code and without an error message."""
    sys.stdout, sys.stderr = _tolerate_closed_pipe(sys.stdout), _tolerate_closed_pipe(sys.stderr)


def _tolerate_closed_pipe(stream: Any) -> Any:
    """Wrap a standard stream; one closed before the start (`>&-`) is None and stays None."""
    if stream is None:
        return stream
    raw = _PipeTolerantStream(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=stream.line_buffering
    )
