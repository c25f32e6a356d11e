"""Generates runs of random steps, each from a seed of its own.

Not Hypothesis' state machine, which was tried: it costs only 0.1 to 0.4 ms a step, but it likes to repeat and vary what it drew
before, and of 3,000 steps 1,294 were different ones; of these here 2,890 are. `shrink` replaces its shrinking, and goes into the
sources of the steps.
"""

from __future__ import annotations

from random import Random

from oracle import queries, workload, writes
from oracle.step_runner import StepRunner

_KINDS = {
    "anything": ("read",) * 6 + ("again",) + ("write",) * 7,
    "rover": ("read",) * 3 + ("write",) * 2,
}
_RUNS = 1_000_003
"""More runs than any process makes, so that no two processes share a seed."""


def run_steps(runner: StepRunner, mix: str, number: int, steps: int, length: int) -> None:
    """Take steps of a mix, `length` to a run; the same `number` gives the same steps."""
    for run, start in enumerate(range(0, steps, length)):
        seed = number * _RUNS + run
        rng = Random(seed)
        runner.start(seed)
        for _ in range(min(length, steps - start)):
            runner.step(_source(runner, mix, rng))


def _source(runner: StepRunner, mix: str, rng: Random) -> str:
    """Make a step's source."""
    kind = rng.choice(_KINDS[mix])
    known = [item.text for item in runner.pool]
    if mix == "rover":
        return workload.read(rng) if kind == "read" else workload.write(rng)
    if kind == "again" and known:
        return rng.choice(known)
    return writes.write(rng, known) if kind == "write" else queries.read(rng)
