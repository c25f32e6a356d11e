"""Interpreters of the cells that stay up between jobs, so that pytest and what is installed are imported once."""

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
"""The hash seeds of the two interpreters of an environment, one for each round: what an order of a set decides differs."""


@dataclass(frozen=True)
class Ended:
    """How a job's process ended, and what it printed."""

    code: int
    timed_out: bool
    output: str


class Interpreter:
    """A warm interpreter, which runs as many jobs beside each other as it is asked for, each in a process of its own."""

    def __init__(self, python: Path, seed: int) -> None:
        self._process = started([python, "-X", "utf8", _SERVE], env=_variables(seed), quiet=True)
        self._answers: dict[int, Future[dict[str, Any] | None]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self.is_over = False
        """Whether it takes no more jobs."""
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run a job and return its answer, None where the interpreter ended in the middle of it."""
        answer: Future[dict[str, Any] | None] = Future()
        number = next(self._numbers)
        with self._lock:
            if self.is_over:
                return None
            self._answers[number] = answer
            assert self._process.stdin is not None
            with suppress(OSError):  # it is dead, which the listener finds out
                self._process.stdin.write(json.dumps({**job, "number": number}).encode() + b"\n")
                self._process.stdin.flush()
        return answer.result()

    def close(self) -> None:
        """End it with all that its jobs started."""
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

    What they compile goes to a folder in `work` that ends with them.
    """

    work: Path
    _warm: dict[tuple[Path, int], Interpreter] = field(default_factory=dict)
    _all: list[Interpreter] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._bytecode = tempfile.mkdtemp(
            prefix="tmp-bytecode-", dir=self.work
        )  # tidied away should this run be killed

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
        """Run probe files in a process of their own, forked from an interpreter with a hash seed; the log goes to `folder`.

        `path` are the folders to import from, `timeout` is in seconds; `complete`, `failed` and `reverse` are those of
        `run_probes`. A `cold` one has an interpreter that ran nothing before.
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
        """End every interpreter, and forget what they compiled."""
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
        """Give no more jobs to an interpreter: what a job left behind that was stopped ends with it."""
        with self._lock:
            for key, warm in list(self._warm.items()):
                if warm is interpreter:
                    del self._warm[key]


def random_seed() -> int:
    """Return a hash seed that nobody chose."""
    return random.SystemRandom().randrange(max(SEEDS) + 1, 2**32)


def _seeded(seed: int) -> dict[str, str]:
    """Return what Python reads of the environment: a hash seed, and nothing of the user's own packages."""
    return {"PYTHONHASHSEED": str(seed), "PYTHONNOUSERSITE": "1"}


def _variables(seed: int) -> dict[str, str]:
    """Return the environment of an interpreter, as `-I` would have it but for the hash seed, which `-I` ignores."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | _seeded(seed) | {"PYTHONSAFEPATH": "1"}
