"""Django's own tests under the wheel: what is to be run, and what the runs came to. Nothing here runs anything."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from scripts.config import Record
from scripts.errors import UsageError, collected

MODES = ("as-they-are", "committing")
"""As Django has them; and with a `TestCase` that commits, every read made plain and cached."""

THE_RUN = "the run itself"
"""Stands for a test where a shard did not come to its end."""

_CLASS_FIXTURES = ("setUpClass (", "tearDownClass (", "setUpModule (", "tearDownModule (")


class Excuse(Record):
    """Tests that may fail, by name (`*` and `?` as in a shell), with the reason; `values` also excuses their wrong values."""

    reason: Annotated[str, Field(min_length=10)]
    tests: Annotated[tuple[str, ...], Field(min_length=1)]
    modes: tuple[str, ...] = MODES
    djangos: tuple[str, ...] = ("*",)
    databases: tuple[str, ...] = ("*",)
    failures: bool = True
    values: bool = False

    def applies(self, place: Place) -> bool:
        """Return whether it is an excuse there."""
        return (
            place.mode in self.modes
            and any(fnmatchcase(place.django, pattern) for pattern in self.djangos)
            and any(fnmatchcase(place.database, pattern) for pattern in self.databases)
        )


class _Excuses(Record):
    excused: tuple[Excuse, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where tests run: which Django (`5.2`), which database, which mode."""

    django: str
    database: str
    mode: str

    def __str__(self) -> str:
        return f"Django {self.django}, {self.database}, {self.mode}"


@dataclass(frozen=True)
class Wrong:
    """A cached answer that is not the plain one: the test, which read, when, and how they differ."""

    test: str
    kind: str
    when: str
    difference: str
    sql: str = ""

    def __str__(self) -> str:
        return f"{self.test}: {self.kind} {self.when}: {self.difference}\n      {self.sql[:200]}"


@dataclass(frozen=True)
class Run:
    """What the tests of a shard came to: each test's outcome, the first words of the failures, wrong values and figures."""

    outcomes: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    wrong: tuple[Wrong, ...] = ()
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> set[str]:
        """The tests that failed."""
        return {test for test, outcome in self.outcomes.items() if outcome == "failed"}

    @property
    def passed(self) -> set[str]:
        """The tests that passed."""
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}

    def record(self) -> dict[str, Any]:
        """Return it as JSON can write it."""
        return {**vars(self), "wrong": [vars(item) for item in self.wrong]}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Run:
        """Return what `record` gave."""
        return cls(**{**record, "wrong": tuple(Wrong(**item) for item in record["wrong"])})


@dataclass
class Summary:
    """What one place came to, with the cache and without it."""

    place: Place
    version: str = ""
    tests: int = 0
    plain_failures: int = 0
    figures: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)
    ran: set[str] = field(default_factory=set)

    def add(self, plain: Run, tried: Run, labels: Sequence[str] = ()) -> None:
        """Add a shard."""
        self.tests += sum(outcome != "skipped" for outcome in tried.outcomes.values())
        self.plain_failures += len(plain.failed)
        self.figures.update(tried.figures)
        found = new_failures(plain, tried)
        self.failures |= {f"{THE_RUN} ({', '.join(labels)})" if test == THE_RUN else test: words for test, words in found.items()}
        self.wrong += tried.wrong
        self.ran.update(tried.outcomes)

    @property
    def share(self) -> float | None:
        """The share of the reads that the cache answered when they were made for the second time, or None without any."""
        return self.figures["second hits"] / self.figures["reads"] if self.figures["reads"] else None

    def line(self, excuses: Sequence[Excuse]) -> str:
        """Sum up in a line."""
        failures, wrong = counting(self, excuses)
        share = "" if self.share is None else f" ({100 * self.share:.1f} % of {self.figures['reads']} reads made twice)"
        return (
            f"{self.place} ({self.version}): {self.tests} tests, {self.figures['hits']} hits{share}, "
            f"{self.figures['comparisons']} comparisons, {len(wrong)} wrong values{_more(self.wrong, wrong)}, "
            f"{len(failures)} new failures{_more(self.failures, failures)}; {self.plain_failures} fail without the cache, too"
        )


def _more(every: Any, left: Any) -> str:
    return f" ({len(every) - len(left)} more excused)" if len(every) > len(left) else ""


def read_excuses(path: Path) -> tuple[Excuse, ...]:
    """Read the file of excuses; raises UsageError."""
    try:
        found = tomllib.loads(path.read_text())
        excused = tuple({key: _frozen(value) for key, value in item.items()} for item in found.pop("excused", ()))
        return _Excuses.model_validate({**found, "excused": excused}).excused
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path.name}", hint="see docs/django.md") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name} is not TOML: {error}", hint=f"edit {path.name}") from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise collected(f"{path.name} is wrong:", problems, hint=f"edit {path.name}") from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def labels_of(folder: Path) -> dict[str, int]:
    """Return the labels of a folder of Django's tests, each with about how many tests it has."""
    found = {path.parent.name: path.parent for path in sorted(folder.glob("*/__init__.py"))}
    sizes = {label: sum(text.count("    def test") for text in _sources(place)) for label, place in found.items()}
    return {label: size for label, size in sizes.items() if size}


def _sources(folder: Path) -> Iterator[str]:
    return (path.read_text(errors="replace") for path in sorted(folder.rglob("*.py")))


def chosen(labels: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the labels that patterns such as `m2m_*` name; a test's dotted name stands for itself. Raises UsageError."""
    every = list(labels)
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [label for label in every if fnmatchcase(label, pattern)]
        if not matching and pattern.partition(".")[0] not in every:
            raise UsageError(f"Django's tests have no label {pattern!r}", hint="ls .fork/django/*/tests")
        found |= dict.fromkeys(matching or [pattern])
    return list(found)


def shards(sizes: Mapping[str, int], tests: int) -> list[tuple[str, ...]]:
    """Group all labels, in their order, into shards of about so many tests; the same labels make the same shards."""
    found: list[list[str]] = []
    room = 0
    for label, size in sizes.items():
        if not found or size > room:
            found.append([])
            room = tests
        found[-1].append(label)
        room -= size
    return [tuple(shard) for shard in found]


def part(every: Sequence[tuple[str, ...]], words: str) -> list[tuple[str, ...]]:
    """Return the share `3/8` of all shards: every eighth one, from the third. Raises UsageError."""
    number, slash, count = words.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UsageError(f"not a share such as 3/8: {words!r}")
    return list(every[int(number) - 1 :: int(count)])


def read_run(log: Iterable[Mapping[str, Any]], ending: str) -> Run:
    """Sum up the log of a shard; `ending` says how its process ended, for a log that has no end."""
    outcomes: dict[str, str] = {}
    words: dict[str, str] = {}
    wrong: list[Wrong] = []
    figures: dict[str, int] = {}
    last, is_done = "", False
    for entry in log:
        last = entry.get("start", last)
        if "test" in entry and outcomes.get(entry["test"]) != "failed":
            outcomes[entry["test"]] = entry["outcome"]
            words |= {entry["test"]: entry["words"]} if entry["outcome"] == "failed" else {}
        elif "wrong" in entry:
            wrong.append(Wrong(entry["wrong"], entry["kind"], entry["when"], entry["difference"], entry.get("sql", "")))
        figures, is_done = entry.get("figures", figures), is_done or "done" in entry
    if not is_done:
        outcomes[THE_RUN], words[THE_RUN] = "failed", f"{ending} ({f'in {last}' if last else 'before the first test'})"
    return Run(outcomes, words, tuple(wrong), figures)


def new_failures(plain: Run, tried: Run) -> dict[str, str]:
    """Return the tests that fail with the cache and not without, and those that pass without and did not run with it.

    Where the run without the cache did not come to its end there is nothing to compare with, which is a failure, too.
    """
    if THE_RUN in plain.failed:
        return {THE_RUN: f"nothing can be compared: without the cache it {plain.words[THE_RUN]}"}
    found = {test: tried.words.get(test, "") for test in sorted(tried.failed - plain.failed)}
    if THE_RUN in found:
        return found
    classes = tuple(name[len(fixture) : -1] for name in tried.failed for fixture in _CLASS_FIXTURES if name.startswith(fixture))
    gone = [test for test in sorted(plain.passed - tried.outcomes.keys()) if not test.startswith(classes or ("\0",))]
    skipped = [test for test in sorted(plain.passed) if tried.outcomes.get(test) == "skipped"]
    return found | dict.fromkeys(gone, "it passes without the cache and did not run") | dict.fromkeys(skipped, "it was skipped")


def counting(summary: Summary, excuses: Sequence[Excuse]) -> tuple[dict[str, str], list[Wrong]]:
    """Return the new failures and the wrong values that nothing excuses."""
    here = [excuse for excuse in excuses if excuse.applies(summary.place)]

    def is_excused(test: str, *, value: bool) -> bool:
        of_kind = [excuse for excuse in here if (excuse.values if value else excuse.failures)]
        return any(fnmatchcase(test, pattern) for excuse in of_kind for pattern in excuse.tests)

    failures = {test: words for test, words in summary.failures.items() if not is_excused(test, value=False)}
    return failures, [item for item in summary.wrong if not is_excused(item.test, value=True)]


def first_of_each(wrong: Iterable[Wrong]) -> list[tuple[Wrong, int]]:
    """Return the first wrong value of each test and kind of read, with how many there are of them."""
    found: dict[tuple[str, str, str], list[Wrong]] = {}
    for item in wrong:
        found.setdefault((item.test, item.kind, item.when), []).append(item)
    return [(items[0], len(items)) for items in found.values()]


def idle(summaries: Sequence[Summary], excuses: Sequence[Excuse]) -> list[str]:
    """Return the excused names of which tests ran and none failed: they excuse nothing any more."""
    return [
        pattern
        for excuse in excuses
        for pattern in excuse.tests
        if _ran(summaries, excuse, pattern) and not _is_used(summaries, excuse, pattern)
    ]


def _ran(summaries: Sequence[Summary], excuse: Excuse, pattern: str) -> bool:
    here = (summary for summary in summaries if excuse.applies(summary.place))
    return any(fnmatchcase(test, pattern) for summary in here for test in summary.ran)


def _is_used(summaries: Sequence[Summary], excuse: Excuse, pattern: str) -> bool:
    for summary in summaries:
        found = [*(summary.failures if excuse.failures else ()), *(item.test for item in summary.wrong if excuse.values)]
        if excuse.applies(summary.place) and any(fnmatchcase(test, pattern) for test in found):
            return True
    return False


def as_json(summaries: Sequence[Summary], excuses: Sequence[Excuse], subject: str) -> dict[str, Any]:
    """Return everything as JSON can write it."""
    return {"subject": subject, "places": [_place(summary, excuses) for summary in summaries], "idle": idle(summaries, excuses)}


def _place(summary: Summary, excuses: Sequence[Excuse]) -> dict[str, Any]:
    failures, wrong = counting(summary, excuses)
    return {
        **vars(summary.place),
        "version": summary.version,
        "tests": summary.tests,
        "share": summary.share,
        "figures": dict(summary.figures),
        "failures": summary.failures,
        "wrong": [vars(item) for item in summary.wrong],
        "counting": {"failures": sorted(failures), "wrong": len(wrong)},
        "fail without the cache": summary.plain_failures,
    }
