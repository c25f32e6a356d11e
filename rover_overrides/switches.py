"""Which patches are enabled: the public names of `rover_overrides.core.switches`."""

from rover_overrides.core.switches import applied, off, on, stated

__all__ = ["applied", "off", "on", "stated"]
