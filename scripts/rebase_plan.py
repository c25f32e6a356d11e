"""The plan of a rebase: what the target makes unnecessary, what is replayed, and everything that could not go well."""

from __future__ import annotations

import dataclasses

from packaging.version import InvalidVersion, Version

from scripts.errors import AttentionError
from scripts.evidence import PatchReport, Report
from scripts.lock import read_lock, write_lock
from scripts.model import FAULTS, Lock, State, Verdict
from scripts.pin import resolve
from scripts.profile import check_profile, clashes
from scripts.rebase_state import RebaseState, fingerprint, home, reached, target_lock
from scripts.replay import release_of, workshop
from scripts.repository import Repository
from scripts.retire import Plan, Retirement, retired_mail, retirements
from scripts.stage import check_source, staged
from scripts.status import Choice, examine
from scripts.vendor import bring


def planned(repo: Repository, version: str) -> RebaseState:
    """Ask what the bare target does by itself, for a patch is retired on behaviour alone; and refuse what cannot go well."""
    old = read_lock(repo.lock_file)
    before = fingerprint(repo)
    check_source(repo)
    lock = _target(repo, old, version)
    write_lock(home(repo) / "lock.toml", lock)
    reached("pinned")
    report, _ = examine(staged(repo), lock, Choice(bare=True))
    _check_verdicts(report)
    retire = tuple(retirements(report))
    gone = {item.id for item in retire}
    queue = tuple(item.patch.id for item in report.patches if item.patch.state is State.ACTIVE and item.patch.id not in gone)
    _check_retirements(repo, retire)
    return RebaseState(lock.locked, old.locked, release_of(repo, lock.locked).commit, before, retire, queue)


def _target(repo: Repository, old: Lock, version: str) -> Lock:
    """Return the pins with another release locked, asking the index only for one that is not pinned yet."""
    pinned = next((release for release in old.releases if _same(release.version, version)), None)
    if pinned is None:
        return resolve(repo, version)
    bring(repo, old)
    return dataclasses.replace(old, locked=pinned.version)


def _same(pinned: str, asked: str) -> bool:
    try:
        return Version(pinned) == Version(asked)
    except InvalidVersion:
        return False


def _check_verdicts(report: Report) -> None:
    """Refuse a target of which nothing can be said, or too little."""
    faults = [f"{item.patch.id} is {item.verdict}: {detail(item, report)}" for item in report.patches if item.verdict in FAULTS]
    if faults:
        regressed = any(item.verdict is Verdict.REGRESSED for item in report.patches)
        raise AttentionError(
            f"the verdicts on bare {report.locked} are not clean:\n" + "\n".join(faults),
            hint="a patch that regressed comes back: move its file out of retired/, without Applied-Upstream, and rebase again"
            if regressed
            else f"nox -s status -- --upstream {report.locked} --why",
        )
    if report.patches and not any(tried(item, report) for item in report.patches):
        raise AttentionError(
            f"nothing could be run on {report.locked} here, so nothing would be proven",
            hint=f"give it an environment in fork.toml; nox -s status -- --upstream {report.locked} --why",
        )


def _check_retirements(repo: Repository, retire: tuple[Retirement, ...]) -> None:
    """Refuse now what could not be written at the end: a patch that cannot stand by itself, settings that contradict."""
    shop = workshop(repo)
    failed = shop.commits(shop.series.active).failed
    if failed:
        raise AttentionError("\n".join(f"{name} {step.detail}" for name, step in failed.items()), hint="mend the patch file")
    for item in retire:
        retired_mail(shop, shop.series.by_id[item.id], item, {other.id for other in retire})
    profile = check_profile(repo, shop.series) | {item.id: item.settings.mapping() for item in retire if item.settings}
    clashing = list(clashes(profile))
    if clashing:
        raise AttentionError(
            "the settings that replace the patches contradict each other:\n" + "\n".join(clashing),
            hint="let Replaced-By: or the profile name a value that serves both, and rebase again",
        )


def changes_nothing(repo: Repository, state: RebaseState) -> bool:
    """Tell whether the fork stands on the target already, with every patch written on it and none to retire."""
    patches = workshop(repo).series.active
    fresh = all(patch.base == state.target for patch in patches)
    return state.target == state.origin and fresh and not state.retire and target_lock(repo) == read_lock(repo.lock_file)


def trial(repo: Repository, state: RebaseState) -> Plan:
    """Try the replay in passing and note what would conflict."""
    if changes_nothing(repo, state):
        return Plan(state.origin, state.target, notes=(f"nothing to do: every patch stands on {state.target} already",))
    shop = workshop(repo)
    built = shop.build(shop.series.active, release_of(repo, state.target), without={item.id for item in state.retire})
    notes = [f"{name}: {step.applies} {step.detail}".rstrip() for name, step in built.steps.items()]
    return Plan(state.origin, state.target, state.retire, state.queue, tuple(notes))


def tried(item: PatchReport, report: Report) -> bool:
    """Tell whether a cell of the target says something of a patch."""
    at = item.release(report.locked)
    return at is not None and any(cell.counts for cell in at.cells)


def detail(item: PatchReport, report: Report) -> str:
    """Return the words of the release that decided a patch's verdict."""
    at = item.release(report.locked)
    return at.detail if at else ""
