"""Counters of what the cache does: the public names of `rover_overrides.metrics.counters`."""

from rover_overrides.metrics.counters import counted, report, totals

__all__ = ["counted", "report", "totals"]
