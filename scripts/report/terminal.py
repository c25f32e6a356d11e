"""Print the report of `status`, as JSON for programs and as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from scripts.core.errors import ways_text, with_command
from scripts.core.model import FAULTS, Applies, Patch, Result, State, Verdict
from scripts.report.advice import Advice, advise, evidence_command
from scripts.report.presentation import (
    LETTERS,
    Evidence,
    dependencies,
    evidence,
    failures_without_patch,
    forwarded_notes,
    headline,
    skipped,
    smallest_series_note,
    unsupported,
)
from scripts.verdicts.aggregate import CellReport, FeatureReport, OptionalChecks, Report
from scripts.verdicts.forwarded import forwarded_patches

_STYLES = {
    Verdict.NEEDED: "yellow",
    Verdict.ABSORBED: "green",
    Verdict.CONFIGURABLE: "cyan",
    Verdict.REDUNDANT: "cyan",
    Verdict.NOT_NEEDED: "dim",
    Verdict.UNTESTED: "dim",
    Verdict.UNSUPPORTED: "dim",
}
_FAULT = "bold red"


# Programs rely on these keys and their order, which are documented and tested.
def as_json(report: Report) -> dict[str, Any]:
    """Return the report as `--format json` prints it, schema 2."""
    found = report.answer
    return {
        "schema": 2,
        "upstream": {
            "name": report.name,
            "locked": report.locked,
            "releases": list(report.releases),
        },
        "answer": {
            "release": found.release,
            "bare_is_enough": found.bare_is_enough,
            "settings": found.settings.as_dict(),
            "in_the_way": list(found.in_the_way),
            "text": found.text,
        },
        "patches": [_patch_json(report, patch) for patch in report.patches],
        "features": [_feature_json(item) for item in report.features],
        "smallest_series": list(report.smallest),
        "summary": report.summary,
    } | _more_json(report.optional_checks)


def _more_json(checks: OptionalChecks) -> dict[str, Any]:
    """Return the results of the optional checks that were requested."""
    found: dict[str, Any] = {}
    if checks.failures_without:
        found["left_out"] = {
            name: list(failing) for name, failing in checks.failures_without.items()
        }
        found["dependencies"] = {
            name: {
                "declared": list(checks.declared_dependencies[name]),
                "found": list(checks.actual_dependencies[name]),
            }
            for name in checks.declared_dependencies
        }
    if checks.suite_failures is not None:
        found["suite"] = list(checks.suite_failures)
    return found


def _patch_json(report: Report, patch: Patch) -> dict[str, Any]:
    items = [item for item in report.features if item.feature.patch.id == patch.id]
    found = [at.applies for item in items if (at := item.release(report.answer.release))]
    return {
        "id": patch.id,
        "title": patch.title,
        "state": patch.state,
        "features": [item.feature.id for item in items],
        "lines": patch.lines,
        "applies": next((one for one in found if one is not Applies.UNTRIED), Applies.UNTRIED),
        "forwarded": next(
            (
                {"address": sent.address, "taken_in": sent.taken_in}
                for sent in forwarded_patches(report)
                if sent.patch == patch.id
            ),
            None,
        ),
    }


def _feature_json(report: FeatureReport) -> dict[str, Any]:
    return {
        "id": report.feature.id,
        "patch": report.feature.patch.id,
        "title": report.feature.title,
        "state": report.feature.state,
        "verdict": report.verdict,
        "absorbed_in": report.absorbed_in,
        "configurable_since": report.configurable_since,
        **({"configurable_until": report.configurable_until} if report.configurable_until else {}),
        "settings": report.settings.as_dict() if report.settings else None,
        "releases": {
            item.release: {
                "verdict": item.verdict,
                "applies": item.applies,
                "text": item.text,
                "cells": {cell.cell.id: _cell_json(cell) for cell in item.cells},
            }
            for item in report.releases
        },
    }


def _cell_json(report: CellReport) -> dict[str, Any]:
    facts = report.facts
    configured = (
        facts.configured[facts.passing_alternative if facts.passing_alternative is not None else -1]
        if facts.configured
        else None
    )
    return {
        "bare": _outcome(facts.bare),
        "configured": _outcome(configured),
        "series": _outcome(facts.series),
        "without": _outcome(facts.without),
        "verdict": report.verdict,
        "detail": report.detail,
    }


def _outcome(result: Result | None) -> str | None:
    """Return a column's outcome, which is `failed` if the control probe does not pass."""
    if result is None:
        return None
    return str(result.outcome) if result.control else "failed"


def print_report(report: Report, console: Console, *, why: bool = False) -> None:
    """Print the answer and the next command, then the table and what needs attention.

    With `why`, print the evidence before the table.
    """
    advice = advise(report, why=why)
    console.print(Styled(advice.text, style="bold"), soft_wrap=True)
    way = with_command(advice.before, advice.command) if advice.before else advice.command
    console.print(ways_text(way, "next"), markup=False, soft_wrap=True)
    if report.has_all_features and report.features:
        console.print(Styled(f"\n{report.answer.short}"), soft_wrap=True)
    if why:
        print_why(report, console, advice.text)
    parts = list(_attention(report, advice, why=why))
    if report.features:
        console.print()
        console.print(_table(report))
        parts = [*_legend(report), *parts]
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Styled))


def _table(report: Report) -> Table:
    """Return a table with one row for each feature.

    A row has the verdict, with the release since which it holds, and one letter for each release.
    """
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column(f"on {report.answer.release}", no_wrap=True)
    span = (
        f"{report.releases[0]} … {report.releases[-1]}"
        if len(report.releases) > 1
        else "".join(report.releases)
    )
    table.add_column(span)  # wraps where the console is narrow, so that no release is cut off
    for state in State:
        named: set[str] = set()
        rows = [item for item in report.features if item.feature.state is state]
        if rows:
            table.add_row(Styled(f"{state} features", style="dim"))
        for item in rows:
            name = f"  {item.feature.id}"
            if item.feature.patch.features:
                name = f"  {name}"
                if item.feature.patch.id not in named:
                    table.add_row(Styled(f"  {item.feature.patch.id}", style="dim"))
                    named.add(item.feature.patch.id)
            letters = (
                (LETTERS[at.verdict] + " ", _STYLES.get(at.verdict, _FAULT)) for at in item.releases
            )
            table.add_row(
                name,
                Styled(headline(item), style=_STYLES.get(item.verdict, _FAULT)),
                Styled.assemble(*letters),
            )
    return table


def _legend(report: Report) -> Iterator[RenderableType]:
    seen = {at.verdict for item in report.features for at in item.releases}
    letters = "   ".join(f"{LETTERS[verdict]} {verdict}" for verdict in Verdict if verdict in seen)
    yield Styled(f"\n{letters}", style="dim")
    for item in report.features:
        if item.settings:
            yield Styled(f"{item.feature.id}: {item.settings}", style="dim")
    if report.smallest:
        yield Styled(f"smallest series: {smallest_series_note(report)}", style="dim")
    for note, taken in forwarded_notes(report).items():
        yield Styled(f"forwarded: {note}", style="green" if taken else "dim")
    live = [patch for patch in report.patches if patch.state is State.ACTIVE]
    files = {hunk.path for patch in live for hunk in patch.hunks}
    if live and report.has_all_features:
        touched = sum(patch.lines for patch in live)
        yield Styled(
            f"upstream lines touched (added and removed): {touched} in {len(files)} files",
            style="dim",
        )
    for name, control, failing in failures_without_patch(report):
        words = (
            f"the control probe, so all probes: {control}"
            if control
            else ", ".join(failing) or "no probes"
        )
        yield Styled(f"without {name} fail: {words}", style="dim")
    for name, declared, found in dependencies(report):
        words = f"{name} depends on {', '.join(found) or 'nothing'}"
        differs = (
            f" (its header: {', '.join(declared) or 'nothing'})"
            if set(declared) != set(found)
            else ""
        )
        yield Styled(words + differs, style="yellow" if differs else "dim")
    if report.optional_checks.suite_failures is not None:
        lines = report.optional_checks.suite_failures or (
            "no test that counts fails with the series and passes bare",
        )
        yield Styled(
            "upstream's own tests: " + "\n  ".join(lines),
            style="red" if report.optional_checks.suite_failures else "dim",
        )
        for line in report.optional_checks.suite_runs:
            yield Styled(f"  {line}", style="dim")


def _attention(report: Report, advice: Advice, *, why: bool) -> Iterator[RenderableType]:
    """Yield what needs attention, then what could not be tried here.

    Leave out what was printed above.
    """
    for item in report.features:
        if item.verdict in FAULTS and report.has_all_features and not why:
            yield Styled(
                f"\n{item.feature.id} is {item.verdict}: "
                f"{_fault_detail(item, report.answer.release)}",
                style="red",
            )
            yield Styled(f"  evidence: {evidence_command(report, [item])}", style="dim")
        for note in item.notes:
            yield Styled(f"{item.feature.id}: {note}", style="dim")
    for reason, cells in unsupported(report).items():
        yield Styled(f"\nunsupported: {', '.join(cells)}: {reason}", style="yellow")
    for note in report.notes:
        yield Styled(f"\n{note}", style="yellow")
    for warning in report.warnings:
        if warning not in advice.text:
            yield Styled(f"\n{warning}", style="red")
    for reason, cells in skipped(report).items():
        yield Styled(f"\nnot tried here: {', '.join(cells)}: {reason}", style="yellow")


def _fault_detail(item: FeatureReport, locked: str) -> str:
    found = [at for at in item.releases if at.verdict is item.verdict]
    at = next((one for one in found if one.release == locked), found[0] if found else None)
    return at.detail if at else ""


def print_why(report: Report, console: Console, above: str = "") -> None:
    """Print the evidence of every verdict: each column of each cell.

    Messages of probes that `above` contains are not repeated.
    """
    for item in report.features:
        console.print(Styled(f"\n{item.feature.id}", style="bold"), Styled(f"{item.feature.title}"))
        console.print(Padding(Styled(item.feature.why, style="dim"), (0, 2), expand=False))
        for shown in evidence(item, report.skipped, above):
            style = _STYLES.get(shown.group.verdict, _FAULT)
            console.print(
                Padding(
                    Styled(f"{shown.span}: {shown.group.verdict}", style=style),
                    (0, 0, 0, 2),
                    expand=False,
                )
            )
            console.print(Padding(Group(*_evidence_lines(shown)), (0, 0, 0, 4), expand=False))


def _evidence_lines(shown: Evidence) -> Iterator[RenderableType]:
    """Yield what was seen, column by column, and in which cells."""
    quiet = "" if shown.group.is_gating else f"{shown.mode} decides nothing"
    if quiet or shown.reason:
        yield Styled("; ".join(filter(None, (shown.reason, quiet))))
    for part in shown.columns:
        yield Styled(f"{part.name}: {part.outcome} {part.detail}".rstrip(), style="dim")
    yield Styled(f"cells: {shown.cells}", style="dim")
