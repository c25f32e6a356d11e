"""A run: for each server and each place a crew at work, and one fault after the other, as a seed has them."""

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
from scripts.core.console import err, progress, say
from scripts.core.errors import EnvironmentFailedError
from scripts.probes.servers import Servers
from tests.chaos.board import Board, now
from tests.chaos.crew import SMALL, WHOLE, Crew, Member
from tests.chaos.faults import ENTRY_SECONDS, FAULTS, kinds_of
from tests.chaos.judge import Planned, Round, judge
from tests.chaos.places import PLACES
from tests.chaos.stage import MissedError, Stage
from tests.support.servers import ROOT

QUIET_SECONDS = 2
"""How long nothing happens between what a fault left behind and the next one: there hits are counted."""

WARM_SECONDS = 2

THINK_SECONDS = 0.008
"""How long a thread rests between two operations on average.

Without a rest the crew keeps all processors busy, so a read waits for a processor rather than for
Redis, and what is measured against a bound is the machine.
"""

ACT_SECONDS = 1.5  # that a fault takes, about
LINE_SECONDS = 10
DATABASE = "postgresql"

SHORT = {
    "faults": ("kill-writer-after-commit", "flushall", "client-pause", "terminate-backends"),
    "places": ("single",),
    "seconds": 26,
    "times": 1,
    "members": SMALL,
}
"""What the repository's own tests run."""

FAILURES = (AssertionError, OSError, StopIteration, psycopg.Error, redis.RedisError)
"""What a fault may raise that could not be made: it is counted as such, and the run goes on."""


@dataclass(frozen=True)
class Orders:
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
    members: tuple[Member, ...] = WHOLE
    nice: int = 5

    def kinds(self):
        """Return the faults of each place; of those that are named each happens in one place."""
        seen = set()
        found = {}
        for place in PLACES:
            if place in self.places or not self.places:
                found[place] = [
                    kind
                    for kind in kinds_of(place, self.faults)
                    if not self.faults or kind.name not in seen
                ]
                seen |= {kind.name for kind in found[place]}
        return {place: some for place, some in found.items() if some}

    def rounds(self):
        """List servers, places and the seconds that each gets, so that every kind of fault is as frequent as any other."""
        costs = {
            place: sum(QUIET_SECONDS + ACT_SECONDS + kind.settle for kind in some)
            for place, some in self.kinds().items()
        }
        return [
            (server, place, self.seconds * cost / sum(costs.values()))
            for server in self.servers
            for place, cost in costs.items()
        ]


def run(orders: Orders) -> list[Round]:
    """Run everything that is ordered; nothing of it is left behind, also where this is interrupted.

    Raises EnvironmentFailedError where servers or processes do not start.
    """
    databases = Servers()
    try:
        return [_round(orders, databases, *each) for each in orders.rounds()]
    except AssertionError as error:
        raise EnvironmentFailedError(
            f"the run could not go on: {error}", hint="run this again"
        ) from error
    finally:
        databases.close()


def plan(orders: Orders, place: str) -> Iterator[tuple[str, Random]]:
    """Yield faults for ever, each with the randomness that makes it: all kinds in some order, then all of them again."""
    names = [kind.name for kind in orders.kinds().get(place, ())]
    number = 0
    while names:
        Random(f"{orders.seed} {place} order {number}").shuffle(names)
        for name in names:
            number += 1
            yield name, Random(f"{orders.seed} {place} {number}")


def _round(
    orders: Orders, databases: Servers, server: str, place_name: str, seconds: float
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
            databases.lease(read_config(ROOT / "fork.toml").database(DATABASE))
        )
        place = stack.enter_context(PLACES[place_name](server, folder, url))
        board = Board(folder / "board")
        crew = _crew(orders, place, folder, board)
        stack.callback(crew.end)
        crew.prepare()
        shapes, kinds = json.loads((folder / "names").read_text())
        advance = stack.enter_context(
            progress(f"{text}: {seconds:.0f} s, seed {orders.seed}", seconds)
        )
        tell = _teller(text, found, board, len(orders.members), seconds, advance)
        crew.start()
        _play(Stage(place, crew, board, kinds, tell), orders, found, seconds)
        crew.end()
        found.restarts = sum(crew.lives.values())
        lines = crew.log.read_text().splitlines() if crew.log.exists() else []
        judge(found, board, len(orders.members), lines, shapes, kinds)
    return found


def _crew(orders, place, folder, board):
    words = {
        "seed": orders.seed,
        "raw": place.raw(),
        "entry_seconds": ENTRY_SECONDS,
        "sabotage": orders.sabotage,
        "nice": orders.nice,
        "think_seconds": THINK_SECONDS,
    }

    def settings_of(number, member):
        own = {
            "DATABASES": place.databases(number, member),
            **place.redis(number, member),
            **place.settings,
        }
        return {"CACHEOPS_ROVER_UNKNOWN_SECONDS": ENTRY_SECONDS, **orders.settings, **own}

    return Crew(orders.python, orders.tree, folder, board, orders.members, words, settings_of)


def _play(stage: Stage, orders: Orders, found: Round, seconds: float) -> None:
    """Make one fault after the other until the time is over and each kind has happened often enough."""
    begun = time.monotonic()
    stage.wait(WARM_SECONDS)
    for name, random in plan(orders, found.place):
        stage.board.quiet(1)
        stage.wait(QUIET_SECONDS)
        is_late = time.monotonic() - begun + QUIET_SECONDS >= seconds
        if is_late and _is_enough(orders, found):
            break
        stage.random = random
        _make(stage, name, found)
    stage.board.quiet(0)
    found.seconds = time.monotonic() - begun


def _is_enough(orders: Orders, found: Round) -> bool:
    """Return whether each fault happened as often as it has to, or has been tried three times as often and does not."""
    kinds = orders.kinds()[found.place]
    rare = [kind.name for kind in kinds if found.made[kind.name] < orders.times]
    if rare and len(found.faults) >= 3 * orders.times * len(kinds):
        found.failed += [
            f"{name}: it happened {found.made[name]} times of {orders.times}" for name in rare
        ]
        return True
    return not rare


def _make(stage: Stage, name: str, found: Round) -> None:
    number, started = len(found.faults) + 1, now()
    stage.moves = []
    stage.board.begin_fault(number)
    is_made = True
    try:
        FAULTS[name](stage)
    except MissedError:
        is_made = False
    except FAILURES as error:
        is_made = False
        found.failed.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    finally:
        stage.board.end_fault()
        found.faults.append(Planned(number, name, started, now(), tuple(stage.moves), is_made))
    stage.wait(FAULTS[name].settle)


def _teller(text, found, board, processes, seconds, advance):
    """Return what tells how far it is, whenever it is called: on a terminal at once, elsewhere every ten seconds."""
    begun = last = time.monotonic()
    told = begun

    def tick():
        nonlocal last, told
        at = time.monotonic()
        if at - last < 0.5:
            return
        counts = [board.counts(number) for number in range(processes)]
        total = {name: sum(each[name] for each in counts) for name in counts[0]}
        words = (
            f"{text}: {len(found.faults)} faults, {total['reads']:,} reads, {100 * total['hits'] // max(total['reads'], 1)} % hits, "
            f"{total['writes']:,} writes, {total['violations']} violations, {total['exceptions']} exceptions"
        )
        advance(at - last, text=words)
        last = at
        if not err.is_terminal and at - told >= LINE_SECONDS:
            told = at
            say(f"{at - begun:.0f} of {seconds:.0f} s: {words}")

    return tick
