"""The circuit breaker of the process: after a failure nobody uses Redis for a short time.

It is open for `CACHEOPS_ROVER_RETRY_SECONDS` (1 by default, 0 disables it), for readers and
writers. Then one thread may try, and the others do without Redis until that attempt has
succeeded or failed. It uses no lock, because a fork could leave it locked.
"""

from __future__ import annotations

import time
from threading import get_ident

from django.conf import settings

TRIAL_SECONDS = 30.0
"""How long an attempt counts as in progress if its end is not recorded.

Its thread may have been killed, for example.
"""


class CircuitBreaker:
    """Remembers for a short time that Redis failed; any success closes it."""

    def __init__(self) -> None:
        self.has_failed = False
        """Whether there was no success since the last failure.

        It is an attribute, because every read checks it.
        """
        self.lacks_permission = False
        """Whether the last failure was a missing permission.

        Then everybody does without Redis, whatever CACHEOPS_DEGRADE_ON_FAILURE is.
        """
        self._open_period = _OpenPeriod(0.0)

    def is_open(self) -> bool:
        """Return whether the caller should do without Redis.

        It is False for the one thread whose turn it is to try.
        """
        if not self.has_failed:
            return False
        period = self._open_period
        if time.monotonic() < period.until:
            return period.trial_thread != get_ident()
        try:
            period.tickets.pop()  # atomic: only one thread gets the ticket
        except IndexError:  # another thread has just taken it
            return True
        self._open_period = _OpenPeriod(
            time.monotonic() + _retry_seconds(), trial_thread=get_ident()
        )
        return False

    def record_attempt(self) -> None:
        """Record that an attempt begins; until it ends, other threads do without Redis."""
        if self._open_period.trial_thread == get_ident():
            self._open_period.until = time.monotonic() + max(TRIAL_SECONDS, _retry_seconds())

    def record_failure(self, *, lacks_permission: bool = False) -> None:
        """Record that Redis failed."""
        seconds = _retry_seconds()
        self.lacks_permission = lacks_permission
        self._open_period = _OpenPeriod(time.monotonic() + seconds)
        self.has_failed = seconds > 0

    def record_success(self) -> None:
        """Record that Redis answered."""
        self.has_failed = False


class _OpenPeriod:
    """A period after a failure, in which only the thread `trial_thread` uses Redis.

    Afterwards the thread that takes its only ticket is the next to try.
    """

    __slots__ = ("tickets", "trial_thread", "until")

    def __init__(self, until: float, trial_thread: int | None = None) -> None:
        self.until = until
        self.trial_thread = trial_thread
        self.tickets = [None]


def _retry_seconds() -> float:
    return float(getattr(settings, "CACHEOPS_ROVER_RETRY_SECONDS", 1))


circuit = CircuitBreaker()
"""The circuit breaker of this process, shared by readers and writers."""
