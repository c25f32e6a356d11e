"""unretire: make a retired patch live again: its commit, its place, its modules, its settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.model import Applies, Patch, Settings, State
from scripts.rebase.retire import HOLDS, RetiredPlace, change_id
from scripts.series.apply import TreeBuilder
from scripts.series.cherry_pick import pick_or_reset
from scripts.series.feature_record import has_own_record
from scripts.series.override_files import matching_files
from scripts.series.patch_file import with_trailers
from scripts.series.profile import Profile
from scripts.series.series import Series

_HOLDS_SENTENCE = re.compile(rf"\n\n{re.escape(HOLDS)}[^\n]*\.(?=\n\n)".encode())


def commit_of(builder: TreeBuilder, name: str) -> str:
    """Return a live patch's commit on its base, or the one that a retired patch would have there.

    Raises AttentionError if a retired patch no longer applies to its base.
    """
    patch = builder.series.by_id[name]
    if patch.state is State.ACTIVE:
        return builder.commits(builder.series.active).ids[name]
    made = builder.commits(builder.series.with_dependencies(patch))
    if made.failed:
        raise AttentionError(
            "\n".join(f"{part} {step.detail}" for part, step in made.failed.items()),
            hint=f"fix {patch.path.relative_to(builder.repo.root)}, or take it back from git",
        )
    return _as_live_commit(builder, made.ids[name], patch)


def _as_live_commit(builder: TreeBuilder, commit: str, patch: Patch) -> str:
    """Return a retired patch's commit as that of a live patch.

    It leaves out the modules and the text that the retirement wrote. It also leaves out the
    patches that it holds, if all of them still apply unchanged below it.
    """
    with builder.git.temporary_worktree(f"{commit}^") as work:
        if not all(
            _picks_unchanged(builder, work, *held.split(":"))
            for held in RetiredPlace.of(patch).holds
        ):
            # A held patch is gone or changed: this commit keeps all changes that it holds.
            work.run("reset", "--quiet", "--hard", f"{commit}^")
        # All of it but the modules, which only a retired patch has in its hunks.
        work.run("read-tree", commit)
        work.run("reset", "--quiet", "HEAD", "--", builder.repo.config.overrides.package, ok=None)
        work.run(
            "commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "--reuse-message", commit
        )
        message = work.run("log", "-1", "--format=%B").stdout.rstrip(b"\n") + b"\n"
        changes: dict[str, str | None] = {"Applied-Upstream": None, "Place": None}
        if depends := RetiredPlace.of(patch).depends:
            changes["Depends"] = ", ".join(depends)
        stdin = with_trailers(_HOLDS_SENTENCE.sub(b"", message), changes)
        work.run(
            "commit",
            "--quiet",
            "--amend",
            "--allow-empty",
            "--cleanup=verbatim",
            "--file=-",
            stdin=stdin,
        )
        return work.text("rev-parse", "HEAD")


def _picks_unchanged(builder: TreeBuilder, work: Git, name: str, change: str) -> bool:
    """Pick a patch that a retired one holds onto HEAD, and return whether that worked.

    It does not if the patch is gone, changed since, or conflicts. Then the two can only move
    together.
    """
    if name not in builder.series.by_id:
        return False
    commit = commit_of(builder, name)
    return (
        change_id(builder.git, commit) == change
        and pick_or_reset(work, commit, builder.series.by_id[name]).applies is not Applies.CONFLICT
    )


def retired_modules(builder: TreeBuilder, patch: Patch) -> dict[str, bytes]:
    """Return the contents of the override files that a retired patch names, by path.

    They come from its own patch file, or from those that it depends on.
    """
    commit = builder.commits(builder.series.with_dependencies(patch)).ids[patch.id]
    package = builder.repo.config.overrides.package
    listed = builder.git.text("ls-tree", "-r", "-z", "--name-only", commit, f"{package}/").split(
        "\0"
    )
    files = {name.removeprefix(f"{package}/") for name in listed if name}
    own = {file for name in patch.overrides for file in matching_files(name, files)}
    packages = {
        file
        for file in files
        if file.endswith("/__init__.py") and PurePosixPath(file).parent in _folders(own)
    }
    return {
        file: builder.git.run("cat-file", "blob", f"{commit}:{package}/{file}").stdout
        for file in sorted(own | packages)
    }


def _folders(files: Iterable[str]) -> set[PurePosixPath]:
    return {parent for file in files for parent in PurePosixPath(file).parents}


def series_order(series: Series, back: Collection[str]) -> list[str]:
    """Return the ids of the live patches and of those that come back, in their new order.

    A patch that comes back goes where its old number was, or to the end if it has none. In any
    case it comes after what it depends on and before what depends on it.
    """
    found = list(series.active)
    for patch in sorted((series.by_id[name] for name in back), key=_number):
        place = RetiredPlace.of(patch)
        later = (
            at for at, other in enumerate(found) if place.number and _number(other) > _number(patch)
        )
        first = [
            at + 1 for at, other in enumerate(found) if other.id in {*patch.depends, *place.depends}
        ]
        last = [at for at, other in enumerate(found) if other.id in place.needed_by]
        found.insert(max(min(next(later, len(found)), *last, len(found)), *first, 0), patch)
    return [patch.id for patch in found]


def _number(patch: Patch) -> str:
    """Return the sort key of a patch: its file's name, or a retired one's name in the series.

    A retired patch without a number comes last.
    """
    if patch.state is State.ACTIVE:
        return patch.path.name
    # `~` sorts after every digit.
    return f"{RetiredPlace.of(patch).number or '~'}-{patch.id}.patch"


def file_names(series: Series, back: Collection[str]) -> dict[str, str]:
    """Return the file names of the live patches and of those that come back, by id.

    A patch that comes back has its old number, or the next one if it has none.
    """
    names = {patch.id: patch.path.name for patch in series.active}
    for name in series_order(series, back):
        if name not in names:
            # Anew each time, so that two patches without a number get different ones.
            numbers = [int(other[:4]) for other in names.values() if other[:4].isdigit()]
            number = (
                RetiredPlace.of(series.by_id[name]).number or f"{max(numbers, default=0) + 1:04}"
            )
            names[name] = f"{number}-{name}.patch"
    return names


def live_dependencies(
    series: Series, back: Collection[str], name: str, names: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what a live patch depends on once the patches in `back` are live.

    When those retired, the patches that depended on them lost their names.
    """
    regained = (other for other in back if name in RetiredPlace.of(series.by_id[other]).needed_by)
    return tuple(dict.fromkeys([*names, *regained]))


def outdated_settings(
    series: Series, profile: Profile, back: Collection[str], reopened: Collection[str]
) -> list[str]:
    """Return the ids of the returning features that settings in the profile replace so far.

    They are the features in `reopened`, and those without a record of their own whose patches are
    in `back`. A feature that stays retired keeps its settings, although its patch comes back.
    Settings count only if they are one of the feature's `Replaced-By`.
    """
    with_patch = [
        feature
        for name in back
        for feature in series.features_of(series.by_id[name])
        if not has_own_record(feature)
    ]
    return [
        feature.id
        for feature in (*with_patch, *(series.feature_by_id[name] for name in reopened))
        if feature.id in profile and Settings.of(profile[feature.id]) in feature.replaced_by
    ]
