"""What a run came to: which violations count, which exceptions plain Django has too, and how often the cache was of use."""

import json
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.board import BUCKETS, COUNTS, Board, bucket_limit
from tests.chaos.faults import AWAY, FAULTS, OUTBOX

ENOUGH = 0.5
"""The hit rate that is wanted between faults."""

DATABASE_ERRORS = frozenset(
    f"django.db.utils.{name}" for name in ("OperationalError", "InterfaceError", "DatabaseError")
)
"""What plain Django raises, too, where the database failed, for so many seconds:"""
DATABASE_SECONDS = 10
LOCK_TIMEOUT = "canceling statement due to lock timeout"


CALL_SECONDS = 1
"""From what a write tells of itself until it is published, at most."""


@dataclass(frozen=True)
class InjectedFault:
    """A fault of a plan: its number, from 1, and when it was."""

    number: int
    name: str
    started: int
    ended: int
    moves: tuple[int, ...] = ()
    is_made: bool = True


@dataclass
class Round:
    """What happened in one place."""

    server: str
    place: str
    faults: list[InjectedFault] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    queries: dict = field(default_factory=dict)
    kinds: dict = field(default_factory=dict)
    times: dict = field(default_factory=dict)
    violations: list[dict] = field(default_factory=list)
    within_bound: list[dict] = field(default_factory=list)
    exceptions: list[dict] = field(default_factory=list)
    shared_exceptions: list[dict] = field(default_factory=list)
    unanswered_writes: list[dict] = field(default_factory=list)
    failed_faults: list[str] = field(default_factory=list)
    restarts: int = 0
    seconds: float = 0.0
    is_interrupted: bool = False

    @property
    def counts_by_fault(self):
        """How often each fault happened; some wait for a write that does not come."""
        return Counter(fault.name for fault in self.faults if fault.is_made)

    @property
    def hit_rate(self):
        """The share of hits between faults, None where nothing was read then."""
        reads = self.counts["reads between"]
        return self.counts["hits between"] / reads if reads else None

    @property
    def problems(self):
        """What is wrong, in a sentence each."""
        found = []
        if self.violations:
            found.append(f"{len(self.violations)} violations")
        if self.exceptions:
            found.append(f"{len(self.exceptions)} exceptions that plain Django lacks")
        if self.hit_rate is not None and self.hit_rate < ENOUGH:
            found.append(f"a hit rate of {100 * self.hit_rate:.0f} % between faults")
        if self.failed_faults:
            found.append(f"{len(self.failed_faults)} faults could not be made")
        if self.is_interrupted:
            found.append(f"interrupted after {self.seconds:.0f} s")
        if not self.counts["reads"] or not self.counts["writes"]:
            found.append("nothing was read or written")
        return found


def judge(found: Round, board: Board, processes: int, lines, queries, kinds):
    """Add to a round what its processes counted and wrote."""
    for number in range(processes):
        found.counts.update(board.counts(number))
        for is_write, names, into in ((False, queries, found.queries), (True, kinds, found.kinds)):
            for name, (done, hits) in zip(names, board.name_counts(number, is_write), strict=False):
                before = into.get(name, (0, 0))
                into[name] = (before[0] + done, before[1] + hits)
        for is_write in (False, True):
            for in_fault in (False, True):
                key = ("write" if is_write else "read", "in" if in_fault else "out")
                times = board.times(number, is_write=is_write, in_fault=in_fault)
                found.times[key] = [
                    one + other
                    for one, other in zip(found.times.get(key, [0] * BUCKETS), times, strict=True)
                ]
    by_number = {fault.number: fault for fault in found.faults}
    every = [json.loads(line) for line in lines]
    found.unanswered_writes = [line for line in every if line["what"] == "unheard"]
    for line in every:
        fault = by_number.get(line["fault"])
        line |= {
            "under": fault.name if fault else "none",
            "server": found.server,
            "place": found.place,
        }
        if line["what"] == "violation":
            bound = _bound_of_fault(line, found.faults) or _bound_of_unanswered_write(line, found)
            (found.within_bound if bound else found.violations).append(
                line | ({"bound": bound} if bound else {})
            )
        elif line["what"] == "exception":
            (
                found.shared_exceptions
                if _is_raised_by_plain_django(line, found.faults)
                else found.exceptions
            ).append(line)


def _bound_of_unanswered_write(line, found):
    """Return the words of the bound of a write of which Redis did not hear although it was not the fault's aim."""
    bound = OUTBOX if found.place == "outbox" else AWAY
    outdated = line["at"] - 1000 * line["age"]
    if (
        line["got"] > line["most"]
        or line["own"]
        or (bound.age and line["age"] > bound.age + bound.slack)
    ):
        return None
    last = line["at"] - 1000 * (bound.after + bound.slack)
    is_covered = any(
        outdated - 1000 * CALL_SECONDS <= event["at"] <= line["at"] and event["at"] >= last
        for event in found.unanswered_writes
        if event["process"] != line["process"]
    )
    return f"{bound.words} (Redis did not answer a write in time)" if is_covered else None


def _bound_of_fault(line, faults):
    """Return the words of the bound that a violation is within: of the last fault, or of the one when it was outdated."""
    if line["got"] > line["most"]:
        return None  # what was never committed
    outdated = line["at"] - 1000 * line["age"]
    for fault in faults:
        bound = FAULTS[fault.name].bound
        if bound is None or (bound.others_only and line["own"]):
            continue
        end = (fault.ended or line["at"]) + 1000 * (bound.after + bound.slack)
        is_within = fault.started <= line["at"] <= end and outdated <= end
        if bound.since_move is not None:
            last = max((move for move in fault.moves if move <= line["at"]), default=fault.started)
            is_within = is_within and line["at"] - last <= 1000 * (bound.since_move + bound.slack)
        if is_within and (bound.age is None or line["age"] <= bound.age + bound.slack):
            return bound.words
    return None


def _is_raised_by_plain_django(line, faults):
    """Return whether plain Django raises it, too.

    It does if the database failed, or if a writer that halts holds the row lock that another one
    waits for.
    """
    is_lock_timeout = line.get("words", "").startswith(LOCK_TIMEOUT)
    return line["kind"] in DATABASE_ERRORS and any(
        (FAULTS[fault.name].database or (is_lock_timeout and FAULTS[fault.name].halts_writer))
        and fault.started <= line["at"] <= (fault.ended or line["at"]) + 1000 * DATABASE_SECONDS
        for fault in faults
    )


def quantile(times, share):
    """Return a time in seconds that this share of all did not exceed."""
    left = share * sum(times)
    for step, number in enumerate(times):
        left -= number
        if number and left <= 0:
            return bucket_limit(step)
    return max((bucket_limit(step) for step, number in enumerate(times) if number), default=0.0)


def as_json(found: Round):
    """Return a round as JSON can write it."""
    return {
        "server": found.server,
        "place": found.place,
        "seconds": round(found.seconds, 1),
        "counts": {name: found.counts[name] for name in COUNTS},
        "restarts": found.restarts,
        "writes that Redis did not hear": len(found.unanswered_writes),
        "hit rate between": found.hit_rate,
        "faults": dict(found.counts_by_fault),
        "plan": [vars(fault) for fault in found.faults],
        "queries": {
            name: {"reads": done, "hits": hits} for name, (done, hits) in found.queries.items()
        },
        "kinds": {name: done for name, (done, _) in found.kinds.items()},
        "latencies": {
            f"{kind} {where} of faults": {
                "p50": quantile(times, 0.5),
                "p99": quantile(times, 0.99),
                "max": quantile(times, 1),
            }
            for (kind, where), times in found.times.items()
        },
        "violations": found.violations,
        "within a bound": found.within_bound,
        "exceptions": found.exceptions,
        "exceptions that plain Django has": found.shared_exceptions,
        "could not be made": found.failed_faults,
        "problems": found.problems,
    }
