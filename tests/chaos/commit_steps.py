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
        if board.spring_trap(process, STEPS.index(step) + 1):
            if board.halt_milliseconds:
                time.sleep(board.halt_milliseconds / 1000)
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    from django.db.backends.postgresql.base import DatabaseWrapper

    _wrap(DatabaseWrapper, "_commit", reach, "before COMMIT", "after COMMIT")
    drops = _import_first(_DROPS)
    if drops is not None:
        _wrap(
            drops,
            _name_in(drops, "prepare", "announce"),
            reach,
            "before announce",
            "after announce",
        )
        _wrap(drops, _name_in(drops, "finish", "complete"), reach, "before leave", None)


def on_unanswered_write(call):
    """Have something called for each write that Redis did not hear of: neither before its COMMIT nor after it."""
    owed = _import_first(_OWED)
    if owed is None:
        return
    name = _name_in(owed, "remember", "note")
    original = getattr(owed, name)

    def remember(*args):
        call()
        return original(*args)

    setattr(owed, name, remember)


def _wrap(owner, name, reach, before, after):
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
    pending = _import_first(_PENDING)
    has_setting = hasattr(pending, "lifetime_seconds") or hasattr(pending, "seconds")
    if hasattr(pending, "SECONDS") and not has_setting:
        pending.SECONDS = seconds


def sabotage(name):
    """Break the engine in a way that the checker must see."""
    drops = _import_first(_DROPS)
    if name == "no leave":
        setattr(drops, _name_in(drops, "finish", "complete"), lambda *_args, **_more: None)
    elif name == "no drops":
        setattr(drops, _name_in(drops, "_keys_to_delete", "_stamps"), lambda *_args, **_more: [])
    elif name:
        raise ValueError(name)


def _name_in(module, *names):
    """Return the first of the names that a module has: an older wheel has the last."""
    return next(name for name in names if hasattr(module, name))


def _import_first(names):
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
