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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE.parent)]

from benchmarks import contenders, measurements, plots, report  # noqa: E402
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
    setup = contenders.prepare_setup(repo, options.environment)
    kind = repo.config.server(options.server)
    assert kind is not None
    quick = options.quick
    sizes = measurements.DEPENDENTS[:2] if quick else measurements.DEPENDENTS
    began = time.monotonic()
    load = os.getloadavg()[0]
    found: dict[str, Any] = {"contenders": [one.name for one in setup.contenders]}
    steps = 2 * len(measurements.OPERATIONS) + len(sizes) * len(setup.contenders) + 5
    with (
        running_stores(setup, kind) as stores,
        contenders.running_workers(setup, stores) as workers,
        closing(contenders.latency_client(setup, stores.server)) as client,
        progress("measuring", steps) as advance,
    ):
        benchmark = measurements.Benchmark(setup, stores, workers, client)
        found["operations"] = measurements.operations(benchmark, 4 if quick else 80, advance)
        for name, measure in {
            "calls": lambda: measurements.calls(benchmark),
            "transaction": lambda: measurements.large_transaction(
                benchmark, 100 if quick else 3500, 1 if quick else 3
            ),
            "memory": lambda: measurements.memory(benchmark, 200 if quick else 3000),
            "throughput": lambda: measurements.throughput(
                benchmark, 1 if quick else 5, 0.5 if quick else 1.5, 4
            ),
            "pages": lambda: measurements.api_pages(
                benchmark, 1 if quick else 5, 1 if quick else 3, 4
            ),
        }.items():
            found[name] = measure()
            advance()
        found["waits"] = measurements.waits(benchmark, sizes, advance)
    found["workload"] = judge_workload(options)
    found["machine"] = report.describe_machine(setup, options, load, time.monotonic() - began)
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
