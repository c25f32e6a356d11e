"""The figures as a table of ratios, and a sentence about the machine."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.contenders import BenchmarkSetup
from rich.table import Table

from scripts.core.console import out

Row = tuple[str, list[str]]
_WORKLOAD = {"series": 0, "bare": 1, "bare-insideout": 2}
_MISSING = "–"
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
BESIDE_NO_CACHE = (
    "hit: one row",
    "hit: page of 20 through a foreign key",
    "hit: count over 100,000 rows",
)


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
        f"{said['cores']} cores ({said['processor']}), load {said['load at the start']} at the "
        f"start; Python {said['python']}, Django {said['django']}, redis-py {said['redis-py']}, "
        f"{said['server']} on a socket; {said['date']}, {said['seconds']} s in all."
    )


def rows(found: dict[str, Any]) -> list[Row]:
    """Return what the table says, a row a measure."""
    return [
        *_operations(found),
        *_beside_no_cache(found),
        *_transactions(found),
        *(_row(found, f"memory: {kind}", values) for kind, values in found["memory"].items()),
        *(
            _row(found, f"four processes, 95 % reads, {TITLES[database]} (rate)", values)
            for database, values in found["throughput"].items()
        ),
        *_pages(found),
        *_waits(found),
        *_judged(found),
    ]


def _row(
    found: dict[str, Any], title: str, values: Mapping[str, float], base: str | None = None
) -> Row:
    """Return a row of ratios to a contender, upstream's default mode if none is named."""
    base = base or found["contenders"][1]
    return title, [_ratio(values.get(name), values.get(base)) for name in found["contenders"]]


def _operations(found: dict[str, Any]) -> list[Row]:
    made = []
    for measure, calls in found["calls"].items():
        made += [
            _row(found, f"{measure}, {TITLES[database]} (time)", measures[measure])
            for database, measures in found["operations"].items()
        ]
        made.append(_row(found, "… (calls of Python functions)", calls))
    return made


def _beside_no_cache(found: dict[str, Any]) -> list[Row]:
    measures = found["operations"]["postgresql"]
    return [
        _row(found, f"{name}, PostgreSQL, beside no cache (time)", measures[name], "no cache")
        for name in BESIDE_NO_CACHE
    ]


def _transactions(found: dict[str, Any]) -> list[Row]:
    made: list[Row] = []
    for database, measured in found["transaction"].items():
        title = f"3,500 saves in a transaction, {TITLES[database]} (time)"
        made.append(_row(found, title, {name: one["seconds"] for name, one in measured.items()}))
        made += [
            (
                f"… round trips{where}",
                [f"{measured[name]['trips' + where]:,}" for name in found["contenders"]],
            )
            for where in ("", " at commit")
        ]
    return made


def _pages(found: dict[str, Any]) -> list[Row]:
    made = []
    for key, unit in {"rate": "requests a second", "p50": "p50", "p99": "p99"}.items():
        values = {name: one[key] for name, one in found["pages"].items()}
        made.append(_row(found, f"page of the API, four processes ({unit})", values))
        made.append(_row(found, "… beside no cache", values, "no cache"))
    return made


def _waits(found: dict[str, Any]) -> list[Row]:
    return [
        (
            f"{what} wait beside a save with {size:,} dependents*",
            [wait_ratio(found, name, size, what) for name in found["contenders"]],
        )
        for size in sorted({one["dependents"] for one in found["waits"]})
        for what in ("longest", "p99.9")
    ]


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
        "* against an equal window with a save that nothing depends on. Dependents are seeded in "
        "bulk beside one real result; the waits are those of another client that sends GET and "
        "PING without a pause. Both databases are in memory and near: what no cache costs depends "
        "on yours. The page of the API is Django REST framework's and django-filter's: 20 rows, "
        "three free filters, one through a foreign key, on PostgreSQL, 95 requests to 5 saves."
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
