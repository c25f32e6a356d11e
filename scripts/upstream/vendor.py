"""vendor: fetch the pinned releases, and write the locked one to `upstream/src/`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.core.console import progress
from scripts.core.errors import AttentionError, EnvironmentFailedError
from scripts.core.git import Git
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock, Release
from scripts.core.repository import Repository
from scripts.upstream.sdist import iter_fast_import, read_sdist
from scripts.upstream.source_tree import edits_error, is_subtree, nearest_release, write_source
from scripts.upstream.subtree import add_or_merge_subtree

if TYPE_CHECKING:
    from scripts.upstream.index import Index, RemoteSdist

_AUTHOR = "upstream <upstream@localhost.invalid>"


def vendor(repo: Repository, *, restore: bool = False, subtree: bool = False) -> Lock:
    """Download and verify what is pinned, write `upstream/src/`, and return the lock.

    `restore` overwrites edits in `upstream/src/`; `subtree` commits the folder. Raises
    EnvironmentFailedError for a file that is not what the lock pins, and AttentionError for edits
    in `upstream/src/`.
    """
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        committed = is_subtree(repo)
        if not committed:
            _write_folder(repo, lock, restore=restore)
        if subtree:
            add_or_merge_subtree(repo, lock)
        elif committed:
            _verify_subtree(repo, lock)
    return lock


def ensure_releases(repo: Repository, lock: Lock) -> None:
    """Put every pinned release into the private repository, downloading what is missing."""
    # The tags are set last, so a release that has one is complete.
    if all(
        repo.git.resolve(f"refs/tags/{release.version}") == release.commit
        for release in lock.releases
    ):
        return
    download_missing(repo, lock.releases)
    made = import_releases(repo, lock.name, lock.releases)
    wrong = [
        new.version
        for new, old in zip(made, lock.releases, strict=True)
        if (new.tree, new.commit) != (old.tree, old.commit)
    ]
    if wrong:
        raise EnvironmentFailedError(
            "upstream/lock.toml pins other tree or commit ids than the files give:"
            f" {', '.join(wrong)}",
            hint="nox -s pin",
        )
    tag(repo.git, made)


def download_missing(repo: Repository, releases: Iterable[Release]) -> None:
    """Download the missing sdists; raise EnvironmentFailedError if one has other bytes."""
    missing = [
        release for release in releases if not matches_pin(sdist_path(repo, release), release)
    ]
    if not missing:
        return
    # This import takes a fifth of a second, which a run with nothing to download does not need.
    from scripts.upstream.index import Index  # noqa: PLC0415

    index = Index(repo.index_settings)
    offered = {remote.file: remote for remote in index.sdists(repo.config.upstream.name)}
    absent = [release.file for release in missing if release.file not in offered]
    if absent:
        raise EnvironmentFailedError(
            f"the index {index.address} has no {', '.join(absent)}",
            hint="choose an index that has it (fork.toml: upstream.index)",
        )
    with progress(f"downloading {len(missing)} sdists", len(missing)) as advance:
        for release in missing:
            path = sdist_path(repo, release)
            index.download(offered[release.file], path, advance)
            _refuse_other_bytes(path, release, index)


def import_releases(repo: Repository, name: str, releases: Iterable[Release]) -> list[Release]:
    """Write one commit per release into the private repository; return the releases with their ids.

    Author, dates and messages are functions of the pins, so the ids are the same on every machine.
    """
    made: list[Release] = []
    with progress("writing the private repository", None):
        for release in releases:
            commit = _import_release(
                repo.git,
                name,
                release,
                sdist_path(repo, release),
                made[-1].commit if made else None,
            )
            made.append(dataclasses.replace(release, commit=commit, tree=repo.git.tree_of(commit)))
    return made


def tag(git: Git, releases: Iterable[Release]) -> None:
    """Tag the commits in one step; before it, a kill leaves nothing that a later run trusts."""
    lines = (f"update refs/tags/{release.version} {release.commit}\n" for release in releases)
    git.run("update-ref", "--stdin", stdin="".join(lines).encode())


def sdist_path(repo: Repository, release: Release | RemoteSdist) -> Path:
    """Return the path at which an sdist is stored."""
    return repo.work / "sdists" / release.file


def matches_pin(path: Path, release: Release) -> bool:
    """Return whether a stored sdist has the pinned bytes."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(content) == release.size and hashlib.sha256(content).hexdigest() == release.sha256


def _write_folder(repo: Repository, lock: Lock, *, restore: bool) -> None:
    """Write the folder if it is missing or holds another release.

    Edits are overwritten only with `restore`; otherwise they raise AttentionError.
    """
    locked = lock.locked_release
    if not repo.source.exists():
        write_source(repo, locked)
        return
    found = nearest_release(repo, lock)
    if found.edits and not restore:
        raise edits_error(
            found, "keep the change as a patch (nox -s import), then nox -s vendor -- --restore"
        )
    if found.edits or found.release.tree != locked.tree:
        write_source(repo, locked)


def _verify_subtree(repo: Repository, lock: Lock) -> None:
    """Raise AttentionError unless the committed folder is the locked release, unedited.

    Only `--subtree` writes a committed folder.
    """
    found = nearest_release(repo, lock)
    if found.edits:
        raise edits_error(
            found,
            "keep the change as a patch (nox -s import) and take it back:"
            " git restore, or git revert",
        )
    if found.release.tree != lock.locked_release.tree:
        raise AttentionError(
            f"upstream/src/ is committed as {found.release.version}, and {lock.locked} is locked",
            hint="nox -s vendor -- --subtree",
        )


def _refuse_other_bytes(path: Path, release: Release, index: Index) -> None:
    if matches_pin(path, release):
        return
    size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    raise EnvironmentFailedError(
        f"{release.file} from {index.address} is not the pinned file:\n"
        f"    pinned: {release.size} bytes, sha256 {release.sha256}\n"
        f"    served: {size} bytes, sha256 {digest}",
        hint="do not install it; find out who changed the file, or try another index",
    )


def _import_release(git: Git, name: str, release: Release, sdist: Path, parent: str | None) -> str:
    """Write one commit with `git fast-import`, which writes no path of the archive to disk."""
    seconds = int(release.uploaded.timestamp())
    message = f"{name} {release.version}\n\n{release.file}\nsha256 {release.sha256}\n".encode()
    head = [
        b"commit refs/fork/import\n",
        f"author {_AUTHOR} {seconds} +0000\ncommitter {_AUTHOR} {seconds} +0000\n".encode(),
        f"data {len(message)}\n".encode() + message,
        f"from {parent}\n".encode() if parent else b"",
    ]
    stream = b"".join(_fast_import_stream(head, sdist))
    git.run("update-ref", "-d", "refs/fork/import")
    git.run("fast-import", "--quiet", "--date-format=raw", "--force", "--done", stdin=stream)
    return git.text("rev-parse", "refs/fork/import")


def _fast_import_stream(head: list[bytes], sdist: Path) -> Iterator[bytes]:
    yield from head
    yield from iter_fast_import(read_sdist(sdist))
    yield b"done\n"
