"""Prove a rebase on the staged repository: every probe, and upstream's own tests."""

from __future__ import annotations

from scripts.core.model import FAULTS, Patch, State, Verdict
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.probes.upstream_suite import compare_with_bare, unexcused_failures
from scripts.rebase.plan import verdict_detail
from scripts.rebase.replay import stop_rebase, tree_builder
from scripts.rebase.staging import staged_repository
from scripts.rebase.state import RebaseState, target_lock
from scripts.series.apply import TreeBuilder
from scripts.series.series import read_series
from scripts.status.selection import Selection
from scripts.status.status import run_status
from scripts.verdicts.aggregate import FeatureReport, Report


def prove(repo: Repository, state: RebaseState) -> Report:
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
