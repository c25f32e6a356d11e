"""forward: bring a patch into the form in which upstream would take it, and prove that it is good.

The result is a branch on upstream's newest commit with the change and its test, and the text of a
pull request. It is there as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import AttentionError, Problem
from scripts.core.lockfile import read_lock
from scripts.core.model import Applies, Lock, Patch
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.forward.change import write_for_upstream
from scripts.forward.evidence import collect_evidence
from scripts.forward.new_test import (
    NewFiles,
    check_new_files,
    read_new_files,
    suite_of,
    write_template,
)
from scripts.forward.patches import live_patch
from scripts.forward.request import Request, commit_message, evidence_lines, request_text
from scripts.forward.source import UpstreamSource, find_source, recorded_source
from scripts.forward.work_tree import (
    ForwardTree,
    check_replaceable,
    check_resumable,
    fetch_commit,
    fetch_made,
    new_tree,
    place_of,
    read_identity,
    resume_command,
    shown,
)
from scripts.series.apply import TreeBuilder
from scripts.series.cherry_pick import cherry_pick
from scripts.series.series import Series, read_series
from scripts.upstream.vendor import ensure_releases


@dataclass(frozen=True)
class ForwardedPatch:
    """What `forward` made: the patch, its work tree, the text, the source, and what tests gave."""

    patch: Patch
    place: Path
    text: Path
    source: UpstreamSource
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Forwarder:
    """A patch on its way to a source."""

    repo: Repository
    lock: Lock
    series: Series
    patch: Patch
    new: NewFiles
    builder: TreeBuilder
    resume: bool

    @property
    def place(self) -> Path:
        return place_of(self.repo, self.patch.id)

    @property
    def again(self) -> str:
        """The command that tries once more."""
        if self.resume:
            return resume_command(self.patch.id)
        return f"nox -s forward -- {self.patch.id}"


def forward(
    repo: Repository, name: str, source: str | None = None, *, resume: bool = False
) -> ForwardedPatch:
    """Write the branch and the text of a patch; with `resume` go on from its work tree.

    Raises AttentionError with nothing left behind, but for a conflict, which is left in the work
    tree, and for the template of the new test.
    """
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        series = read_series(repo, lock)
        patch = live_patch(series, name)
        suite_of(repo)
        identity = read_identity(repo)
        builder = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
        run = _Forwarder(repo, lock, series, patch, read_new_files(repo, name), builder, resume)
        opened = _resumed(run) if resume else _picked(run, source)
        with opened as tree:
            folder = builder.import_folder(tree.source.release)
            problems = write_for_upstream(repo, tree, series, patch, run.new, folder)
            _raise_obstacles(run, problems or _test_problems(run, tree))
            made = tree.commit(identity, commit_message(patch))
            return _proven(run, tree, made)


@contextmanager
def _picked(run: _Forwarder, name: str | None) -> Iterator[ForwardTree]:
    """Yield a work tree with the patch's change on the source, in no commit."""
    check_replaceable(run.repo, run.patch.id)
    source = find_source(run.repo, run.lock, run.patch.id, name)
    made = run.builder.commits(run.series.active)
    if run.patch.id in made.failed:
        raise AttentionError(f"{run.patch.id} {made.failed[run.patch.id].detail}")
    commit = made.ids[run.patch.id]
    with new_tree(run.repo, source, run.patch.id) as tree:
        fetch_commit(run.repo, tree, commit)
        result = cherry_pick(tree.git, commit, run.patch)
        if result.applies is Applies.CONFLICT:
            run.repo.replace({run.place: tree.folder})
            raise _conflict_error(run, source, result.detail)
        tree.uncommit()
        yield tree


@contextmanager
def _resumed(run: _Forwarder) -> Iterator[ForwardTree]:
    """Yield a new work tree with the commit that a person left in the patch's one."""
    check_resumable(run.repo, run.patch.id)
    commit = fetch_made(run.repo, run.place, run.patch.id)
    source = recorded_source(run.repo, run.place)
    with new_tree(run.repo, source, run.patch.id) as tree:
        fetch_commit(run.repo, tree, commit)
        tree.git.run("reset", "--quiet", "--hard", commit)
        tree.uncommit()
        yield tree


def _conflict_error(run: _Forwarder, source: UpstreamSource, detail: str) -> AttentionError:
    there = shown(run.repo, run.place)
    depends = "".join(
        f"\n    it depends on {name}: forward that one first, or write the change without it"
        for name in run.patch.depends
    )
    return AttentionError(
        f"{run.patch.id} conflicts on {source.words}:\n    {detail}{depends}\n"
        f"    the conflict is in {there}, where git marks it",
        hint=f"resolve it there, then `git -C {there} add --all && git -C {there} commit --no-edit"
        f" --allow-empty && {resume_command(run.patch.id)}`\nrm -r {there}",
    )


def _test_problems(run: _Forwarder, tree: ForwardTree) -> list[Problem]:
    """Return what is wrong with a person's new files; raise AttentionError if there is nothing."""
    if not set(tree.changed_files()) - run.new.contents.keys():
        raise AttentionError(
            f"{tree.source.words}, has the text of {run.patch.id} already",
            hint=f"nox -s status -- --patch {run.patch.id} --why",
        )
    if not run.new.tests:
        raise write_template(run.repo, run.new, run.series.features_of(run.patch), run.again)
    there = tree.git.text("ls-tree", "-r", "-z", "--name-only", tree.source.commit).split("\0")
    return list(check_new_files(run.new, suite_of(run.repo), there))


def _raise_obstacles(run: _Forwarder, problems: Sequence[Problem]) -> None:
    """Raise an error that names everything in the way, each with what to write instead."""
    if problems:
        lines = [f"  - {problem.with_advice()}" for problem in problems]
        raise AttentionError(
            "\n".join([f"{run.patch.id} cannot be forwarded as it is:", *lines]),
            hint=f"do what stands below each of them, then `{run.again}`",
        )


def _proven(run: _Forwarder, tree: ForwardTree, commit: str) -> ForwardedPatch:
    """Run the tests, then put the work tree and the text into their places."""
    repo, patch = run.repo, run.patch
    fetch_made(repo, tree.folder, patch.id)
    features = run.series.features_of(patch)
    tests = run.new.tests
    changed = repo.git.tree_of(commit)
    evidence = collect_evidence(repo, run.builder, tree.source, changed, tests, features, run.again)
    words = ("diff-tree", "-p", "--no-renames", tree.source.commit, commit)
    diff = repo.git.run(*words).text
    request = Request(patch, features, tree.source.words, diff, tests, evidence)
    draft = tree.folder.with_name("text")
    draft.write_text(request_text(request), encoding="utf-8")
    place = run.place.with_name(f"{patch.id}.md")
    repo.replace({run.place: tree.folder, place: draft})
    lines = tuple(evidence_lines(request))
    return ForwardedPatch(patch, run.place, place, tree.source, lines)
