"""replay: cherry-pick the patches that stay onto the target, in a work tree in which a person can resolve conflicts."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from scripts.apply import FORMAT, Workshop, cherry
from scripts.errors import AttentionError
from scripts.git import Git
from scripts.mail import read_mail
from scripts.model import Applies, Release
from scripts.rebase_state import RebaseState, home, reached, target_lock, work_tree
from scripts.repository import Repository
from scripts.series import read_series
from scripts.store import Store

SHOWN_LINES = 80
"""How many lines of upstream's own change a conflict shows."""


def replay(repo: Repository, state: RebaseState) -> RebaseState:
    """Cherry-pick what is left in the queue, stopping at the first conflict."""
    shop = workshop(repo)
    work = work_of(repo, start=release_of(repo, state.target).commit)
    commits = shop.commits(shop.series.active)
    while state.queue:
        reached("replaying")
        name = state.queue[0]
        if name in commits.failed:
            stop(repo, state, f"{name} {commits.failed[name].detail}")
        if id_of_head(work) != name:
            work.run("reset", "--quiet", "--hard")
            step = cherry(work, commits.ids[name], shop.series.by_id[name])
            if step.applies is Applies.CONFLICT and not _settled_by_rerere(work):
                stop(repo, state, f"{name} conflicts with {state.target}: {step.detail}\n{_upstream_change(repo, state, work)}")
        state = dataclasses.replace(state, queue=state.queue[1:])
        state.write(repo)
    state = dataclasses.replace(state, replayed=True)
    state.write(repo)
    reached("replayed")
    return state


def resolved(repo: Repository, state: RebaseState) -> RebaseState:
    """Take what a person left in the work tree: commit a finished resolution, refuse an unfinished one."""
    work = work_of(repo)
    unmerged = work.text("diff", "--name-only", "--diff-filter=U").split()
    if unmerged:
        raise AttentionError(f"not resolved yet: {', '.join(unmerged)}", hint=f"edit, then git -C {work.work_tree} add FILE")
    if work.resolve("CHERRY_PICK_HEAD"):
        work.run("commit", "--quiet", "--allow-empty", "--no-edit", "--cleanup=strip")
    dirty = work.text("status", "--porcelain", "--untracked-files=no")
    if dirty:
        raise AttentionError(
            f"the work tree has changes that are in no commit:\n{dirty}", hint=f"git -C {work.work_tree} commit --amend -a"
        )
    if state.queue and id_of_head(work) != state.queue[0]:
        raise AttentionError(
            f"{state.queue[0]} is not the last commit of {work.work_tree}", hint="commit it there, or nox -s rebase -- --skip"
        )
    return dataclasses.replace(state, queue=state.queue[1:], stopped="")


def stop(repo: Repository, state: RebaseState, why: str) -> None:
    """Keep the state for a person and say what to do."""
    dataclasses.replace(state, stopped=why).write(repo)
    raise AttentionError(
        f"the rebase to {state.target} stopped; nothing outside {home(repo).relative_to(repo.root)} has changed.\n{why}",
        hint=f"resolve it in {work_tree(repo)} (git add), then `nox -s rebase -- --continue`; or --skip, or --abort",
    )


def mails(work: Git, target: Release) -> Iterator[bytes]:
    """Give each commit of the work tree as a patch on its new base."""
    for commit in work.text("rev-list", "--reverse", "--topo-order", f"{target.commit}..HEAD").split():
        mail = work.run("format-patch", *FORMAT, "-1", "--stdout", commit).stdout
        yield re.sub(rb"^Base: .*$", b"Base: " + target.version.encode(), mail, count=1, flags=re.MULTILINE)


def ids_of(work: Git, target: Release) -> tuple[str, ...]:
    """Return the ids of the patches in the work tree, in order."""
    return tuple(read_mail(mail).value("Id") for mail in mails(work, target))


def work_of(repo: Repository, start: str | None = None) -> Git:
    """Return a handle on the rebase's work tree, made at `start` where it is missing."""
    place = work_tree(repo)
    if start is not None and not (place / ".git").exists():
        shutil.rmtree(place, ignore_errors=True)
        repo.git.run("worktree", "prune")
        repo.git.run("worktree", "add", "--quiet", "--detach", "--force", place, start)
    inner = Path((place / ".git").read_text().removeprefix("gitdir:").strip())
    (inner / "index.lock").unlink(missing_ok=True)  # a killed run's: we are alone here
    rerere = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "rerere.enabled", "GIT_CONFIG_VALUE_0": "true"}
    return Git(inner, place, rerere | {"GIT_CONFIG_KEY_1": "rerere.autoUpdate", "GIT_CONFIG_VALUE_1": "true"})


def id_of_head(work: Git) -> str:
    """Return the patch id that the last commit names."""
    message = work.text("log", "-1", "--format=%B")
    found = re.search(r"^Id: (\S+)$", message, re.MULTILINE)
    return found[1] if found else ""


def _settled_by_rerere(work: Git) -> bool:
    """Commit where an earlier resolution, replayed by rerere, left nothing unmerged."""
    if not work.resolve("CHERRY_PICK_HEAD") or work.text("diff", "--name-only", "--diff-filter=U"):
        return False
    work.run("commit", "--quiet", "--no-edit", "--cleanup=strip")
    return True


def _upstream_change(repo: Repository, state: RebaseState, work: Git) -> str:
    """Show what upstream changed between the two releases in the files that conflict."""
    files = work.text("diff", "--name-only", "--diff-filter=U").split()
    if not files:
        return "Look at the last commit there; `--continue` accepts its place."
    origin, target = release_of(repo, state.origin), release_of(repo, state.target)
    lines = work.text("diff", "-U2", origin.commit, target.commit, "--", *files).splitlines()
    more = f"\n  … {len(lines) - SHOWN_LINES} more lines" if len(lines) > SHOWN_LINES else ""
    return f"What upstream changed there from {state.origin} to {state.target}:\n" + "\n".join(lines[:SHOWN_LINES]) + more


def workshop(repo: Repository) -> Workshop:
    """Return the workshop of the series as it stands, with the releases of the new pins."""
    lock = target_lock(repo)
    return Workshop(repo, lock, read_series(repo, lock), Store(repo.work / "results"))


def release_of(repo: Repository, version: str) -> Release:
    """Return a release of the new pins."""
    release = target_lock(repo).release(version)
    assert release is not None, version
    return release
