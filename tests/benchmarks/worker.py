"""One contender: runs the commands on standard input, a line of JSON each, and answers with the measurement."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from benchmarks import django_setup

KIND = django_setup.configure()

from benchmarks.shop.models import Item  # noqa: E402
from django.db import transaction  # noqa: E402

MANY = list(range(10, 1010))
numbers = count(1)


def unused_number() -> int:
    """Return a number that was not used yet."""
    return next(numbers)


READS: dict[str, Callable[[], Any]] = {
    "one row": lambda: Item.objects.get(pk=77),
    "page of 20": lambda: list(Item.objects.filter(category=3, live=True).order_by("-rank")[:20]),
    "count": lambda: Item.objects.filter(category=3, rank__gt=5).count(),
    "IN of 1,000": lambda: list(Item.objects.filter(pk__in=MANY).values_list("pk")[:1]),
}


def time_hits(read: str, times: int) -> float:
    """Return the seconds of a read that is in the cache."""
    READS[read]()
    return _timed(READS[read], times)


def time_fills(times: int) -> float:
    """Return the seconds of a read that is not in the cache yet."""
    return _timed(
        lambda: list(Item.objects.filter(category=3, rank=1_000_000 + unused_number())), times
    )


def time_saves(times: int) -> float:
    """Return the seconds of the save of one row."""
    item = uncached_item(pk=77)

    def save() -> None:
        item.rank = 100 + unused_number()
        item.save()

    return _timed(save, times)


def save_in_transaction(rows: int) -> dict[str, float]:
    """Save rows in a transaction, with results of many kinds in the cache, and count the round trips to the cache's server."""
    for number in range(100):
        list(Item.objects.filter(rank=number))
        list(Item.objects.filter(rank__gt=number, live=True)[:5])
    items = list(uncached_items()[:rows])
    with RoundTripCounter() as sent:
        began = time.perf_counter()
        with transaction.atomic():
            for item in items:
                item.rank += 1000
                item.save()
            before = sent[0]
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "trips": sent[0], "trips at commit": sent[0] - before}


def cache_dependent(category: int) -> None:
    """Put one result into the cache that depends on a category."""
    list(Item.objects.filter(category=category))


def save_in(category: int) -> float:
    """Save the only row of a category."""
    item = uncached_item(category=category)
    item.title = f"t{unused_number()}"
    return _timed(item.save, 1)


def cache_distinct_results(number: int) -> None:
    """Put that many results into the cache."""
    for n in range(number):
        list(Item.objects.filter(category=n % 10 + 1, slug=f"s{n}"))


def run_mixed_load(seconds: float, seed: int) -> int:
    """Read and write for a time, 95 to 5, and return how often."""
    rng, done, end = Random(seed), 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        pk, category = rng.randrange(10, 510), rng.randrange(1, 11)
        kind = rng.random()
        if kind < 0.05:
            _save(pk, rng.randrange(100))
        elif kind < 0.5:
            Item.objects.get(pk=pk)
        elif kind < 0.8:
            list(Item.objects.filter(category=category, live=True).order_by("-pk")[:20])
        else:
            Item.objects.filter(category=category).count()
        done += 1
    return done


def _save(pk: int, rank: int) -> None:
    item = uncached_item(pk=pk)
    item.rank = rank
    item.save()


def uncached_items() -> Any:
    """Return the items without the cache, where it has a way to say so."""
    return (
        Item.objects.order_by("pk").nocache() if KIND == "cacheops" else Item.objects.order_by("pk")
    )


def uncached_item(**which: Any) -> Item:
    """Return an item without the cache."""
    return uncached_items().get(**which)


def _timed(action: Callable[[], Any], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - began) / times


class RoundTripCounter:
    """Counts what is sent to Redis: a pipeline is sent at once."""

    def __enter__(self) -> list[int]:
        from redis.connection import Connection, UnixDomainSocketConnection

        self.kept = [
            (kind, kind.send_packed_command) for kind in (Connection, UnixDomainSocketConnection)
        ]
        self.sent = [0]
        for kind, real in self.kept:
            kind.send_packed_command = self._counting(real)
        return self.sent

    def __exit__(self, *_: object) -> None:
        for kind, real in self.kept:
            kind.send_packed_command = real

    def _counting(self, real: Any) -> Any:
        def send(connection: Any, *arguments: Any, **more: Any) -> Any:
            self.sent[0] += 1
            return real(connection, *arguments, **more)

        return send


COMMANDS = {
    command.__name__: command
    for command in (
        time_hits,
        time_fills,
        time_saves,
        save_in_transaction,
        cache_dependent,
        save_in,
        cache_distinct_results,
        run_mixed_load,
    )
}


def main() -> None:
    """Answer until standard input ends."""
    said, sys.stdout = sys.stdout, sys.stderr
    said.write(json.dumps(os.getpid()) + "\n")
    said.flush()
    for line in sys.stdin:
        command, arguments = json.loads(line)
        said.write(json.dumps(COMMANDS[command](**arguments)) + "\n")
        said.flush()


main()
