"""Find the patches that do not apply once an earlier one is left out, without depending on it.

`status` leaves out each patch to see whether it is needed, so without such a tree it has no verdict
on the earlier one. Often the later patch needs nothing of it: their lines only stand side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from scripts.core.errors import Problem
from scripts.core.git import Git
from scripts.core.model import Patch, Release
from scripts.core.repository import Repository
from scripts.series.cherry_pick import tree_diff
from scripts.series.patch_series import Series
from scripts.series.series_checks import place


def left_out_problems(
    repo: Repository, git: Git, series: Series, base: Release, trees: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield the patches that lack a `Depends:`, or whose lines are too close to another's.

    `trees` are those after each patch on the base. Hunks are tried with one line of context, which
    fails where a cherry-pick would: if nothing unchanged is between the lines of both.
    """
    before = dict(zip(trees, [base.tree, *trees.values()], strict=False))
    needed: dict[str, list[str]] = defaultdict(list)
    for patch in series.active:
        later = _later_patches(series, patch)
        if _files(patch) & {file for other in later for file in _files(other)}:
            for name in _failing(git, later, before, trees, before[patch.id]):
                needed[name].append(patch.id)
    for patch in series.active:
        if patch.id in needed:
            yield _problem(series, patch, needed[patch.id]).at(place(repo, patch))


def _later_patches(series: Series, patch: Patch) -> list[Patch]:
    """Return the patches after one that do not depend on it."""
    gone = series.dependents(patch)
    later = series.active[series.active.index(patch) :]
    return [other for other in later if other.id not in gone]


def _failing(
    git: Git,
    patches: Sequence[Patch],
    before: Mapping[str, str],
    after: Mapping[str, str],
    tree: str,
) -> list[str]:
    """Return the ids of the patches that do not apply one after another to a tree.

    One that changes the files of such a patch is not tried.
    """
    failed: list[Patch] = []
    with git.temporary_index(tree) as handle:
        for patch in patches:
            if any(_files(patch) & _files(other) for other in failed):
                continue
            diff = tree_diff(git, before[patch.id], after[patch.id])
            if diff and handle.run("apply", "--cached", "-", stdin=diff, ok=None).code:
                failed.append(patch)
    return [patch.id for patch in failed]


def _files(patch: Patch) -> set[str]:
    return {hunk.path for hunk in patch.hunks}


def _problem(series: Series, patch: Patch, names: Sequence[str]) -> Problem:
    """Say which patches cannot be left out; what these depend on follows from them."""
    nearest = [
        name
        for name in names
        if not any(name in series.reachable(other) for other in names if other != name)
    ]
    others = ", ".join(nearest)
    files = {file for name in nearest for file in _files(series.by_id[name]) & _files(patch)}
    return Problem(
        f"it does not apply without {others}, on which it does not depend: their lines in"
        f" {', '.join(sorted(files))} are side by side",
        f"move its lines so that an unchanged line is between them and those of {others}\n"
        f"write `Depends: {', '.join([*patch.depends, *nearest])}`",
    )
