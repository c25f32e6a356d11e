"""rebase: move to another release: retire what it made unnecessary, replay and prove the rest.

Nothing outside `.fork/rebase/` changes before the last step, which replaces everything or nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from scripts.core.console import info
from scripts.core.errors import ForkError, UsageError
from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.rebase.closing import (
    closing_notes,
    compare_wheels,
    stage_closing,
    wheel_changes_file,
)
from scripts.rebase.notes import rebase_notes
from scripts.rebase.plan import (
    all_retirements,
    all_returning,
    changes_nothing,
    check_waivers,
    dry_run_plan,
    plan_manual_step,
    plan_rebase,
)
from scripts.rebase.plan_text import RebasePlan
from scripts.rebase.prove import prove
from scripts.rebase.replay import accept_resolution, replay, skip_stopped, tree_builder
from scripts.rebase.staging import put_in_place, staged_repository, write_stage
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
from scripts.series.series import Series, read_series
from scripts.wheel.compare import Comparison


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
        state.origin,
        state.target,
        all_retirements(state),
        live,
        back=all_returning(state),
        closing=() if state.by_hand else tuple(closing_notes(repo, state)),
    )


# Act


def _run_remaining_steps(repo: Repository, state: RebaseState) -> RebasePlan:
    """Run the steps that are left, from the one that the state is at, and return what was done."""
    state = replay(repo, state)
    digest = write_stage(repo, state)
    checkpoint("exported")
    report = prove(repo, state)
    checkpoint("proven")
    compared = None if state.by_hand else compare_wheels(repo, state)
    checkpoint("compared")
    series = read_series(staged_repository(repo), target_lock(repo))
    replayed = tuple(name for name in _live_ids(series) if name not in state.back)
    plan = RebasePlan(
        state.origin,
        state.target,
        all_retirements(state),
        replayed,
        tuple(rebase_notes(repo, state, report)),
        all_returning(state),
    )
    checkpoint("deciding")
    also = {} if compared is None else stage_closing(repo, state, compared)
    put_in_place(repo, state, digest, also)
    checkpoint("decided")
    if compared is not None:
        plan = _with_closing(repo, state, plan, compared)
    discard(repo)
    return plan


def _with_closing(
    repo: Repository, state: RebaseState, plan: RebasePlan, compared: Comparison | ForkError
) -> RebasePlan:
    notes = tuple(closing_notes(repo, state))
    if isinstance(compared, ForkError):
        why = f"the wheel was not compared with the one before: {compared}"
        return dataclasses.replace(plan, closing=(why, *notes))
    return dataclasses.replace(
        plan, comparison=compared, comparison_file=wheel_changes_file(repo), closing=notes
    )


def _live_ids(series: Series) -> tuple[str, ...]:
    return tuple(patch.id for patch in series.active)
