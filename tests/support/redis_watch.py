"""What a Redis server was told: the probes' own helper, for the other tests."""

from tests.probes.probe_project.redis_watch import units, watching

__all__ = ["units", "watching"]
