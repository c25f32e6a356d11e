"""Runs an application's processes on each server in each place, and injects one fault after the other, in an order that a seed decides."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg
import redis

from scripts.core.config import read_config
from scripts.core.console import progress
from scripts.core.errors import EnvironmentFailedError
from scripts.probes.servers import ServerPool
from tests.chaos.board import Board, now
from tests.chaos.fault_context import FaultContext, NoWriteCameError
from tests.chaos.faults import ENTRY_SECONDS, FAULTS, faults_of_place
from tests.chaos.judge import InjectedFault, Round, judge
from tests.chaos.places import PLACES
from tests.chaos.worker_pool import SMALL_POOL, WHOLE_POOL, WorkerPool, WorkerSpec
from tests.support.redis_servers import ROOT

QUIET_SECONDS = 2
"""How long nothing happens between what a fault left behind and the next one: there hits are counted."""

WARM_SECONDS = 2

THINK_SECONDS = 0.008
"""How long a thread rests between two operations on average.

Without a rest the workers keep all processors busy, so a read waits for a processor rather than for
Redis, and what is measured against a bound is the machine.
"""

ACT_SECONDS = 1.5  # that a fault takes, about
DATABASE = "postgresql"

SHORT_RUN = {
    "faults": ("kill-writer-after-commit", "flushall", "client-pause", "terminate-backends"),
    "places": ("single",),
    "seconds": 26,
    "times": 1,
    "worker_specs": SMALL_POOL,
}
"""What the repository's own tests run."""

FAILURES = (AssertionError, OSError, StopIteration, psycopg.Error, redis.RedisError)
"""What a fault may raise that could not be made: it is counted as such, and the run goes on."""


@dataclass(frozen=True)
class RunOptions:
    """What is run: a tree with its settings by a Python that has Django, on which servers, with which faults, for how long each."""

    python: str
    tree: Path
    settings: dict
    servers: tuple[str, ...]
    seconds: float
    seed: int
    times: int = 0  # that each fault happens at least, however long it takes
    faults: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    sabotage: str = ""
    worker_specs: tuple[WorkerSpec, ...] = WHOLE_POOL
    nice: int = 5

    def faults_by_place(self):
        """Return the faults of each place; of those that are named each happens in one place."""
        seen = set()
        found = {}
        for place in PLACES:
            if place in self.places or not self.places:
                found[place] = [
                    kind
                    for kind in faults_of_place(place, self.faults)
                    if not self.faults or kind.name not in seen
                ]
                seen |= {kind.name for kind in found[place]}
        return {place: some for place, some in found.items() if some}

    def scheduled_rounds(self):
        """List servers, places and the seconds that each gets, so that every kind of fault is as frequent as any other."""
        costs = {
            place: sum(QUIET_SECONDS + ACT_SECONDS + kind.settle for kind in some)
            for place, some in self.faults_by_place().items()
        }
        return [
            (server, place, self.seconds * cost / sum(costs.values()))
            for server in self.servers
            for place, cost in costs.items()
        ]


def run(options: RunOptions) -> list[Round]:
    """Run the rounds and return their results; no process is left behind, even if this is interrupted.

    An interrupted round ends the run; what it had found by then is judged and returned.
    Raises EnvironmentFailedError if servers or processes do not start.
    """
    databases = ServerPool()
    rounds: list[Round] = []
    try:
        for server, place, seconds in options.scheduled_rounds():
            rounds.append(_round(options, databases, server, place, seconds))
            if rounds[-1].is_interrupted:
                break
    except AssertionError as error:
        raise EnvironmentFailedError(
            f"the run could not go on: {error}", hint="run this again"
        ) from error
    finally:
        databases.close()
    return rounds


def plan(options: RunOptions, place: str) -> Iterator[tuple[str, Random]]:
    """Yield faults for ever, each with the randomness that makes it: all kinds in some order, then all of them again."""
    names = [kind.name for kind in options.faults_by_place().get(place, ())]
    number = 0
    while names:
        Random(f"{options.seed} {place} order {number}").shuffle(names)
        for name in names:
            number += 1
            yield name, Random(f"{options.seed} {place} {number}")


def _round(
    options: RunOptions, databases: ServerPool, server: str, place_name: str, seconds: float
) -> Round:
    found = Round(server, place_name)
    text = f"{server}, {place_name}"
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="fork-chaos-", ignore_cleanup_errors=True)
            )
        )
        url = stack.enter_context(
            databases.borrow(read_config(ROOT / "fork.toml").database(DATABASE))
        )
        place = stack.enter_context(PLACES[place_name](server, folder, url))
        board = Board(folder / "board")
        workers = _make_workers(options, place, folder, board)
        stack.callback(workers.end)
        workers.prepare()
        queries, kinds = json.loads((folder / "names").read_text())
        advance = stack.enter_context(
            progress(f"{text}: {seconds:.0f} s, seed {options.seed}", seconds)
        )
        report_progress = _progress_reporter(text, found, board, len(options.worker_specs), advance)
        workers.start()
        _inject_faults(
            FaultContext(place, workers, board, kinds, report_progress), options, found, seconds
        )
        workers.end()
        found.restarts = sum(workers.restarts.values())
        lines = workers.log.read_text().splitlines() if workers.log.exists() else []
        judge(found, board, len(options.worker_specs), lines, queries, kinds)
    return found


def _make_workers(options, place, folder, board):
    words = {
        "seed": options.seed,
        "raw": place.direct_connection(),
        "entry_seconds": ENTRY_SECONDS,
        "sabotage": options.sabotage,
        "nice": options.nice,
        "think_seconds": THINK_SECONDS,
    }

    def settings_of(number, spec):
        own = {
            "DATABASES": place.databases(number, spec),
            **place.redis(number, spec),
            **place.settings,
        }
        return {"CACHEOPS_ROVER_UNKNOWN_SECONDS": ENTRY_SECONDS, **options.settings, **own}

    return WorkerPool(
        options.python, options.tree, folder, board, options.worker_specs, words, settings_of
    )


def _inject_faults(
    context: FaultContext, options: RunOptions, found: Round, seconds: float
) -> None:
    """Make one fault after the other until the time is over and each kind has happened often enough."""
    begun = time.monotonic()
    try:
        context.wait(WARM_SECONDS)
        for name, random in plan(options, found.place):
            context.board.set_quiet(1)
            context.wait(QUIET_SECONDS)
            is_late = time.monotonic() - begun + QUIET_SECONDS >= seconds
            if is_late and _is_enough(options, found):
                break
            context.random = random
            _inject(context, name, found)
    except KeyboardInterrupt:
        found.is_interrupted = True
        context.board.stop()
    context.board.set_quiet(0)
    found.seconds = time.monotonic() - begun


def _is_enough(options: RunOptions, found: Round) -> bool:
    """Return whether each fault happened as often as it has to, or has been tried three times as often and does not."""
    kinds = options.faults_by_place()[found.place]
    rare = [kind.name for kind in kinds if found.counts_by_fault[kind.name] < options.times]
    if rare and len(found.faults) >= 3 * options.times * len(kinds):
        found.failed_faults += [
            f"{name}: it happened {found.counts_by_fault[name]} times of {options.times}"
            for name in rare
        ]
        return True
    return not rare


def _inject(context: FaultContext, name: str, found: Round) -> None:
    number, started = len(found.faults) + 1, now()
    context.moves = []
    context.board.begin_fault(number)
    is_made = True
    try:
        FAULTS[name](context)
    except NoWriteCameError:
        is_made = False
    except FAILURES as error:
        is_made = False
        found.failed_faults.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    finally:
        context.board.end_fault()
        found.faults.append(
            InjectedFault(number, name, started, now(), tuple(context.moves), is_made)
        )
    context.wait(FAULTS[name].settle)


def _progress_reporter(text, found, board, processes, advance):
    """Return a function that reports the progress.

    Its "answers to judge" may still turn out to be within the bound of a fault.
    """
    last = time.monotonic()

    def report_progress():
        nonlocal last
        at = time.monotonic()
        if at - last < 0.5:
            return
        counts = [board.counts(number) for number in range(processes)]
        total = {name: sum(each[name] for each in counts) for name in counts[0]}
        words = (
            f"{text}: {len(found.faults)} faults, {total['reads']:,} reads, {100 * total['hits'] // max(total['reads'], 1)} % hits, "
            f"{total['writes']:,} writes, {total['violations']} answers to judge, {total['exceptions']} exceptions"
        )
        advance(at - last, text=words)
        last = at

    return report_progress
