"""Plan a rebase: what retires, what is replayed, and what can be refused before it starts."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

from packaging.version import InvalidVersion, Version

from scripts.core.config import near_miss
from scripts.core.errors import AttentionError, UsageError
from scripts.core.lockfile import read_lock, write_lock
from scripts.core.model import FAULTS, Applies, Feature, Lock, Release, State, Verdict
from scripts.core.repository import Repository
from scripts.rebase.plan_text import Plan
from scripts.rebase.replay import release_of, workshop
from scripts.rebase.retire import retired_mail
from scripts.rebase.staging import check_source, staged
from scripts.rebase.state import RebaseState, fingerprint, home, reached, target_lock
from scripts.rebase.unretire import commit_of, in_order, outdated_settings
from scripts.series.apply import Workshop
from scripts.series.cherry_pick import Step, line_on
from scripts.series.feature_record import has_own_record
from scripts.series.profile import check_profile, clashes, profile_name
from scripts.series.series import Series
from scripts.status.selection import Choice
from scripts.status.status import examine
from scripts.upstream.pin import resolve
from scripts.upstream.vendor import bring
from scripts.verdicts.aggregate import FeatureReport, Report
from scripts.verdicts.retirement import Retirement, patch_retirements, retirements


def planned(repo: Repository, version: str, waived: Mapping[str, str]) -> RebaseState:
    """Return the state of a rebase to `version`, planned from the verdicts on the bare target.

    Retirement depends on behaviour alone, so the probes run on the bare target first.
    Whatever would fail at the end is refused here.
    """
    old = read_lock(repo.lock_file)
    before = fingerprint(repo)
    check_source(repo)
    lock = _target(repo, old, version)
    write_lock(home(repo) / "lock.toml", lock)
    reached("pinned")
    report, _ = examine(staged(repo), lock, Choice(bare=True))
    _check_verdicts(report, waived, pinned=old.release(lock.locked) is not None)
    faulty = [item for item in report.features if item.feature.id not in waived]
    regressed = [item.feature for item in faulty if item.verdict is Verdict.REGRESSED]
    decided = _decided(workshop(repo).series, retirements(report), regressed)
    return begun(
        repo,
        dataclasses.replace(
            decided, target=lock.locked, origin=old.locked, before=before, waived=waived
        ),
    )


def _decided(series: Series, going: Sequence[Retirement], back: Sequence[Feature]) -> RebaseState:
    """Return which patches and features' own records retire or come back; the caller adds the rest.

    `going` are the retirements of features, `back` the features that are needed again.
    """
    return RebaseState(
        "",
        "",
        "",
        retire=tuple(patch_retirements(going, series.features)),
        settled=tuple(item for item in going if has_own_record(series.feature_by_id[item.id])),
        back=tuple(
            dict.fromkeys(
                feature.patch.id for feature in back if feature.patch.state is State.RETIRED
            )
        ),
        reopened=tuple(feature.id for feature in back if has_own_record(feature)),
    )


def chosen(repo: Repository, names: Sequence[str], *, back: bool) -> RebaseState:
    """Return the state of a manual step: `names` retire or, with `back`, come back.

    The other patches stay on their release. Raises UsageError for a name that no live (with
    `back`: retired) patch or feature has, AttentionError for a feature that is still needed.
    """
    lock, before = read_lock(repo.lock_file), fingerprint(repo)
    check_source(repo)
    bring(repo, lock)
    write_lock(home(repo) / "lock.toml", lock)
    series = workshop(repo).series
    state = State.RETIRED if back else State.ACTIVE
    features = [
        feature
        for name in names
        for feature in series.features_named(name)
        if feature.state is state
    ]
    there = {name for feature in features for name in (feature.id, feature.patch.id)}
    wrong = [name for name in names if name not in there]
    if wrong:
        kind = "retired" if back else "live"
        known = [
            name
            for feature in series.features
            if feature.state is state
            for name in (feature.id, feature.patch.id)
        ]
        raise UsageError(
            f"there is no {kind} patch {wrong[0]}{near_miss(wrong[0], known)}",
            hint="nox -s status names them",
        )
    # The live patches share one base, which may differ from the locked release.
    base = series.active[0].base if series.active else lock.locked
    decided = _decided(
        series, () if back else _unnecessary(repo, lock, features), features if back else ()
    )
    return begun(
        repo, dataclasses.replace(decided, target=base, origin=base, before=before, by_hand=True)
    )


def _unnecessary(
    repo: Repository, lock: Lock, features: Sequence[Feature]
) -> tuple[Retirement, ...]:
    """Return the retirements of features, each with its proof.

    Raises AttentionError for a feature whose probes do not pass on the bare locked release.
    """
    report, _ = examine(
        staged(repo), lock, Choice(bare=True, features=tuple(feature.id for feature in features))
    )
    found = tuple(retirements(report))
    kept = [item for item in report.features if item.feature.id not in {one.id for one in found}]
    if kept:
        raise AttentionError(
            "upstream does not do what these features do, so they stay:\n"
            + "\n".join(
                f"{item.feature.id} is {item.verdict} on {lock.locked}: {detail(item, report)}"
                for item in kept
            ),
            hint=f"nox -s status -- --patch {kept[0].feature.id} --why",
        )
    return found


def begun(repo: Repository, state: RebaseState) -> RebaseState:
    """Return a state with its queue, and with the target's commit as its head.

    Raises AttentionError or UsageError for what could not be written at the end.
    """
    _check_retirements(repo, state)
    series = workshop(repo).series
    queue = tuple(name for name in in_order(series, state.back) if name not in state.gone)
    return dataclasses.replace(state, head=release_of(repo, state.target).commit, queue=queue)


def _target(repo: Repository, old: Lock, version: str) -> Lock:
    """Return the pins with the target locked; query the index only if it is not pinned yet."""
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
    """Raise UsageError for an unknown waiver, AttentionError for verdicts that prove too little.

    A regressed feature is no fault here, because it comes back.
    """
    evidence = (
        f"{'' if pinned else 'nox -s pin, then '}nox -s status -- --upstream {report.locked} --why"
    )
    unknown = sorted(set(waived) - {item.feature.id for item in report.features})
    if unknown:
        raise UsageError(
            f"--waive names {unknown[0]}, which is no feature", hint="nox -s status names them"
        )
    wrong = [
        item
        for item in report.features
        if item.verdict in FAULTS - {Verdict.REGRESSED} and item.feature.id not in waived
    ]
    if wrong:
        waivers = " ".join(f"--waive {item.feature.id}=REASON" for item in wrong)
        raise AttentionError(
            f"the verdicts on bare {report.locked} are not clean:\n"
            + "\n".join(
                f"{item.feature.id} is {item.verdict}: {detail(item, report)}" for item in wrong
            ),
            hint=f"mend the probes ({evidence}); or take them along as they are: "
            f"nox -s rebase -- {report.locked} {waivers}",
        )
    if report.features and not any(tried(item, report) for item in report.features):
        raise AttentionError(
            f"nothing could be run on {report.locked} here, so nothing would be proven",
            hint=f"give it an environment in fork.toml; {evidence}",
        )


def _check_retirements(repo: Repository, state: RebaseState) -> None:
    """Refuse now what could not be written at the end.

    Raises AttentionError for a patch that does not apply without patches that it does not name,
    and for settings that contradict each other; UsageError if the profile cannot take settings.
    """
    shop, retire = workshop(repo), state.retire
    failed = shop.commits(shop.series.active).failed
    if failed:
        raise AttentionError(
            "\n".join(f"{name} {step.detail}" for name, step in failed.items()),
            hint="mend the patch file",
        )
    for item in retire:  # called for its errors, as commit_of and profile_name below
        retired_mail(shop, shop.series.by_id[item.id], item, {other.id for other in retire})
    for name in state.back:
        commit_of(shop, name)
    put = state.new_settings
    if put:
        profile_name(repo)
    profile = check_profile(repo, shop.series) | put
    for name in outdated_settings(shop.series, profile, (*state.back, *state.reopened)):
        del profile[name]
    clashing = list(clashes(profile))
    if clashing:
        raise AttentionError(
            "the settings that replace the patches contradict each other:\n" + "\n".join(clashing),
            hint="let Replaced-By: or the profile name a value that serves both, and rebase again",
        )


def changes_nothing(repo: Repository, state: RebaseState) -> bool:
    """Return whether the fork is on the target, with nothing to replay, retire or take back."""
    patches = workshop(repo).series.active
    fresh = all(patch.base == state.target for patch in patches)
    stays = not (state.retire or state.settled or state.back or state.reopened)
    return (
        state.target == state.origin
        and fresh
        and stays
        and target_lock(repo) == read_lock(repo.lock_file)
    )


def trial(repo: Repository, state: RebaseState) -> Plan:
    """Return the plan of a dry run, which replays every patch and notes the conflicts."""
    if changes_nothing(repo, state):
        return Plan(
            state.origin,
            state.target,
            notes=(f"nothing to do: every patch stands on {state.target} already",),
        )
    steps = _tried(workshop(repo), state, release_of(repo, state.target))
    notes = [f"{name}: {step.applies} {step.detail}".rstrip() for name, step in steps.items()]
    stops = [name for name, step in steps.items() if step.applies is Applies.CONFLICT]
    replayed = tuple(name for name in state.queue if name not in state.back)
    counts = (
        (len(retiring(state)), "retires", "retire"),
        (len(returning(state)), "comes back", "come back"),
        (len(set(replayed).difference(stops)), "replays cleanly", "replay cleanly"),
        (len(stops), "conflicts", "conflict"),
    )
    total = ", ".join(
        f"{number} {one if number == 1 else many}" for number, one, many in counts if number
    )
    plan = Plan(
        state.origin,
        state.target,
        retiring(state),
        replayed,
        tuple(notes),
        returning(state),
        total or "no patches",
    )
    waivers = "".join(
        f" --waive {name}={shlex.quote(reason)}" for name, reason in state.waived.items()
    )
    return dataclasses.replace(
        plan, stops=tuple(stops), following=f"nox -s rebase -- {state.target}{waivers}"
    )


def _tried(shop: Workshop, state: RebaseState, target: Release) -> dict[str, Step]:
    """Return how each queued patch applies to the target when they are picked as in a rebase.

    Patches that conflict are left out, with those that depend on them.
    """
    steps: dict[str, Step] = {}
    with line_on(target, shop.git, {}) as line:
        for name in state.queue:
            patch = shop.series.by_id[name]
            missing = [
                other
                for other in patch.depends
                if other in steps and steps[other].applies is Applies.CONFLICT
            ]
            if missing:
                steps[name] = Step(
                    Applies.CONFLICT, f"depends on {', '.join(missing)}, which conflicts"
                )
            else:
                steps[name] = line.pick(commit_of(shop, name), patch)
    return steps


def retiring(state: RebaseState) -> tuple[Retirement, ...]:
    """Return the retirements of patches, and of features with their own record."""
    return (*state.retire, *state.settled)


def returning(state: RebaseState) -> tuple[tuple[str, str], ...]:
    """Return the ids of the patches and features that come back, each with the reason."""
    why = "by hand" if state.by_hand else f"needed again on {state.target}"
    return tuple(
        (name, why) for name in (*state.back, *state.reopened) if name not in state.skipped
    )


def tried(item: FeatureReport, report: Report) -> bool:
    """Return whether any cell of the target counts for a feature's verdict."""
    at = item.release(report.locked)
    return at is not None and any(cell.counts for cell in at.cells)


def detail(item: FeatureReport, report: Report) -> str:
    """Return what explains a feature's verdict on the target, or an empty string."""
    at = item.release(report.locked)
    return at.detail if at else ""
