"""Fork servers: interpreters of the cells that stay up and fork a process for each job.

pytest and installed packages are imported once for many jobs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from scripts.core.errors import EnvironmentFailedError
from scripts.core.subprocesses import is_stopping, kill_group, start
from scripts.core.temporary import make_temporary_folder

_SERVER_FILE = Path(__file__).parent / "cell" / "fork_server.py"
RUNNER_FILES = (_SERVER_FILE, _SERVER_FILE.with_name("run_probes.py"))
"""The files that decide how a probe is run; results depend on them."""

SEEDS = (1, 2)
"""The hash seeds of the two interpreters of an environment, one for each round.

Results that depend on the order of a set may differ between them.
"""


@dataclass(frozen=True)
class ProcessExit:
    """How a job's process ended, and what it printed."""

    code: int
    timed_out: bool
    output: str


class ForkServer:
    """An interpreter that runs any number of jobs in parallel, each in its own process."""

    def __init__(self, python: Path, seed: int) -> None:
        self._process = start(
            [python, "-X", "utf8", _SERVER_FILE], env=_variables(seed), discard_stderr=True
        )
        self._answers: dict[int, Future[dict[str, Any] | None]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self.is_closed = False
        """Whether it accepts no more jobs."""
        threading.Thread(target=self._listen, daemon=True).start()

    def run_job(self, job: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run a job and return its answer, or None if the server ended before that."""
        answer: Future[dict[str, Any] | None] = Future()
        number = next(self._numbers)
        with self._lock:
            if self.is_closed:
                return None
            self._answers[number] = answer
            assert self._process.stdin is not None
            with suppress(OSError):  # it is dead, which the listener notices
                self._process.stdin.write(json.dumps({**job, "number": number}).encode() + b"\n")
                self._process.stdin.flush()
        return answer.result()

    def close(self) -> None:
        """End the server and everything that its jobs started."""
        kill_group(self._process)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):  # closed while it was read
            for line in self._process.stdout:
                answer = json.loads(line)
                self._answers.pop(answer["number"]).set_result(answer)
        with self._lock:
            self.is_closed = True
        # The server is closed, so no more jobs are added.
        for waiting in self._answers.values():
            waiting.set_result(None)


@dataclass
class ForkServerPool:
    """The running fork servers by environment and hash seed.

    Their bytecode goes to a folder in `work` that is deleted with them.
    """

    work: Path
    _reusable: dict[tuple[Path, int], ForkServer] = field(default_factory=dict)
    _all: list[ForkServer] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._bytecode = str(make_temporary_folder(self.work))

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
        preload: Sequence[str],
        timeout: float,
    ) -> ProcessExit:
        """Run probe files in a process that is forked from a server with a hash seed.

        `folder` receives the log, `path` are the folders to import from, `timeout` is in seconds;
        `complete`, `failed` and `reverse` are those of `run_probes`. `preload` are the
        modules that the server imports first. A `cold` job gets a server that ran nothing before.

        Raise EnvironmentFailedError if the server ended during the job.
        """
        output = folder / "output"
        job = {
            "preload": preload,
            "output": str(output),
            "folder": str(folder),
            "path": [str(place) for place in path],
            "root": str(root),
            "files": [str(file) for file in files],
            "complete": list(complete),
            "failed": dict(failed),
            "reverse": reverse,
            "env": {
                **env,
                **_hash_seed_variables(seed),
                "PYTHONPYCACHEPREFIX": self._bytecode,
            },
            "bytecode": self._bytecode,
            "log": str(folder / "log"),
            "timeout": timeout,
        }
        with self._borrowed(python, seed, cold=cold) as server:
            answer = server.run_job(job)
        text = output.read_text(errors="replace") if output.exists() else ""
        # `stop_all` killed the server, which is no fault of the environment.
        if is_stopping():
            raise KeyboardInterrupt
        if answer is None:
            raise EnvironmentFailedError(
                f"{python} ended in the middle of a job"
                + (f":\n{text[-2000:]}" if text else " and printed nothing"),
                hint=f"run this again; if it ends again: {python} -c 'import pytest'",
            )
        if answer["timed_out"]:
            self._drop_server(server)
        return ProcessExit(answer["code"], answer["timed_out"], text)

    def close(self) -> None:
        """End every server, and delete their bytecode."""
        with self._lock:
            for server in self._all:
                server.close()
            self._all.clear()
            self._reusable.clear()
        shutil.rmtree(self._bytecode, ignore_errors=True)

    @contextmanager
    def _borrowed(self, python: Path, seed: int, *, cold: bool) -> Iterator[ForkServer]:
        if not cold:
            with self._lock:
                reusable = self._reusable.get((python, seed))
                if reusable is None or reusable.is_closed:
                    reusable = self._reusable[python, seed] = ForkServer(python, seed)
                    self._all.append(reusable)
            yield reusable
            return
        server = ForkServer(python, seed)
        try:
            yield server
        finally:
            server.close()

    def _drop_server(self, server: ForkServer) -> None:
        """Give no more jobs to a fork server of which a job timed out.

        What that job left behind ends with the server.
        """
        with self._lock:
            for key, reusable in list(self._reusable.items()):
                if reusable is server:
                    del self._reusable[key]


def random_seed() -> int:
    """Return a random hash seed that is none of SEEDS."""
    return random.SystemRandom().randrange(max(SEEDS) + 1, 2**32)


def _hash_seed_variables(seed: int) -> dict[str, str]:
    """Return the variables that set the hash seed and leave out the user's own packages."""
    return {"PYTHONHASHSEED": str(seed), "PYTHONNOUSERSITE": "1"}


def _variables(seed: int) -> dict[str, str]:
    """Return the process environment of an interpreter, isolated as by `-I`.

    `-I` itself would ignore the hash seed.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | _hash_seed_variables(seed) | {"PYTHONSAFEPATH": "1"}
