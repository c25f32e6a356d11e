"""End a process that has no end of its own together with the process that started it."""

from __future__ import annotations

import os
import signal
import threading
import time

POLL_SECONDS = 0.5


def end_with_parent() -> None:
    """Let SIGTERM end this process, as `kill` would, once its parent has ended.

    A signal to nox alone, or the death of whatever started nox, reaches no program below them.
    """
    thread = threading.Thread(target=_wait_for_another_parent, args=(os.getppid(),), daemon=True)
    thread.start()


def _wait_for_another_parent(parent: int) -> None:
    # The system gives a process whose parent has ended another one.
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
