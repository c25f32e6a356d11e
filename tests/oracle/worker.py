"""One worker process of the oracle: so many steps on one tree, from a seed of its own; prints its figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time

from oracle import django_setup


def main() -> int:
    """Run steps and print what was counted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--shrink", type=int, default=0, help="how many stale reads to reduce to a reproducer"
    )
    parser.add_argument("--workload", choices=("anything", "rover", "cases"), default="anything")
    parser.add_argument(
        "--spare", type=int, default=0, help="bytes after which the server evicts what it likes"
    )
    options = parser.parse_args()
    django_setup.configure()
    from oracle import random_steps, shrink
    from oracle.step_runner import StepRunner

    if options.workload == "cases":
        return run_cases()
    rover = options.workload == "rover"
    runner = StepRunner(workload=rover)
    if options.spare:
        random_steps.run_steps(
            runner, options.workload, options.seed, 40, 40
        )  # a server takes memory of its own for what it does first
        limit_memory(options.spare)
    began = time.monotonic()
    random_steps.run_steps(runner, options.workload, options.seed, options.steps, options.length)
    figures = runner.figures
    figures.count["evicted"] = evicted()
    seconds = time.monotonic() - began
    reproducers = shrink.reproducers(figures.stale, options.shrink, workload=rover)
    found = {"figures": dict(figures.count), "seconds": seconds, "reproducers": reproducers}
    json.dump({**found, "raised": figures.raised, "needless": figures.needless}, sys.stdout)
    runner.other_connection.close()
    return 0


def limit_memory(spare: int) -> None:
    """Let the server evict any key, the least recently used first, as soon as it needs more than now."""
    from cacheops.redis import redis_client

    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    redis_client.config_set("maxmemory", redis_client.info("memory")["used_memory"] + spare)


def evicted() -> int:
    """Return how many keys the server gave up for want of memory."""
    from cacheops.redis import redis_client

    return int(redis_client.info("stats")["evicted_keys"])


def run_cases() -> int:
    """Replay every case and print how it went; a case that was not cached, or whose last step was refused, shows nothing."""
    from oracle.cases import CASES
    from oracle.step_runner import StepRunner

    runner, found = StepRunner(), {}
    for name, steps in CASES.items():
        runner.start(0)
        before = runner.figures.count.copy()
        stale = [item.query for step in steps for item in runner.step(step)]
        count = runner.figures.count - before
        found[name] = {
            "stale": stale,
            **count,
            "seen": len(runner.pool),
            "warm": sum(item.warm for item in runner.pool),
        }
    json.dump(found, sys.stdout)
    runner.other_connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
