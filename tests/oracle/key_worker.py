"""Compares the keys and dependencies of random queries by their structure with those by compiling; prints the figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from random import Random
from typing import Any

from oracle import django_setup


def main() -> int:
    """Compare the keys of so many random reads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    django_setup.configure()
    from oracle import queries, reads
    from oracle.step_runner import StepRunner

    comparison, runner = Comparison(), StepRunner()
    runner.start(options.seed)
    names = {**runner.names, **dict.fromkeys(reads.READ_STEPS, comparison.compare)}
    rng = Random(options.seed)
    for _ in range(options.reads):
        comparison.source = queries.read(rng) if rng.random() < 0.7 else queries.simple_read(rng)
        comparison.is_entered = False
        try:
            eval(comparison.source, names)
        except Exception:
            if comparison.is_entered:
                raise
            comparison.counts["refused by Django"] += 1
    json.dump({"counts": comparison.counts, "different": comparison.different}, sys.stdout)
    runner.other_connection.close()
    return 0


class Comparison:
    """Counts the queries whose keys are computed in either way, and lists those that differ."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.different: list[str] = []
        self.source = ""
        self.is_entered = False

    def compare(self, queryset: Any, *_: Any, **conditions: Any) -> None:
        """Compare the keys and dependencies of a read: of its rows, and of their number."""
        from rover_overrides.keys.encoding import short_name
        from rover_overrides.keys.query_keys import result_key
        from rover_overrides.queries.analysis import dependencies
        from rover_overrides.queries.dependencies import as_count_sample
        from rover_overrides.shapes.structural_keys import digest_by_shape

        self.is_entered = True
        if conditions:  # of a single row
            queryset = queryset.filter(**conditions)
        for is_count in (False, True):
            # Twice, because the first query of a shape is compiled.
            for _ in range(2):
                found = digest_by_shape(queryset, is_count=is_count)
            self.counts["compiled" if found is None else "by shape"] += 1
            compiled = result_key(as_count_sample(queryset) if is_count else queryset)
            if found is None:
                continue
            purpose = "count" if is_count else "rows"
            if "q:" + short_name(found[0]) != compiled or dependencies(
                queryset, purpose, found[1].frames
            ) != dependencies(as_count_sample(queryset) if is_count else queryset, purpose):
                self.different.append(self.source)


if __name__ == "__main__":
    sys.exit(main())
