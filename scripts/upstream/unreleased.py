"""Unreleased upstream: `path:DIR` or `git:URL@REF`.

It is tried like a release, but never pinned and never shipped.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scripts.core.config import did_you_mean
from scripts.core.console import progress
from scripts.core.errors import UsageError, redact
from scripts.core.git import Git
from scripts.core.model import Lock, Release
from scripts.core.repository import Repository
from scripts.core.result_cache import digest

SOURCE_FORMS = "path:DIR, git:URL@REF or git:URL@A..B"
_SHORT = 10
_HEAD_REVISION = re.compile(r"HEAD(?![\w./-])")
"""The commit that the repository itself has checked out or names as its default.

A suffix may follow, as in `HEAD~3`.
"""


@dataclass(frozen=True)
class Source:
    """Unreleased upstream: a checkout's folder, or a git repository with a revision or a range."""

    kind: str
    location: str
    first: str = ""
    last: str = ""

    @property
    def is_range(self) -> bool:
        """Whether the source names the commits between two revisions."""
        return bool(self.first)

    def __str__(self) -> str:
        span = f"{self.first}..{self.last}" if self.is_range else self.last
        return f"{self.kind}:{redact(self.location)}{f'@{span}' if span else ''}"


def parse_source(text: str) -> Source | None:
    """Parse a source; return None for a release's version, raise UsageError for half a source."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in {"path", "git"}:
        return None
    if kind == "path":
        return Source(kind, rest)
    location, _, revision = rest.rpartition("@")
    first, dots, last = revision.partition("..")
    if (
        not location
        or not (last if dots else first)
        or (dots and not first)
        or re.search(r"[:\s]", revision)
    ):
        raise UsageError(f"not a source: {redact(text)!r}", hint=f"give {SOURCE_FORMS}")
    return Source(kind, location, first, last) if dots else Source(kind, location, last=first)


def add_sources(
    repo: Repository, lock: Lock, names: Iterable[str]
) -> tuple[Lock, dict[str, list[str]]]:
    """Return the lock with the named sources added as releases, and their versions by name.

    Names that are no sources are ignored. A range adds its first and its last commit. The lock is
    for this run alone: nothing is written.
    """
    found: dict[str, list[str]] = {}
    releases = list(lock.releases)
    for name in names:
        source = parse_source(name)
        if source is not None:
            ends = source_releases(repo, lock, source)
            made = [ends[0], ends[-1]] if source.is_range else ends
            releases += [release for release in made if release not in releases]
            found[name] = [release.version for release in made]
    releases.sort(key=lambda release: release.parsed_version)
    return dataclasses.replace(lock, releases=tuple(releases)), found


def source_releases(repo: Repository, lock: Lock, source: Source) -> list[Release]:
    """Return a source as releases: one, or for a range its commits, oldest first.

    A range starts with the commit before its first one. The versions are local versions of the
    nearest pinned release, which orders them and selects environments.
    """
    if source.kind == "path":
        return [_checkout(repo, lock, source)]
    namespace = _fetch(repo, source)
    last = _find_commit(repo.git, namespace, source, source.last)
    if not source.is_range:
        return [_release_at(repo.git, lock, last, ("git", source.last, last[:_SHORT]))]
    first = _find_commit(repo.git, namespace, source, source.first)
    between = repo.git.text(
        "rev-list", "--reverse", "--first-parent", f"{first}..{last}"
    ).splitlines()
    if not between:
        raise UsageError(
            f"{source} names no commit: {source.last} is not after {source.first}",
            hint="swap the two",
        )
    commits = [first, *between]
    nearest = _nearest(repo.git, lock, repo.git.tree_of(first))
    return [
        _with_local_version(repo.git, nearest, commit, ("git", f"{number:04}", commit[:_SHORT]))
        for number, commit in enumerate(commits)
    ]


def commit_subject(repo: Repository, release: Release) -> str:
    """Return the first line of the message of a release's commit."""
    return repo.git.text("log", "-1", "--format=%s", release.commit)


def _checkout(repo: Repository, lock: Lock, source: Source) -> Release:
    """Return a folder's files as a release, without those that its own .gitignore excludes."""
    folder = Path(source.location).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(f"{source}: there is no such folder", hint=f"give {SOURCE_FORMS}")
    with dataclasses.replace(repo.git, work_tree=folder).temporary_index() as handle:
        handle.run(
            "add", "--all", "--", ".", ":(exclude,glob)**/__pycache__/**", ":(exclude,glob)**/*.pyc"
        )
        tree = handle.text("write-tree")
    commit = repo.git.text("commit-tree", tree, "-m", "a checkout that is not released")
    return _release_at(repo.git, lock, commit, ("path", tree[:_SHORT]))


def _fetch(repo: Repository, source: Source) -> str:
    """Fetch a repository's branches and tags into a ref namespace of their own, and return that."""
    local = Path(source.location).expanduser()
    location = str(local.resolve()) if local.exists() else source.location
    namespace = f"refs/fork/sources/{digest(location)[:16]}"
    specs = [f"+refs/{kind}/*:{namespace}/{kind}/*" for kind in ("heads", "tags")]
    if any(_HEAD_REVISION.match(revision) for revision in (source.first, source.last)):
        specs.append(f"+HEAD:{namespace}/HEAD")
    options = [
        "--quiet",
        "--no-tags",
        "--prune",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
    ]
    if local.exists():
        # It may belong to another user. It is only read, and our user named it.
        # The sealed settings do not reach the `upload-pack` that git starts.
        options.append("--upload-pack=git -c safe.directory=* upload-pack")
    with progress(f"fetching {source}", None):
        repo.git.run("fetch", *options, location, *specs)
    return namespace


def _find_commit(git: Git, namespace: str, source: Source, revision: str) -> str:
    names = [f"{namespace}/heads/{revision}", f"{namespace}/tags/{revision}", revision]
    if _HEAD_REVISION.match(revision):
        # After branches and tags, which may have such a name, too.
        names.insert(2, f"{namespace}/{revision}")
    for name in names:
        # Outside the fetched refs, a revision may only be a commit id.
        if name != revision or re.fullmatch(r"[0-9a-f]{7,40}", revision):
            found = git.resolve(f"{name}^{{commit}}")
            if found is not None:
                return found
    known_names = git.text("for-each-ref", "--format=%(refname:lstrip=5)", namespace).splitlines()
    raise UsageError(
        f"{source}: there is no {revision}{did_you_mean(revision, known_names)}",
        hint=f"give {SOURCE_FORMS}",
    )


def _release_at(git: Git, lock: Lock, commit: str, labels: Sequence[str]) -> Release:
    return _with_local_version(git, _nearest(git, lock, git.tree_of(commit)), commit, labels)


def _with_local_version(git: Git, nearest: str, commit: str, labels: Sequence[str]) -> Release:
    # The normal form of a local version (PEP 440) has only letters, digits and dots.
    local = ".".join(re.sub(r"[^a-z0-9]+", ".", word.lower()).strip(".") for word in labels)
    return Release(
        f"{nearest}+{local}", "", 0, "", datetime.fromtimestamp(0, UTC), git.tree_of(commit), commit
    )


def _nearest(git: Git, lock: Lock, tree: str) -> str:
    """Return the pinned release that differs least from a tree; among equals the newest.

    The distance is the number of changed lines in files that both have.
    """

    def distance(release: Release) -> int:
        lines = git.text(
            "diff-tree", "-r", "--numstat", "--diff-filter=M", "--no-renames", release.tree, tree
        ).splitlines()
        counts = (line.split("\t")[:2] for line in lines)
        # git counts the lines of a binary file as `-`.
        return sum(int(number) for pair in counts for number in pair if number != "-")

    shared = [release for release in lock.releases if _have_common_file(git, release.tree, tree)]
    if not shared:
        raise UsageError(
            f"that is not {lock.name}: it has no file of any pinned release",
            hint=f"give {SOURCE_FORMS}",
        )
    return min(reversed(shared), key=distance).version


def _have_common_file(git: Git, one: str, other: str) -> bool:
    """Return whether two trees have a file below the top folder in common, by its path."""
    names = [
        {
            name
            for name in git.text("ls-tree", "-r", "--name-only", tree).splitlines()
            if "/" in name  # setup.py and the like are in every project
        }
        for tree in (one, other)
    ]
    return bool(names[0] & names[1])
