"""Serve jobs of probes from one interpreter of a cell: import what they share once, then fork for each job.

Reads a job a line (JSON) on standard input and answers each with a line. Every job is a process of its own, with its own
tree, settings and server; it shares only modules that are installed in the environment. Ends when standard input closes.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from run_probes import run_probes

sys.path.pop(0)

POLL_SECONDS = 0.02


def main():
    """Answer jobs until standard input closes."""
    import pytest  # noqa: F401 (every job needs it)

    while True:
        line = sys.stdin.buffer.readline()
        if not line:
            return
        job = json.loads(line)
        warm(job["warm"])
        gc.freeze()  # a job's collector need not look at what it shares
        pid = os.fork()
        if pid == 0:
            child(job)
        code, timed_out = wait(pid, job["timeout"])
        sys.stdout.write(json.dumps({"code": code, "timed_out": timed_out}) + "\n")
        sys.stdout.flush()


def warm(names):
    """Import installed modules that an earlier job needed; one that cannot stand alone is left to the jobs."""
    for name in names:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except BaseException:  # noqa: BLE001 (whatever an import raises, the job will meet it itself)
                sys.modules.pop(name, None)


def child(job):
    """Become a job: its environment, its folder, its tree; never returns."""
    code = 70
    try:
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(job["env"])
        os.chdir(job["folder"])
        # What is compiled is shared by the jobs of one run alone: two edits of a probe within a second look the same.
        sys.pycache_prefix = job["bytecode"]
        sys.path.insert(0, job["tree"])
        importlib.invalidate_caches()
        code = run_probes(job["log"], job["root"], job["files"], complete=job["complete"], rounds=job["rounds"])
        Path(job["log"] + ".modules").write_text(json.dumps(installed_modules()))
    except BaseException:  # noqa: BLE001 (the parent reads it in the output)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def installed_modules():
    """Name the modules that came from the environment or the standard library, not from a tree or a probe."""
    homes = (sys.prefix + os.sep, sys.base_prefix + os.sep)
    return [name for name, module in list(sys.modules.items()) if (getattr(module, "__file__", None) or "").startswith(homes)]


def wait(pid, timeout):
    """Wait for a job's end or its timeout (seconds); when whoever asked for it is gone, end with everything started here."""
    end = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), False
        gone = select.select([0], [], [], POLL_SECONDS)[0]
        if gone:
            os.killpg(0, signal.SIGKILL)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGKILL, True


if __name__ == "__main__":
    main()
