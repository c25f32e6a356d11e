"""The results of Django's own tests, with the cache and without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MODES = ("as-they-are", "committing")
"""Django's tests unchanged, or with a `TestCase` that commits.

In the second mode, every read is made both plain and cached.
"""

WHOLE_RUN = "the run itself"
"""The test id for a shard that did not finish."""

_CLASS_FIXTURES = ("setUpClass (", "tearDownClass (", "setUpModule (", "tearDownModule (")


@dataclass(frozen=True)
class DjangoPlace:
    """Where tests run: the Django version (`5.2`), the database and the mode."""

    django: str
    database: str
    mode: str

    def __str__(self) -> str:
        return f"Django {self.django}, {self.database}, {self.mode}"


@dataclass(frozen=True)
class WrongValue:
    """A cached answer that differs from the plain one: the test, which read, when, and how."""

    test: str
    kind: str
    when: str
    difference: str
    sql: str = ""

    def __str__(self) -> str:
        return f"{self.test}: {self.kind} {self.when}: {self.difference}\n      {self.sql[:200]}"


@dataclass(frozen=True)
class ShardRun:
    """The result of a shard.

    `outcomes` has each test's outcome, `words` the first error line of each failure, `figures` has
    counts.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    wrong: tuple[WrongValue, ...] = ()
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> set[str]:
        """Return the tests that failed."""
        return {test for test, outcome in self.outcomes.items() if outcome == "failed"}

    @property
    def passed(self) -> set[str]:
        """Return the tests that passed."""
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}

    def record(self) -> dict[str, Any]:
        """Return the run as JSON-serialisable data."""
        return {**vars(self), "wrong": [vars(item) for item in self.wrong]}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ShardRun:
        """Return the run that `record` serialised."""
        return cls(**{**record, "wrong": tuple(WrongValue(**item) for item in record["wrong"])})


@dataclass
class PlaceSummary:
    """The result of one place, with the cache and without it."""

    place: DjangoPlace
    version: str = ""
    tests: int = 0
    plain_failures: int = 0
    figures: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    wrong: list[WrongValue] = field(default_factory=list)
    ran: set[str] = field(default_factory=set)

    def add(self, plain: ShardRun, tried: ShardRun, labels: Sequence[str] = ()) -> None:
        """Add a shard, which ran without the cache (`plain`) and with it (`tried`)."""
        self.tests += sum(outcome != "skipped" for outcome in tried.outcomes.values())
        self.plain_failures += len(plain.failed)
        self.figures.update(tried.figures)
        found = new_failures(plain, tried)
        self.failures |= {
            f"{WHOLE_RUN} ({', '.join(labels)})" if test == WHOLE_RUN else test: words
            for test, words in found.items()
        }
        self.wrong += tried.wrong
        self.ran.update(tried.outcomes)

    @property
    def hit_share(self) -> float | None:
        """Return the share of the repeated reads that the cache answered, or None without reads."""
        return (
            self.figures["second hits"] / self.figures["reads"] if self.figures["reads"] else None
        )


def read_run(log: Iterable[Mapping[str, Any]], ending: str) -> ShardRun:
    """Return the result in the log of a shard; `ending` describes a process that did not finish."""
    outcomes: dict[str, str] = {}
    words: dict[str, str] = {}
    wrong: list[WrongValue] = []
    figures: dict[str, int] = {}
    last, is_done = "", False
    for entry in log:
        last = entry.get("start", last)
        # A test that failed in a subtest may be reported as passed later.
        if "test" in entry and outcomes.get(entry["test"]) != "failed":
            outcomes[entry["test"]] = entry["outcome"]
            words |= {entry["test"]: entry["words"]} if entry["outcome"] == "failed" else {}
        elif "wrong" in entry:
            wrong.append(
                WrongValue(
                    entry["wrong"],
                    entry["kind"],
                    entry["when"],
                    entry["difference"],
                    entry.get("sql", ""),
                )
            )
        figures, is_done = entry.get("figures", figures), is_done or "done" in entry
    if not is_done:
        outcomes[WHOLE_RUN], words[WHOLE_RUN] = (
            "failed",
            f"{ending} ({f'in {last}' if last else 'before the first test'})",
        )
    return ShardRun(outcomes, words, tuple(wrong), figures)


def new_failures(plain: ShardRun, tried: ShardRun) -> dict[str, str]:
    """Return the tests that fail only with the cache, or pass only without it.

    Tests that pass without the cache and did not run with it, or were skipped, are among them. If
    the run without the cache did not finish, there is no baseline to compare with, which counts as
    a failure.
    """
    if WHOLE_RUN in plain.failed:
        return {
            WHOLE_RUN: f"nothing can be compared: without the cache it {plain.words[WHOLE_RUN]}"
        }
    found = {test: tried.words.get(test, "") for test in sorted(tried.failed - plain.failed)}
    # The run ended early, so the tests that are missing say nothing.
    if WHOLE_RUN in found:
        return found
    # The tests of a class or module whose fixture failed are not reported as missing.
    classes = tuple(
        name[len(fixture) : -1]
        for name in tried.failed
        for fixture in _CLASS_FIXTURES
        if name.startswith(fixture)
    )
    gone = [
        test
        for test in sorted(plain.passed - tried.outcomes.keys())
        if not test.startswith(classes or ("\0",))
    ]
    skipped = [test for test in sorted(plain.passed) if tried.outcomes.get(test) == "skipped"]
    return (
        found
        | dict.fromkeys(gone, "it passes without the cache and did not run")
        | dict.fromkeys(skipped, "it was skipped")
    )


def first_of_each(wrong: Iterable[WrongValue]) -> list[tuple[WrongValue, int]]:
    """Return the first wrong value of each test, kind and time of read, with the number of them."""
    found: dict[tuple[str, str, str], list[WrongValue]] = {}
    for item in wrong:
        found.setdefault((item.test, item.kind, item.when), []).append(item)
    return [(items[0], len(items)) for items in found.values()]
