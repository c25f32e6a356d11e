"""What a person sees while a verb works: messages and progress on stderr, so that stdout can be piped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PIPED_WIDTH = 160
"""Columns of what is piped: wide enough that no row of the table wraps."""

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def say(message: str) -> None:
    """Tell a person something that is not the result."""
    err.print(message, markup=False)


class Advance(Protocol):
    """Moves a progress bar on."""

    def __call__(self, done: float = 1, *, total: float | None = None, text: str | None = None) -> None:
        """Add to what is done, and change the total or the text where given."""


@contextmanager
def progress(text: str, total: float | None) -> Iterator[Advance]:
    """Show a bar on a terminal, and one line at the start where stderr is not one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    if not err.is_terminal:
        say(text)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(text, total=total)

        def advance(done: float = 1, *, total: float | None = None, text: str | None = None) -> None:
            bar.update(task, advance=done, total=total, description=text)

        yield advance
