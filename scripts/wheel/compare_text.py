"""A comparison of two wheels as text: a short table, and every difference in full."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from scripts.core.repository import Repository, write_atomically
from scripts.wheel.compare import Comparison, Difference, compare
from scripts.wheel.contents import WheelContents


def report_comparison(
    repo: Repository, old: WheelContents, new: WheelContents, console: Console
) -> None:
    """Print what differs between two wheels, and write all of it to `.fork/`."""
    found, place = compare(old, new), repo.work / "wheel-changes.txt"
    write_atomically(place, full_text(found).encode())
    console.print()
    print_comparison(found, console, str(place.relative_to(repo.root)))


def print_comparison(comparison: Comparison, console: Console, place: str) -> None:
    """Print how many things differ in each respect; `place` is the file that names them all."""
    console.print(f"the wheel, from {comparison.old} to {comparison.new}", markup=False)
    if not comparison:
        console.print("  nothing differs")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for title in ("added", "removed", "changed"):
        table.add_column(title, justify="right")
    for item in comparison.differences:
        counts = (len(lines) for lines in (item.added, item.removed, item.changed))
        table.add_row(f"  {item.what}", *(str(count) if count else "-" for count in counts))
    console.print(table)
    console.print(f"each of them by name: {place}", markup=False)


def full_text(comparison: Comparison) -> str:
    """Return every difference; a changed signature is below the one before."""
    lines = [f"From {comparison.old} to {comparison.new}"]
    for item in comparison.differences:
        lines += ["", *_lines(item)]
    return "".join(f"{line}\n" for line in lines)


def _lines(item: Difference) -> Iterator[str]:
    yield f"{item.what}:" if item else f"{item.what}: the same"
    for word in ("added", "removed", "changed"):
        for text in getattr(item, word):
            yield textwrap.indent(f"{word:8} {text}", "  ").replace("\n", f"\n{' ' * 9}")
