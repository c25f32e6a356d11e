"""One contender: runs the commands on standard input and answers with the measurements.

A command and an answer are a line of JSON each.
"""

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

import redis  # noqa: E402
from benchmarks import api  # noqa: E402
from benchmarks.shop.models import Item, Post, Visit  # noqa: E402
from django.db import transaction  # noqa: E402

MANY = list(range(10, 1010))
numbers = count(1)


def unused_number() -> int:
    """Return a number that was not used yet."""
    return next(numbers)


def page_of_20() -> Any:
    """Return a page of a list, not yet read."""
    return Item.objects.filter(category=3, live=True).order_by("-rank")[:20]


def fill() -> None:
    """Read what is not in the cache yet."""
    list(Item.objects.filter(category=3, rank=1_000_000 + unused_number()))


def save() -> None:
    """Save a row."""
    SAVED.rank = 100 + unused_number()
    SAVED.save()


OPERATIONS: dict[str, Callable[[], Any]] = {
    "hit: one row": lambda: Item.objects.get(pk=77),
    "hit: page of 20": lambda: list(page_of_20()),
    "hit: page of 20 through a foreign key": lambda: list(
        Item.objects.filter(category__name="c3").select_related("category").order_by("-rank")[:20]
    ),
    "hit: count": lambda: Item.objects.filter(category=3, rank__gt=5).count(),
    "hit: count over 100,000 rows": lambda: Visit.objects.filter(seconds__gt=500).count(),
    "hit: exists": lambda: Item.objects.filter(category=3, rank__gt=5).exists(),
    "hit: IN of 1,000": lambda: list(Item.objects.filter(pk__in=MANY).values_list("pk")[:1]),
    "fill": fill,
    "save": save,
    "a queryset, not read": page_of_20,
    "one GET by redis-py": lambda: REDIS.get("nothing"),
}
RESULTS: dict[str, Callable[[int], Any]] = {
    "one row": lambda n: list(Item.objects.filter(category=n % 10 + 1, slug=f"s{n}")),
    "values()": lambda n: list(Item.objects.filter(slug=f"s{n}").values("pk", "title")),
    "count": lambda n: Item.objects.filter(slug=f"s{n}").count(),
    "page of 20 with text": lambda n: list(
        Post.objects.filter(category=n % 10 + 1).order_by("pk")[n // 10 : n // 10 + 20]
    ),
}
"""Distinct results for each number."""


def time_operation(operation: str, times: int) -> float:
    """Return the seconds of an operation; the first is not timed, so that a hit is one."""
    OPERATIONS[operation]()
    return _timed(OPERATIONS[operation], times)


def count_calls(operation: str) -> int:
    """Return how many Python functions an operation calls, the last of three times."""
    for _ in range(3):
        with CallCounter() as calls:
            OPERATIONS[operation]()
    return calls[0]


def count_trips(operation: str) -> int:
    """Return how often an operation sends something to Redis, the last of three times."""
    for _ in range(3):
        with RoundTripCounter() as sent:
            OPERATIONS[operation]()
    return sent[0]


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


def cache_distinct_results(kind: str, number: int) -> None:
    """Put that many results of a kind into the cache."""
    for n in range(number):
        RESULTS[kind](n)


def request_pages(seconds: float, seed: int) -> list[float]:
    """Request pages of the API and write, 95 to 5, and return the seconds of each request."""
    rng, taken, end = Random(seed), [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        if rng.random() < 0.05:
            _save(rng.randrange(10, 3410), rng.randrange(100))
        else:
            query = api.random_query(rng)
            taken.append(_timed(lambda query=query: api.get_page(query), 1))
    return taken


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


class CallCounter:
    """Counts the calls of Python functions."""

    def __enter__(self) -> list[int]:
        self.calls = [0]
        sys.setprofile(self._count)
        return self.calls

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _frame: object, event: str, _argument: object) -> None:
        self.calls[0] += event == "call"


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
        time_operation,
        count_calls,
        count_trips,
        save_in_transaction,
        cache_dependent,
        save_in,
        cache_distinct_results,
        run_mixed_load,
        request_pages,
    )
}


SAVED = uncached_item(pk=77)
REDIS = redis.Redis.from_url(django_setup.server())


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
