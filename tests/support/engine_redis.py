"""Real servers for the tests of the overrides, and the overrides' own client set to one of them."""

from collections import Counter
from contextlib import contextmanager

from rover_overrides.cache import registry, results
from rover_overrides.transport import pipeline
from scripts.probes.servers import free_port
from tests.support.redis_servers import (
    ROOT,
    Cluster,
    RedisServer,
    Sentinel,
    decoded,
    responds_to_ping,
    wait_until,
)

__all__ = [
    "ROOT",
    "Cluster",
    "RedisServer",
    "Sentinel",
    "count_round_trips",
    "decoded",
    "forget_registries",
    "free_port",
    "responds_to_ping",
    "use_client",
    "wait_until",
]


def use_client(monkeypatch, client):
    """Have the overrides talk through `client`, as a process that has just started."""
    monkeypatch.setattr(pipeline, "client", lambda: client)
    pipeline.circuit.record_success()
    forget_registries(monkeypatch)


def forget_registries(monkeypatch):
    """Forget what a process knows of the registries."""
    monkeypatch.setattr(results, "_known_templates", registry.KnownTemplates())


@contextmanager
def count_round_trips():
    """Count the pipelines of `transport.run` inside the block; in a cluster those to several nodes at a time are one."""
    counted = Counter()
    real = pipeline._exchange

    def exchange(batches):
        counted["trips"] += 1
        counted["commands"] += sum(len(commands) for _, commands in batches)
        return real(batches)

    pipeline._exchange = exchange
    try:
        yield counted
    finally:
        pipeline._exchange = real
