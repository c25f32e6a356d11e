"""advice: turn a report into one sentence that is an answer, and the next command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from packaging.version import Version

from scripts.core.model import DROPPABLE, FAULTS, NO_EVIDENCE, State, Verdict
from scripts.report.presentation import headline
from scripts.verdicts.aggregate import (
    NO_TEETH,
    REMOVABLE,
    FeatureReport,
    ReleaseReport,
    Report,
)
from scripts.verdicts.decide import UNDECLARED

WATCH_COMMAND = "nox -s watch"
_MAX_NAMED = 3
"""How many features a command names at most; for more it requests all."""


@dataclass(frozen=True)
class Advice:
    """The conclusion of a report: one sentence, and the next command, ready to be pasted.

    `before` is what a person must do before the command, if anything.
    """

    text: str
    command: str
    before: str = ""


def advise(report: Report, *, why: bool = False) -> Advice:
    """Return what is to be done, if anything; name only what needs attention.

    If the evidence is shown already (`why`), the next command runs a cell of it by hand, or if it
    is that of a cell, the probes alone, whose failures are then shown as a whole.
    """
    advice = _advise(report)
    shown = re.search(r"--patch (\S+) .*--why", f"{advice.command} ") if why else None
    cell = _evidence_cell(report, shown[1]) if shown else None
    if not shown or not cell:
        return advice
    if f"--cells {cell}" in report.cli_options:
        return replace(advice, command=f"nox -s probe -- {shown[1]} --cell {cell}")
    return replace(advice, command=f"nox -s cell -- {cell}")


def _evidence_cell(report: Report, name: str) -> str | None:
    """Return the newest cell of a release that gives evidence about a feature."""
    found = next((item for item in report.features if item.feature.id == name), None)
    cells = (
        [cell.cell.id for at in reversed(found.releases) for cell in at.cells if cell.is_evidence]
        if found
        else []
    )
    # The version of an unreleased source has a "+".
    return next((cell for cell in cells if "+" not in cell), None)


def _advise(report: Report) -> Advice:
    if report.under_way:
        return Advice(_sentence([report.under_way]), "nox -s rebase -- --continue")
    if report.warnings:
        command = re.search(r"nox -s [^;`]+", report.warnings[0])
        return Advice(
            f"Somebody must look: {report.warnings[0]}",
            command[0].strip() if command else "nox -s vendor",
        )
    if not report.features and report.has_all_features:
        return _advice_without_features(report)
    if not report.has_all_features:
        return _advice_on_selected(report)
    is_news = report.newer == report.answer.release
    news, going = _advice_on_newer_release(report), _advice_on_removable(report)
    return (
        _advice_on_faults(report)
        or (news if is_news else going or news)
        or _advice_on_nothing_to_do(report)
    )


def count_features(number: int) -> str:
    """Return a number of features as text, such as `1 feature` or `2 features`."""
    return f"{number} feature" if number == 1 else f"{number} features"


def _advice_on_selected(report: Report) -> Advice:
    """Return each feature's verdict, for a report on only some features."""
    at = report.answer.release
    text, faulty = "\n".join(_verdict(item, at) for item in report.features), _faulty(report)
    if faulty:
        return _remedy(report, text, faulty, report.features)
    going = any(item.verdict in DROPPABLE for item in _live(report))
    return Advice(
        text, _rebase_command(report) if going else evidence_command(report, report.features)
    )


def _verdict(item: FeatureReport, at: str) -> str:
    """Return a feature's verdict as a sentence, with the detail of the deciding probe."""
    name, settings = item.feature.id, f" with {item.settings}" if item.settings else ""
    found = item.release(at)
    if item.verdict in FAULTS or item.verdict not in REMOVABLE:
        return f"{name} is {item.verdict} on {at}: {found.why if found else 'it was not tried'}"
    if item.feature.state is State.RETIRED:
        return f"{name} stays retired on {at}: {headline(item)}{settings}."
    return f"{name} can go on {at}: {headline(item)}{settings}."


def _advice_on_faults(report: Report) -> Advice | None:
    at, faulty, suite = (
        report.answer.release,
        _faulty(report),
        report.optional_checks.suite_failures,
    )
    parts = []
    if faulty:
        names = ", ".join(f"{item.feature.id} ({_fault(item)})" for item in faulty)
        parts.append(f"somebody must look at {count_features(len(faulty))} on {at}: {names}")
    if suite:
        parts.append(
            f"somebody must look at upstream's own tests: {len(suite)} fail with the series "
            "that pass without it"
        )
    if not parts:
        return None
    return _remedy(report, _sentence([*parts, *_removable_phrases(report)]), faulty, faulty)


def _remedy(
    report: Report, text: str, faulty: Sequence[FeatureReport], shown: Sequence[FeatureReport]
) -> Advice:
    """Return what mends faults that all have one known cause, else the evidence of `shown`."""
    details = [_fault_detail(item) for item in faulty]
    if faulty and len(faulty) <= _MAX_NAMED and set(details) == {NO_TEETH}:
        files = dict.fromkeys(item.feature.probes[0].partition("::")[0] for item in faulty)
        return Advice(
            text,
            f"nox -s probe -- {' '.join(item.feature.id for item in faulty)}",
            f"assert in {' and '.join(files)} what upstream lacks",
        )
    if faulty and all(detail.endswith(UNDECLARED) for detail in details):
        return Advice(text, "nox -s lint")
    return Advice(text, evidence_command(report, shown))


def _advice_on_removable(report: Report) -> Advice | None:
    parts = list(_removable_phrases(report))
    if not parts:
        return None
    going = [item for item in _live(report) if item.verdict in REMOVABLE]
    by_hand = not _to_refresh(report) and all(item.verdict is Verdict.REDUNDANT for item in going)
    return Advice(
        _sentence(parts), evidence_command(report, going) if by_hand else _rebase_command(report)
    )


def _removable_phrases(report: Report) -> Iterator[str]:
    at = report.answer.release
    going, moved = (
        [item for item in _live(report) if item.verdict in REMOVABLE],
        _to_refresh(report),
    )
    if going:
        names = ", ".join(f"{item.feature.id} ({headline(item)})" for item in going)
        yield f"{count_features(len(going))} can go on {at}: {names}"
    if moved:
        patches = list(dict.fromkeys(item.feature.patch.id for item in moved))
        number = "1 patch" if len(patches) == 1 else f"{len(patches)} patches"
        yield (
            f"{number} can be refreshed on {at}, where upstream has moved the lines: "
            f"{', '.join(patches)}"
        )


def _advice_on_newer_release(report: Report) -> Advice | None:
    """Return what a release newer than the locked one would mean, as far as it was tried."""
    newer = report.newer
    if (
        not newer
        or _is_source(report.answer.release)
        or Version(report.answer.release) < Version(report.locked)
    ):
        return None
    found = {item.feature.id: at.verdict for item in _live(report) if (at := item.release(newer))}
    tried = any(verdict not in NO_EVIDENCE for verdict in found.values())
    gone = [name for name, verdict in found.items() if verdict in REMOVABLE]
    what = "which is not tried yet" if not tried else "where no feature can go" if not gone else ""
    what = what or f"where {count_features(len(gone))} can go: {', '.join(gone)}"
    return Advice(
        f"{newer} is released, {what}; the fork stands on {report.locked}.",
        f"nox -s rebase -- {newer} --dry-run",
    )


def _advice_on_nothing_to_do(report: Report) -> Advice:
    live, at = _live(report), report.answer.release
    retired = len(report.features) - len(live)
    tail = f"; {retired} {'is' if retired == 1 else 'are'} retired" if retired else ""
    unknown = [item.feature.id for item in live if item.verdict in NO_EVIDENCE]
    if unknown and len(unknown) == len(live):
        return Advice(f"Not known: nothing could be run on {at} here.", _install_command(report))
    if unknown:
        needed = (
            f"{len(live) - len(unknown)} of {count_features(len(live))} are needed on {at}; "
            f"not tried here: {', '.join(unknown)}"
        )
        return Advice(f"Nothing to do that is known: {needed}{tail}.", _install_command(report))
    needed = f"all features are needed on {at}" if live else "no feature is live"
    return Advice(
        f"Nothing to do: {needed}{tail}.", WATCH_COMMAND if at == report.locked else "nox -s status"
    )


def _advice_without_features(report: Report) -> Advice:
    """Return what a fork without any patch can do next."""
    at = report.answer.release
    if report.skipped and not report.versions:
        return Advice(f"Not known: nothing could be run on {at} here.", _install_command(report))
    text = f"Nothing to do: this fork has no patch yet, so it is {report.name} {at} as it is."
    return Advice(text, "nox -s new -- ID")


def _install_command(report: Report) -> str:
    """Return the command that gets what is missing here, if a reason names one."""
    named = (re.search(r"`([^`]+)`", reason) for reason in report.skipped.values())
    return next((found[1] for found in named if found), "nox -s matrix -- --list")


def _sentence(parts: Iterable[str]) -> str:
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def evidence_command(report: Report, items: Sequence[FeatureReport]) -> str:
    """Return the command that shows the evidence."""
    named = items if len(items) <= _MAX_NAMED else ()
    options = [
        *report.cli_options,
        *(f"--patch {item.feature.id}" for item in named),
        *(["--why"] if items else []),
    ]
    if report.optional_checks.suite_failures and not items:
        options.append("--suite")
    return f"nox -s {report.verb} -- {' '.join(options)}"


def _rebase_command(report: Report) -> str:
    """Return the command that would let features go.

    That is a rebase, unless the release is a source or older than the locked one: then it shows the
    evidence.
    """
    at = report.answer.release
    if _is_source(at) or Version(at) < Version(report.locked):
        return evidence_command(
            report, [item for item in _live(report) if item.verdict in REMOVABLE]
        )
    return f"nox -s rebase -- {at} --dry-run"


def _fault(item: FeatureReport) -> str:
    """Return the verdict that is a fault, with its release if that is another one."""
    if item.verdict in FAULTS:
        return str(item.verdict)
    found = _faulty_releases(item)[0]
    return f"{found.verdict} on {found.release}"


def _fault_detail(item: FeatureReport) -> str:
    """Return the detail of the verdict that is a fault."""
    found = _faulty_releases(item)
    return next((at.detail for at in found if at.verdict is item.verdict), found[0].detail)


def _faulty_releases(item: FeatureReport) -> list[ReleaseReport]:
    """Return the releases on which the verdict is a fault, the newest first."""
    return [found for found in reversed(item.releases) if found.verdict in FAULTS]


def _faulty(report: Report) -> list[FeatureReport]:
    return [item for item in report.features if item.has_fault]


def _to_refresh(report: Report) -> list[FeatureReport]:
    return [
        item
        for item in _live(report)
        if item.verdict not in REMOVABLE and item.needs_refresh(report.answer.release)
    ]


def _live(report: Report) -> list[FeatureReport]:
    return [item for item in report.features if item.feature.state is State.ACTIVE]


def _is_source(version: str) -> bool:
    """Return whether a version belongs to a source that upstream did not release."""
    return Version(version).local is not None
