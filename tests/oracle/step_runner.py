"""Runs steps and judges what the cache answers. A step is Python source; a run is a seed for the first rows and a list of steps."""

from __future__ import annotations

import linecache
import re
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cacheops.redis import redis_client
from django.db import DatabaseError, connection
from oracle import judge, reads, rows, step_names, workload
from oracle.pausing_connection import PausingConnection

POOL, WATCHED = 10, 4
"""How many queries are live, and how many of them are read after each write whether or not it changed their answer."""

EXAMPLES = 40
"""How many needless drops a process names: the write and the query."""

_CACHE = re.compile(r"/(cacheops|rover_overrides|redis)/")


@dataclass(frozen=True)
class Stale:
    """A hit that was not what the database answers."""

    seed: int
    steps: tuple[str, ...]
    query: str
    cached: str
    database: str


@dataclass
class Figures:
    """What was counted."""

    count: Counter[str] = field(default_factory=Counter)
    stale: list[Stale] = field(default_factory=list)
    raised: dict[str, tuple[str, str]] = field(default_factory=dict)
    needless: list[tuple[str, str]] = field(default_factory=list)


class StepRunner:
    """A database, a cache, and a pool of live queries, all of whose results are judged after each step that writes."""

    def __init__(self, *, workload: bool = False) -> None:
        self.spread = workload
        self.watched = POOL if workload else WATCHED
        self.figures = Figures()
        self.other_connection = PausingConnection()
        self.touched = step_names.TouchedRows()
        self._waiting: list[str] = []
        self.names = self._names()
        self.querysets = judge.querysets(self.names)

    def start(self, seed: int) -> None:
        """Begin a run: the first rows, an empty cache, no live query."""
        self.seed, self.steps = seed, []
        self.pool: list[judge.CachedQuery] = []
        self.writes.loaded_instances.clear()
        with self.other_connection.run_until_paused(lambda: connection.close(), "the end"):  # noqa: PLW0108 - the thread's own connection
            connection.close()  # with whatever a run that failed had left open
        with reads.cache_off():
            rows.fill(Random(seed), self.names)
            if self.spread:
                workload.fill(Random(seed))
        redis_client.flushdb()
        self.content = rows.content()
        self.touched.pop_all()

    def step(self, source: str) -> list[Stale]:
        """Do a step and return the stale reads that it shows."""
        self.steps.append(source)
        self.figures.count["steps"] += 1
        found = len(self.figures.stale)
        if is_read(source):
            self._enter(source)
        else:
            self._write(source)
        return self.figures.stale[found:]

    def _write(self, source: str) -> None:
        outcome = self._run(source)
        self.figures.count["writes"] += 1
        self.figures.count[f"writes {outcome}"] += 1
        before, self.content = self.content, rows.content()
        touched = self.touched.pop_all() | rows.changed(before, self.content)
        if self.used_other_connection:
            self.figures.count["steps beside"] += 1
        self._judge(touched)
        waiting, self._waiting = self._waiting, []
        for text in dict.fromkeys(waiting):
            self._enter(text)

    def _run(self, source: str) -> str:
        self.used_other_connection = False
        try:
            exec(_compiled(source, "exec"), self.names)
        except Exception as error:
            if not _left_open(error) and (
                isinstance(error, DatabaseError) or not self._caused(error)
            ):
                return "refused"
            self.figures.raised[f"{type(error).__name__}: {error}"[:200]] = (source, "")
            return "raised"
        finally:
            step_names.end_transaction()
        return "done"

    def _caused(self, error: BaseException) -> bool:
        """Return whether an error came out of the cache rather than out of Django or the database."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return trace is not None and bool(_CACHE.search(trace.tb_frame.f_code.co_filename))

    def _judge(self, touched: set[judge.Row]) -> None:
        """Read the live queries whose answer changed, and the watched ones, through the cache; hold them against the database."""
        watched = self.pool[-self.watched :]
        for item in list(self.pool):
            changed = item.refresh(self.names)
            parts, item.matching_rows = item.matching_rows, item.find_matching_rows()
            if not changed and item not in watched:
                item.warm = False  # whether this write dropped it is not looked into
                continue
            answer, hit = self._read(item)
            if item.warm and hit is False:
                self._dropped(item, changed, touched, parts | item.matching_rows)
            if answer != item.answer:
                self._differs(item, answer, hit)
            item.warm = hit is not None

    def _dropped(
        self, item: judge.CachedQuery, changed: bool, touched: set[judge.Row], parts: set[judge.Row]
    ) -> None:
        count = self.figures.count
        count["drops"] += 1
        if changed:
            count["drops needed"] += 1
        elif self.used_other_connection:
            count["drops undecided"] += 1
        elif not item.can_decide(touched):
            count["drops undecided"] += 1
            count["undecided W" if item.row_queries is None else "undecided U"] += 1
        elif touched & parts:
            count["drops needed"] += 1
        else:
            count["drops needless"] += 1
            count["drops needless odd"] += item.text in workload.UNUSUAL_READS
            count[f"needless {item.text.split('(')[0]}"] += 1
            if len(self.figures.needless) < EXAMPLES:
                self.figures.needless.append((self.steps[-1], item.text))

    def _read(self, item: judge.CachedQuery) -> tuple[str, bool | None]:
        self.figures.count["reads"] += 1
        try:
            with reads.cpu_limited():
                answer, hit = item.read(self.names)
        except reads.CpuLimitError:
            self.figures.count["reads blown up"] += 1
            self.pool.remove(item)
            return item.answer, None
        except Exception as error:  # what the database alone answers, the cache must answer
            if isinstance(error, DatabaseError) and item.answer == judge.refused(error):
                return item.answer, None
            self.figures.count["reads raised"] += 1
            self.figures.raised[f"{type(error).__name__}: {error}"[:200]] = (
                item.text,
                traceback.format_exc()[-1500:],
            )
            self.pool.remove(item)
            return item.answer, None
        self.figures.count["hits"] += bool(hit)
        return answer, hit

    def _differs(self, item: judge.CachedQuery, answer: str, hit: bool | None) -> None:
        """Enter a stale read; a miss that differs is a query without a fixed answer."""
        if not hit:
            self.figures.count["unstable"] += 1
            self.pool.remove(item)
            return
        self.figures.count["stale"] += 1
        self.figures.stale.append(
            Stale(self.seed, tuple(self.steps), item.text, answer, item.answer)
        )
        redis_client.flushdb()
        for other in self.pool:
            other.warm = False

    def _enter(self, text: str) -> None:
        """Take a query into the pool, in place of the oldest, and read it."""
        item = next((item for item in self.pool if item.text == text), None)
        if item is None:
            item = self._new(text)
        if item is None:
            self.figures.count["reads refused"] += 1
            return
        answer, hit = self._read(item)
        if answer != item.answer:
            self._differs(item, answer, hit)
        elif hit is None:
            self.figures.count["reads uncached"] += 1
        item.warm = hit is not None

    def _new(self, text: str) -> judge.CachedQuery | None:
        try:
            item = judge.cached_query(text, _compiled(text, "eval"), self.names, self.querysets)
        except Exception:  # Django's own no, before the cache was asked
            return None
        self.pool = [*self.pool[max(0, len(self.pool) - POOL + 1) :], item]
        return item

    def _names(self) -> dict[str, Any]:
        self.writes = step_names.WriteSteps(self.touched)
        own = {
            "atomic": lambda: step_names.committed(self.touched),
            "undone": lambda: step_names.rolled_back(self.touched),
            "manual": lambda: step_names.committed_by_hand(self.touched),
            "beside": self._on_other_connection,
            "look": self._look,
            "forget": self._forget,
        }
        return step_names.names() | reads.READ_STEPS | self.writes.names() | own

    def _on_other_connection(self, point: int | str, source: str) -> Any:
        self.used_other_connection = True
        names = self.names

        def action() -> None:
            exec(_compiled(source, "exec"), names)

        return self.other_connection.run_until_paused(action, point)

    def _look(self, text: str) -> None:
        """Read in the middle of a step; the result is judged at once where nobody else is at work, and joins the pool."""
        with suppress(Exception):
            code = _compiled(text, "eval")
            with reads.recorded_hits() as found, reads.cpu_limited():
                answer = str(eval(code, self.names))
            self._waiting.append(text)
            if not self.other_connection.is_active:
                self._judge_look(text, code, answer, found)

    def _judge_look(self, text: str, code: Any, answer: str, found: list[bool]) -> None:
        with reads.cache_off():
            truth = str(eval(code, self.names))
        self.figures.count["reads"] += 1
        self.figures.count["hits"] += bool(found) and all(found)
        if answer != truth:
            self.figures.count["stale"] += 1
            self.figures.stale.append(Stale(self.seed, tuple(self.steps), text, answer, truth))

    def _forget(self, share: float = 1.0) -> None:
        """Evict keys, as a full server would."""
        if share >= 1:
            redis_client.flushdb()
        else:
            keys = sorted(redis_client.keys())
            gone = Random(len(self.steps)).sample(keys, int(len(keys) * share))
            if gone:
                redis_client.unlink(*gone)
        for item in self.pool:
            item.warm = False


def is_read(source: str) -> bool:
    """Return whether a step reads only."""
    return source.split("(", 1)[0] in reads.READ_STEPS


_codes: dict[tuple[str, str], Any] = {}


def _compiled(source: str, mode: str) -> Any:
    if len(_codes) > 5000:
        _codes.clear()
        linecache.clearcache()
    if (source, mode) not in _codes:
        _codes[source, mode] = compile(source, f"<{source[:60]}>", mode)
    return _codes[source, mode]


def _left_open(error: BaseException) -> bool:
    """Return whether a commit could not go back to autocommit, for what the cache asked after it had begun a transaction."""
    return any(
        frame.name == "_set_autocommit" for frame in traceback.extract_tb(error.__traceback__)
    )


def in_transaction() -> bool:
    """Return whether a step left a transaction behind, which would be the judge's own fault."""
    return connection.in_atomic_block or not connection.get_autocommit()
