"""watch: report what changed at the newest release and the unreleased sources since last time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.core.errors import Exit, ForkError
from scripts.core.lockfile import read_lock
from scripts.core.model import FAULTS, Lock, State
from scripts.core.repository import Repository, write_atomically
from scripts.core.result_cache import digest
from scripts.report.advice import WATCH_COMMAND, Advice, advise
from scripts.report.pages import markdown, render
from scripts.status.last_watch import NEWEST, SourceCheck, read_checks, write_checks
from scripts.status.selection import Selection
from scripts.status.status import run_status
from scripts.upstream.pin import resolve_pins
from scripts.upstream.unreleased import add_sources
from scripts.upstream.vendor import ensure_releases
from scripts.verdicts.aggregate import REMOVABLE, FeatureReport, Report


@dataclass(frozen=True)
class SourceChange:
    """What changed at a source.

    `lines` describe the changes, `needs_attention` is whether there is a fault, `page` and
    `command` show the evidence.
    """

    source: str
    lines: tuple[str, ...]
    advice: Advice
    needs_attention: bool
    page: Path
    command: str


@dataclass(frozen=True)
class WatchResult:
    """What `watch` found: the advice, what changed, and the errors of sources that failed."""

    advice: Advice
    news: tuple[SourceChange, ...] = ()
    failed: tuple[ForkError, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """Return the exit code of the verb; a change counts more than a source that failed."""
        if self.news:
            return (
                Exit.ATTENTION if any(item.needs_attention for item in self.news) else Exit.REFRESH
            )
        return Exit.ENVIRONMENT if self.failed else Exit.OK


def watch(repo: Repository) -> WatchResult:
    """Check every source; a source that fails does not hide the others."""
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        known = read_checks(repo)
        news, failed = [], []
        newest_advice: Advice | None = None
        for source in (NEWEST, *repo.config.upstream.watch):
            try:
                report, sight = _check_source(repo, lock, source)
            except ForkError as error:
                # Its last check stays, so that a later run still reports what changed.
                failed.append(error)
                continue
            advice = _source_advice(report, lock)
            newest_advice = advice if source == NEWEST else newest_advice
            lines = tuple(changes(known.get(source), sight, lock.locked, report))
            if lines:
                faults = any(item.verdict in FAULTS for item in report.features)
                news.append(
                    SourceChange(
                        source,
                        lines,
                        advice,
                        faults,
                        _write_page(repo, source, report),
                        _evidence_command(report),
                    )
                )
            known[source] = sight
        write_checks(repo, known)
    return WatchResult(
        _overall_advice(newest_advice, news, len(failed), 1 + len(repo.config.upstream.watch)),
        tuple(news),
        tuple(failed),
    )


def changes(
    before: SourceCheck | None, now: SourceCheck, locked: str, report: Report
) -> Iterator[str]:
    """Yield a line for each change.

    The first time, yield only what needs attention, and nothing about the locked release.
    """
    first = before is None
    if first and now.at != locked:
        yield f"{now.at} is here, not looked at before"
    elif before is not None and before.at != now.at:
        yield f"{now.at} is here, {before.at} the last time"
    old = before.verdicts if before is not None else {}
    for item in report.features:
        name, last = item.feature.id, old.get(item.feature.id)
        if (_wants_attention(item) and now.at != locked) if first else last != now.verdicts[name]:
            why = f": {at.why}" if item.verdict in FAULTS and (at := item.release(now.at)) else ""
            yield f"{name}: {item.verdict}{f', {last} the last time' if last else ''}{why}"
    yield from (f"{name}: no feature any more" for name in old if name not in now.verdicts)


def as_text(outlook: WatchResult) -> Iterator[str]:
    """Yield the lines for a terminal: the answer, the next command, and what changed."""
    yield outlook.advice.text
    before = f"{outlook.advice.before}, then " if outlook.advice.before else ""
    yield f"next: {before}{outlook.advice.command}"
    for item in outlook.news:
        yield f"\n{item.source}:"
        yield from (f"  {line}" for line in item.lines)
        yield f"  evidence: {item.page}"


def as_markdown(outlook: WatchResult) -> Iterator[str]:
    """Yield the lines of an issue or a merge request; the first is its title."""
    yield f"# {markdown(outlook.advice.text)}\n"
    before = f"{markdown(outlook.advice.before)}, then " if outlook.advice.before else ""
    yield f"Next: {before}`{outlook.advice.command}`"
    for item in outlook.news:
        yield f"\n## {markdown(item.source)}\n"
        yield from (f"- {markdown(line)}" for line in item.lines)
        yield f"\nEvidence: `{item.command}`"
    yield from (f"\nCould not be looked at: {markdown(error.message)}" for error in outlook.failed)


def _check_source(repo: Repository, lock: Lock, source: str) -> tuple[Report, SourceCheck]:
    """Return the report on a source, and its verdicts; the lock file stays as it is."""
    if source == NEWEST:
        wider = resolve_pins(repo)
        at = wider.releases[-1].version
        selection = Selection(releases=(at,))
    else:
        wider, found = add_sources(repo, lock, [source])
        at = found[source][-1]
        selection = Selection(releases=(at,), sources=(at,), named_releases=(source,))
    report, _ = run_status(repo, wider, selection)
    return report, SourceCheck(at, {item.feature.id: str(item.verdict) for item in report.features})


def _source_advice(report: Report, lock: Lock) -> Advice:
    """Return the advice on a source: for a release newer than the locked one, to try a rebase."""
    advice = advise(report)
    return (
        Advice(advice.text, f"nox -s rebase -- {report.newer} --dry-run")
        if _is_next(report, lock)
        else advice
    )


def _is_next(report: Report, lock: Lock) -> bool:
    return report.newer == report.answer.release != lock.locked


def _evidence_command(report: Report) -> str:
    return f"nox -s {report.verb} -- {' '.join([*report.cli_options, '--why'])}"


def _overall_advice(
    newest_advice: Advice | None, news: Sequence[SourceChange], failed: int, sources: int
) -> Advice:
    """Return the advice on all sources.

    A release newer than the locked one comes before unreleased sources, and a fault before other
    changes.
    """
    if not news and failed:
        others = ", and at the others nothing has changed" if failed < sources else ""
        return Advice(
            f"Not known: {failed} of the {sources} sources could not be looked at{others}.",
            WATCH_COMMAND,
        )
    if not news:
        assert newest_advice is not None
        text = newest_advice.text.replace("Nothing to do:", "Nothing to do, as the last time:", 1)
        text = text if text != newest_advice.text else f"As the last time: {text}"
        return replace(newest_advice, text=text)
    if newest_advice is not None and newest_advice.command.startswith("nox -s rebase"):
        return newest_advice
    return max(news, key=lambda item: item.needs_attention).advice


def _wants_attention(item: FeatureReport) -> bool:
    return item.verdict in FAULTS or (
        item.feature.state is State.ACTIVE and item.verdict in REMOVABLE
    )


def _write_page(repo: Repository, source: str, report: Report) -> Path:
    path = repo.work / "watch" / f"{digest(source)[:8]}.html"
    write_atomically(path, render(report, "html").encode())
    return path
