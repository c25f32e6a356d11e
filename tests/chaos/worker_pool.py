"""The worker processes of a run: started, restarted when they were killed, and ended with the run."""

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
class WorkerSpec:
    """A process: what it is like, and its threads, by their numbers in the run. Writers come first.

    `limit` is how long PostgreSQL lets it wait; the others wait without limit.
    """

    style: str
    threads: tuple[int, ...]
    is_writer: bool = True
    limit: str = ""


WHOLE_POOL = (
    WorkerSpec("plain", (0,), limit="statement_timeout=2500"),
    WorkerSpec("threads", (1, 2), limit="lock_timeout=1500"),
    WorkerSpec("pool", (3, 4)),
    WorkerSpec("prefork", (5,)),
    WorkerSpec("plain", (6,), is_writer=False),
    WorkerSpec("repeatable read", (7,), is_writer=False),
)
SMALL_POOL = (
    WorkerSpec("plain", (0,)),
    WorkerSpec("prefork", (1,)),
    WorkerSpec("plain", (2,), is_writer=False),
)


@dataclass
class WorkerPool:
    """Starts the workers on a tree with settings; each may have settings of its own."""

    python: str
    tree: Path
    folder: Path
    board: Board
    specs: tuple[WorkerSpec, ...]
    words: dict
    settings_of: object  # of a member: its settings
    _running: dict[int, subprocess.Popen] = field(default_factory=dict)
    restarts: dict[int, int] = field(default_factory=dict)

    @property
    def log(self):
        """The log file of the workers."""
        return self.folder / "log.jsonl"

    def writers(self):
        """Return the numbers of the processes that write."""
        return [number for number, spec in enumerate(self.specs) if spec.is_writer]

    def prepare(self):
        """Have one process make the tables."""
        process = self._start(0, style="prepare")
        assert process.wait(START_SECONDS) == 0, (self.folder / "output").read_text()[-2000:]

    def start(self):
        """Start all of them and wait until each of them has done something."""
        for number in range(len(self.specs)):
            self._running[number] = self._start(number)
        end = time.monotonic() + START_SECONDS
        while not all(self.board.counts(number)["done"] for number in self._running):
            self.restart_ended()
            assert time.monotonic() < end, (
                f"they do not begin: {(self.folder / 'output').read_text()[-2000:]}"
            )
            time.sleep(0.05)

    def restart_ended(self):
        """Start those anew that have ended."""
        for number, process in self._running.items():
            if process.poll() is not None and not self.board.is_stopped:
                self.restarts[number] = self.restarts.get(number, 0) + 1
                assert self.restarts[number] < 2000, "they end by themselves"
                self._running[number] = self._start(number)

    def is_replaced(self, number, before):
        """Return whether another process of the system lives for a member, and has done something since `done`."""
        pid, done = before
        return self.board.pid(number) != pid and self.board.counts(number)["done"] > done

    def state(self, number):
        """Return the state to pass to `is_replaced` later."""
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
        spec = self.specs[number]
        words = {
            **self.words,
            "number": number,
            "threads": spec.threads,
            "style": spec.style,
            "restarts": self.restarts.get(number, 0),
            "writers": sum(len(one.threads) for one in self.specs if one.is_writer),
            "board": str(self.folder / "board"),
            "log": str(self.log),
            "settings": self.settings_of(number, spec),
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
