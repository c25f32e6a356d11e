"""watch: report what changed at the newest release and the unreleased sources since last time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import Exit, ForkError
from scripts.core.lockfile import read_lock
from scripts.core.model import FAULTS, Lock, State
from scripts.core.repository import Repository, write_whole
from scripts.core.result_cache import digest
from scripts.report.advice import WATCH, Advice, advise
from scripts.report.pages import markdown, render
from scripts.status.last_watch import NEWEST, Sight, read_sights, write_sights
from scripts.status.selection import Choice
from scripts.status.status import examine
from scripts.upstream.pin import resolve
from scripts.upstream.unreleased import bring_sources
from scripts.upstream.vendor import bring
from scripts.verdicts.aggregate import CAN_GO, FeatureReport, Report


@dataclass(frozen=True)
class News:
    """What changed at a source.

    `lines` describe the changes, `must_look` is whether there is a fault, `page` and `command` show
    the evidence.
    """

    source: str
    lines: tuple[str, ...]
    advice: Advice
    must_look: bool
    page: Path
    command: str


@dataclass(frozen=True)
class Outlook:
    """What `watch` found: the advice, what changed, and the errors of sources that failed."""

    advice: Advice
    news: tuple[News, ...] = ()
    failed: tuple[ForkError, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """Return the exit code of the verb; a change counts more than a source that failed."""
        if self.news:
            return Exit.LOOK if any(item.must_look for item in self.news) else Exit.REFRESH
        return Exit.ENVIRONMENT if self.failed else Exit.FINE


def watch(repo: Repository) -> Outlook:
    """Check every source; a source that fails does not hide the others."""
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        known = read_sights(repo)
        news, failed = [], []
        standing: Advice | None = None
        for source in (NEWEST, *repo.config.upstream.watch):
            try:
                report, sight = _look(repo, lock, source)
            except ForkError as error:
                failed.append(error)
                continue
            advice = _advice(report, lock)
            standing = advice if source == NEWEST else standing
            lines = tuple(changes(known.get(source), sight, lock.locked, report))
            if lines:
                faults = any(item.verdict in FAULTS for item in report.features)
                news.append(
                    News(
                        source,
                        lines,
                        advice,
                        faults,
                        _page(repo, source, report),
                        _evidence(report),
                    )
                )
            known[source] = sight
        write_sights(repo, known)
    return Outlook(
        _sum(standing, news, len(failed), 1 + len(repo.config.upstream.watch)),
        tuple(news),
        tuple(failed),
    )


def changes(before: Sight | None, now: Sight, locked: str, report: Report) -> Iterator[str]:
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
    yield from (f"{name}: no patch any more" for name in old if name not in now.verdicts)


def as_text(outlook: Outlook) -> Iterator[str]:
    """Yield the lines for a terminal: the answer, the next command, and what changed."""
    yield outlook.advice.text
    yield f"next: {outlook.advice.command}"
    for item in outlook.news:
        yield f"\n{item.source}:"
        yield from (f"  {line}" for line in item.lines)
        yield f"  evidence: {item.page}"


def as_markdown(outlook: Outlook) -> Iterator[str]:
    """Yield the lines of an issue or a merge request; the first is its title."""
    yield f"# {markdown(outlook.advice.text)}\n"
    yield f"Next: `{outlook.advice.command}`"
    for item in outlook.news:
        yield f"\n## {markdown(item.source)}\n"
        yield from (f"- {markdown(line)}" for line in item.lines)
        yield f"\nEvidence: `{item.command}`"
    yield from (f"\nCould not be looked at: {markdown(error.message)}" for error in outlook.failed)


def _look(repo: Repository, lock: Lock, source: str) -> tuple[Report, Sight]:
    """Return the report on a source, and its verdicts; the lock file stays as it is."""
    if source == NEWEST:
        wider = resolve(repo)
        at = wider.releases[-1].version
        choice = Choice(releases=(at,))
    else:
        wider, found = bring_sources(repo, lock, [source])
        at = found[source][-1]
        choice = Choice(releases=(at,), sources=(at,), asked=(source,))
    report, _ = examine(repo, wider, choice)
    return report, Sight(at, {item.feature.id: str(item.verdict) for item in report.features})


def _advice(report: Report, lock: Lock) -> Advice:
    """Return the advice on a source: for a release newer than the locked one, to try a rebase."""
    advice = advise(report)
    return (
        Advice(advice.text, f"nox -s rebase -- {report.newer} --dry-run")
        if _is_next(report, lock)
        else advice
    )


def _is_next(report: Report, lock: Lock) -> bool:
    return report.newer == report.answer.release != lock.locked


def _evidence(report: Report) -> str:
    return f"nox -s {report.verb} -- {' '.join([*report.asked, '--why'])}"


def _sum(standing: Advice | None, news: Sequence[News], failed: int, sources: int) -> Advice:
    """Return the advice on all sources.

    A release newer than the locked one comes before unreleased sources, and a fault before other
    changes.
    """
    if not news and failed:
        others = ", and at the others nothing has changed" if failed < sources else ""
        return Advice(
            f"Not known: {failed} of the {sources} sources could not be looked at{others}.", WATCH
        )
    if not news:
        assert standing is not None
        text = standing.text.replace("Nothing to do:", "Nothing to do, as the last time:", 1)
        text = text if text != standing.text else f"As the last time: {text}"
        return Advice(text, standing.command)
    if standing is not None and standing.command.startswith("nox -s rebase"):
        return standing
    return max(news, key=lambda item: item.must_look).advice


def _wants_attention(item: FeatureReport) -> bool:
    return item.verdict in FAULTS or (item.feature.state is State.ACTIVE and item.verdict in CAN_GO)


def _page(repo: Repository, source: str, report: Report) -> Path:
    path = repo.work / "watch" / f"{digest(source)[:8]}.html"
    write_whole(path, render(report, "html").encode())
    return path
