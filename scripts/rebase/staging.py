"""The repository as a rebase will leave it: written to a stage next to the current one.

It is proven there, and then put in place in one step.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import AttentionError
from scripts.core.lockfile import read_lock, write_lock
from scripts.core.model import Patch, State
from scripts.core.repository import Repository
from scripts.lint.readme_table import readme_with_table
from scripts.rebase.replay import replayed_mails, tree_builder
from scripts.rebase.retire import retired_mail
from scripts.rebase.state import (
    RebaseState,
    check_unchanged,
    folder_digest,
    rebase_folder,
    target_lock,
)
from scripts.rebase.unretire import file_names, outdated_settings, retired_modules
from scripts.series.apply import TreeBuilder, format_patch
from scripts.series.feature_record import with_applied_upstream
from scripts.series.override_files import matching_files, module_files, with_package_inits
from scripts.series.profile import profile_name, read_profile
from scripts.series.profile_editor import edit_profile
from scripts.series.series import read_series
from scripts.upstream.source_tree import edits_error, is_subtree, nearest_release


@dataclass(frozen=True)
class StagedRepository(Repository):
    """The repository as it will be: staged files take precedence over the current ones."""

    stage: Path = Path()

    @property
    def lock_file(self) -> Path:
        """The new pins."""
        return self._new("upstream/lock.toml")

    @property
    def patches(self) -> Path:
        """The new series."""
        return self._new("patches")

    @property
    def overrides(self) -> Path:
        """The new override package."""
        return self._new(self.config.overrides.package)

    def record_file(self, name: str) -> Path:
        """Return the new record of a feature, or the current one if none is staged."""
        return self._new(name)

    def _new(self, name: str) -> Path:
        staged = self.stage / name
        return staged if staged.exists() else self.root / name


def staged_repository(repo: Repository) -> StagedRepository:
    """Return the repository as it will be."""
    return StagedRepository(repo.root, stage=rebase_folder(repo) / "stage")


def write_stage(repo: Repository, state: RebaseState) -> str:
    """Write the new series, retired patches, overrides, profile, records and pins to the stage.

    Return the digest of the overrides that were read.
    """
    stage = rebase_folder(repo) / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    digest = folder_digest(repo.overrides)
    shutil.copytree(repo.patches, stage / "patches", symlinks=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        repo.overrides, stage / repo.config.overrides.package, symlinks=True, ignore=ignored
    )
    _write_series(repo, state, stage / "patches")
    _write_retired(repo, state, stage / "patches" / "retired")
    _write_modules(repo, state, stage / repo.config.overrides.package)
    for path in orphaned_modules(repo, state):
        (stage / path).unlink()
        _remove_empty(stage / path, stage / repo.config.overrides.package)
    _write_profile(repo, state, staged_repository(repo).overrides)
    _write_records(repo, state, stage)
    write_lock(stage / "upstream" / "lock.toml", target_lock(repo))
    return digest


def orphaned_modules(repo: Repository, state: RebaseState) -> Iterator[Path]:
    """Yield the override files that no patch brings once some patches are gone.

    Paths are relative to the repository.
    """
    builder = tree_builder(repo)
    there = module_files(repo.overrides)
    staying = {patch.id for patch in builder.series.active} - state.gone
    left = {file for name in staying for file in builder.override_files(builder.series.by_id[name])}
    back = {
        file
        for name in {*state.back} - state.gone
        for file in _named_modules(builder.series.by_id[name], there)
    }
    gone = {
        file for name in state.gone for file in builder.override_files(builder.series.by_id[name])
    }
    removed = gone - left - back
    kept = with_package_inits({*there - removed, *repo.config.overrides.common}, repo.overrides)
    for file in with_package_inits(there, repo.overrides):
        if file not in kept:
            yield Path(repo.config.overrides.package, file)


def _named_modules(patch: Patch, files: Collection[str]) -> set[str]:
    return {file for name in patch.overrides for file in matching_files(name, files)}


def _remove_empty(path: Path, top: Path) -> None:
    """Remove the folders below `top` that are empty without the file at `path`."""
    for folder in path.parents:
        if folder == top or any(folder.iterdir()):
            return
        folder.rmdir()


def put_in_place(
    repo: Repository, state: RebaseState, digest: str, also: Mapping[Path, Path]
) -> None:
    """Replace patches, overrides, records, pins, README's table, upstream/src/ and state together.

    `also` are further places with their staged files. Raises AttentionError if a patch, a pin or
    the overrides were changed after they were read.
    """
    stage = rebase_folder(repo) / "stage"
    changes: dict[Path, Path | None] = {
        **also,
        repo.patches: stage / "patches",
        repo.overrides: stage / repo.config.overrides.package,
        repo.lock_file: stage / "upstream" / "lock.toml",
        rebase_folder(repo) / "state.json": stage / "state.json",
    }
    # Replaced with the rest, so that after a kill the state says whether that was done.
    (stage / "state.json").write_bytes(dataclasses.replace(state, done=True).to_json())
    table = readme_with_table(repo, read_series(staged_repository(repo), target_lock(repo)))
    if table is not None:
        (stage / "README.md").write_text(table)
        changes[repo.root / "README.md"] = stage / "README.md"
    changes |= {repo.root / name: stage / name for name in _write_records(repo, state, stage)}
    if not is_subtree(repo):  # `vendor --subtree` merges the release into a subtree
        changes[repo.source] = _source(repo, stage / "src")
    # The proof takes long, so somebody may have edited a file meanwhile.
    check_unchanged(repo, state)
    check_source(repo)
    if folder_digest(repo.overrides) != digest:
        name = repo.config.overrides.package
        raise AttentionError(
            f"{name}/ changed while the rebase ran; --continue rebases with it as it is now",
            hint="nox -s rebase -- --continue",
        )
    repo.replace(changes)


def check_source(repo: Repository) -> None:
    """Raise AttentionError for edits in upstream/src/, which the rebase will replace."""
    if repo.source.exists() and not is_subtree(repo):
        found = nearest_release(repo, read_lock(repo.lock_file))
        if found.edits:
            raise edits_error(
                found, "keep the change as a patch (nox -s import), then nox -s vendor -- --restore"
            )


def _source(repo: Repository, folder: Path) -> Path:
    folder.mkdir()
    repo.git.write_folder(target_lock(repo).locked_release.tree, folder)
    return folder


def _write_series(repo: Repository, state: RebaseState, patches: Path) -> None:
    """Write the replayed patches under their old names.

    A live patch keeps its bytes if its content, its base and its dependencies are the same.
    """
    builder = tree_builder(repo)
    names = []
    called = file_names(builder.series, state.back)
    for patch in (*builder.series.active, *(builder.series.by_id[name] for name in state.back)):
        (patches / patch.path.relative_to(repo.patches)).unlink()
    for name, mail in replayed_mails(repo, state):
        patch = builder.series.by_id[name]
        same = patch.state is State.ACTIVE and _format_patch(builder, patch) == mail
        names.append(called[name])
        (patches / names[-1]).write_bytes(patch.path.read_bytes() if same else mail)
    lines = (repo.patches / "series").read_text().splitlines()
    (patches / "series").write_text("".join(f"{line}\n" for line in _series_lines(lines, names)))


def _series_lines(lines: list[str], names: list[str]) -> list[str]:
    """Return the lines of `series` for these names; the names that left are removed.

    A name that came back goes behind the one that precedes it in `names`, or to the front.
    """
    listed = [line.split("#")[0].strip() for line in lines]
    kept = [
        (name, line) for name, line in zip(listed, lines, strict=True) if not name or name in names
    ]
    for number, name in enumerate(names):
        if name not in listed:
            there = [other for other, _ in kept]
            first = next((at for at, other in enumerate(there) if other), len(there))
            kept.insert(there.index(names[number - 1]) + 1 if number else first, (name, name))
    return [line for _, line in kept]


def _format_patch(builder: TreeBuilder, patch: Patch) -> bytes:
    commit = builder.commits(builder.series.active).ids[patch.id]
    return format_patch(builder.git, commit)


def _write_retired(repo: Repository, state: RebaseState, folder: Path) -> None:
    builder = tree_builder(repo)
    numbers = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]-*.patch")]
    retiring = {item.id for item in state.retire}
    for number, item in enumerate(state.retire, max(numbers, default=0) + 1):
        folder.mkdir(exist_ok=True)
        content = retired_mail(builder, builder.series.by_id[item.id], item, retiring)
        (folder / f"{number:04}-{item.id}.patch").write_bytes(content)


def _write_modules(repo: Repository, state: RebaseState, overrides: Path) -> None:
    """Write the modules of the patches that come back; a module that exists stays as it is."""
    builder = tree_builder(repo)
    for name in state.back:
        if name not in state.gone:
            for module, content in retired_modules(builder, builder.series.by_id[name]).items():
                if not (overrides / module).exists():
                    (overrides / module).parent.mkdir(parents=True, exist_ok=True)
                    (overrides / module).write_bytes(content)


def _write_records(repo: Repository, state: RebaseState, stage: Path) -> list[str]:
    """Update the records of the features that retire or come back, from the current files.

    Return their paths, relative to the repository.
    """
    series = tree_builder(repo).series
    values: dict[str, str | None] = {
        item.id: item.trailer for item in state.settled
    } | dict.fromkeys(state.reopened)
    names = []
    for feature, value in values.items():
        name = series.feature_by_id[feature].record.relative_to(repo.root).as_posix()
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_text(
            with_applied_upstream((repo.root / name).read_text(encoding="utf-8"), value),
            encoding="utf-8",
        )
        names.append(name)
    return names


def _write_profile(repo: Repository, state: RebaseState, overrides: Path) -> None:
    """Add the settings that replace features to the profile.

    Settings of patches that were skipped and of their features are removed, and outdated ones of
    features that are back.
    """
    put = state.new_settings
    if put or repo.config.overrides.profile:
        path, series = overrides / profile_name(repo), tree_builder(repo).series
        outdated = outdated_settings(series, read_profile(repo), state.back, state.reopened)
        skipped = {feature.id for feature in series.features if feature.patch.id in state.skipped}
        path.write_text(
            edit_profile(path.read_text(), put, (*state.skipped, *sorted(skipped), *outdated))
        )
