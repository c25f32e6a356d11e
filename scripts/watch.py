"""watch: the newest release on the index and the configured unreleased sources, and what changed since the last time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.errors import ForkError
from scripts.evidence import Report
from scripts.lock import read_lock
from scripts.model import FAULTS, Lock, Verdict
from scripts.pages import render
from scripts.pin import resolve
from scripts.repository import Repository, write_whole
from scripts.status import Choice, examine
from scripts.store import digest
from scripts.unreleased import bring_sources
from scripts.vendor import bring

NEWEST = "the newest release"


@dataclass(frozen=True)
class Sight:
    """What a source was when it was looked at: its version, and each patch's verdict on it."""

    at: str
    verdicts: dict[str, str]


@dataclass(frozen=True)
class News:
    """What changed at a source: lines for a person, whether somebody must look, and the page with the evidence."""

    source: str
    lines: tuple[str, ...]
    must_look: bool = False
    page: Path | None = None


def watch(repo: Repository) -> tuple[list[News], list[ForkError]]:
    """Look at every source and return what changed; a source that fails is returned as its error and hides no other."""
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        known = _read(repo)
        news, failed = [], []
        for source in (NEWEST, *repo.config.upstream.watch):
            try:
                report, sight = _look(repo, lock, source)
            except ForkError as error:
                failed.append(error)
                continue
            lines = tuple(changes(known.get(source), sight, lock.locked))
            if lines:
                faults = any(Verdict(word) in FAULTS for word in sight.verdicts.values())
                news.append(News(source, lines, faults, _page(repo, source, report)))
            known[source] = sight
        content = {name: asdict(sight) for name, sight in known.items()}
        write_whole(_state(repo), json.dumps(content, indent=1).encode())
    return news, failed


def changes(before: Sight | None, now: Sight, locked: str) -> Iterator[str]:
    """Yield what is new in words; the locked release itself is no news at the first look."""
    if before is None:
        if now.at != locked:
            yield f"{now.at} is here, not looked at before"
        old: Mapping[str, str] = {}
    else:
        old = before.verdicts
        if before.at != now.at:
            yield f"{now.at} is here, {before.at} the last time"
    for name, verdict in now.verdicts.items():
        if (before is not None or now.at != locked) and old.get(name) != verdict:
            yield f"{name}: {verdict}{f', {old[name]} the last time' if name in old else ''}"
    yield from (f"{name}: no patch any more" for name in old if name not in now.verdicts)


def _look(repo: Repository, lock: Lock, source: str) -> tuple[Report, Sight]:
    """Take the verdicts on a source, without a word in the lock."""
    if source == NEWEST:
        wider = resolve(repo)
        at = wider.releases[-1].version
    else:
        wider, found = bring_sources(repo, lock, [source])
        at = found[source][-1]
    report, _ = examine(repo, wider, Choice(releases=(at,)))
    return report, Sight(at, {item.patch.id: str(item.verdict) for item in report.patches})


def _page(repo: Repository, source: str, report: Report) -> Path:
    path = repo.work / "watch" / f"{digest(source)[:8]}.html"
    write_whole(path, render(report, "html").encode())
    return path


def _state(repo: Repository) -> Path:
    return repo.work / "watch.json"


def _read(repo: Repository) -> dict[str, Sight]:
    try:
        content = json.loads(_state(repo).read_bytes())
        return {name: Sight(**item) for name, item in content.items()}
    except (FileNotFoundError, ValueError, TypeError):
        return {}
