"""Apply the live patches one after another to a release, in an index alone, without any offset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from scripts.core.errors import Problem
from scripts.core.git import Git
from scripts.core.model import Lock, Patch, Release
from scripts.core.repository import Repository
from scripts.series.bases import ONE_BASE, series_base, with_another_base
from scripts.series.cherry_pick import diff_of, error_lines
from scripts.series.patch_series import Series
from scripts.series.series_checks import place

_PLACE = re.compile(r"error: (?:patch failed: )?(.+?):(?: |\d)")

_QUOTES = "error: while searching for:; "
"""How git begins to quote a hunk's lines, which are left out here."""


@dataclass
class ExactResult:
    """The trees after each patch, by id, and for those that do not fit git's words and the tree."""

    trees: dict[str, str] = field(default_factory=dict)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)


def apply_series(git: Git, series: Series, release: Release) -> ExactResult:
    """Apply the live patches to a release.

    A patch that depends on one that fails, or that changes the same files, is not tried.
    """
    done = ExactResult()
    broken: set[str] = set()
    files: set[str] = set()
    with git.temporary_index(release.tree) as handle:
        tree = release.tree
        for patch in series.active:
            own = {hunk.path for hunk in patch.hunks}
            if broken.intersection(patch.depends) or files & own:
                broken.add(patch.id)
                continue
            wrong = _apply(handle, patch)
            if wrong:
                done.failed[patch.id] = wrong, tree
                broken.add(patch.id)
                files |= own
            else:
                tree = handle.text("write-tree")
                done.trees[patch.id] = tree
    return done


def _apply(handle: Git, patch: Patch) -> str:
    """Apply a patch to the index; return git's words if it does not fit exactly."""
    diff = diff_of(patch)
    if not diff:
        return ""
    tried = handle.run("apply", "--cached", "--check", "--verbose", "-", stdin=diff, ok=None)
    if tried.code or b"offset" in tried.stderr:
        return error_lines(tried.error_output).replace(_QUOTES, "")
    handle.run("apply", "--cached", "-", stdin=diff)
    return ""


def base_problems(
    repo: Repository, git: Git, lock: Lock, series: Series, done: ExactResult
) -> Iterator[Problem]:
    """Yield patches that name a wrong base, or that do not fit the one that they name.

    `done` is the series on the base of most of its patches.
    """
    base = series_base(series, lock)
    others = with_another_base(series, lock)
    for patch in others:
        text = f"Base: {patch.base}, but the series is based on {base.version}"
        fits = patch.id in done.trees
        advice = f"write `Base: {base.version}`: it applies exactly there" if fits else ONE_BASE
        yield Problem(text, advice, place(repo, patch))
    # Without a hunk its diff is unreadable, which is named already.
    wrong = [
        patch
        for patch in series.active
        if patch.id in done.failed and patch.hunks and patch not in others
    ]
    fitting = _fitting_release(git, lock, series, base) if wrong else None
    for patch in wrong:
        words, tree = done.failed[patch.id]
        text = f"Base: the patch does not apply exactly on {base.version}: {words}"
        advice = f"write `Base: {fitting}` in every patch: all apply exactly there"
        found = Problem(text, advice) if fitting else _misfit(text, words, tree)
        yield found.at(place(repo, patch))


def _fitting_release(git: Git, lock: Lock, series: Series, base: Release) -> str | None:
    """Return the newest other release on which the whole series applies exactly, or None."""
    for release in reversed(lock.releases):
        if release != base and git.resolve(f"{release.commit}^{{commit}}"):
            done = apply_series(git, series, release)
            if len(done.trees) == len(series.active):
                return release.version
    return None


def _misfit(text: str, words: str, tree: str) -> Problem:
    """Return the problem of a patch that fits no release, with what shows or mends it."""
    found = _PLACE.search(words)
    if not found:
        return Problem(text, "add the offset to both numbers after the `@@` of each hunk named")
    show = f"git --git-dir=.fork/upstream.git show {tree[:12]}:{found[1]}"
    return Problem(f"{text}; make it fit the file that the command below shows", show)
