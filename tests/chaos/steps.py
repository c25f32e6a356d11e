"""Where a writer can be killed, or halted: around the parts of a COMMIT. And engines that are broken on purpose."""

import importlib
import os
import signal
import time

STEPS = ("before announce", "after announce", "before COMMIT", "after COMMIT", "before leave")

_DROPS = ("rover_overrides.invalidation.two_phase", "rover_overrides.drops")
_OWED = ("rover_overrides.invalidation.unsent", "rover_overrides.owed")
_PENDING = ("rover_overrides.cache.pending_writes", "rover_overrides.pending")


def install(board, process):
    """Have a process of a run go into the traps that are set for it."""

    def reach(step):
        if board.trapped(process, STEPS.index(step) + 1):
            if board.hold:
                time.sleep(board.hold / 1000)
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    from django.db.backends.postgresql.base import DatabaseWrapper

    _around(DatabaseWrapper, "_commit", reach, "before COMMIT", "after COMMIT")
    drops = _first(_DROPS)
    if drops is not None:
        _around(drops, "announce", reach, "before announce", "after announce")
        _around(drops, "complete", reach, "before leave", None)


def on_unheard(call):
    """Have something called for each write that Redis did not hear of: neither before its COMMIT nor after it."""
    owed = _first(_OWED)
    if owed is None:
        return
    original = owed.note

    def note(*args):
        call()
        return original(*args)

    owed.note = note


def _around(owner, name, reach, before, after):
    original = getattr(owner, name)

    def around(*args, **more):
        reach(before)
        found = original(*args, **more)
        if after:
            reach(after)
        return found

    setattr(owner, name, around)


def shorten_entries(seconds):
    """Have the entries of writers that died end sooner, in a wheel that has no setting for it."""
    pending = _first(_PENDING)
    if hasattr(pending, "SECONDS") and not hasattr(pending, "seconds"):
        pending.SECONDS = seconds


def sabotage(name):
    """Break the engine in a way that the checker must see."""
    drops = _first(_DROPS)
    if name == "no leave":
        drops.complete = lambda *_args, **_more: None
    elif name == "no drops":
        drops._stamps = lambda *_args, **_more: []
    elif name:
        raise ValueError(name)


def _first(names):
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
