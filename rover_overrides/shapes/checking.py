"""The check of keys by shape at run time: one in a number is also computed by compiling.

At the first difference the process computes all keys by compiling, counts it and warns.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rover_overrides.core.operator_warnings import warn
from rover_overrides.core.switches import is_installed

# The module comes with a patch that this tree may lack.
_counters: Any = (
    import_module("rover_overrides.metrics.counters")
    if is_installed("explain-invalidation")
    else None
)


class Tally:
    """How many keys this process has computed in which way; none by shape after a difference."""

    def __init__(self) -> None:
        self.by_shape = self.compiled = self.checked = self.different = 0


tally = Tally()


def record_check(by_shape: str, by_compiling: str, model: Any) -> None:
    """Record the two keys of one query."""
    tally.checked += 1
    if by_shape == by_compiling:
        return
    tally.different += 1
    if _counters is not None:
        _counters.count("keys by shape: different")
    warn(
        f"A cache key of {model._meta.label} by the shape of its query differs from the key by its "
        "SQL. This process compiles all queries now; please report the query.",
        stacklevel=3,
    )
