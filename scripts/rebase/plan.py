"""Plan a rebase: what retires, what is replayed, and what can be refused before it starts."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence

from packaging.version import InvalidVersion, Version

from scripts.core.config import did_you_mean
from scripts.core.errors import AttentionError, UsageError
from scripts.core.lockfile import read_lock, write_lock
from scripts.core.model import FAULTS, Applies, Feature, Lock, Release, State, Verdict
from scripts.core.repository import Repository
from scripts.rebase.plan_text import RebasePlan
from scripts.rebase.replay import release_of, tree_builder
from scripts.rebase.retire import retired_mail
from scripts.rebase.staging import check_source, staged_repository
from scripts.rebase.state import RebaseState, checkpoint, input_digests, rebase_folder, target_lock
from scripts.rebase.unretire import commit_of, outdated_settings, series_order
from scripts.series.apply import TreeBuilder
from scripts.series.cherry_pick import ApplyResult, pick_sequence
from scripts.series.feature_record import has_own_record
from scripts.series.profile import check_profile, conflicting_settings, profile_name
from scripts.series.series import Series
from scripts.status.selection import Selection
from scripts.status.status import run_status
from scripts.upstream.pin import resolve_pins
from scripts.upstream.vendor import ensure_releases
from scripts.verdicts.aggregate import FeatureReport, Report
from scripts.verdicts.retirement import Retirement, patch_retirements, retirements


def plan_rebase(repo: Repository, version: str, waived: Mapping[str, str]) -> RebaseState:
    """Return the state of a rebase to `version`, planned from the verdicts on the bare target.

    Retirement depends on behaviour alone, so the probes run on the bare target first.
    Whatever would fail at the end is refused here.
    """
    old = read_lock(repo.lock_file)
    before = input_digests(repo)
    check_source(repo)
    lock = _target_lock(repo, old, version)
    write_lock(rebase_folder(repo) / "lock.toml", lock)
    checkpoint("pinned")
    report, _ = run_status(staged_repository(repo), lock, Selection(bare=True))
    _check_verdicts(report, waived, pinned=old.release(lock.locked) is not None)
    not_waived = [item for item in report.features if item.feature.id not in waived]
    regressed = [item.feature for item in not_waived if item.verdict is Verdict.REGRESSED]
    decided = _retire_and_return(tree_builder(repo).series, retirements(report), regressed)
    return with_queue(
        repo,
        dataclasses.replace(
            decided, target=lock.locked, origin=old.locked, before=before, waived=waived
        ),
    )


def _retire_and_return(
    series: Series, going: Sequence[Retirement], back: Sequence[Feature]
) -> RebaseState:
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


def plan_manual_step(repo: Repository, names: Sequence[str], *, back: bool) -> RebaseState:
    """Return the state of a manual step: `names` retire or, with `back`, come back.

    The other patches stay on their release. Raises UsageError for a name that no live (with
    `back`: retired) patch or feature has, AttentionError for a feature that is still needed.
    """
    lock, before = read_lock(repo.lock_file), input_digests(repo)
    check_source(repo)
    ensure_releases(repo, lock)
    write_lock(rebase_folder(repo) / "lock.toml", lock)
    series = tree_builder(repo).series
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
            f"there is no {kind} feature or patch {wrong[0]}{did_you_mean(wrong[0], known)}",
            hint="nox -s status names them",
        )
    # The live patches share one base, which may differ from the locked release.
    base = series.active[0].base if series.active else lock.locked
    decided = _retire_and_return(
        series, () if back else _proven_retirements(repo, lock, features), features if back else ()
    )
    return with_queue(
        repo, dataclasses.replace(decided, target=base, origin=base, before=before, by_hand=True)
    )


def _proven_retirements(
    repo: Repository, lock: Lock, features: Sequence[Feature]
) -> tuple[Retirement, ...]:
    """Return the retirements of features, each with its proof.

    Raises AttentionError for a feature whose probes do not pass on the bare locked release.
    """
    asked = tuple(feature.id for feature in features)
    report, _ = run_status(staged_repository(repo), lock, Selection(bare=True, features=asked))
    found = tuple(retirements(report))
    # A feature may have its patch's id, which names the patch's other features too.
    kept = [
        item
        for item in report.features
        if item.feature.id in asked and item.feature.id not in {one.id for one in found}
    ]
    if kept:
        raise AttentionError(
            "upstream does not do what these features do, so they stay:\n"
            + "\n".join(
                f"{item.feature.id} is {item.verdict} on {lock.locked}: "
                f"{verdict_detail(item, report)}"
                for item in kept
            ),
            hint=f"nox -s status -- --patch {kept[0].feature.id} --why",
        )
    return found


def with_queue(repo: Repository, state: RebaseState) -> RebaseState:
    """Return a state with its queue, and with the target's commit as its head.

    Raises AttentionError or UsageError for what could not be written at the end.
    """
    _check_retirements(repo, state)
    series = tree_builder(repo).series
    queue = tuple(name for name in series_order(series, state.back) if name not in state.gone)
    return dataclasses.replace(state, head=release_of(repo, state.target).commit, queue=queue)


def _target_lock(repo: Repository, old: Lock, version: str) -> Lock:
    """Return the pins with the target locked; query the index only if it is not pinned yet."""
    pinned = next(
        (release for release in old.releases if _is_same_version(release.version, version)), None
    )
    if pinned is None:
        return resolve_pins(repo, version)
    ensure_releases(repo, old)
    return dataclasses.replace(old, locked=pinned.version)


def _is_same_version(pinned: str, asked: str) -> bool:
    try:
        return Version(pinned) == Version(asked)
    except InvalidVersion:
        return False


def check_waivers(waived: Mapping[str, str], features: Iterable[Feature]) -> None:
    """Raise UsageError for a waiver of what is no feature."""
    unknown = sorted(set(waived) - {feature.id for feature in features})
    if unknown:
        raise UsageError(
            f"--waive names {unknown[0]}, which is no feature", hint="nox -s status names them"
        )


def _check_verdicts(report: Report, waived: Mapping[str, str], *, pinned: bool) -> None:
    """Raise AttentionError for verdicts that prove too little, UsageError for an unknown waiver.

    A regressed feature is no fault here, because it comes back.
    """
    # `status` knows only pinned releases.
    evidence = (
        f"{'' if pinned else 'nox -s pin, then '}nox -s status -- --upstream {report.locked} --why"
    )
    check_waivers(waived, [item.feature for item in report.features])
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
                f"{item.feature.id} is {item.verdict}: {verdict_detail(item, report)}"
                for item in wrong
            ),
            hint=f"fix the probes ({evidence}); or keep the features as they are: "
            f"nox -s rebase -- {report.locked} {waivers}",
        )
    if report.features and not any(has_evidence(item, report) for item in report.features):
        raise AttentionError(
            f"nothing could be run on {report.locked} here, so nothing would be proved",
            hint=f"give it an environment in fork.toml; {evidence}",
        )


def _check_retirements(repo: Repository, state: RebaseState) -> None:
    """Refuse now what could not be written at the end.

    Raises AttentionError for a patch that does not apply without patches that it does not name,
    and for settings that contradict each other; UsageError if the profile cannot take settings.
    """
    builder, retire = tree_builder(repo), state.retire
    failed = builder.commits(builder.series.active).failed
    if failed:
        raise AttentionError(
            "\n".join(f"{name} {step.detail}" for name, step in failed.items()),
            hint="fix the patch file",
        )
    for item in retire:  # called for its errors, as commit_of and profile_name below
        retired_mail(builder, builder.series.by_id[item.id], item, {other.id for other in retire})
    for name in state.back:
        commit_of(builder, name)
    put = state.new_settings
    if put:
        profile_name(repo)
    profile = check_profile(repo, builder.series) | put
    for name in outdated_settings(builder.series, profile, state.back, state.reopened):
        del profile[name]
    clashing = list(conflicting_settings(profile))
    if clashing:
        raise AttentionError(
            "the settings that replace features contradict each other:\n" + "\n".join(clashing),
            hint="choose one value for both, in Replaced-By: or in the profile, and rebase again",
        )


def changes_nothing(repo: Repository, state: RebaseState) -> bool:
    """Return whether the fork is on the target, with nothing to replay, retire or take back."""
    patches = tree_builder(repo).series.active
    fresh = all(patch.base == state.target for patch in patches)
    stays = not (state.retire or state.settled or state.back or state.reopened)
    return (
        state.target == state.origin
        and fresh
        and stays
        and target_lock(repo) == read_lock(repo.lock_file)
    )


def dry_run_plan(repo: Repository, state: RebaseState) -> RebasePlan:
    """Return the plan of a dry run, which replays every patch and notes the conflicts."""
    if changes_nothing(repo, state):
        return RebasePlan(
            state.origin,
            state.target,
            notes=(f"nothing to do: every patch is on {state.target} already",),
        )
    steps = _try_picks(tree_builder(repo), state, release_of(repo, state.target))
    notes = [f"{name}: {step.applies} {step.detail}".rstrip() for name, step in steps.items()]
    stops = [name for name, step in steps.items() if step.applies is Applies.CONFLICT]
    replayed = tuple(name for name in state.queue if name not in state.back)
    counts = (
        (len(all_retirements(state)), "retires", "retire"),
        (len(all_returning(state)), "comes back", "come back"),
        (len(set(replayed).difference(stops)), "replays cleanly", "replay cleanly"),
        (len(stops), "conflicts", "conflict"),
    )
    total = ", ".join(
        f"{number} {one if number == 1 else many}" for number, one, many in counts if number
    )
    plan = RebasePlan(
        state.origin,
        state.target,
        all_retirements(state),
        replayed,
        tuple(notes),
        all_returning(state),
        total or "no patches",
    )
    waivers = "".join(
        f" --waive {name}={shlex.quote(reason)}" for name, reason in state.waived.items()
    )
    return dataclasses.replace(
        plan, conflicting=tuple(stops), next_command=f"nox -s rebase -- {state.target}{waivers}"
    )


def _try_picks(builder: TreeBuilder, state: RebaseState, target: Release) -> dict[str, ApplyResult]:
    """Return how each queued patch applies to the target when they are picked as in a rebase.

    Patches that conflict are left out, with those that depend on them.
    """
    steps: dict[str, ApplyResult] = {}
    with pick_sequence(target, builder.git, {}) as line:
        for name in state.queue:
            patch = builder.series.by_id[name]
            missing = [
                other
                for other in patch.depends
                if other in steps and steps[other].applies is Applies.CONFLICT
            ]
            if missing:
                steps[name] = ApplyResult(
                    Applies.CONFLICT, f"depends on {', '.join(missing)}, which conflicts"
                )
            else:
                steps[name] = line.pick(commit_of(builder, name), patch)
    return steps


def all_retirements(state: RebaseState) -> tuple[Retirement, ...]:
    """Return the retirements of patches, and of features with their own record."""
    return (*state.retire, *state.settled)


def all_returning(state: RebaseState) -> tuple[tuple[str, str], ...]:
    """Return the ids of the patches and features that come back, each with the reason."""
    why = "by hand" if state.by_hand else f"needed again on {state.target}"
    return tuple(
        (name, why) for name in (*state.back, *state.reopened) if name not in state.skipped
    )


def has_evidence(item: FeatureReport, report: Report) -> bool:
    """Return whether any cell of the target counts for a feature's verdict."""
    at = item.release(report.locked)
    return at is not None and any(cell.is_gating_evidence for cell in at.cells)


def verdict_detail(item: FeatureReport, report: Report) -> str:
    """Return what explains a feature's verdict on the target, or an empty string."""
    at = item.release(report.locked)
    return at.detail if at else ""
