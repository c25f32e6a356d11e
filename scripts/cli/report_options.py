"""What the reporting commands share: their options, and how they run or merge, and print."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts.core.console import info, out
from scripts.core.errors import Exit
from scripts.core.repository import Repository

if TYPE_CHECKING:
    from scripts.status.selection import Selection
    from scripts.verdicts.aggregate import Report
    from scripts.verdicts.summary import Findings, Scope

_OPTIONS = (
    click.option(
        "--upstream",
        "releases",
        multiple=True,
        metavar="RELEASE|SOURCE",
        help="Only this release, or path:DIR, git:URL@REF, git:URL@A..B; "
        "tries the series on it too. Repeatable.",
    ),
    click.option(
        "--patch",
        "patches",
        multiple=True,
        metavar="ID",
        help="Only this feature, or all of this patch. Repeatable.",
    ),
    click.option("--why", is_flag=True, help="Show the evidence: every column of every cell."),
    click.option(
        "--format",
        "form",
        type=click.Choice(["terminal", "json", "markdown", "html", "junit", "github"]),
        default="terminal",
        show_default=True,
        help="All but terminal go to stdout alone: redirect them. "
        "github runs nothing: it prints the jobs of a CI.",
    ),
    click.option(
        "--graph",
        is_flag=True,
        help="Leave out each patch in turn, and find what it depends on by applying it.",
    ),
    click.option(
        "--suite",
        is_flag=True,
        help="Run upstream's own tests, bare and with the series; new failures count.",
    ),
    click.option(
        "--cells",
        metavar="CELLS",
        default="",
        help="Only these cells, one job's share as github prints it.",
    ),
    click.option(
        "--results",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the results to this file, for --merge.",
    ),
    click.option(
        "--merge",
        "merged",
        multiple=True,
        type=click.Path(exists=True, path_type=Path),
        metavar="PATH",
        help="Run nothing: report on result files, or folders of them. Repeatable.",
    ),
    click.option(
        "--check",
        is_flag=True,
        help="Exit with 10 if a feature can be dropped or a patch refreshed.",
    ),
    click.option("--fresh", is_flag=True, help="Ignore results of earlier runs."),
)


@dataclass(frozen=True)
class ReportOptions:
    """The options of a report on the command line, one field for each."""

    releases: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    why: bool = False
    form: str = "terminal"
    graph: bool = False
    suite: bool = False
    cells: str = ""
    results: Path | None = None
    merged: tuple[Path, ...] = ()
    check: bool = False
    fresh: bool = False

    def selection(self, *, matrix: bool) -> Selection:
        """Return what must be run for these options."""
        from scripts.status.selection import Selection

        return Selection(
            self.releases,
            self.patches,
            tuple(self.cells.split()),
            fresh=self.fresh,
            matrix=matrix,
            graph=self.graph,
            suite=self.suite,
            # Without --results nobody joins several jobs, so this run looks for teeth itself.
            is_ci_shard=bool(self.cells and self.results),
        )


def with_report_options(command: Callable[..., Exit]) -> Callable[..., Exit]:
    """Add the report options to a command, which gets their values as one `ReportOptions`."""

    @wraps(command)
    def packed(repo: Repository, **values: Any) -> Exit:
        options = ReportOptions(
            **{item.name: values.pop(item.name) for item in fields(ReportOptions)}
        )
        return command(repo, options, **values)

    # As with stacked decorators, so that the help lists the options in this order.
    for option in reversed(_OPTIONS):
        packed = option(packed)
    return packed


def run_report(repo: Repository, options: ReportOptions, selection: Selection) -> Exit:
    """Run or merge, print the report alone to stdout, and return the exit code."""
    from scripts.rebase.state import under_way_note
    from scripts.status.ci_shards import merge_results
    from scripts.status.not_exported import notices
    from scripts.status.status import status

    if options.form == "github":
        return _print_jobs(repo, selection)
    start = time.monotonic()
    if options.merged:
        report = merge_results(repo, options.merged)
        _print(report, options)
    elif (found := _last_report_if_locked(repo, options, selection)) is not None:
        # The other command may run for minutes; a person is shown the results that are there.
        report = found
        _print(report, options)
    else:
        report, prober = status(
            repo,
            selection,
            _findings_writer(repo, options, selection),
            under_way=under_way_note(repo),
        )
        _print(report, options)
        info(
            f"\n{prober.jobs_run} processes of probes run, "
            f"{prober.results_reused} results kept from before, "
            f"{time.monotonic() - start:.1f} s"
        )
    for notice in () if options.merged else notices(repo, report, options.patches):
        info(notice)
    if report.needs_attention:
        return Exit.ATTENTION
    return Exit.REFRESH if options.check and report.can_drop_or_refresh else Exit.OK


def _last_report_if_locked(
    repo: Repository, options: ReportOptions, selection: Selection
) -> Report | None:
    """Return the last report if another command is running, for a plain report on the terminal.

    Return None for anything that wants a run of its own, which waits for the other command.
    """
    from scripts.status.ci_shards import last_report
    from scripts.upstream.unreleased import parse_source

    wants_run = (
        options.check
        or options.fresh
        or options.graph
        or options.suite
        or options.results
        or options.cells
    )
    if (
        options.form != "terminal"
        or wants_run
        or selection.cells
        or any(map(parse_source, selection.releases))
    ):
        return None
    holder = repo.lock_holder()
    report = last_report(repo, selection) if holder else None
    if report is not None:
        info(f"{holder} works on this folder, so nothing is run")
    return report


def _findings_writer(
    repo: Repository, options: ReportOptions, selection: Selection
) -> Callable[[Scope, Findings], None]:
    """Return the function that stores the findings of a run.

    It writes them to the `--results` file. A run on every release, cell and feature is also kept
    for reports while another command is running.
    """
    from scripts.status.ci_shards import store_last, write_results

    def keep(scope: Scope, found: Findings) -> None:
        if options.results:
            write_results(repo, scope, found, options.results)
        if selection.is_unfiltered and not selection.features:
            store_last(repo, scope, found)

    return keep


def _print_jobs(repo: Repository, selection: Selection) -> Exit:
    """Print the jobs that a CI runs in parallel, as JSON."""
    from scripts.core.lockfile import read_lock
    from scripts.status.ci_shards import ci_matrix
    from scripts.status.selection import scope_of

    scope = scope_of(repo, read_lock(repo.lock_file), selection)
    click.echo(json.dumps(ci_matrix(repo, scope.cells)))
    return Exit.OK


def _print(report: Report, options: ReportOptions) -> None:
    """Print a report in the requested format."""
    from scripts.report.terminal import as_json, print_report

    if options.form == "json":
        click.echo(json.dumps(as_json(report), indent=2, ensure_ascii=False))
    elif options.form != "terminal":
        from scripts.report.pages import render

        click.echo(render(report, options.form), nl=False)
    else:
        print_report(report, out, why=options.why)
