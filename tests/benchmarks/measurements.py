"""Measurements of all contenders, in turn, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from benchmarks.contenders import BenchmarkSetup, Contender, WorkerProcess, address, worker

READS = ("one row", "page of 20", "count", "IN of 1,000")
DEPENDENTS = (1_000, 10_000, 100_000, 1_000_000)
TARGET, OTHER = 11, 12
"""Categories: the one whose row many results depend on, and one that nothing depends on."""

_WINDOW = 0.4
_SEED = """
local value = string.rep('x', 200)
for i = ARGV[1], ARGV[2] do
    redis.call('set', 'seeded:' .. i, value)
    if KEYS[1] ~= '' then redis.call('sadd', KEYS[1], 'seeded:' .. i) end
end
"""
_STEP = 10_000


@dataclass(frozen=True)
class Benchmark:
    """The contenders' processes, their server, and a client that measures its latency."""

    setup: BenchmarkSetup
    server: str
    folder: Path
    workers: dict[str, WorkerProcess]
    latency_client: WorkerProcess

    def database(self, contender: Contender) -> redis.Redis:
        """Return a client of a contender's part of the server."""
        return redis.Redis.from_url(address(self.server, contender.number))


def measure_in_turn(
    benchmark: Benchmark, rounds: int, command: str, times: int, **arguments: Any
) -> dict[str, list[float]]:
    """Ask every contender for a few, then every one again: the seconds of each round."""
    found: dict[str, list[float]] = {name: [] for name in benchmark.workers}
    for _ in range(rounds):
        for name, process in benchmark.workers.items():
            found[name].append(process.call(command, times=times, **arguments))
    return found


def operations(benchmark: Benchmark, advance: Callable[[], None]) -> dict[str, dict[str, float]]:
    """Measure hits, fills and saves: seconds, the median of the rounds."""
    found = {}
    asked: list[tuple[str, int, str, int, dict[str, Any]]] = [
        *(
            (f"hit: {read}", 120, "time_hits", 3 if "IN" in read else 8, {"read": read})
            for read in READS
        ),
        ("fill", 60, "time_fills", 4, {}),
        ("save", 60, "time_saves", 3, {}),
    ]
    for name, rounds, command, times, arguments in asked:
        measure_in_turn(benchmark, 2, command, times, **arguments)
        rows = measure_in_turn(benchmark, rounds, command, times, **arguments)
        found[name] = {contender: statistics.median(seconds) for contender, seconds in rows.items()}
        advance()
    return found


def large_transaction(benchmark: Benchmark, rows: int) -> dict[str, dict[str, float]]:
    """Save many rows in a transaction."""
    return {
        name: process.call("save_in_transaction", rows=rows)
        for name, process in benchmark.workers.items()
    }


def waits(
    benchmark: Benchmark, sizes: Sequence[int], advance: Callable[[], None]
) -> list[dict[str, Any]]:
    """Measure another client's waits while a row is saved: one with many dependents, and one with none, in equal windows."""
    found = []
    for size in sizes:
        for contender in benchmark.setup.contenders:
            for _ in range(3):
                pair = _window_pair(benchmark, contender, size)
                found.append({"contender": contender.name, "dependents": size, **pair})
                if pair["with"]["save"] > 1:
                    break
            advance()
    return found


def _window_pair(benchmark: Benchmark, contender: Contender, size: int) -> dict[str, Any]:
    process, database = benchmark.workers[contender.name], benchmark.database(contender)
    process.call("save_in", category=OTHER)
    process.call("save_in", category=TARGET)
    process.call("cache_dependent", category=TARGET)
    if contender.kind != "none":
        seed(database, size)
    length = _WINDOW
    without = _window(benchmark, process, OTHER, length)
    with_many = _window(benchmark, process, TARGET, length)
    database.flushdb(asynchronous=True)
    time.sleep(0.2)
    return {"with": with_many, "without": without}


def seed(database: redis.Redis, size: int) -> None:
    """Put that many dependents beside the one real result: keys, and their names where a cache keeps a set of them."""
    sets = [
        key
        for key in database.scan_iter(match=f"*category_id={TARGET}*", count=10_000)
        if database.type(key) == b"set"
    ]
    for start in range(0, size, _STEP):
        database.eval(_SEED, 1, sets[0] if sets else "", start, min(start + _STEP, size) - 1)


def _window(
    benchmark: Benchmark, process: WorkerProcess, category: int, length: float
) -> dict[str, float]:
    end = time.monotonic() + length
    benchmark.latency_client.call("open_window")
    seconds = process.call("save_in", category=category)
    time.sleep(max(0.0, end - time.monotonic()))
    return {**benchmark.latency_client.call("close_window"), "save": seconds}


def memory(benchmark: Benchmark, results: int) -> dict[str, float]:
    """Return the bytes that the server takes for a result, measured on so many."""
    found = {}
    for contender in benchmark.setup.contenders:
        if contender.kind == "none":
            continue
        database = benchmark.database(contender)
        database.flushdb()
        before = _settled_memory(database)
        benchmark.workers[contender.name].call("cache_distinct_results", number=results)
        found[contender.name] = (_settled_memory(database) - before) / results
        database.flushdb()
    return found


def _settled_memory(database: redis.Redis) -> int:
    """Return the memory in use once the server no longer moves or frees anything."""
    last, used = -1, int(database.info("memory")["used_memory"])
    while abs(used - last) > 1024:
        time.sleep(0.5)
        last, used = used, int(database.info("memory")["used_memory"])
    return used


def throughput(
    benchmark: Benchmark, rounds: int, seconds: float, processes: int
) -> dict[str, float]:
    """Return how many operations a second several processes of a contender do together, 95 reads to 5 writes."""
    found: dict[str, list[float]] = {contender.name: [] for contender in benchmark.setup.contenders}
    with ExitStack() as stack:
        teams: dict[str, list[WorkerProcess]] = {name: [] for name in found}
        for contender in benchmark.setup.contenders:
            for _ in range(processes):
                teams[contender.name].append(
                    worker(benchmark.setup, contender, benchmark.server, benchmark.folder)
                )
                stack.callback(teams[contender.name][-1].close)
        for number in range(rounds + 1):
            for name, team in teams.items():
                for place, process in enumerate(team):
                    process.send_call("run_mixed_load", seconds=seconds, seed=10 * number + place)
                found[name].append(sum(process.receive() for process in team) / seconds)
    return {name: statistics.median(rates[1:]) for name, rates in found.items()}
