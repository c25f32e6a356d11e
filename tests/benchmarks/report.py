"""The figures as a table of ratios, and the words about the machine that stand beside it."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.contenders import BenchmarkSetup
from rich.table import Table

from scripts.core.console import out

Row = tuple[str, list[str]]
_WORKLOAD = {"series": 0, "bare": 1, "bare-insideout": 2}
_MISSING = "–"


def describe_machine(
    setup: BenchmarkSetup, options: argparse.Namespace, load: float, seconds: float
) -> dict[str, Any]:
    """Say where the figures are from."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": setup.versions["python"],
        "django": setup.versions["django"],
        "redis-py": setup.versions["redis"],
        "server": options.server,
        "load at the start": round(load, 1),
        "seconds": round(seconds),
        "date": datetime.now(UTC).date().isoformat(),
    }


def machine_summary(found: dict[str, Any]) -> str:
    """Sum the machine up in a sentence."""
    said = found["machine"]
    return (
        f"{said['cores']} cores ({said['processor']}), load {said['load at the start']} at the start; Python {said['python']}, "
        f"Django {said['django']} on SQLite, redis-py {said['redis-py']}, {said['server']} on a socket; {said['date']}, "
        f"{said['seconds']} s in all."
    )


def rows(found: dict[str, Any]) -> list[Row]:
    """Return what the table says, a row a measure."""
    names, base = found["contenders"], found["contenders"][1]
    made: list[Row] = []
    for measure, seconds in found["operations"].items():
        made.append((f"{measure} (time)", [_ratio(seconds[name], seconds[base]) for name in names]))
    large = found["transaction"]
    made.append(
        (
            "3,500 saves in a transaction (time)",
            [_ratio(large[n]["seconds"], large[base]["seconds"]) for n in names],
        )
    )
    made += [
        (f"… round trips{where}", [f"{large[n]['trips' + where]:,}" for n in names])
        for where in ("", " at commit")
    ]
    made.append(
        (
            "memory of 100,000 results",
            [_ratio(found["memory"].get(n), found["memory"][base]) for n in names],
        )
    )
    made.append(
        (
            "four processes, 95 % reads (rate)",
            [_ratio(found["throughput"][n], found["throughput"][base]) for n in names],
        )
    )
    for size in sorted({one["dependents"] for one in found["waits"]}):
        for what in ("longest", "p99.9"):
            made.append(
                (
                    f"{what} wait beside a save with {size:,} dependents*",
                    [wait_ratio(found, n, size, what) for n in names],
                )
            )
    return [*made, *_judged(found)]


def wait_ratio(found: dict[str, Any], name: str, size: int, what: str) -> str:
    """Return how many times longer than beside a save without dependents."""
    pairs = [one for one in found["waits"] if (one["contender"], one["dependents"]) == (name, size)]
    return _ratio(
        *(statistics.median(one[which][what] for one in pairs) for which in ("with", "without"))
    )


def _judged(found: dict[str, Any]) -> list[Row]:
    columns = [[_MISSING] * len(found["contenders"]) for _ in range(2)]
    for one in found["workload"]:
        place = _WORKLOAD[one["name"]]
        needless, needed = one.get("drops needless", 0), one.get("drops needed", 0)
        columns[0][place] = (
            f"{100 * needless / (needless + needed):.1f} %" if needless + needed else _MISSING
        )
        columns[1][place] = f"{one.get('stale', 0):,}"
    return [
        ("needless drops, Rover's workload", columns[0]),
        ("stale reads, Rover's workload", columns[1]),
    ]


def print_table(found: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(
        title="Beside upstream's default mode (1 is the same)",
        caption=f"{footnote()}\n{machine_summary(found)}",
    )
    table.add_column("")
    for name in found["contenders"]:
        table.add_column(name, justify="right")
    for measure, cells in rows(found):
        table.add_row(measure, *cells)
    out.print(table)


def markdown(found: dict[str, Any]) -> str:
    """Return the table for a page."""
    lines = [
        _line(["", *found["contenders"]]),
        _line(["---", *["---:"] * len(found["contenders"])]),
    ]
    lines += [_line([measure, *cells]) for measure, cells in rows(found)]
    return "\n".join(
        [
            "Ratios to upstream's default mode; below 1 is less.",
            "",
            *lines,
            "",
            footnote(),
            "",
            machine_summary(found),
            "",
        ]
    )


def footnote() -> str:
    """Explain the starred rows."""
    return (
        "* against an equal window with a save that nothing depends on. Dependents are seeded in bulk beside one real result; "
        "the waits are those of another client that sends GET and PING without a pause. Memory is measured on 10,000 results. The "
        "database is SQLite in memory, so that the caches are compared and not databases: what no cache costs depends on yours."
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2f}" if value is not None and base else _MISSING


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
