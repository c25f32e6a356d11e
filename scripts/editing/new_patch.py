"""new: begin a patch and its features, with texts to replace where a person must write."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from scripts.core.console import info
from scripts.core.errors import problems_error
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock
from scripts.core.repository import Repository, write_atomically
from scripts.editing.begun import MESSAGES
from scripts.editing.branch import Branch, fetch_branch, read_commits, work_tree
from scripts.editing.import_branch import write_branch
from scripts.editing.overwrites import check_overwrites
from scripts.series.feature_record import record_path
from scripts.series.override_files import file_of
from scripts.series.series import Series, read_with_problems
from scripts.series.templates import (
    NewPatch,
    commit_message,
    module_file,
    package_file,
    probe_file,
    slug_of,
)

_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]*$")
_MODULE = re.compile(r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$")


class Step(NamedTuple):
    """Something to do, and the command for it."""

    text: str
    command: str


@dataclass(frozen=True)
class BegunPatch:
    """What `new` did: the files that it wrote and those that were there, and what comes next."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    steps: tuple[Step, ...]


def begin_patch(repo: Repository, asked: NewPatch, folder: Path | None = None) -> BegunPatch:
    """Write the probes, the modules and the message of a new patch; nothing is overwritten.

    Imports the series if nobody has. Raises UsageError for names that are wrong or taken, and
    AttentionError if what was imported is outdated.
    """
    tree = work_tree(repo, folder)
    place = tree.place
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        series, _ = read_with_problems(repo, lock)
        asked = _with_usual_features(asked, series)
        imported = (place / ".git").exists()
        branch = fetch_branch(repo.git, lock, tree) if imported else None
        _check_names(repo, lock, asked, series, branch)
        if branch is None:
            write_branch(repo, place)
            info(f"the series is the branch `series` in {place}")
        texts = _texts(repo, asked)
        written = _write_missing(repo, texts)
        probes = _probe_paths(repo, asked).values()
        message = place / MESSAGES / asked.id
        write_atomically(message, commit_message(asked, [*probes]).encode())
    kept = tuple(name for name in texts if name not in written)
    return BegunPatch(written, kept, next_steps(repo, asked, place, texts))


def _with_usual_features(asked: NewPatch, series: Series) -> NewPatch:
    """Name the one feature after the patch, unless the fork's patches are records themselves."""
    if asked.features or (series.all and not any(patch.features for patch in series.all)):
        return asked
    return replace(asked, features=(asked.id,))


def _check_names(
    repo: Repository, lock: Lock, asked: NewPatch, series: Series, branch: Branch | None
) -> None:
    """Raise one UsageError for everything that is wrong with the names."""
    commits = read_commits(repo.git, branch) if branch else []
    taken = {item.id: f"the commit {item.name}" for item in commits if item.id}
    taken |= {patch.id: str(patch.path.relative_to(repo.root)) for patch in series.all}
    problems = [*_wrong_names(asked), *_taken_names(asked, series, taken)]
    if problems:
        hint = "run this again with other names"
        raise problems_error("the patch cannot be begun:", problems, hint=hint)
    if branch:
        check_overwrites(repo, lock, branch, commits, None)


def _wrong_names(asked: NewPatch) -> Iterator[str]:
    yield from (
        f"{name!r} is no id: use small letters, digits and hyphens, as in `{slug_of(name)}`"
        for name in dict.fromkeys((asked.id, *asked.features))
        if not _SLUG.match(name)
    )
    yield from (
        f"{name!r} is no module: use its dotted name in the package, as in `cache.locks`"
        for name in asked.modules
        if not _MODULE.match(name)
    )
    if "\n" in asked.title:
        yield "the title has several lines"


def _taken_names(asked: NewPatch, series: Series, taken: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((asked.id, *asked.features)):
        if name in taken:
            yield f"the id {name} is that of {taken[name]}"
        elif found := series.features_named(name):
            yield f"the feature {name} is there already; {found[0].patch.id} brings it"


def _probe_paths(repo: Repository, asked: NewPatch) -> dict[str, str]:
    """Return the path of each feature's probe file, by the feature."""
    control = repo.config.probes.control[0]
    return {name: record_path(control, name) for name in asked.features or (asked.id,)}


def _texts(repo: Repository, asked: NewPatch) -> dict[str, str]:
    """Return the files of the patch beside its message, by their paths."""
    package = repo.config.overrides.package
    texts = {path: probe_file(asked, name) for name, path in _probe_paths(repo, asked).items()}
    for module in asked.modules:
        file = PurePosixPath(package, file_of(module))
        for parent in reversed(file.relative_to(package).parents[:-1]):
            if not (repo.overrides / parent).exists():
                init = f"{package}/{parent}/__init__.py"
                texts[init] = package_file(".".join((package, *parent.parts)))
        texts[str(file)] = module_file(asked)
    return texts


def _write_missing(repo: Repository, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Write the files that are not there, all or none, and return their paths."""
    missing = [name for name in texts if not (repo.root / name).exists()]
    with repo.scratch() as scratch:
        changes: dict[Path, Path | None] = {}
        for number, name in enumerate(missing):
            new = scratch / str(number)
            new.write_text(texts[name], encoding="utf-8")
            changes[repo.root / name] = new
        if changes:
            repo.replace(changes)
    return tuple(missing)


def next_steps(
    repo: Repository, asked: NewPatch, place: Path, texts: Iterable[str]
) -> tuple[Step, ...]:
    """Return what comes next."""
    tree, git = _shown(repo, place), f"git -C {_shown(repo, place)}"
    files = [_shown(repo, repo.root / name) for name in texts if not name.endswith("__init__.py")]
    default = place == repo.work / "series"
    names = " ".join(asked.features or (asked.id,))
    return (
        Step(
            f"edit upstream's files in {tree}, and these; replace what is in <angle brackets>",
            f"${{EDITOR:-vi}} {' '.join(files)}",
        ),
        Step("try it", f"nox -s probe -- {names}" + ("" if default else f" --tree {tree}")),
        Step(
            "commit it, and replace what is in <angle brackets> in the message",
            f"{git} add --all && {git} commit --template={MESSAGES}/{asked.id}",
        ),
        Step("write it to patches/", "nox -s export" + ("" if default else f" -- {tree}")),
        Step("check it", "nox -s lint -- --write"),
        Step("prove it on every release", f"nox -s status -- --patch {asked.id}"),
    )


def _shown(repo: Repository, path: Path) -> str:
    """Return a path as a person types it: relative, if this runs in the repository's folder."""
    near = repo.root == Path.cwd() and path.is_relative_to(repo.root)
    return shlex.quote(str(path.relative_to(repo.root) if near else path))
