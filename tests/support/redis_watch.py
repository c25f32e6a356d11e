"""The commands that a Redis server ran: the probes' helper, for the other tests.

The probes run in cells without `tests/support`, so the code has to live among them.
"""

from tests.probes.probe_project.redis_watch import units, watching

__all__ = ["units", "watching"]
