"""rebase: move to another release: retire what it made unnecessary, replay and prove the rest.

Nothing outside `.fork/rebase/` changes before the last step, which replaces everything or nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.core.console import say
from scripts.core.errors import UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import FAULTS, Patch, State, Verdict
from scripts.core.repository import Repository
from scripts.core.result_cache import Store
from scripts.probes.upstream_suite import comparisons, counting
from scripts.rebase.plan import (
    changes_nothing,
    chosen,
    detail,
    planned,
    retiring,
    returning,
    trial,
    tried,
)
from scripts.rebase.plan_text import Plan
from scripts.rebase.replay import left_out, release_of, replay, resolved, stop, workshop
from scripts.rebase.staging import export, orphans, put_in_place, staged
from scripts.rebase.state import (
    RebaseState,
    check_unchanged,
    forget,
    home,
    left_state,
    reached,
    required_state,
    target_lock,
)
from scripts.rebase.undo import remember, restore, snapshot, undoing
from scripts.series.apply import Workshop
from scripts.series.series import Series, read_series
from scripts.status.selection import Choice
from scripts.status.status import examine
from scripts.upstream.source_tree import is_subtree
from scripts.verdicts.aggregate import FeatureReport, Report


def rebase(
    repo: Repository,
    version: str,
    *,
    dry_run: bool = False,
    waived: Mapping[str, str] | None = None,
) -> Plan:
    """Move the fork to a release and return what was done; with `dry_run`, what would be done.

    `waived` maps features whose faults are ignored to the reason. Raises AttentionError at a
    conflict or if the result is not proven; the state is then kept for `--continue`.
    """
    with _beginning(repo):
        try:
            state = planned(repo, version, waived or {})
            if dry_run or changes_nothing(repo, state):
                plan = trial(repo, state)
                forget(repo)
                return plan
        except BaseException:  # Ctrl-C too: nothing is decided yet
            forget(repo)
            raise
        state.write(repo)
        reached("planned")
        return _go_on(repo, state)


@contextmanager
def _beginning(repo: Repository) -> Iterator[None]:
    """Lock the folder and remove what an earlier rebase left.

    Raises UsageError if a rebase is under way.
    """
    with repo.alone():
        if _under_way(repo):
            raise UsageError(
                "a rebase is under way",
                hint="nox -s rebase -- --continue\nnox -s rebase -- --skip\n"
                "nox -s rebase -- --abort",
            )
        forget(repo)
        yield


def by_hand(
    repo: Repository, names: Sequence[str], *, back: bool = False, dry_run: bool = False
) -> Plan:
    """Retire patches that bare upstream makes unnecessary, or take retired ones `back`.

    All other patches stay on their release. A step that undoes the last one restores every byte.
    Raises AttentionError for a feature that upstream does not replace. Raises it also at a
    conflict or if the result is not proven; the state is then kept for `rebase --continue`.
    """
    with _beginning(repo):
        previous = undoing(repo, names, back=back)
        if previous and not dry_run:
            return restore(repo, previous, names)
        before = snapshot(repo)
        try:
            state = chosen(repo, names, back=back)
            if dry_run:
                following = f"nox -s {'un' * back}retire -- {' '.join(names)}"
                plan = dataclasses.replace(trial(repo, state), replay=(), following=following)
                forget(repo)
                return plan
        except BaseException:  # Ctrl-C too: nothing is decided yet
            forget(repo)
            raise
        state.write(repo)
        reached("planned")
        plan = _go_on(repo, state)
        remember(repo, names, before, back=back)
        return dataclasses.replace(plan, replay=())


def go_on(repo: Repository, waived: Mapping[str, str] | None = None) -> Plan:
    """Continue a rebase that stopped or was killed, with what was resolved in its work tree."""
    with repo.alone():
        state = required_state(repo)
        if state.done:
            return _left_over(repo, state)
        check_unchanged(repo, state)
        state = dataclasses.replace(state, waived={**state.waived, **(waived or {})})
        return _go_on(repo, resolved(repo, state) if state.stopped else state)


def skip(repo: Repository) -> Plan:
    """Leave out the patches at which the rebase stopped, and continue.

    They are dropped because a person decided so, without proof.
    """
    with repo.alone():
        state = required_state(repo)
        if state.done:
            return _left_over(repo, state)
        check_unchanged(repo, state)
        if not state.at:
            raise UsageError(
                "the rebase did not stop at a live patch",
                hint="nox -s rebase -- --continue\nnox -s rebase -- --abort",
            )
        return _go_on(repo, left_out(repo, state))


def abort(repo: Repository) -> None:
    """Discard the rebase under way; raises UsageError if there is none."""
    with repo.alone():
        # A run that was killed while it planned leaves the folder without a state.
        if not _under_way(repo) and not home(repo).exists():
            raise UsageError("no rebase is under way", hint="nox -s rebase -- VERSION")
        forget(repo)


def _under_way(repo: Repository) -> bool:
    """Return whether a rebase is under way.

    If one was killed after its last step, what it left is removed; it is not under way.
    """
    state = left_state(repo)
    if state is None or not state.done:
        return state is not None
    _left_over(repo, state)
    return False


def _left_over(repo: Repository, state: RebaseState) -> Plan:
    """Clean up after a rebase that was killed after its last step, and return what it did."""
    say(
        f"the rebase to {state.target} had been done when it was killed; "
        "only its work tree was left"
    )
    forget(repo)
    live = _live_ids(read_series(repo, read_lock(repo.lock_file)))
    return Plan(state.origin, state.target, retiring(state), live, back=returning(state))


# Act


def _go_on(repo: Repository, state: RebaseState) -> Plan:
    """Run the steps that are left, from the one that the state is at, and return what was done."""
    state = replay(repo, state)
    digest = export(repo, state)
    reached("exported")
    report = _proof(repo, state)
    reached("proven")
    series = read_series(staged(repo), target_lock(repo))
    replayed = tuple(name for name in _live_ids(series) if name not in state.back)
    plan = Plan(
        state.origin,
        state.target,
        retiring(state),
        replayed,
        tuple(_notes(repo, state, report)),
        returning(state),
    )
    reached("deciding")
    put_in_place(repo, state, digest)
    reached("decided")
    forget(repo)
    return plan


def _proof(repo: Repository, state: RebaseState) -> Report:
    """Run every probe, live and retired, and upstream's own tests on the staged repository.

    Any fault stops the rebase.
    """
    new, lock = staged(repo), target_lock(repo)
    report, _ = examine(new, lock, Choice())
    before = workshop(repo).series.by_id
    judged = [item for item in report.features if item.feature.id not in state.waived]
    wrong = [
        item
        for item in judged
        if item.verdict in FAULTS or _emptied(item, before[item.feature.patch.id])
    ]
    if wrong:
        words = [
            f"{item.feature.id} is {item.verdict}: "
            f"{_why(item, before[item.feature.patch.id], report)}"
            for item in wrong
        ]
        words += [
            f"  without proof: nox -s rebase -- --continue --waive {item.feature.id}=REASON"
            for item in wrong
            if item.verdict is Verdict.UNPROVEN
        ]
        at = tuple(
            dict.fromkeys(
                item.feature.patch.id for item in wrong if item.feature.patch.state is State.ACTIVE
            )
        )
        stop(repo, state, "replayed, but not proven:\n" + "\n".join(words), at)
    shop = Workshop(new, lock, read_series(new, lock), Store(repo.work / "results"))
    tree = shop.build(shop.series.active, lock.current).tree
    failures = (
        counting(new, comparisons(new, shop, lock.current, tree=tree)) if shop.series.active else []
    )
    if failures:
        stop(
            repo,
            state,
            "upstream's own tests fail that pass without the patches:\n"
            + "\n".join(map(str, failures)),
            (),
        )
    return report


def _emptied(item: FeatureReport, before: Patch) -> bool:
    """Return whether a patch lost all its hunks in the replay and no verdict shows a need for it.

    Lost hunks alone do not prove that upstream absorbed it.
    """
    return bool(
        before.hunks and not item.feature.patch.hunks and item.verdict is not Verdict.NEEDED
    )


def _why(item: FeatureReport, before: Patch, report: Report) -> str:
    empty = (
        "no hunk of it is left, which does not make it absorbed; "
        if before.hunks and not item.feature.patch.hunks
        else ""
    )
    return empty + detail(item, report)


# Report


def _notes(repo: Repository, state: RebaseState, report: Report) -> Iterator[str]:
    """Yield the closing notes: the answer, what was dropped or not tried, and the range-diff."""
    yield report.answer.short
    series = workshop(repo).series
    for patch in (patch for patch in series.all if patch.id in state.skipped):
        probes = [spec for feature in series.features_of(patch) for spec in feature.probes]
        yield (
            f"{patch.id} was skipped on your word: its behaviour is gone; "
            f"nothing runs {', '.join(probes)} any more"
        )
    for name, reason in state.waived.items():
        yield f"{name} was not proven, on your word: {reason}"
    yield from repo.config.stale_exclusions(
        target_lock(repo), None if state.by_hand else state.origin
    )
    for path in orphans(repo, state):
        tests = ", ".join(_importers(repo, path))
        yield f"{path} went with its patch" + (f"; look at {tests}" if tests else "")
    for name in state.again:
        yield f"{name}: its conflict was resolved as once before; look at it in the range-diff"
    untried = [item.feature.id for item in report.features if not tried(item, report)]
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
    imported = re.compile(
        rf"\b{package}\.{module.stem}\b|\bfrom {package} import [^\n]*\b{module.stem}\b"
    )
    for test in sorted(repo.root.glob("tests/**/*.py")):
        if imported.search(test.read_text(encoding="utf-8")):
            yield str(test.relative_to(repo.root))


def _range_diff(repo: Repository, state: RebaseState) -> Iterator[str]:
    shop = workshop(repo)
    if shop.series.active:
        old = shop.commits(shop.series.active).ids[shop.series.active[-1].id]
        base, target = release_of(repo, shop.series.active[0].base), release_of(repo, state.target)
        yield repo.git.text(
            "range-diff", "--no-color", f"{base.commit}..{old}", f"{target.commit}..{state.head}"
        )


def _live_ids(series: Series) -> tuple[str, ...]:
    return tuple(patch.id for patch in series.active)
