"""One process of the oracle: so many steps on one tree, from seeds of its own; prints its figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from random import Random

from oracle import project


def main() -> int:
    """Run steps and print what was counted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shrink", type=int, default=0, help="how many stale reads to reduce to a reproducer")
    parser.add_argument("--workload", choices=("anything", "rover"), default="anything")
    options = parser.parse_args()
    project.start()
    from oracle import shrink
    from oracle.machine import Machine

    rover = options.workload == "rover"
    machine = Machine(workload=rover)
    began = time.monotonic()
    for number in range(-(-options.steps // options.length)):
        seed, length = options.seed * 1_000_003 + number, min(options.length, options.steps - number * options.length)
        (run_workload if rover else run)(machine, seed, length)
    figures = machine.figures
    seconds = time.monotonic() - began
    reproducers = shrink.several(figures.stale, options.shrink, workload=rover)
    json.dump(
        {"figures": dict(figures.count), "seconds": seconds, "reproducers": reproducers, "raised": figures.raised}, sys.stdout
    )
    machine.beside.close()
    return 0


def run(machine: object, seed: int, length: int) -> None:
    """Make one run of steps."""
    from oracle import queries, writes

    rng = Random(seed)
    machine.start(seed)
    for _ in range(length):
        if rng.random() < 0.5:
            known = [item.text for item in machine.pool]
            source = rng.choice(known) if known and rng.random() < 0.15 else queries.read(rng)
        else:
            source = writes.write(rng, [item.text for item in machine.pool])
        machine.step(source)


def run_workload(machine: object, seed: int, length: int) -> None:
    """Make one run of the fixed mix."""
    from oracle import workload

    rng = Random(seed)
    machine.start(seed)
    for _ in range(length):
        machine.step(workload.read(rng) if rng.random() < 0.6 else workload.write(rng))


if __name__ == "__main__":
    sys.exit(main())
