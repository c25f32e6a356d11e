"""The work tree of a rebase: created, set to a commit, checked after a person worked in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.core.console import info
from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.line_endings import restore_line_endings
from scripts.core.model import Applies, Patch, Release
from scripts.core.repository import Repository
from scripts.rebase.state import RebaseState, rebase_folder, remove_worktree_record, work_tree_path
from scripts.series.cherry_pick import ApplyResult, cherry_pick

# Here alone: a recorded resolution must not change what `status` reports.
_RERERE = {"rerere.enabled": "true", "rerere.autoUpdate": "true"}
# What Python, `git mergetool` and `patch` leave behind.
_IGNORED_FILES = (
    ":(exclude,glob)**/__pycache__/**",
    ":(exclude,glob)**/*.orig",
    ":(exclude,glob)**/*.rej",
)


def open_work_tree(repo: Repository, state: RebaseState) -> Git:
    """Return a handle on the rebase's work tree.

    A work tree that is missing or incomplete is created at `state.head`. Raises AttentionError if
    the folder was moved or copied while the rebase was stopped.
    """
    place, ready = work_tree_path(repo), rebase_folder(repo) / "tree.ready"
    if not (ready.exists() and (place / ".git").exists()):
        remove_worktree_record(repo)
        shutil.rmtree(place, ignore_errors=True)
        repo.git.run("worktree", "add", "--quiet", "--detach", place, state.head)
        ready.touch()  # last, so that a kill leaves no incomplete tree that looks ready
    inner = Path((place / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip())
    if inner.parent.resolve() != (repo.git.git_dir / "worktrees").resolve() or not inner.exists():
        raise AttentionError(
            f"{place} belongs to {inner}: "
            "the folder was moved or copied while the rebase was stopped",
            hint="nox -s rebase -- --abort",
        )
    (inner / "index.lock").unlink(missing_ok=True)  # left by a killed run: no other run is here
    return Git(inner, place, scratch=repo.git.scratch).with_settings(_RERERE)


def force_checkout(work: Git, head: str) -> None:
    """Check out a commit in the work tree, whatever a kill or a person left there."""
    work.run("reset", "--quiet", "--hard")  # ends an open cherry-pick, too
    work.run("checkout", "--quiet", "--force", "--detach", head)
    # The second --force also removes nested repositories.
    work.run("clean", "--quiet", "-d", "--force", "--force", "-x")


def pick_with_rerere(work: Git, commit: str, patch: Patch) -> tuple[ApplyResult, bool]:
    """Cherry-pick a patch, and return how it applied and whether rerere resolved its conflict.

    A resolution that rerere knows is committed and reported.
    """
    step = cherry_pick(work, commit, patch)
    if (
        step.applies is not Applies.CONFLICT
        or not work.resolve("CHERRY_PICK_HEAD")
        or unmerged(work)
    ):
        return step, False
    commit_resolution(work, commit)
    info(f"{patch.id}: its conflict was resolved as once before (git rerere)")
    return ApplyResult(Applies.THREE_WAY), True


def commit_resolution(work: Git, original: str) -> None:
    """Commit a resolution with the patch's message and author, even if it changes nothing."""
    work.run(
        "commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "--reuse-message", original
    )
    restore_line_endings(work, "HEAD^")  # keeps the files' line endings


def drop_commit(work: Git, target: Release, name: str) -> None:
    """Remove a patch's commit, if there is one, from the commits up to HEAD.

    Raises AttentionError if a later commit builds on it.
    """
    head, line = work.text("rev-parse", "HEAD"), commits_of(work, target, "HEAD")
    names = [patch_id_of(work, commit) for commit in line]
    if name not in names:
        return
    number = names.index(name)
    work.run("reset", "--quiet", "--hard", f"{line[number]}^")
    for later in line[number + 1 :]:
        if (
            work.run(
                "cherry-pick", "--allow-empty", "--keep-redundant-commits", later, ok=None
            ).code
            != 0
        ):
            force_checkout(work, head)
            raise AttentionError(
                f"{patch_id_of(work, later)} builds on {name}, "
                "which therefore cannot be left out by itself",
                hint=f"take {name} out by hand in {work.work_tree}, "
                "or nox -s rebase -- --abort and say so in a Depends: trailer",
            )


def unmerged(work: Git) -> list[str]:
    """List the files that still conflict."""
    return work.text("diff", "--name-only", "--diff-filter=U").splitlines()


def check_finished(work: Git, since: str) -> None:
    """Raise AttentionError for what a person has not finished.

    That is conflicts, conflict markers in changes after `since`, and files that were not added.
    Without an open cherry-pick, every change that is in no commit counts.
    """
    marked = [
        line[1:] for line in work.text("diff", since).splitlines() if line.startswith("+<<<<<<< ")
    ]
    loose = work.run(
        "status", "--porcelain", "--untracked-files=all", "--", ".", *_IGNORED_FILES
    ).text.splitlines()
    picking = work.resolve("CHERRY_PICK_HEAD") is not None
    # While a cherry-pick is open, what is staged is its resolution.
    loose = [line for line in loose if line[1] != " " or not picking]
    add = f"git -C {work.work_tree} add FILE"
    if unmerged(work):
        raise AttentionError(
            f"not resolved yet: {', '.join(unmerged(work))}", hint=f"edit, then {add}"
        )
    if marked:
        raise AttentionError(f"a conflict marker is left: {marked[0]}", hint=f"edit, then {add}")
    if loose:
        text = "\n".join(loose)
        hint = add if picking else f"{add}, then git commit --amend"
        raise AttentionError(f"the work tree has changes that are in no commit:\n{text}", hint=hint)


def check_commits(work: Git, target: Release, wanted: list[str]) -> None:
    """Raise AttentionError unless the commits on the target are the `wanted` patches in order.

    Otherwise a commit that was lost, doubled, renamed or added would go unnoticed.
    """
    found = [patch_id_of(work, commit) for commit in commits_of(work, target, "HEAD")]
    merges = work.text("rev-list", "--merges", f"{target.commit}..HEAD")
    based = work.run("merge-base", "--is-ancestor", target.commit, "HEAD", ok=(0, 1)).code == 0
    if found != wanted or merges or not based:
        here = ", ".join(name or "one without Id:" for name in found) or "none"
        raise AttentionError(
            f"{work.work_tree} must hold on {target.version} in this order "
            f"a commit for {', '.join(wanted) or 'no patch'};\n"
            f"    it holds {here}" + (" and a merge" if merges else ""),
            hint="put it right there with ordinary git, or nox -s rebase -- --skip or --abort",
        )


def commits_of(git: Git, target: Release, head: str) -> list[str]:
    """List the commits from a release to `head`, oldest first."""
    return git.text("rev-list", "--reverse", "--topo-order", f"{target.commit}..{head}").split()


def patch_id_of(git: Git, commit: str) -> str:
    """Return the patch id in a commit's `Id:` trailer."""
    return git.text("log", "-1", "--format=%(trailers:key=Id,valueonly)", commit)
