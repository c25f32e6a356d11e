"""Interpreters of the cells that stay up between jobs, so that pytest and what is installed are imported once."""

from __future__ import annotations

import json
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


@dataclass(frozen=True)
class Ended:
    """How a job's process ended, and what it printed."""

    code: int
    timed_out: bool
    output: str


@dataclass
class Interpreters:
    """Idle interpreters by environment, taken by one worker at a time.

    What they compile goes to a folder in `work` that ends with them.
    """

    work: Path
    _idle: dict[Path, list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._bytecode = tempfile.mkdtemp(prefix="tmp-bytecode-", dir=self.work)  # tidied away should this run be killed

    def run(
        self,
        python: Path,
        *,
        folder: Path,
        tree: Path,
        root: Path,
        files: Sequence[Path],
        complete: Collection[str],
        rounds: int,
        env: Mapping[str, str],
        warm: Sequence[str],
        timeout: float,
    ) -> Ended:
        """Run probe files in a process of their own; logs go to `folder`. `timeout` is in seconds.

        `complete` and `rounds` are those of `run_probes`.
        """
        output = folder / "output"
        job = {
            "warm": warm,
            "output": str(output),
            "folder": str(folder),
            "tree": str(tree),
            "root": str(root),
            "files": [str(file) for file in files],
            "complete": list(complete),
            "rounds": rounds,
            "env": {**env, "PYTHONPYCACHEPREFIX": self._bytecode},
            "bytecode": self._bytecode,
            "log": str(folder / "log"),
            "timeout": timeout,
        }
        with self._taken(python) as process:
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
    def _taken(self, python: Path) -> Iterator[subprocess.Popen[bytes]]:
        with self._lock:
            idle = self._idle.setdefault(python, [])
            process = idle.pop() if idle else None
        process = process or started([python, "-I", "-X", "utf8", _SERVE], quiet=True)
        try:
            yield process
        except BaseException:
            closing_group(process)
            raise
        if process.poll() is None:
            with self._lock:
                self._idle[python].append(process)
