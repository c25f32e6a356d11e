"""Interpreters of the cells that stay up between jobs, so that pytest and what is installed are imported once."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.errors import EnvironmentFailedError
from scripts.process import closing_group, started, stopping

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


@dataclass
class Interpreters:
    """Idle interpreters by environment and hash seed, taken by one worker at a time.

    What they compile goes to a folder in `work` that ends with them.
    """

    work: Path
    _idle: dict[tuple[Path, int], list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._bytecode = tempfile.mkdtemp(prefix="tmp-bytecode-", dir=self.work)  # tidied away should this run be killed

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
        with self._taken(python, seed, cold=cold) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line or json.loads(line)["timed_out"]:
                closing_group(process)
        text = output.read_text(errors="replace") if output.exists() else ""
        if stopping():
            raise KeyboardInterrupt
        if not line:
            raise EnvironmentFailedError(f"{python} ended in the middle of a job:\n{text[-2000:]}", hint="run this again")
        answer = json.loads(line)
        return Ended(answer["code"], answer["timed_out"], text)

    def close(self) -> None:
        """End every idle interpreter, and forget what they compiled."""
        with self._lock:
            for process in (process for processes in self._idle.values() for process in processes):
                closing_group(process)
            self._idle.clear()
        shutil.rmtree(self._bytecode, ignore_errors=True)

    @contextmanager
    def _taken(self, python: Path, seed: int, *, cold: bool) -> Iterator[subprocess.Popen[bytes]]:
        process = None if cold else self._pop(python, seed)
        process = process or started([python, "-X", "utf8", _SERVE], env=_variables(seed), quiet=True)
        try:
            yield process
        except BaseException:
            closing_group(process)
            raise
        if cold:
            closing_group(process)
        elif process.poll() is None:
            with self._lock:
                self._idle[python, seed].append(process)

    def _pop(self, python: Path, seed: int) -> subprocess.Popen[bytes] | None:
        with self._lock:
            idle = self._idle.setdefault((python, seed), [])
            return idle.pop() if idle else None


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
