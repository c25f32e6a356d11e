"""The work tree of a rebase: made, brought to a commit, checked after a person worked in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.core.console import say
from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.line_endings import follow
from scripts.core.model import Applies, Patch, Release
from scripts.core.repository import Repository
from scripts.rebase.state import RebaseState, home, unregister, work_tree
from scripts.series.cherry_pick import Step, cherry

_RERERE = {"rerere.enabled": "true", "rerere.autoUpdate": "true"}
_JUNK = (":(exclude,glob)**/__pycache__/**", ":(exclude,glob)**/*.orig", ":(exclude,glob)**/*.rej")


def work_of(repo: Repository, state: RebaseState) -> Git:
    """Return a handle on the rebase's work tree; where it is missing or was not finished it is made at `state.head`."""
    place, ready = work_tree(repo), home(repo) / "tree.ready"
    if not (ready.exists() and (place / ".git").exists()):
        unregister(repo)
        shutil.rmtree(place, ignore_errors=True)
        repo.git.run("worktree", "add", "--quiet", "--detach", place, state.head)
        ready.touch()
    inner = Path((place / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip())
    if inner.parent.resolve() != (repo.git.git_dir / "worktrees").resolve() or not inner.exists():
        raise AttentionError(
            f"{place} belongs to {inner}: the folder was moved or copied while the rebase was stopped",
            hint="nox -s rebase -- --abort",
        )
    (inner / "index.lock").unlink(missing_ok=True)  # a killed run's: we are alone here
    return Git(inner, place, scratch=repo.git.scratch).with_settings(_RERERE)


def stand_at(work: Git, head: str) -> None:
    """Bring the work tree to a commit, whatever a kill or a person left in it."""
    work.run("reset", "--quiet", "--hard")
    work.run("checkout", "--quiet", "--force", "--detach", head)
    work.run("clean", "--quiet", "-d", "--force", "--force", "-x")


def pick(work: Git, commit: str, patch: Patch) -> tuple[Step, bool]:
    """Cherry-pick a patch; where rerere knows the resolution of its conflict, take it, say so and return True too."""
    step = cherry(work, commit, patch)
    if (
        step.applies is not Applies.CONFLICT
        or not work.resolve("CHERRY_PICK_HEAD")
        or unmerged(work)
    ):
        return step, False
    commit_resolution(work, commit)
    say(f"{patch.id}: its conflict was resolved as once before (git rerere)")
    return Step(Applies.THREE_WAY), True


def commit_resolution(work: Git, original: str) -> None:
    """Commit a resolution with the message and the author of the patch, also where it changes nothing."""
    work.run(
        "commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "--reuse-message", original
    )
    follow(work, "HEAD^")


def drop(work: Git, target: Release, name: str) -> None:
    """Take a patch's commit, if there is one, out of the line at HEAD; raises AttentionError where a later one builds on it."""
    head, line = work.text("rev-parse", "HEAD"), commits_of(work, target, "HEAD")
    names = [id_of(work, commit) for commit in line]
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
            stand_at(work, head)
            raise AttentionError(
                f"{id_of(work, later)} builds on {name}, which therefore cannot be left out by itself",
                hint=f"take {name} out by hand in {work.work_tree}, or nox -s rebase -- --abort and say so in a Depends: trailer",
            )


def unmerged(work: Git) -> list[str]:
    """List the files that still conflict."""
    return work.text("diff", "--name-only", "--diff-filter=U").splitlines()


def check_finished(work: Git, since: str) -> None:
    """Refuse what a person has not finished: files that are unmerged or marked, changes and files that are not added."""
    marked = [
        line[1:] for line in work.text("diff", since).splitlines() if line.startswith("+<<<<<<< ")
    ]
    loose = work.run(
        "status", "--porcelain", "--untracked-files=all", "--", ".", *_JUNK
    ).text.splitlines()
    picking = work.resolve("CHERRY_PICK_HEAD") is not None
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


def check_line(work: Git, target: Release, wanted: list[str]) -> None:
    """Refuse commits that are not the series so far: one lost, doubled, renamed or added would go unnoticed."""
    found = [id_of(work, commit) for commit in commits_of(work, target, "HEAD")]
    merges = work.text("rev-list", "--merges", f"{target.commit}..HEAD")
    based = work.run("merge-base", "--is-ancestor", target.commit, "HEAD", ok=(0, 1)).code == 0
    if found != wanted or merges or not based:
        here = ", ".join(name or "one without Id:" for name in found) or "none"
        raise AttentionError(
            f"{work.work_tree} must hold on {target.version} in this order a commit for {', '.join(wanted) or 'no patch'};\n"
            f"    it holds {here}" + (" and a merge" if merges else ""),
            hint="put it right there with ordinary git, or nox -s rebase -- --skip or --abort",
        )


def commits_of(git: Git, target: Release, head: str) -> list[str]:
    """List the commits on a release, oldest first."""
    return git.text("rev-list", "--reverse", "--topo-order", f"{target.commit}..{head}").split()


def id_of(git: Git, commit: str) -> str:
    """Return the patch id that a commit names."""
    return git.text("log", "-1", "--format=%(trailers:key=Id,valueonly)", commit)
