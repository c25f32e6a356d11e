"""What the cache does, in numbers: the public names of `rover_overrides.operations.counters`."""

from rover_overrides.operations.counters import counted, report, totals

__all__ = ["counted", "report", "totals"]
