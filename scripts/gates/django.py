"""django: run Django's own tests under the wheel; report new failures and wrong answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from scripts.core.console import info
from scripts.core.errors import EnvironmentFailedError, Exit
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.gates.django_excuses import Excuse, read_excuses, unexcused, unused_excuses
from scripts.gates.django_findings import PlaceSummary, first_of_each
from scripts.gates.django_plan import (
    DjangoSelection,
    available_djangos,
    gate_of,
    plan_jobs,
    subject_of,
)
from scripts.gates.django_run import ShardRunner


def django(
    repo: Repository,
    selection: DjangoSelection,
    *,
    upstream: bool = False,
    tree: Path | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    short: bool = False,
    form: str = "terminal",
) -> Exit:
    """Run what is requested and print the report; stdout has nothing else."""
    gate = gate_of(repo)
    if not selection.labels and (short or upstream):
        selection = dataclasses.replace(selection, labels=gate.seen if upstream else gate.short)
    # The other mode compares no reads, so it finds no wrong values.
    if upstream and not selection.mode:
        selection = dataclasses.replace(selection, mode="committing")
    # The excuses are for the wheel.
    excuses = () if upstream else read_excuses(repo.root / gate.excused)
    subject = subject_of(repo, upstream=upstream, tree=tree)
    subject = dataclasses.replace(subject, settings={**subject.settings, **settings})
    todo = plan_jobs(repo, gate, available_djangos(repo, gate, selection), selection, subject)
    if not todo:
        raise EnvironmentFailedError(
            "nothing can be run here",
            hint="see above for what is missing; `--database` chooses another one",
        )
    runner = ShardRunner(repo, gate, ResultCache(repo.work / "results", fresh=selection.fresh))
    summaries = runner.run_all(todo, selection.jobs)
    _print_report(summaries, excuses, subject.name, form)
    info(f"{runner.ran} shards run, {len(todo) - runner.ran} results kept from before")
    if upstream:
        return Exit.OK if _detects_enough(summaries, gate.at_least) else Exit.ATTENTION
    return (
        Exit.ATTENTION
        if any(any(unexcused(summary, excuses)) for summary in summaries)
        else Exit.OK
    )


def _detects_enough(summaries: Sequence[PlaceSummary], at_least: int) -> bool:
    """Return whether the gate detects enough wrong values of bare upstream in every place.

    Otherwise the gate would be blind. Print the places where it is.
    """
    blind = [summary for summary in summaries if len(summary.wrong) <= at_least]
    for summary in blind:
        info(
            f"{summary.place}: only {len(summary.wrong)} wrong values of bare upstream are found, "
            f"more than {at_least} are needed"
        )
    return not blind


def _print_report(
    summaries: Sequence[PlaceSummary], excuses: Sequence[Excuse], subject: str, form: str
) -> None:
    if form == "json":
        click.echo(json.dumps(as_json(summaries, excuses, subject), indent=1))
        return
    click.echo(f"{subject}:")
    for summary in summaries:
        click.echo(summary_line(summary, excuses))
        failures, wrong = unexcused(summary, excuses)
        for test, words in failures.items():
            click.echo(f"  fails: {test}: {words}")
        for item, count in first_of_each(wrong):
            click.echo(f"  wrong{f' ({count} times)' if count > 1 else ''}: {item}")
    for pattern in unused_excuses(summaries, excuses):
        click.echo(f"excused, but no longer fails: {pattern}")


def summary_line(summary: PlaceSummary, excuses: Sequence[Excuse]) -> str:
    """Return the summary of a place as one line."""
    failures, wrong = unexcused(summary, excuses)
    share = (
        ""
        if summary.hit_share is None
        else f" ({100 * summary.hit_share:.1f} % of {summary.figures['reads']} reads made twice)"
    )
    return (
        f"{summary.place} ({summary.version}): {summary.tests} tests, "
        f"{summary.figures['hits']} hits{share}, "
        f"{summary.figures['comparisons']} comparisons{_keys(summary)}, "
        f"{len(wrong)} wrong values{_more(summary.wrong, wrong)}, "
        f"{len(failures)} new failures{_more(summary.failures, failures)}; "
        f"{summary.plain_failures} fail without the cache, too"
    )


def _keys(summary: PlaceSummary) -> str:
    compared = summary.figures["keys compared"]
    every = summary.figures["keys by structure"] + summary.figures["keys by compiling"]
    return f", {compared} of {every} keys computed both ways" if every else ""


def _more(every: Any, left: Any) -> str:
    return f" ({len(every) - len(left)} more excused)" if len(every) > len(left) else ""


def as_json(
    summaries: Sequence[PlaceSummary], excuses: Sequence[Excuse], subject: str
) -> dict[str, Any]:
    """Return all summaries as JSON-serialisable data."""
    return {
        "subject": subject,
        "places": [_place_json(summary, excuses) for summary in summaries],
        "idle": unused_excuses(summaries, excuses),
    }


def _place_json(summary: PlaceSummary, excuses: Sequence[Excuse]) -> dict[str, Any]:
    failures, wrong = unexcused(summary, excuses)
    return {
        **vars(summary.place),
        "version": summary.version,
        "tests": summary.tests,
        "share": summary.hit_share,
        "figures": dict(summary.figures),
        "failures": summary.failures,
        "wrong": [vars(item) for item in summary.wrong],
        "counting": {"failures": sorted(failures), "wrong": len(wrong)},
        "fail without the cache": summary.plain_failures,
    }
