"""init: write everything that a fork of another package needs, with its releases pinned."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import InvalidName, canonicalize_name

from scripts.core.console import progress
from scripts.core.errors import UsageError, problems_error
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.init.choices import choose_python, newest_few, pinned_backend, published
from scripts.init.files import FIXED_NAMES, moves, write_files
from scripts.init.release import InspectedRelease
from scripts.upstream.import_folder import TOP
from scripts.upstream.index import Index, RemoteSdist
from scripts.upstream.pin import pin
from scripts.upstream.sdist import read_sdist
from scripts.upstream.vendor import sdist_path, vendor

_MADE = ("sdists", "upstream.git")
"""What `pin` and `vendor` leave in `.fork/`, which the first `status` need not make again."""


@dataclass(frozen=True)
class NewFork:
    """A fork that was just written."""

    lock: Lock
    module: str
    place: str
    python: str


def init(
    repo: Repository, project: str, verbs: Mapping[str, str], *, module: str, label: str
) -> NewFork:
    """Make a fork of a project of the index in the folder of `repo`: everything or nothing.

    `verbs` are the sessions of its noxfile, with a line about each. `module` is what to import, for
    a project whose files leave it open. Raises UsageError if one of the files exists.
    """
    _check_name(project)
    with _new_folder(repo.root), repo.exclusive(), repo.scratch() as scratch:
        # Before the index is asked, and after a run that was killed is finished.
        _refuse_existing(repo.root, [repo.root / name for name in FIXED_NAMES])
        stage = Repository(scratch / "fork")
        stage.root.mkdir()
        index = Index(repo.index_settings)
        remotes = published(index, project)
        release = _inspect(stage, index, project, remotes[-1])
        name = _module_of(release, module)
        python = choose_python(remotes[-1])
        few = newest_few(remotes, python)
        backend = list(pinned_backend(index, release.build_requires))
        facts = _facts(release, name, python, few, backend, label)
        _refuse_existing(repo.root, [repo.root / facts["overrides"]])
        write_files(stage.root, facts | {"verbs": verbs})
        pin(stage)
        lock = vendor(stage)
        _put_in_place(repo, stage)
    return NewFork(lock, name, _describe_place(release, name), python)


def _check_name(project: str) -> None:
    try:
        canonicalize_name(project, validate=True)
    except InvalidName as error:
        raise UsageError(
            f"not the name of a package: {project!r}", hint="nox -s init -- --help"
        ) from error


def _refuse_existing(root: Path, paths: Iterable[Path]) -> None:
    """Raise UsageError with each path that exists already."""
    found = [str(path.relative_to(root)) for path in paths if os.path.lexists(path)]
    if "fork.toml" in found:
        raise UsageError(
            f"{root} is a fork already: it has fork.toml, and nothing is overwritten",
            hint="nox -s init -- PACKAGE --repo DIR",
        )
    if found:
        raise problems_error(
            f"{root} has files that a fork needs to write; nothing is overwritten:",
            found,
            hint="move them away, run this again, then merge them by hand",
        )


@contextmanager
def _new_folder(root: Path) -> Iterator[None]:
    """Create the fork's folder, and remove what this created if the fork is not made."""
    existed = root.exists()
    root.mkdir(parents=True, exist_ok=True)
    work_existed = (root / ".fork").exists()
    try:
        yield
    except BaseException:  # Ctrl-C, too
        with suppress(OSError):  # somebody else may have put something there
            if not work_existed:
                (root / ".fork" / "lock").unlink(missing_ok=True)
                (root / ".fork").rmdir()
            if not existed:
                root.rmdir()
        raise


def _inspect(
    stage: Repository, index: Index, project: str, newest: RemoteSdist
) -> InspectedRelease:
    path = sdist_path(stage, newest)
    with progress(f"looking into {newest.file}", 1) as advance:
        index.download(newest, path, advance)
    return InspectedRelease(project, {item.path: item.content for item in read_sdist(path)})


def _module_of(release: InspectedRelease, given: str) -> str:
    """Return the module to import: the given one, else the one that the files show."""
    if given and not release.has_module(given):
        raise UsageError(
            f"{release.name} has no module {given}; it has {', '.join(release.modules) or 'none'}",
            hint=f"nox -s init -- {release.name} --module NAME",
        )
    found = given or release.module
    if found is None:
        names = ", ".join(release.modules) or "none that can be recognised"
        raise UsageError(
            f"the files of {release.name} leave open which module it installs: {names}",
            hint=f"nox -s init -- {release.name} --module NAME",
        )
    return found


def _facts(
    release: InspectedRelease,
    module: str,
    python: str,
    few: list[RemoteSdist],
    backend: list[str],
    label: str,
) -> dict[str, Any]:
    """Return the variables of the templates."""
    return {
        "backend": backend,
        "canonical": canonicalize_name(release.project),
        "count": len(few),
        "environment": f"py{python.replace('.', '')}",
        "label": label,
        "license": release.metadata.get("license_expression", ""),
        "metadata": _missing_metadata(release),
        "module": module,
        "name": release.name,
        "newest": str(few[-1].version),
        "oldest": str(few[0].version),
        "overrides": f"{module.replace('.', '_')}_overrides",
        "python": python,
        "requires": release.requires,
    }


def _missing_metadata(release: InspectedRelease) -> Mapping[str, str]:
    """Return the fields that an index demands and this upstream leaves out."""
    found = {}
    if not release.metadata.get("description_content_type"):
        found["Description-Content-Type"] = "text/plain"
    if not release.metadata.get("description"):
        found["Description"] = release.metadata.get("summary") or release.name
    return found


def _put_in_place(repo: Repository, stage: Repository) -> None:
    """Move the finished fork into its folder; raise UsageError if a file came in between."""
    work = stage.root / ".fork"
    changes = dict(moves(stage.root, repo.root))
    changes = {place: new for place, new in changes.items() if not new.is_relative_to(work)}
    _refuse_existing(repo.root, changes)
    repo.replace(changes | {repo.work / name: work / name for name in _MADE})


def _describe_place(release: InspectedRelease, module: str) -> str:
    kind = "the module" if release.is_single_file(module) else "the package"
    return kind if release.folder == TOP else f"{kind} in {release.folder}/"
