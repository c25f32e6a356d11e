"""The circuit breaker of the process: after Redis failed, readers and writers leave it alone for a moment.

It is open for `CACHEOPS_ROVER_RETRY_SECONDS` (1 unless set, 0 switches it off). Then one caller may try, and the others go on
without Redis until that has worked or failed. There is no lock in it, which a fork would leave locked.
"""

from __future__ import annotations

import time
from threading import get_ident

from django.conf import settings

TRIAL_SECONDS = 30.0
"""How long an attempt counts as under way, where nobody says how it ended: its thread was killed, say."""


class Breaker:
    """Remembers for a short time that Redis failed; any success ends it."""

    def __init__(self) -> None:
        self.has_failed = False
        """Whether there was no success since the last failure: an attribute, since every read looks at it."""
        self.lacks_right = False
        """Whether Redis refused for want of a right: then all do without it, whatever CACHEOPS_DEGRADE_ON_FAILURE says."""
        self._rest = _Rest(0.0)

    def is_open(self) -> bool:
        """Return whether the caller should do without Redis; False once more for the thread whose turn it is to try."""
        if not self.has_failed:
            return False
        rest = self._rest
        if time.monotonic() < rest.until:
            return rest.trier != get_ident()
        try:
            rest.tickets.pop()
        except IndexError:  # another thread took it just now
            return True
        self._rest = _Rest(time.monotonic() + _seconds(), trier=get_ident())
        return False

    def tries(self) -> None:
        """Note that an attempt begins: the others wait for its end, however long it takes."""
        if self._rest.trier == get_ident():
            self._rest.until = time.monotonic() + max(TRIAL_SECONDS, _seconds())

    def failed(self, *, lacks_right: bool = False) -> None:
        """Note that Redis failed."""
        seconds = _seconds()
        self.lacks_right = lacks_right
        self._rest = _Rest(time.monotonic() + seconds)
        self.has_failed = seconds > 0

    def worked(self) -> None:
        """Note that Redis answered."""
        self.has_failed = False


class _Rest:
    """The time after a failure, in which only the `trier` asks Redis; whoever takes its one ticket afterwards is the next."""

    __slots__ = ("tickets", "trier", "until")

    def __init__(self, until: float, trier: int | None = None) -> None:
        self.until = until
        self.trier = trier
        self.tickets = [None]


def _seconds() -> float:
    return float(getattr(settings, "CACHEOPS_ROVER_RETRY_SECONDS", 1))


circuit = Breaker()
"""The one of this process, which readers and writers share."""
