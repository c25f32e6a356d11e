"""What shows that a change is good for upstream: its suite, and the new test, bare and changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.core.errors import AttentionError, EnvironmentFailedError
from scripts.core.model import Feature
from scripts.core.repository import Repository
from scripts.forward.source import UpstreamSource
from scripts.probes.upstream_suite import (
    NO_TEST,
    WHOLE_RUN,
    Comparison,
    compare_with_bare,
    try_new_tests,
)
from scripts.series.apply import TreeBuilder


@dataclass(frozen=True)
class Evidence:
    """The runs of the new test and of upstream's own tests, each on both trees."""

    new_test: tuple[Comparison, ...]
    suite: tuple[Comparison, ...]


def collect_evidence(
    repo: Repository,
    builder: TreeBuilder,
    source: UpstreamSource,
    tree: str,
    tests: Sequence[str],
    features: Sequence[Feature],
    again: str,
) -> Evidence:
    """Run the new test, then upstream's own tests; raise AttentionError if they speak against it.

    `again` is the command that runs them once more.
    Raises EnvironmentFailedError if no environment here can run the new test.
    """
    for made in (source.release.tree, tree):
        builder.adopt(made, source.release)
    tried = try_new_tests(repo, builder, source.release, tree, tests)
    if not tried:
        raise EnvironmentFailedError(
            f"no environment here can run {', '.join(tests)}",
            hint="add one that runs this release to fork.toml: environments",
        )
    named = ", ".join(tests)
    faults = list(new_test_faults(tried, features))
    _raise_if_any(f"{named} does not show the change:", faults, f"mend the test, then `{again}`")
    suite = compare_with_bare(repo, builder, source.release, tree=tree)
    title = "upstream's own tests fail with the change, and pass without:"
    _raise_if_any(title, new_failures(suite), f"mend the change, then `{again}`")
    return Evidence(tuple(filter(has_tests, tried)), tuple(suite))


def new_test_faults(tried: Sequence[Comparison], features: Sequence[Feature]) -> Iterator[str]:
    """Yield what is wrong with a new test: a failure with the change, or none without it."""
    ran = [run for run in tried if has_tests(run)]
    for run in ran:
        for test, error in run.changed.failed.items():
            yield f"{test} fails with the change ({run.mode}, {run.environment}): {error}"
    places = ", ".join(dict.fromkeys(run.environment for run in tried))
    needs = ", ".join(dict.fromkeys(need for feature in features for need in feature.needs))
    tail = f"(tried in {places}{f'; it matters with {needs}' if needs else ''})"
    if not ran:
        yield f"{NO_TEST}, or all are skipped {tail}"
    elif not any(map(failing_bare, ran)):
        yield f"it passes without the change, too, so it proves nothing {tail}"


def has_tests(run: Comparison) -> bool:
    """Return whether a test passed or failed; where all are skipped, there is nothing to compare.

    A test may be only for some versions of what upstream requires.
    """
    return run.changed.failed != {WHOLE_RUN: NO_TEST} or bool(failing_bare(run))


def failing_bare(run: Comparison) -> set[str]:
    """Return the tests that fail on bare upstream; a run that broke off is none of them."""
    return run.bare.failed.keys() - {WHOLE_RUN}


def new_failures(found: Sequence[Comparison]) -> list[str]:
    """Return upstream's own tests that fail with the change alone.

    fork.toml excuses failures that the fork wants; upstream does not want them.
    """
    return [str(failure) for comparison in found for failure in comparison.failures]


def _raise_if_any(title: str, faults: Sequence[str], hint: str) -> None:
    if faults:
        raise AttentionError("\n".join([title, *(f"  - {line}" for line in faults)]), hint=hint)
