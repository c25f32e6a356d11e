"""A second connection in a thread of its own, which pauses at a given point while the first one acts."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cacheops.conf import settings
from django.db import connection

_PATIENCE = 30


class PausingConnection:
    """A thread with a connection of its own; it runs one action at a time and stops in it once."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[tuple[Callable[[], None], Any] | None] = queue.Queue()
        self._events: queue.Queue[str] = queue.Queue()
        self._resume = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self.error: BaseException | None = None
        self.is_active = False
        self.pauses = 0

    def close(self) -> None:
        """End the thread and its connection."""
        self._jobs.put(None)
        self._thread.join(_PATIENCE)

    @contextmanager
    def run_until_paused(self, action: Callable[[], None], point: int | str) -> Iterator[None]:
        """Run an action up to a point (after its n-th statement, before or after its first commit), then the body, then the rest."""
        self.error, self.is_active = None, True
        self._jobs.put((action, point))
        event = self._events.get(timeout=_PATIENCE)
        try:
            yield
        finally:
            if event == "stopped":
                self.pauses += 1
                self._resume.release()
                self._events.get(timeout=_PATIENCE)
            self.is_active = False

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                with self._stopping(job[1]):
                    job[0]()
            except BaseException as error:
                self.error = error
            self._events.put("ended")
        connection.close()

    @contextmanager
    def _stopping(self, point: int | str) -> Iterator[None]:
        statements, stopped = 0, False

        def stop() -> None:
            nonlocal stopped
            if not stopped:
                stopped = True
                self._events.put("stopped")
                self._resume.acquire(timeout=_PATIENCE)

        def execute(run: Any, *arguments: Any) -> Any:
            nonlocal statements
            done = run(*arguments)
            statements += (
                settings.CACHEOPS_ENABLED
            )  # which is of all threads: to stop while it is off would blind the other
            if statements == point:
                stop()
            return done

        def commit() -> None:
            if point == "commit":
                stop()
            own()
            if point == "committed":
                stop()

        connection.ensure_connection()
        own = connection._commit
        connection._commit = commit
        try:
            with connection.execute_wrapper(execute):
                yield
        finally:
            del connection._commit
