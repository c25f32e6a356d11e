"""What the processes of a run share beside the database and the cache: a file in memory, of numbers that are stored whole.

Each *fact* has a version that only grows. A writer notes what it is about to write (`intended`), and what it has written once
`commit()` has returned (`published`). A reader notes what was published, reads, and compares the answer with both.
"""

import mmap
import time
from pathlib import Path

CHANNELS = ("fact", "group", "mark", "tags")
"""What has versions: rows of three tables, and the tags of a fact, whose numbers are the bits of a version."""

FACTS = 16
GROUPS = 4
SHARED = 4
"""So many facts are written by everybody, under a lock; the others have an owner each."""

CELLS = len(CHANNELS) * FACTS
MOST_THREADS = 16
MOST_PROCESSES = 10
BUCKETS = 96
NAMES = 64  # of queries and of kinds, each with two numbers

COUNTS = (
    "reads",
    "hits",
    "reads between",
    "hits between",
    "writes",
    "violations",
    "exceptions",
    "done",
)
_HEAD = 16
_STOP, _FAULT, _STARTED, _ENDED, _QUIET, _STEP, _VICTIM, _HOLD, _LONE, _KIND, _POOLS = range(11)
_PID = 15
_PER_PROCESS = 16 + 2 * NAMES * 2 + 4 * BUCKETS
_SIZE = _HEAD + 2 * MOST_THREADS * CELLS + MOST_PROCESSES * _PER_PROCESS


def version_index(channel, number):
    """Return where the version of a fact, a group, a mark or a fact's tags is in a list of all versions."""
    return CHANNELS.index(channel) * FACTS + number


def now():
    """Return the time in milliseconds by a clock that all processes share."""
    return time.monotonic_ns() // 1_000_000


class Board:
    """The numbers; every cell has one writer."""

    def __init__(self, path):
        path = Path(path)
        if not path.exists():
            path.write_bytes(bytes(8 * _SIZE))
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    # What is published and intended

    def publish(self, thread, where, version):
        """Say that a version has been committed."""
        self._words[_HEAD + thread * CELLS + where] = version

    def intend(self, thread, where, version):
        """Say that a version is about to be written."""
        self._words[_HEAD + (MOST_THREADS + thread) * CELLS + where] = version

    def published(self):
        """Return all versions that readers who begin now must not be behind."""
        return self._most(_HEAD)

    def intended(self):
        """Return the versions that nobody can be ahead of."""
        return self._most(_HEAD + MOST_THREADS * CELLS)

    def published_by(self, threads):
        """Return the versions that some threads have published."""
        return self._most(_HEAD, [*threads, *threads])

    def _most(self, start, threads=range(MOST_THREADS)):
        rows = [self._words[start + n * CELLS : start + (n + 1) * CELLS].tolist() for n in threads]
        return list(map(max, *rows))

    # What happens

    @property
    def is_stopped(self):
        """Whether all are to end."""
        return bool(self._words[_STOP])

    def stop(self):
        """Have all of them end."""
        self._words[_STOP] = 1

    def begin_fault(self, number):
        """Say that the fault of that number in the plan begins."""
        self._words[_QUIET] = 0
        self._words[_ENDED] = 0
        self._words[_STARTED] = now()
        self._words[_FAULT] = number

    def end_fault(self):
        """Say that it is undone; what it left behind may take a while."""
        self._words[_ENDED] = now()

    def set_quiet(self, word):
        """Say whether nothing is under way and nothing is left of it."""
        self._words[_QUIET] = word

    @property
    def is_quiet(self):
        """Whether reads count for the hit rate between faults."""
        return bool(self._words[_QUIET])

    @property
    def fault(self):
        """The number of the last fault in the plan, when it began, and when it was undone (0 while it is not)."""
        return self._words[_FAULT], self._words[_STARTED], self._words[_ENDED]

    def set_trap(self, process, step, hold=0):
        """Have a process kill itself at the next step of that number, or halt there for so many milliseconds."""
        self._words[_HOLD] = hold
        self._words[_VICTIM] = process
        self._words[_STEP] = step

    def spring_trap(self, process, step):
        """Return whether a process is to be killed at a step; once."""
        if self._words[_STEP] != step or self._words[_VICTIM] != process:
            return False
        self._words[_STEP] = 0
        return True

    @property
    def halt_milliseconds(self):
        """For how many milliseconds the victim halts in place of being killed."""
        return self._words[_HOLD]

    @property
    def has_trap(self):
        """Whether nobody has gone into the trap yet."""
        return bool(self._words[_STEP])

    def take_pools(self, word):
        """Have each process with a connection pool take all connections out of it, or give them back."""
        self._words[_POOLS] = word

    @property
    def are_pools_taken(self):
        """Whether nobody else is to get a connection from a pool."""
        return bool(self._words[_POOLS])

    def only_writer(self, thread, kind=None):
        """Have one thread alone write from now on, perhaps in one kind alone, by its number; None lets all of them."""
        self._words[_KIND] = 0 if kind is None else kind + 1
        self._words[_LONE] = 0 if thread is None else thread + 1

    @property
    def only_kind(self):
        """The number of the kind in which alone is written, None for all of them."""
        return self._words[_KIND] - 1 if self._words[_KIND] else None

    def write_share(self, thread, quiet, fault, wanted):
        """Return how much of what a thread does are writes: between faults, during one, or where a fault waits for a write of it."""
        if self._words[_LONE]:
            return wanted if self._words[_LONE] == thread + 1 else 0
        if self._words[_STEP]:
            return wanted
        return quiet if self._words[_QUIET] else fault

    # What was done: a process counts for itself

    def _of(self, process):
        return _HEAD + 2 * MOST_THREADS * CELLS + process * _PER_PROCESS

    def count(self, process, name, number=1):
        """Count something of `COUNTS`."""
        self._words[self._of(process) + COUNTS.index(name)] += number

    def set_pid(self, process, pid):
        """Say which process of the system a process of the run is."""
        self._words[self._of(process) + _PID] = pid

    def pid(self, process):
        """Return which process of the system a process of the run is, 0 before it began."""
        return self._words[self._of(process) + _PID]

    def counts(self, process):
        """Return the counts of a process."""
        start = self._of(process)
        return dict(zip(COUNTS, self._words[start : start + len(COUNTS)].tolist(), strict=True))

    def count_name(self, process, is_write, number, *, is_hit=False):
        """Count a read of a query, or a write of a kind, by its number."""
        start = self._of(process) + 16 + 2 * NAMES * is_write + 2 * number
        self._words[start] += 1
        self._words[start + 1] += is_hit

    def name_counts(self, process, is_write):
        """Return the numbers of all queries or kinds: done, and hits."""
        start = self._of(process) + 16 + 2 * NAMES * is_write
        found = self._words[start : start + 2 * NAMES].tolist()
        return list(zip(found[::2], found[1::2], strict=True))

    def count_time(self, process, seconds, *, is_write, in_fault):
        """Count how long something took, in steps of a fifth."""
        self._words[
            self._of(process)
            + 16
            + 4 * NAMES
            + (2 * is_write + in_fault) * BUCKETS
            + bucket(seconds)
        ] += 1

    def times(self, process, *, is_write, in_fault):
        """Return how often something took how long."""
        start = self._of(process) + 16 + 4 * NAMES + (2 * is_write + in_fault) * BUCKETS
        return self._words[start : start + BUCKETS].tolist()


def bucket(seconds):
    """Return the number of the step that a time is in."""
    step, bound = 0, 1e-5
    while seconds > bound and step < BUCKETS - 1:
        step, bound = step + 1, bound * 1.2
    return step


def bucket_limit(step):
    """Return the longest time of a step in seconds."""
    return 1e-5 * 1.2**step
