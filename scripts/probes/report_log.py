"""Read the logs of a probe process and join its rounds into the outcome of each test."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.core.model import Outcome
from scripts.probes.fork_server_pool import SEEDS, ProcessExit

OUTCOME_PRECEDENCE = (
    Outcome.FLAKY,
    Outcome.ERROR,
    Outcome.MISSING,
    Outcome.SKIPPED,
    Outcome.FAILED,
    Outcome.PASSED,
)
"""Outcomes by precedence, the highest first.

Nothing is known of the tests after a file's first failure.
"""


Log = list[dict[str, Any]]
"""The entries of one round."""

COLD_ROUND = 3
"""The number of the round that a cold interpreter runs after the first two."""

_ROUNDS = (
    f" (in order with PYTHONHASHSEED={SEEDS[0]}, then in reverse with PYTHONHASHSEED={SEEDS[1]})"
)


@dataclass(frozen=True)
class FileResult:
    """The tests of a probe file in one job: the outcome and first error line of each, by node id.

    `left_out` are the tests that did not run because another one had failed. `rounds` is how often
    that one ran, or, if none failed, all of them. The third round is cold and has the hash seed
    `seed`.
    """

    tests: dict[str, tuple[Outcome, str]]
    problem: str = ""
    left_out: tuple[str, ...] = ()
    rounds: int = 2
    seed: int | None = None

    @property
    def is_flaky(self) -> bool:
        """Return whether two rounds of a test differ."""
        return any(outcome is Outcome.FLAKY for outcome, _ in self.tests.values())


def read_log(path: Path) -> Log:
    """Return the entries of a pytest-reportlog log, empty if there is no file.

    A killed process may have left its last line incomplete, so reading ends at the first broken
    one.
    """
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def is_finished(log: Log) -> bool:
    """Return whether a round ran to its end."""
    return bool(log) and log[-1].get("$report_type") == "SessionFinish"


def join_rounds(
    file: str, logs: list[Log], ended: ProcessExit, *, stops: bool = True
) -> FileResult:
    """Join the rounds of a file; a test whose rounds differ is flaky.

    A file that `stops` ends at its first failure, and its second round runs only the test that
    failed.
    """
    rounds = [_round(file, log) for log in logs]
    problem = next(
        (
            first_error_line(entry)
            for log in logs
            for entry in log
            if _is_broken_collection(entry, file)
        ),
        "",
    )
    if not problem and not any(map(is_finished, logs)):
        ending = "ran into its timeout" if ended.timed_out else f"ended with {ended.code}"
        problem = f"the process {ending}: {_tail(ended)}"
    is_decided = (
        stops
        and all(map(is_finished, logs))
        # The second round of such a file runs that test alone.
        and any(_is_failed_call(entry, file) for entry in logs[0])
    )
    # In a decided file, a test without a report was left out; else the process ended before it.
    absent = None if is_decided else (Outcome.MISSING, "no report: the process ended before it")
    tests = {}
    names = sorted(set().union(*rounds))
    for name in names:
        runs = [test for found in rounds if (test := found.get(name, absent)) is not None]
        if runs:
            one, two = runs[0], runs[-1]
            tests[name] = (
                one
                if one[0] == two[0]
                else (Outcome.FLAKY, f"{one[0]}, then {two[0]}: {one[1] or two[1]}{_ROUNDS}")
            )
    return FileResult(tests, problem, tuple(name for name in names if name not in tests), len(logs))


def add_cold_round(
    file: str, known: FileResult, log: Log, ended: ProcessExit, seed: int
) -> FileResult:
    """Return the result of a file's two rounds joined with that of a cold interpreter.

    A test for which the cold round differs is flaky.
    """
    cold = join_rounds(file, [log], ended)
    tests = {
        name: _compare_with_cold(test, _cold_outcome(name, cold), seed)
        for name, test in known.tests.items()
    }
    return replace(known, tests=tests, rounds=COLD_ROUND, seed=seed)


def _cold_outcome(name: str, cold: FileResult) -> tuple[Outcome, str] | None:
    """Return the result of a test in a round, or None if another test's failure left it out."""
    if cold.problem:
        return Outcome.ERROR, cold.problem
    absent = None if name in cold.left_out else (Outcome.MISSING, "no report")
    return cold.tests.get(name, absent)


def _compare_with_cold(
    known: tuple[Outcome, str], said: tuple[Outcome, str] | None, seed: int
) -> tuple[Outcome, str]:
    if said is None:
        return known
    alone = f"in a cold interpreter with PYTHONHASHSEED={seed}"
    if known[0] is Outcome.FLAKY:
        return Outcome.FLAKY, f"{known[1]}; {said[0]} {alone}"
    if known[0] is not said[0]:
        return Outcome.FLAKY, f"{known[0]} twice, then {said[0]} {alone}: {said[1] or known[1]}"
    return known[0], known[1] or f"once more {alone}"


def first_failures(log: Log, complete: Collection[str]) -> dict[str, str]:
    """Return the first failed test of each file that stops there, by file.

    Files in `complete` do not stop.
    """
    found: dict[str, str] = {}
    for entry in log:
        file = entry.get("nodeid", "").partition("::")[0]
        if _is_failed_call(entry, file) and file not in complete:
            found.setdefault(file, entry["nodeid"])
    return found


def _round(file: str, log: Log) -> dict[str, tuple[Outcome, str] | None]:
    """Return each test's outcome in one round, None for a test that was left out."""
    found: dict[str, tuple[Outcome, str] | None] = {}
    for entry in log:
        name = entry.get("nodeid", "")
        if entry.get("$report_type") != "TestReport" or name.partition("::")[0] != file:
            continue
        # scripts/probes/cell/run_probes.py adds this property.
        if ["left_out", True] in entry["user_properties"]:
            found[name] = None
            continue
        known = found.get(name) or (Outcome.PASSED, "")
        found[name] = min(
            known,
            (_outcome(entry), first_error_line(entry)),
            key=lambda test: OUTCOME_PRECEDENCE.index(test[0]),
        )
    return found


def _is_failed_call(entry: dict[str, Any], file: str) -> bool:
    """Return whether a test itself failed, not its setup or teardown."""
    return (
        entry.get("$report_type") == "TestReport"
        and entry["nodeid"].partition("::")[0] == file
        and (entry["when"], entry["outcome"]) == ("call", "failed")
    )


def _outcome(entry: dict[str, Any]) -> Outcome:
    # An expected failure proves nothing, whether it came or not.
    if "wasxfail" in entry or entry["outcome"] == "skipped":
        return Outcome.SKIPPED
    if entry["outcome"] == "failed":
        return Outcome.FAILED if entry["when"] == "call" else Outcome.ERROR
    return Outcome.PASSED


def first_error_line(entry: dict[str, Any]) -> str:
    """Return the first line of a report's error, at most 300 characters.

    It is the message of the assertion.
    """
    longrepr = entry.get("longrepr")
    if entry["outcome"] == "passed" or not longrepr:
        return ""
    if isinstance(longrepr, dict):
        crash = longrepr.get("reprcrash") or {}
        text = crash.get("message") or str(longrepr)
    elif isinstance(longrepr, list):
        text = str(longrepr[-1])  # of a skip: path, line and reason
    else:
        text = "\n".join(
            line[1:] for line in str(longrepr).splitlines() if line.startswith("E ")
        ) or str(longrepr)
    return str(text).strip().splitlines()[0][:300]


def _is_broken_collection(entry: dict[str, Any], file: str) -> bool:
    return (
        entry.get("$report_type") == "CollectReport"
        and entry.get("outcome") == "failed"
        and (
            entry["nodeid"] in ("", ".")
            or file == entry["nodeid"]
            or file.startswith(f"{entry['nodeid']}/")  # a folder takes its files with it
        )
    )


def _tail(ended: ProcessExit) -> str:
    """Return the first error that pytest printed, else its last line."""
    lines = ended.output.strip().splitlines()
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (errors or lines[-1:] or ["it printed nothing"])[0][:300]
