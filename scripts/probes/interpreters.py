"""Interpreters of the cells that stay up between jobs.

pytest and installed packages are imported once for many jobs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from scripts.core.errors import EnvironmentFailedError
from scripts.core.subprocesses import closing_group, started, stopping

_SERVE = Path(__file__).parent / "cell" / "serve.py"
CODE = (_SERVE, _SERVE.with_name("run_probes.py"))
"""The files that decide how a probe is run; results depend on them."""

SEEDS = (1, 2)
"""The hash seeds of the two interpreters of an environment, one for each round.

Results that depend on the order of a set may differ between them.
"""


@dataclass(frozen=True)
class Ended:
    """How a job's process ended, and what it printed."""

    code: int
    timed_out: bool
    output: str


class Interpreter:
    """A warm interpreter that runs any number of jobs in parallel, each in its own process."""

    def __init__(self, python: Path, seed: int) -> None:
        self._process = started([python, "-X", "utf8", _SERVE], env=_variables(seed), quiet=True)
        self._answers: dict[int, Future[dict[str, Any] | None]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self.is_over = False
        """Whether it accepts no more jobs."""
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run a job and return its answer, or None if the interpreter ended before that."""
        answer: Future[dict[str, Any] | None] = Future()
        number = next(self._numbers)
        with self._lock:
            if self.is_over:
                return None
            self._answers[number] = answer
            assert self._process.stdin is not None
            with suppress(OSError):  # it is dead, which the listener notices
                self._process.stdin.write(json.dumps({**job, "number": number}).encode() + b"\n")
                self._process.stdin.flush()
        return answer.result()

    def close(self) -> None:
        """End the interpreter and everything that its jobs started."""
        closing_group(self._process)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):  # closed while it was read
            for line in self._process.stdout:
                answer = json.loads(line)
                self._answers.pop(answer["number"]).set_result(answer)
        with self._lock:
            self.is_over = True
        for waiting in self._answers.values():
            waiting.set_result(None)


@dataclass
class Interpreters:
    """The warm interpreters by environment and hash seed.

    Their bytecode goes to a folder in `work` that is deleted with them.
    """

    work: Path
    _warm: dict[tuple[Path, int], Interpreter] = field(default_factory=dict)
    _all: list[Interpreter] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # The prefix marks it for removal by a later run, if this one is killed.
        self._bytecode = tempfile.mkdtemp(prefix="tmp-bytecode-", dir=self.work)

    def run(
        self,
        python: Path,
        *,
        folder: Path,
        path: Sequence[Path],
        root: Path,
        files: Sequence[Path],
        complete: Collection[str],
        failed: Mapping[str, str],
        reverse: bool,
        seed: int,
        cold: bool,
        env: Mapping[str, str],
        warm: Sequence[str],
        timeout: float,
    ) -> Ended:
        """Run probe files in a process that is forked from an interpreter with a hash seed.

        `folder` receives the log, `path` are the folders to import from, `timeout` is in seconds;
        `complete`, `failed` and `reverse` are those of `run_probes`. A `cold` job gets an
        interpreter that ran nothing before.

        Raise EnvironmentFailedError if the interpreter ended during the job.
        """
        output = folder / "output"
        job = {
            "warm": warm,
            "output": str(output),
            "folder": str(folder),
            "path": [str(place) for place in path],
            "root": str(root),
            "files": [str(file) for file in files],
            "complete": list(complete),
            "failed": dict(failed),
            "reverse": reverse,
            "env": {**env, **_seeded(seed), "PYTHONPYCACHEPREFIX": self._bytecode},
            "bytecode": self._bytecode,
            "log": str(folder / "log"),
            "timeout": timeout,
        }
        with self._taken(python, seed, cold=cold) as interpreter:
            answer = interpreter.ask(job)
        text = output.read_text(errors="replace") if output.exists() else ""
        if stopping():
            raise KeyboardInterrupt
        if answer is None:
            raise EnvironmentFailedError(
                f"{python} ended in the middle of a job:\n{text[-2000:]}", hint="run this again"
            )
        if answer["timed_out"]:
            self._leave(interpreter)
        return Ended(answer["code"], answer["timed_out"], text)

    def close(self) -> None:
        """End every interpreter, and delete their bytecode."""
        with self._lock:
            for interpreter in self._all:
                interpreter.close()
            self._all.clear()
            self._warm.clear()
        shutil.rmtree(self._bytecode, ignore_errors=True)

    @contextmanager
    def _taken(self, python: Path, seed: int, *, cold: bool) -> Iterator[Interpreter]:
        if not cold:
            with self._lock:
                warm = self._warm.get((python, seed))
                if warm is None or warm.is_over:
                    warm = self._warm[python, seed] = Interpreter(python, seed)
                    self._all.append(warm)
            yield warm
            return
        interpreter = Interpreter(python, seed)
        try:
            yield interpreter
        finally:
            interpreter.close()

    def _leave(self, interpreter: Interpreter) -> None:
        """Give no more jobs to an interpreter of which a job timed out.

        What that job left behind ends with the interpreter.
        """
        with self._lock:
            for key, warm in list(self._warm.items()):
                if warm is interpreter:
                    del self._warm[key]


def random_seed() -> int:
    """Return a random hash seed that is none of SEEDS."""
    return random.SystemRandom().randrange(max(SEEDS) + 1, 2**32)


def _seeded(seed: int) -> dict[str, str]:
    """Return the variables for Python: a hash seed, and none of the user's own packages."""
    return {"PYTHONHASHSEED": str(seed), "PYTHONNOUSERSITE": "1"}


def _variables(seed: int) -> dict[str, str]:
    """Return the process environment of an interpreter, isolated as by `-I`.

    `-I` itself would ignore the hash seed.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | _seeded(seed) | {"PYTHONSAFEPATH": "1"}
