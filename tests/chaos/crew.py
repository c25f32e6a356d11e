"""The processes of a run: started, killed, started again, and gone at the end."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.board import Board

HERE = Path(__file__).parent
START_SECONDS = 60
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL")


@dataclass(frozen=True)
class Member:
    """A process: what it is like, and its threads, by their numbers in the run. Writers come first.

    `limit` is how long PostgreSQL lets it wait; the others wait without limit.
    """

    style: str
    threads: tuple[int, ...]
    is_writer: bool = True
    limit: str = ""


WHOLE = (
    Member("plain", (0,), limit="statement_timeout=2500"),
    Member("threads", (1, 2), limit="lock_timeout=1500"),
    Member("pool", (3, 4)),
    Member("prefork", (5,)),
    Member("plain", (6,), is_writer=False),
    Member("repeatable read", (7,), is_writer=False),
)
SMALL = (Member("plain", (0,)), Member("prefork", (1,)), Member("plain", (2,), is_writer=False))


@dataclass
class Crew:
    """Starts the members under a tree with settings; each may have more of its own."""

    python: str
    tree: Path
    folder: Path
    board: Board
    members: tuple[Member, ...]
    words: dict
    settings_of: object  # of a member: its settings
    _running: dict[int, subprocess.Popen] = field(default_factory=dict)
    lives: dict[int, int] = field(default_factory=dict)

    @property
    def log(self):
        """The file of what the members write."""
        return self.folder / "log.jsonl"

    def writers(self):
        """Return the numbers of the processes that write."""
        return [number for number, member in enumerate(self.members) if member.is_writer]

    def prepare(self):
        """Have one process make the tables."""
        process = self._start(0, style="prepare")
        assert process.wait(START_SECONDS) == 0, (self.folder / "output").read_text()[-2000:]

    def start(self):
        """Start all of them and wait until each of them has done something."""
        for number in range(len(self.members)):
            self._running[number] = self._start(number)
        end = time.monotonic() + START_SECONDS
        while not all(self.board.counts(number)["done"] for number in self._running):
            self.tend()
            assert time.monotonic() < end, (
                f"they do not begin: {(self.folder / 'output').read_text()[-2000:]}"
            )
            time.sleep(0.05)

    def tend(self):
        """Start those anew that have ended."""
        for number, process in self._running.items():
            if process.poll() is not None and not self.board.stopped:
                self.lives[number] = self.lives.get(number, 0) + 1
                assert self.lives[number] < 2000, "they end by themselves"
                self._running[number] = self._start(number)

    def is_replaced(self, number, before):
        """Return whether another process of the system lives for a member, and has done something since `done`."""
        pid, done = before
        return self.board.pid(number) != pid and self.board.counts(number)["done"] > done

    def state(self, number):
        """Return what `is_replaced` is asked with."""
        return self.board.pid(number), self.board.counts(number)["done"]

    def send(self, number, sign):
        """Send a signal to the process that does the work of a member."""
        with suppress(ProcessLookupError):
            os.kill(self.board.pid(number), sign)

    def end(self):
        """End all of them: first as they like, then for good."""
        self.board.stop()
        end = time.monotonic() + 4
        while time.monotonic() < end and any(
            process.poll() is None for process in self._running.values()
        ):
            time.sleep(0.05)
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(
                    process.pid, signal.SIGKILL
                )  # its group: the children of a parent that forks, too
            process.wait()

    def _start(self, number, **more):
        member = self.members[number]
        words = {
            **self.words,
            "number": number,
            "threads": member.threads,
            "style": member.style,
            "life": self.lives.get(number, 0),
            "writers": sum(len(one.threads) for one in self.members if one.is_writer),
            "board": str(self.folder / "board"),
            "log": str(self.log),
            "settings": self.settings_of(number, member),
            **more,
        }
        path = os.pathsep.join(map(str, (self.tree, HERE)))
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "CHAOS": json.dumps(words),
        }
        with (self.folder / "output").open("a") as output:
            return subprocess.Popen(
                [self.python, str(HERE / "worker.py")],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
