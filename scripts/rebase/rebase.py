"""rebase: move to another release: retire what it made unnecessary, replay and prove the rest.

Nothing outside `.fork/rebase/` changes before the last step, which replaces everything or nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.core.console import info
from scripts.core.errors import UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import FAULTS, Patch, State, Verdict
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.probes.upstream_suite import compare_with_bare, unexcused_failures
from scripts.rebase.plan import (
    all_retirements,
    all_returning,
    changes_nothing,
    check_waivers,
    dry_run_plan,
    has_evidence,
    plan_manual_step,
    plan_rebase,
    verdict_detail,
)
from scripts.rebase.plan_text import RebasePlan
from scripts.rebase.replay import (
    accept_resolution,
    release_of,
    replay,
    skip_stopped,
    stop_rebase,
    tree_builder,
)
from scripts.rebase.staging import orphaned_modules, put_in_place, staged_repository, write_stage
from scripts.rebase.state import (
    RebaseState,
    check_unchanged,
    checkpoint,
    discard,
    load_state,
    rebase_folder,
    required_state,
    target_lock,
)
from scripts.rebase.undo import record_step, restore, snapshot, tree_to_restore
from scripts.series.apply import TreeBuilder
from scripts.series.series import Series, read_series
from scripts.status.selection import Selection
from scripts.status.status import run_status
from scripts.upstream.source_tree import is_subtree
from scripts.verdicts.aggregate import FeatureReport, Report


def rebase(
    repo: Repository,
    version: str,
    *,
    dry_run: bool = False,
    waived: Mapping[str, str] | None = None,
) -> RebasePlan:
    """Move the fork to a release and return what was done; with `dry_run`, what would be done.

    `waived` maps features whose faults are ignored to the reason. Raises AttentionError at a
    conflict or if the result is not proven; the state is then kept for `--continue`.
    """
    with _starting(repo):
        try:
            state = plan_rebase(repo, version, waived or {})
            if dry_run or changes_nothing(repo, state):
                plan = dry_run_plan(repo, state)
                discard(repo)
                return plan
        except BaseException:  # Ctrl-C too: nothing is decided yet
            discard(repo)
            raise
        state.write(repo)
        checkpoint("planned")
        return _run_remaining_steps(repo, state)


@contextmanager
def _starting(repo: Repository) -> Iterator[None]:
    """Lock the folder and remove what an earlier rebase left.

    Raises UsageError if a rebase is under way.
    """
    with repo.exclusive():
        if _is_under_way(repo):
            raise UsageError(
                "a rebase is under way",
                hint="nox -s rebase -- --continue\nnox -s rebase -- --skip\n"
                "nox -s rebase -- --abort",
            )
        discard(repo)
        yield


def retire_by_hand(
    repo: Repository, names: Sequence[str], *, back: bool = False, dry_run: bool = False
) -> RebasePlan:
    """Retire patches that bare upstream makes unnecessary, or take retired ones `back`.

    All other patches stay on their release. A step that undoes the last one restores every byte.
    Raises AttentionError for a feature that upstream does not replace. Raises it also at a
    conflict or if the result is not proven; the state is then kept for `rebase --continue`.
    """
    with _starting(repo):
        previous = tree_to_restore(repo, names, back=back)
        if previous and not dry_run:
            return restore(repo, previous, names)
        before = snapshot(repo)
        try:
            state = plan_manual_step(repo, names, back=back)
            if dry_run:
                following = f"nox -s {'un' * back}retire -- {' '.join(names)}"
                plan = dataclasses.replace(
                    dry_run_plan(repo, state), replay=(), next_command=following
                )
                discard(repo)
                return plan
        except BaseException:  # Ctrl-C too: nothing is decided yet
            discard(repo)
            raise
        state.write(repo)
        checkpoint("planned")
        plan = _run_remaining_steps(repo, state)
        record_step(repo, names, before, back=back)
        return dataclasses.replace(plan, replay=())


def continue_rebase(repo: Repository, waived: Mapping[str, str] | None = None) -> RebasePlan:
    """Continue a rebase that stopped or was killed, with what was resolved in its work tree."""
    with repo.exclusive():
        state = required_state(repo)
        if state.done:
            return _clean_up_killed(repo, state)
        check_unchanged(repo, state)
        check_waivers(waived or {}, tree_builder(repo).series.features)
        state = dataclasses.replace(state, waived={**state.waived, **(waived or {})})
        return _run_remaining_steps(
            repo, accept_resolution(repo, state) if state.stopped else state
        )


def skip(repo: Repository) -> RebasePlan:
    """Leave out the patches at which the rebase stopped, and continue.

    They are dropped because a person decided so, without proof.
    """
    with repo.exclusive():
        state = required_state(repo)
        if state.done:
            return _clean_up_killed(repo, state)
        check_unchanged(repo, state)
        if not state.at:
            raise UsageError(
                "the rebase did not stop at a live patch",
                hint="nox -s rebase -- --continue\nnox -s rebase -- --abort",
            )
        return _run_remaining_steps(repo, skip_stopped(repo, state))


def abort(repo: Repository) -> None:
    """Discard the rebase under way; raises UsageError if there is none."""
    with repo.exclusive():
        # A run that was killed while it planned leaves the folder without a state.
        if not _is_under_way(repo) and not rebase_folder(repo).exists():
            raise UsageError("no rebase is under way", hint="nox -s rebase -- VERSION")
        discard(repo)


def _is_under_way(repo: Repository) -> bool:
    """Return whether a rebase is under way.

    If one was killed after its last step, what it left is removed; it is not under way.
    """
    state = load_state(repo)
    if state is None or not state.done:
        return state is not None
    _clean_up_killed(repo, state)
    return False


def _clean_up_killed(repo: Repository, state: RebaseState) -> RebasePlan:
    """Clean up after a rebase that was killed after its last step, and return what it did."""
    info(
        f"the rebase to {state.target} was complete when it was killed; only its work tree was left"
    )
    discard(repo)
    live = _live_ids(read_series(repo, read_lock(repo.lock_file)))
    return RebasePlan(
        state.origin, state.target, all_retirements(state), live, back=all_returning(state)
    )


# Act


def _run_remaining_steps(repo: Repository, state: RebaseState) -> RebasePlan:
    """Run the steps that are left, from the one that the state is at, and return what was done."""
    state = replay(repo, state)
    digest = write_stage(repo, state)
    checkpoint("exported")
    report = _prove(repo, state)
    checkpoint("proven")
    series = read_series(staged_repository(repo), target_lock(repo))
    replayed = tuple(name for name in _live_ids(series) if name not in state.back)
    plan = RebasePlan(
        state.origin,
        state.target,
        all_retirements(state),
        replayed,
        tuple(_notes(repo, state, report)),
        all_returning(state),
    )
    checkpoint("deciding")
    put_in_place(repo, state, digest)
    checkpoint("decided")
    discard(repo)
    return plan


def _prove(repo: Repository, state: RebaseState) -> Report:
    """Run every probe, live and retired, and upstream's own tests on the staged repository.

    Any fault stops the rebase.
    """
    new, lock = staged_repository(repo), target_lock(repo)
    report, _ = run_status(new, lock, Selection())
    before = tree_builder(repo).series.by_id
    judged = [item for item in report.features if item.feature.id not in state.waived]
    wrong = [
        item
        for item in judged
        if item.verdict in FAULTS or _lost_all_hunks(item, before[item.feature.patch.id])
    ]
    if wrong:
        words = [
            f"{item.feature.id} is {item.verdict}: "
            f"{_fault_reason(item, before[item.feature.patch.id], report)}"
            for item in wrong
        ]
        words += [
            f"  without proof: nox -s rebase -- --continue --waive {item.feature.id}=REASON"
            for item in wrong
            if item.verdict is Verdict.UNPROVEN
        ]
        # `--skip` can leave out only live patches.
        at = tuple(
            dict.fromkeys(
                item.feature.patch.id for item in wrong if item.feature.patch.state is State.ACTIVE
            )
        )
        stop_rebase(repo, state, "replayed, but not proven:\n" + "\n".join(words), at)
    builder = TreeBuilder(new, lock, read_series(new, lock), ResultCache(repo.work / "results"))
    tree = builder.build(builder.series.active, lock.locked_release).tree
    failures = (
        unexcused_failures(new, compare_with_bare(new, builder, lock.locked_release, tree=tree))
        if builder.series.active  # else the tree is bare upstream
        else []
    )
    if failures:
        stop_rebase(
            repo,
            state,
            "upstream's own tests fail that pass without the patches:\n"
            + "\n".join(map(str, failures)),
            (),
        )
    return report


def _lost_all_hunks(item: FeatureReport, before: Patch) -> bool:
    """Return whether a patch lost all its hunks in the replay and no verdict shows a need for it.

    Lost hunks alone do not prove that upstream absorbed it. A retired feature has its own proof.
    """
    return bool(
        before.hunks
        and not item.feature.patch.hunks
        and item.feature.state is State.ACTIVE
        and item.verdict is not Verdict.NEEDED
    )


def _fault_reason(item: FeatureReport, before: Patch, report: Report) -> str:
    empty = (
        "no hunk of it is left, which does not make it absorbed; "
        if before.hunks and not item.feature.patch.hunks
        else ""
    )
    return empty + verdict_detail(item, report)


# Report


def _notes(repo: Repository, state: RebaseState, report: Report) -> Iterator[str]:
    """Yield the closing notes: the answer, what was dropped or not tried, and the range-diff."""
    yield report.answer.short
    series = tree_builder(repo).series
    for patch in (patch for patch in series.all if patch.id in state.skipped):
        probes = [spec for feature in series.features_of(patch) for spec in feature.probes]
        yield (
            f"{patch.id} was skipped, so its features are gone: "
            f"nothing runs {', '.join(probes)} any more"
        )
    for name, reason in state.waived.items():
        yield f"{name} is not proven, waived: {reason}"
    yield from repo.config.stale_exclusions(
        target_lock(repo), None if state.by_hand else state.origin
    )
    for path in orphaned_modules(repo, state):
        tests = ", ".join(_importers(repo, path))
        yield f"{path} went with its patch" + (f"; look at {tests}" if tests else "")
    for name in state.again:
        yield f"{name}: its conflict was resolved as once before; look at it in the range-diff"
    untried = [item.feature.id for item in report.features if not has_evidence(item, report)]
    if untried:
        yield f"not tried on {state.target}, for no cell here can: {', '.join(untried)}"
    if is_subtree(repo):
        yield (
            "upstream/src/ is a subtree and left as it is; "
            f"nox -s vendor -- --subtree merges {state.target} into it"
        )
    yield from _range_diff(repo, state)


def _importers(repo: Repository, module: Path) -> Iterator[str]:
    """Yield the tests that import an override module."""
    package = re.escape(".".join(module.parent.parts))
    # Only imports count, because a module's name may be an ordinary word.
    imported = re.compile(
        rf"\b{package}\.{module.stem}\b|\bfrom {package} import [^\n]*\b{module.stem}\b"
    )
    for test in sorted(repo.root.glob("tests/**/*.py")):
        if imported.search(test.read_text(encoding="utf-8")):
            yield str(test.relative_to(repo.root))


def _range_diff(repo: Repository, state: RebaseState) -> Iterator[str]:
    builder = tree_builder(repo)
    if builder.series.active:
        old = builder.commits(builder.series.active).ids[builder.series.active[-1].id]
        base, target = (
            release_of(repo, builder.series.active[0].base),
            release_of(repo, state.target),
        )
        yield repo.git.text(
            "range-diff", "--no-color", f"{base.commit}..{old}", f"{target.commit}..{state.head}"
        )


def _live_ids(series: Series) -> tuple[str, ...]:
    return tuple(patch.id for patch in series.active)
