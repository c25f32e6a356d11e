"""Run probe jobs from one interpreter of a cell: import what they share once, then fork for each.

Reads one job (JSON) per line on standard input, and writes one line when a job ends; jobs run in
parallel. Every job is a process with its own tree, settings and server; it shares the hash seed and
the modules that are installed in the environment. When standard input closes, this process ends
with everything that it started.
"""

import gc
import hashlib
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from importlib import _bootstrap_external
from pathlib import Path

FOLDER = str(Path(__file__).parent)
sys.path.insert(0, FOLDER)
from run_probes import run_probes  # noqa: E402 (found beside this file)

# The jobs must not see this folder. Python before 3.11 ignores PYTHONSAFEPATH and adds it as well.
sys.path[:] = [place for place in sys.path if os.path.realpath(place) != os.path.realpath(FOLDER)]

INSTALLED_FOLDERS = (sys.prefix + os.sep, sys.base_prefix + os.sep)
"""The folders of the environment and of the standard library."""

READ_BYTES = 65536
"""How many bytes are read at a time."""


def main():
    """Run jobs until standard input closes."""
    import pytest  # noqa: F401 (every job needs it)

    # The signal of a job that ends wakes `select` through this pipe.
    wake_reader, wake_writer = os.pipe()
    for end in (wake_reader, wake_writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running = {}
    buffered = b""
    while True:
        ready, _, _ = select.select([0, wake_reader], [], [], seconds_to_timeout(running))
        if wake_reader in ready:
            os.read(wake_reader, READ_BYTES)
        if 0 in ready:
            read = os.read(0, READ_BYTES)
            if not read:
                os.killpg(0, signal.SIGKILL)  # this process, and all that its jobs started
            *lines, buffered = (buffered + read).split(b"\n")
            for line in lines:
                job = json.loads(line)
                running[fork_job(job)] = (job["number"], time.monotonic() + job["timeout"])
        for pid in list(running):
            number, end = running[pid]
            code, timed_out = poll_job(pid, end)
            if code is not None:
                del running[pid]
                sys.stdout.write(
                    json.dumps({"number": number, "code": code, "timed_out": timed_out}) + "\n"
                )
                sys.stdout.flush()


def seconds_to_timeout(running):
    """Return the seconds until the first job times out, or None if no job runs."""
    ends = [end for _, end in running.values()]
    return max(0, min(ends) - time.monotonic()) if ends else None


def fork_job(job):
    """Fork for a job, and return its process id."""
    preload_modules(job["preload"])
    gc.freeze()  # a job's garbage collector need not visit what it shares
    pid = os.fork()
    if pid == 0:
        # The job's own children must not wake the server, which shares the pipe.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        run_job(job)
    return pid


def poll_job(pid, end):
    """Return a job's exit code, None while it runs, and whether it timed out.

    `end` is the time on the monotonic clock at which the job is killed.
    """
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        return os.waitstatus_to_exitcode(status), False
    if time.monotonic() < end:
        return None, False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL, True


def preload_modules(names):
    """Import installed modules that an earlier job needed.

    A module that cannot be imported alone is left to the jobs.
    """
    for name in names:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except BaseException:  # noqa: BLE001 (the job raises it itself)
                sys.modules.pop(name, None)


def run_job(job):
    """Become a job, with its environment, folder and tree; never return."""
    code = 70  # pytest uses other codes
    try:
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(job["env"])
        os.chdir(job["folder"])
        redirect_bytecode(job["bytecode"], job["path"])
        sys.path[:0] = job["path"]
        importlib.invalidate_caches()
        options = {name: job[name] for name in ("complete", "failed", "reverse")}
        code = run_probes(job["log"], job["root"], job["files"], **options)
        # Later servers of this environment preload them (`Prober`).
        Path(job["log"] + ".modules").write_text(json.dumps(installed_modules()))
    except BaseException:  # noqa: BLE001 (the parent reads it in the output)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def redirect_bytecode(folder, trees):
    """Compile each content once: installed files in place, all others into a folder of this run.

    Python cannot distinguish two edits of a probe within a second, so outside the environment no
    bytecode of earlier runs is used. Trees that have a file in common share its bytecode.
    """
    original = _bootstrap_external.cache_from_source
    trees = tuple(tree + os.sep for tree in trees)
    sys.pycache_prefix = folder  # pytest reads it, too

    def cache_from_source(path, debug_override=None, *, optimization=None):
        if not str(path).startswith(trees):
            sys.pycache_prefix = None if str(path).startswith(INSTALLED_FOLDERS) else folder
            try:
                return original(path, debug_override, optimization=optimization)
            finally:
                sys.pycache_prefix = folder
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return f"{folder}/{content}.{sys.implementation.cache_tag}.pyc"

    # The import system calls it by its name in this module.
    _bootstrap_external.cache_from_source = cache_from_source


def installed_modules():
    """Return the names of modules that come from the environment or the standard library.

    Modules of a tree or a probe are not among them.
    """
    return [
        name
        for name, module in list(sys.modules.items())
        if (getattr(module, "__file__", None) or "").startswith(INSTALLED_FOLDERS)
    ]


if __name__ == "__main__":
    main()
