"""Measurements of all contenders, in turn, so that other load on the machine meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import redis
from benchmarks.contenders import (
    DATABASES,
    BenchmarkSetup,
    Contender,
    Stores,
    WorkerProcess,
    Workers,
    worker,
)

OPERATIONS = (
    "hit: one row",
    "hit: page of 20",
    "hit: page of 20 through a foreign key",
    "hit: count",
    "hit: count over 100,000 rows",
    "hit: exists",
    "hit: IN of 1,000",
    "fill",
    "save",
    "a queryset, not read",
    "one GET by redis-py",
)
RESULTS = ("one row", "values()", "count", "page of 20 with text")
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
    """The contenders' processes, what they store in, and a client that measures its latency."""

    setup: BenchmarkSetup
    stores: Stores
    workers: Workers
    latency_client: WorkerProcess

    def cache(self, contender: Contender, database: str = "sqlite") -> redis.Redis:
        """Return a client of a contender's part of the server."""
        return redis.Redis.from_url(self.stores.cache_address(contender, database))


def operations(
    benchmark: Benchmark, rounds: int, advance: Callable[[], None]
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure operations on each database: seconds, the median of the rounds.

    Every contender does a few, then every one again.
    """
    found: dict[str, dict[str, dict[str, float]]] = {database: {} for database in DATABASES}
    for database, workers in benchmark.workers.items():
        for name in OPERATIONS:
            times = 3 if "IN" in name else 5
            taken: dict[str, list[float]] = {contender: [] for contender in workers}
            for _ in range(rounds + 2):
                for contender, process in workers.items():
                    seconds = process.call("time_operation", operation=name, times=times)
                    taken[contender].append(seconds)
            # The first rounds warm up.
            found[database][name] = {
                contender: statistics.median(seconds[2:]) for contender, seconds in taken.items()
            }
            advance()
    return found


def calls(benchmark: Benchmark) -> dict[str, dict[str, int]]:
    """Return how many Python functions each operation calls, whatever the machine is."""
    return {
        name: {
            contender: process.call("count_calls", operation=name)
            for contender, process in benchmark.workers["sqlite"].items()
        }
        for name in OPERATIONS
    }


def large_transaction(
    benchmark: Benchmark, rows: int, rounds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Save many rows in a transaction on each database: the round with the median of the times."""
    return {
        database: {
            contender: _median_round(
                [process.call("save_in_transaction", rows=rows) for _ in range(rounds)]
            )
            for contender, process in workers.items()
        }
        for database, workers in benchmark.workers.items()
    }


def _median_round(rounds: list[dict[str, float]]) -> dict[str, float]:
    return sorted(rounds, key=lambda one: one["seconds"])[len(rounds) // 2]


def waits(
    benchmark: Benchmark, sizes: Sequence[int], advance: Callable[[], None]
) -> list[dict[str, Any]]:
    """Measure another client's waits while a row is saved, in equal windows.

    One row has many dependents, the other none.
    """
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
    process, cache = benchmark.workers["sqlite"][contender.name], benchmark.cache(contender)
    process.call("save_in", category=OTHER)
    process.call("save_in", category=TARGET)
    process.call("cache_dependent", category=TARGET)
    if contender.kind != "none":
        seed(cache, size)
    length = _WINDOW
    without = _window(benchmark, process, OTHER, length)
    with_many = _window(benchmark, process, TARGET, length)
    cache.flushdb(asynchronous=True)
    time.sleep(0.2)
    return {"with": with_many, "without": without}


def seed(cache: redis.Redis, size: int) -> None:
    """Put that many dependents beside the one real result.

    They are keys, and their names where a cache keeps a set of them.
    """
    sets = [
        key
        for key in cache.scan_iter(match=f"*category_id={TARGET}*", count=10_000)
        if cache.type(key) == b"set"
    ]
    for start in range(0, size, _STEP):
        cache.eval(_SEED, 1, sets[0] if sets else "", start, min(start + _STEP, size) - 1)


def _window(
    benchmark: Benchmark, process: WorkerProcess, category: int, length: float
) -> dict[str, float]:
    end = time.monotonic() + length
    benchmark.latency_client.call("open_window")
    seconds = process.call("save_in", category=category)
    time.sleep(max(0.0, end - time.monotonic()))
    return {**benchmark.latency_client.call("close_window"), "save": seconds}


def memory(benchmark: Benchmark, results: int) -> dict[str, dict[str, float]]:
    """Return the bytes that the server takes for a result of each kind, measured on so many."""
    return {
        kind: {
            contender.name: _bytes_per_result(benchmark, contender, kind, results)
            for contender in benchmark.setup.contenders
            if contender.kind != "none"
        }
        for kind in RESULTS
    }


def _bytes_per_result(benchmark: Benchmark, contender: Contender, kind: str, results: int) -> float:
    cache = benchmark.cache(contender)
    cache.flushdb()
    before = _settled_memory(cache)
    process = benchmark.workers["sqlite"][contender.name]
    process.call("cache_distinct_results", kind=kind, number=results)
    taken = (_settled_memory(cache) - before) / results
    cache.flushdb()
    return taken


def _settled_memory(cache: redis.Redis) -> int:
    """Return the memory in use once the server no longer moves or frees anything."""
    last, used = -1, int(cache.info("memory")["used_memory"])
    while abs(used - last) > 1024:
        time.sleep(0.5)
        last, used = used, int(cache.info("memory")["used_memory"])
    return used


def throughput(
    benchmark: Benchmark, rounds: int, seconds: float, processes: int
) -> dict[str, dict[str, float]]:
    """Return how many operations a second several processes do together, 95 reads to 5 writes."""
    return {
        database: {
            contender: statistics.median(sum(counts) / seconds for counts in measured)
            for contender, measured in _in_teams(
                benchmark, database, processes, rounds, "run_mixed_load", seconds
            ).items()
        }
        for database in DATABASES
    }


def api_pages(
    benchmark: Benchmark, rounds: int, seconds: float, processes: int
) -> dict[str, dict[str, float]]:
    """Return requests a second, and the seconds of a request (p50, p99), of a page of the API."""
    measured = _in_teams(benchmark, "postgresql", processes, rounds, "request_pages", seconds)
    return {contender: _summarise(rounds, seconds) for contender, rounds in measured.items()}


def _summarise(rounds: Sequence[Sequence[Sequence[float]]], seconds: float) -> dict[str, float]:
    """Return the rate (the median of the rounds) and percentiles over all rounds."""
    rate = statistics.median(sum(map(len, team)) / seconds for team in rounds)
    taken = sorted(one for team in rounds for requests in team for one in requests)
    return {
        "rate": rate,
        "p50": taken[len(taken) // 2],
        "p99": taken[len(taken) * 99 // 100],
    }


def _in_teams(
    benchmark: Benchmark, database: str, processes: int, rounds: int, command: str, seconds: float
) -> dict[str, list[list[Any]]]:
    """Run a command in several processes of each contender at once, and return their answers.

    The contenders take turns. The first round warms up and is not returned.
    """
    contenders = benchmark.setup.contenders
    with ExitStack() as stack:
        teams: dict[str, list[WorkerProcess]] = {}
        for contender in contenders:
            teams[contender.name] = [
                worker(benchmark.setup, contender, benchmark.stores, database)
                for _ in range(processes)
            ]
            for process in teams[contender.name]:
                stack.callback(process.close)
        found: dict[str, list[list[Any]]] = {contender.name: [] for contender in contenders}
        for number in range(rounds + 1):
            for name, team in teams.items():
                for place, process in enumerate(team):
                    process.send_call(command, seconds=seconds, seed=10 * number + place)
                found[name].append([process.receive() for process in team])
    return {name: answers[1:] for name, answers in found.items()}
