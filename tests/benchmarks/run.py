"""Measure the caches side by side on one server: `nox -s bench`, in about a quarter of an hour.

Prints a table of ratios, writes all figures as JSON and draws them. `--quick` shows that it runs
and proves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE.parent)]

from benchmarks import contenders, measurements, report  # noqa: E402
from support.postgresql import postgresql  # noqa: E402

from scripts.core.config import Server  # noqa: E402
from scripts.core.console import progress  # noqa: E402
from scripts.core.errors import Exit, ForkError  # noqa: E402
from scripts.core.repository import Repository  # noqa: E402
from scripts.core.subprocesses import stop_all  # noqa: E402
from scripts.probes.servers import run_server  # noqa: E402


def main() -> int:
    """Do what the command line says."""
    options = parse_arguments(sys.argv[1:])
    try:
        found = measure_all(options)
    except ForkError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        stop_all()
        return int(Exit.INTERRUPTED)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.output / "figures.md").write_text(report.markdown(found))
    from benchmarks import plots  # which needs matplotlib

    plots.draw(found, options.output)
    report.print_table(found)
    return int(Exit.OK)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Decode the command line."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument(
        "--environment", default="py311-django5.2", help="an environment of fork.toml"
    )
    parser.add_argument("--server", default="valkey9", help="a server of fork.toml")
    parser.add_argument("--steps", type=int, default=2500, help="of the workload that is judged")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / ".fork" / "benchmark",
        help="a folder for what is written",
    )
    parser.add_argument("--quick", action="store_true", help="a small part of each measure")
    return parser.parse_args(arguments)


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Run every measure and return the figures."""
    repo = Repository(ROOT)
    began, load = time.monotonic(), os.getloadavg()[0]
    setup = contenders.prepare_setup(repo, options.environment)
    kind = repo.config.server(options.server)
    assert kind is not None
    found = measure(setup, kind, QUICK if options.quick else FULL)
    found["workload"] = judge_workload(options)
    found["machine"] = report.describe_machine(setup, options, load, time.monotonic() - began)
    return found


@dataclass(frozen=True)
class Sizes:
    """How much of each measure to take."""

    rounds: int
    """Of operations, and of loads; the median of the rounds counts."""
    load_rounds: int
    load_seconds: float
    rows: int
    """Saved in one transaction."""
    transactions: int
    results: int
    """Cached, for the memory of one."""
    dependents: Sequence[int]
    processes: int = 4
    """Of each contender under load."""


FULL = Sizes(80, 5, 2, 3_500, 3, 3_000, (1_000, 10_000, 100_000, 1_000_000))
QUICK = Sizes(4, 1, 0.5, 100, 1, 200, (1_000, 10_000))


def measure(setup: contenders.BenchmarkSetup, kind: Server, sizes: Sizes) -> dict[str, Any]:
    """Run every measure of the contenders on one server of the cache, and on both databases."""
    windows = len(sizes.dependents) * len(setup.contenders)
    with (
        running_stores(setup, kind) as stores,
        contenders.running_workers(setup, stores) as workers,
        closing(contenders.latency_client(setup, stores.server)) as client,
        progress("measuring", 2 * len(measurements.OPERATIONS) + windows + 5) as advance,
    ):
        one = measurements.Benchmark(setup, stores, workers, client)
        load = sizes.load_rounds, sizes.load_seconds, sizes.processes
        found: dict[str, Any] = {"contenders": [contender.name for contender in setup.contenders]}
        found["operations"] = measurements.operations(one, sizes.rounds, advance)
        for name, take in {
            "calls": lambda: measurements.calls(one),
            "transaction": lambda: measurements.large_transaction(
                one, sizes.rows, sizes.transactions
            ),
            "memory": lambda: measurements.memory(one, sizes.results),
            "throughput": lambda: measurements.throughput(one, *load),
            "pages": lambda: measurements.api_pages(one, *load),
        }.items():
            found[name] = take()
            advance()
        found["waits"] = measurements.waits(one, sizes.dependents, advance)
    return found


@contextmanager
def running_stores(setup: contenders.BenchmarkSetup, kind: Server) -> Iterator[contenders.Stores]:
    """Run the cache's server and PostgreSQL, and give them with a folder for SQLite's files."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="fork-bench-", dir=shared) as folder,
        run_server(kind) as server,
        postgresql(setup.python) as address,
    ):
        yield contenders.Stores(server, Path(folder), address)


def judge_workload(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Judge the fixed Rover workload by the oracle: needless drops and stale reads."""
    from oracle import run as oracle

    steps = str(200 if options.quick else options.steps)
    words = [
        "--steps",
        steps,
        "--workload",
        "rover",
        "--shrink",
        "0",
        "--environment",
        options.environment,
    ]
    columns = oracle.judge_subjects(oracle.parse_arguments(words))
    return [{"name": column.name, **column.count} for column in columns]


if __name__ == "__main__":
    sys.exit(main())
