"""replay: cherry-pick the patches that stay onto the target.

A conflict is left in a work tree, where a person can resolve it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NoReturn

import unidiff.patch

from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.model import Applies, Patch, Release
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.rebase.state import RebaseState, checkpoint, rebase_folder, target_lock, work_tree_path
from scripts.rebase.unretire import commit_of, live_dependencies, series_order
from scripts.rebase.work_tree import (
    check_commits,
    check_finished,
    commit_resolution,
    commits_of,
    drop_commit,
    force_checkout,
    open_work_tree,
    patch_id_of,
    pick_with_rerere,
    unmerged,
)
from scripts.series.apply import TreeBuilder, format_patch
from scripts.series.moved_files import RENAME_THRESHOLDS, find_moves
from scripts.series.patch_file import read_mail, with_trailers
from scripts.series.series import read_series

SHOWN_LINES = 80
"""The number of lines of upstream's change that the message of a conflict shows."""

NEAR_LINES = 12
"""Upstream's change is near a hunk if it is at most so many lines away."""


def replay(repo: Repository, state: RebaseState) -> RebaseState:
    """Cherry-pick the patches in the queue; stop at the first conflict."""
    builder = tree_builder(repo)
    work = open_work_tree(repo, state)
    if state.queue:
        force_checkout(work, state.head)
    while state.queue:
        checkpoint("replaying")
        patch = builder.series.by_id[state.queue[0]]
        step, again = pick_with_rerere(work, commit_of(builder, patch.id), patch)
        checkpoint("picked")
        if step.applies is Applies.CONFLICT:
            stop_rebase(
                repo,
                state,
                f"{patch.id} conflicts with {state.target}: {step.detail}\n"
                f"{_upstream_change(builder, state, work, patch)}",
            )
        head = work.text("rev-parse", "HEAD")
        state = dataclasses.replace(
            state,
            queue=state.queue[1:],
            head=head,
            again=(*state.again, patch.id) if again else state.again,
        )
        state.write(repo)
    checkpoint("replayed")
    return state


def accept_resolution(repo: Repository, state: RebaseState) -> RebaseState:
    """Return the state after a person worked in the work tree; commit a finished resolution.

    Raises AttentionError for an unfinished one.
    """
    work, builder = open_work_tree(repo, state), tree_builder(repo)
    check_finished(work, state.head)
    if work.resolve("CHERRY_PICK_HEAD"):
        commit_resolution(work, commit_of(builder, state.queue[0]))
    head = _checked_head(builder, state, work, waiting=state.queue[1:])
    checkpoint("resolved")
    state = dataclasses.replace(state, queue=state.queue[1:], head=head, stopped="", at=())
    state.write(repo)
    return state


def skip_stopped(repo: Repository, state: RebaseState) -> RebaseState:
    """Leave out the patches at which the rebase stopped, and the live ones that depend on them.

    Raises AttentionError if a retired patch depends on one of them.
    """
    series = tree_builder(repo).series
    without = {other for name in state.at for other in series.dependents(series.by_id[name])}
    gone = [name for name in series_order(series, state.back) if name in without - state.gone]
    held = [
        patch.id
        for patch in series.retired
        if patch.id not in state.back and set(gone).intersection(patch.depends)
    ]
    if held:
        raise AttentionError(
            f"{', '.join(gone)} cannot be left out: "
            f"{', '.join(held)}, which is retired, depends on it",
            hint=f"resolve it in {work_tree_path(repo)}, or nox -s rebase -- --abort",
        )
    head = _drop_patches(repo, state, gone)
    queue = tuple(name for name in state.queue if name not in gone)
    lost = {feature.id for feature in series.features if feature.patch.id in gone}
    state = dataclasses.replace(
        state,
        queue=queue,
        head=head,
        skipped=(*state.skipped, *gone),
        settled=tuple(item for item in state.settled if item.id not in lost),
        reopened=tuple(name for name in state.reopened if name not in lost),
        stopped="",
        at=(),
    )
    state.write(repo)
    return state


def _drop_patches(repo: Repository, state: RebaseState, gone: list[str]) -> str:
    """Remove patches from the commits replayed so far, and return the last commit."""
    work, target, head = open_work_tree(repo, state), release_of(repo, state.target), state.head
    if not state.queue:  # nothing is being resolved, so commits may have been amended
        check_finished(work, head)
        head = _checked_head(tree_builder(repo), state, work, waiting=())
    force_checkout(work, head)
    for name in gone:
        drop_commit(work, target, name)
    return work.text("rev-parse", "HEAD")


def _checked_head(
    builder: TreeBuilder, state: RebaseState, work: Git, waiting: tuple[str, ...]
) -> str:
    """Return the work tree's last commit.

    Raises AttentionError unless its commits are all patches that are neither gone nor `waiting`.
    """
    wanted = [
        name
        for name in series_order(builder.series, state.back)
        if name not in state.gone.union(waiting)
    ]
    check_commits(work, release_of(builder.repo, state.target), wanted)
    return work.text("rev-parse", "HEAD")


def stop_rebase(
    repo: Repository, state: RebaseState, why: str, at: tuple[str, ...] | None = None
) -> NoReturn:
    """Save the state, and raise an AttentionError that says how to continue.

    `at` are the patches that `--skip` would leave out: by default the first one in the queue.
    """
    checkpoint("stopping")
    at = state.queue[:1] if at is None else at
    dataclasses.replace(state, stopped=why, at=at).write(repo)
    is_open = (
        bool(state.queue) and open_work_tree(repo, state).resolve("CHERRY_PICK_HEAD") is not None
    )
    # Without an open cherry-pick, the change belongs in the commit of its patch.
    how = "resolve it (git add)" if is_open else "fix it (git commit --amend)"
    skip = f"; or --skip, which leaves {', '.join(at)} out" if at else ""
    raise AttentionError(
        f"the rebase to {state.target} stopped; "
        f"nothing outside {rebase_folder(repo).relative_to(repo.root)} has changed.\n{why}",
        hint=f"{how} in {work_tree_path(repo)}, "
        f"then `nox -s rebase -- --continue`{skip}; or --abort",
    )


def replayed_mails(repo: Repository, state: RebaseState) -> Iterator[tuple[str, bytes]]:
    """Yield each replayed patch's id and mail, with its base and dependencies in the new series."""
    target, series = release_of(repo, state.target), tree_builder(repo).series
    commits = {
        patch_id_of(repo.git, commit): commit for commit in commits_of(repo.git, target, state.head)
    }
    back = [name for name in state.back if name in commits]
    for name, commit in commits.items():
        mail = format_patch(repo.git, commit)
        names = read_mail(mail).names("Depends")
        left = tuple(
            other for other in live_dependencies(series, back, name, names) if other in commits
        )
        changes: dict[str, str | None] = {"Base": target.version}
        if left != names:
            changes["Depends"] = ", ".join(left) or None
        yield name, with_trailers(mail, changes)


def tree_builder(repo: Repository) -> TreeBuilder:
    """Return the tree builder of the current series, with the releases of the new pins."""
    lock = target_lock(repo)
    return TreeBuilder(repo, lock, read_series(repo, lock), ResultCache(repo.work / "results"))


def release_of(repo: Repository, version: str) -> Release:
    """Return a release of the new pins."""
    release = target_lock(repo).release(version)
    assert release is not None, version
    return release


def _upstream_change(builder: TreeBuilder, state: RebaseState, work: Git, patch: Patch) -> str:
    """Return what upstream changed, from a patch's base to the target, near conflicting hunks."""
    files = unmerged(work)
    if not files:  # an ambiguous place is committed, and is still a conflict
        return "Look at the last commit there; `--continue` accepts its place."
    base, target = builder.lock.release(patch.base), builder.lock.release(state.target)
    assert base is not None
    assert target is not None
    gone = {
        hunk.path for hunk in patch.hunks if work.resolve(f"{target.commit}:{hunk.path}") is None
    }
    moved = {
        old: move
        for old, move in find_moves(work, base.commit, target.commit, gone).items()
        if move.new in files
    }
    threshold = min((move.threshold for move in moved.values()), default=RENAME_THRESHOLDS[0])
    renames = f"--find-renames={threshold}%"
    words = (
        "diff",
        "-U2",
        "--no-color",
        "--no-ext-diff",
        "--ignore-cr-at-eol",
        renames,
        base.commit,
        target.commit,
    )
    # Not `Git.text`, which strips: a diff without its blank last line cannot be parsed.
    diff = work.run(*words, "--", *files, *moved).text
    lines = (_nearby_hunks(diff, patch) or diff).splitlines()
    more = f"\n  … {len(lines) - SHOWN_LINES} more lines" if len(lines) > SHOWN_LINES else ""
    return (
        f"What upstream changed there from {base.version} to {target.version}:\n"
        + "\n".join(lines[:SHOWN_LINES])
        + more
    )


def _nearby_hunks(diff: str, patch: Patch) -> str:
    """Return the hunks of a diff that are near a patch's own hunks."""
    found = []
    for file in unidiff.patch.PatchSet(diff):
        own = [
            hunk.old
            for hunk in patch.hunks
            if hunk.path in {file.path, file.source_file.removeprefix("a/")}
        ]
        near = [
            str(hunk)
            for hunk in file
            if any(
                hunk.source_start - NEAR_LINES <= start + length
                and start <= hunk.source_start + hunk.source_length + NEAR_LINES
                for start, length in own
            )
        ]
        found += [f"{file.path}\n{''.join(near)}"] if near else []
    return "".join(found)
