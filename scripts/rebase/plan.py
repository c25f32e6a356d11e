"""The plan of a rebase: what the target makes unnecessary, what is replayed, and everything that could not go well."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

from packaging.version import InvalidVersion, Version

from scripts.core.config import near_miss
from scripts.core.errors import AttentionError, UsageError
from scripts.core.lockfile import read_lock, write_lock
from scripts.core.model import FAULTS, Applies, Lock, Release, Verdict
from scripts.core.repository import Repository
from scripts.rebase.plan_text import Plan
from scripts.rebase.replay import release_of, workshop
from scripts.rebase.retire import retired_mail
from scripts.rebase.staging import check_source, staged
from scripts.rebase.state import RebaseState, fingerprint, home, reached, target_lock
from scripts.rebase.unretire import commit_of, in_order, outdated_settings
from scripts.series.apply import Workshop
from scripts.series.cherry_pick import Step, line_on
from scripts.series.profile import check_profile, clashes, profile_name
from scripts.status.status import Choice, examine
from scripts.upstream.pin import resolve
from scripts.upstream.vendor import bring
from scripts.verdicts.aggregate import PatchReport, Report
from scripts.verdicts.retirement import Retirement, retirements


def planned(repo: Repository, version: str, waived: Mapping[str, str]) -> RebaseState:
    """Ask what the bare target does by itself, for a patch is retired on behaviour alone; and refuse what cannot go well."""
    old = read_lock(repo.lock_file)
    before = fingerprint(repo)
    check_source(repo)
    lock = _target(repo, old, version)
    write_lock(home(repo) / "lock.toml", lock)
    reached("pinned")
    report, _ = examine(staged(repo), lock, Choice(bare=True))
    _check_verdicts(report, waived, pinned=old.release(lock.locked) is not None)
    retire = tuple(retirements(report))
    back = tuple(item.patch.id for item in report.patches if item.verdict is Verdict.REGRESSED and item.patch.id not in waived)
    return begun(repo, RebaseState(lock.locked, old.locked, "", before, retire, back=back, waived=waived))


def chosen(repo: Repository, names: Sequence[str], *, back: bool) -> RebaseState:
    """Return the state of a step by hand: some patches retire or come back, and the others stay on the release they stand on."""
    lock, before = read_lock(repo.lock_file), fingerprint(repo)
    check_source(repo)
    bring(repo, lock)
    write_lock(home(repo) / "lock.toml", lock)
    series = workshop(repo).series
    known = [patch.id for patch in (series.retired if back else series.active)]
    wrong = [name for name in names if name not in known]
    if wrong:
        kind = "retired" if back else "live"
        raise UsageError(f"there is no {kind} patch {wrong[0]}{near_miss(wrong[0], known)}", hint="nox -s status names them")
    base = series.active[0].base if series.active else lock.locked
    retire = () if back else _unnecessary(repo, lock, names)
    return begun(repo, RebaseState(base, base, "", before, retire, back=tuple(names) if back else (), by_hand=True))


def _unnecessary(repo: Repository, lock: Lock, names: Sequence[str]) -> tuple[Retirement, ...]:
    """Return the retirements of patches, with their proof; refuses one whose probes do not pass on the bare locked release."""
    report, _ = examine(staged(repo), lock, Choice(bare=True, patches=tuple(names)))
    found = tuple(retirements(report))
    kept = [item for item in report.patches if item.patch.id not in {one.id for one in found}]
    if kept:
        raise AttentionError(
            "upstream does not do what these patches do, so they stay:\n"
            + "\n".join(f"{item.patch.id} is {item.verdict} on {lock.locked}: {detail(item, report)}" for item in kept),
            hint=f"nox -s status -- --patch {kept[0].patch.id} --why",
        )
    return found


def begun(repo: Repository, state: RebaseState) -> RebaseState:
    """Return a state with its queue, the target's commit before it; refuses what could not be written at the end."""
    _check_retirements(repo, state)
    series = workshop(repo).series
    queue = tuple(name for name in in_order(series, state.back) if name not in state.gone)
    return dataclasses.replace(state, head=release_of(repo, state.target).commit, queue=queue)


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


def _check_verdicts(report: Report, waived: Mapping[str, str], *, pinned: bool) -> None:
    """Refuse a target of which nothing can be said, or too little; what regressed there comes back, so it is no fault."""
    evidence = f"{'' if pinned else 'nox -s pin, then '}nox -s status -- --upstream {report.locked} --why"
    unknown = sorted(set(waived) - {item.patch.id for item in report.patches})
    if unknown:
        raise UsageError(f"--waive names {unknown[0]}, which is no patch", hint="nox -s status names them")
    wrong = [item for item in report.patches if item.verdict in FAULTS - {Verdict.REGRESSED} and item.patch.id not in waived]
    if wrong:
        waivers = " ".join(f"--waive {item.patch.id}=REASON" for item in wrong)
        raise AttentionError(
            f"the verdicts on bare {report.locked} are not clean:\n"
            + "\n".join(f"{item.patch.id} is {item.verdict}: {detail(item, report)}" for item in wrong),
            hint=f"mend the probes ({evidence}); or take them along as they are: nox -s rebase -- {report.locked} {waivers}",
        )
    if report.patches and not any(tried(item, report) for item in report.patches):
        raise AttentionError(
            f"nothing could be run on {report.locked} here, so nothing would be proven",
            hint=f"give it an environment in fork.toml; {evidence}",
        )


def _check_retirements(repo: Repository, state: RebaseState) -> None:
    """Refuse now what could not be written at the end: a patch that cannot stand by itself, settings that contradict."""
    shop, retire = workshop(repo), state.retire
    failed = shop.commits(shop.series.active).failed
    if failed:
        raise AttentionError("\n".join(f"{name} {step.detail}" for name, step in failed.items()), hint="mend the patch file")
    for item in retire:
        retired_mail(shop, shop.series.by_id[item.id], item, {other.id for other in retire})
    for name in state.back:
        commit_of(shop, name)
    put = {item.id: item.settings.mapping() for item in retire if item.settings}
    if put:
        profile_name(repo)
    profile = check_profile(repo, shop.series) | put
    for name in outdated_settings(shop.series, profile, state.back):
        del profile[name]
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
    stays = not state.retire and not state.back
    return state.target == state.origin and fresh and stays and target_lock(repo) == read_lock(repo.lock_file)


def trial(repo: Repository, state: RebaseState) -> Plan:
    """Try the replay in passing and note what would conflict."""
    if changes_nothing(repo, state):
        return Plan(state.origin, state.target, notes=(f"nothing to do: every patch stands on {state.target} already",))
    steps = _tried(workshop(repo), state, release_of(repo, state.target))
    notes = [f"{name}: {step.applies} {step.detail}".rstrip() for name, step in steps.items()]
    stops = [name for name, step in steps.items() if step.applies is Applies.CONFLICT]
    replayed = tuple(name for name in state.queue if name not in state.back)
    counts = (
        (len(state.retire), "retires", "retire"),
        (len(state.back), "comes back", "come back"),
        (len(set(replayed).difference(stops)), "replays cleanly", "replay cleanly"),
        (len(stops), "conflicts", "conflict"),
    )
    total = ", ".join(f"{number} {one if number == 1 else many}" for number, one, many in counts if number)
    plan = Plan(state.origin, state.target, state.retire, replayed, tuple(notes), returning(state), total or "no patches")
    waivers = "".join(f" --waive {name}={shlex.quote(reason)}" for name, reason in state.waived.items())
    return dataclasses.replace(plan, stops=tuple(stops), following=f"nox -s rebase -- {state.target}{waivers}")


def _tried(shop: Workshop, state: RebaseState, target: Release) -> dict[str, Step]:
    """Pick each patch onto the target as a rebase would, leaving out those that conflict."""
    steps: dict[str, Step] = {}
    with line_on(target, shop.git, {}) as line:
        for name in state.queue:
            patch = shop.series.by_id[name]
            missing = [other for other in patch.depends if other in steps and steps[other].applies is Applies.CONFLICT]
            if missing:
                steps[name] = Step(Applies.CONFLICT, f"depends on {', '.join(missing)}, which conflicts")
            else:
                steps[name] = line.pick(commit_of(shop, name), patch)
    return steps


def returning(state: RebaseState) -> tuple[tuple[str, str], ...]:
    """Return the patches that come back, each with the reason."""
    why = "by hand" if state.by_hand else f"needed again on {state.target}"
    return tuple((name, why) for name in state.back if name not in state.skipped)


def tried(item: PatchReport, report: Report) -> bool:
    """Tell whether a cell of the target says something of a patch."""
    at = item.release(report.locked)
    return at is not None and any(cell.counts for cell in at.cells)


def detail(item: PatchReport, report: Report) -> str:
    """Return the words of the release that decided a patch's verdict."""
    at = item.release(report.locked)
    return at.detail if at else ""
