"""vendor: bring every pinned release, checked, into the private repository, and the locked one into `upstream/src/`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripts.clients import choose
from scripts.errors import AttentionError, EnvironmentFailedError
from scripts.git import Git
from scripts.index import Index, Remote
from scripts.lock import read_lock
from scripts.model import Lock, Release
from scripts.repository import Repository, replace_folder
from scripts.sdist import iter_fast_import, read_sdist
from scripts.terminal import progress

_AUTHOR = "upstream <upstream@localhost.invalid>"
_NOT_SOURCE = (":(exclude,glob)**/__pycache__/**", ":(exclude,glob)**/*.pyc")


def vendor(repo: Repository, *, restore: bool = False) -> Lock:
    """Bring what is pinned; `restore` writes `upstream/src/` anew over somebody's edits.

    Raises EnvironmentFailedError for a file that is not what the lock says, AttentionError for edits in `upstream/src/`.
    """
    lock = read_lock(repo.lock_file)
    with repo.alone():
        bring(repo, lock)
        release = lock.release(lock.locked)
        assert release is not None
        edits = edited_source(repo, release)
        if edits and not restore:
            raise edits_error(edits)
        if edits or not repo.source.exists():
            _write_source(repo, release)
    return lock


def bring(repo: Repository, lock: Lock) -> None:
    """Put every pinned release into the private repository, downloading what is missing."""
    if all(repo.git.resolve(f"refs/tags/{release.version}") == release.commit for release in lock.releases):
        return
    fetch(repo, lock.releases)
    made = import_releases(repo, lock.name, lock.releases)
    wrong = [
        new.version for new, old in zip(made, lock.releases, strict=True) if (new.tree, new.commit) != (old.tree, old.commit)
    ]
    if wrong:
        raise EnvironmentFailedError(
            f"upstream/lock.toml pins other tree or commit ids than the files give: {', '.join(wrong)}",
            hint="nox -s pin",
        )
    tag(repo.git, made)


def fetch(repo: Repository, releases: Iterable[Release]) -> None:
    """Download the sdists that are not here yet, and refuse one whose size or sha256 is not the pinned one."""
    missing = [release for release in releases if not _sound(sdist_path(repo, release), release)]
    if not missing:
        return
    index = Index(choose(repo.root))
    offered = {str(remote.version): remote for remote in index.sdists(repo.config.upstream.name)}
    with progress(f"downloading {len(missing)} sdists", len(missing)) as advance:
        for release in missing:
            remote = offered.get(release.version)
            if remote is None or remote.package.filename != release.file:
                raise EnvironmentFailedError(
                    f"the index {index.address} has no {release.file}",
                    hint="choose an index that has it, or `nox -s pin`",
                )
            path = sdist_path(repo, release)
            index.download(remote, path, advance)
            _refuse_other_bytes(path, release, index)


def import_releases(repo: Repository, name: str, releases: Iterable[Release]) -> list[Release]:
    """Write one commit a release into the private repository and return the releases with their ids.

    Author, dates and messages are functions of the pins, so the ids are the same on every machine.
    """
    made: list[Release] = []
    with progress("writing the private repository", None):
        for release in releases:
            commit = _import(repo.git, name, release, sdist_path(repo, release), made[-1].commit if made else None)
            made.append(dataclasses.replace(release, commit=commit, tree=repo.git.tree_of(commit)))
    return made


def tag(git: Git, releases: Iterable[Release]) -> None:
    """Name the commits in one step, so that a kill before it leaves nothing that a later run believes."""
    lines = (f"update refs/tags/{release.version} {release.commit}\n" for release in releases)
    git.run("update-ref", "--stdin", stdin="".join(lines).encode())


def sdist_path(repo: Repository, release: Release | Remote) -> Path:
    """Return where an sdist is kept."""
    name = release.file if isinstance(release, Release) else release.package.filename
    return repo.work / "sdists" / name


def edited_source(repo: Repository, release: Release) -> list[str]:
    """List the files of `upstream/src/` that are not the locked release's, as `git diff --name-status` does."""
    if not repo.source.exists():
        return []
    git = Git(repo.git.git_dir, repo.source)
    with git.index(release.tree) as handle:
        handle.run("add", "--all", "--force", "--", ".", *_NOT_SOURCE)
        return handle.text("diff-index", "--cached", "--name-status", "--no-renames", release.tree).splitlines()


def edits_error(edits: list[str]) -> AttentionError:
    """Say which vendored files somebody changed, and what to do with such a change."""
    files = "\n".join(f"    {line}" for line in edits[:20])
    return AttentionError(
        f"upstream/src/ is not the locked release any more; nothing is built from it:\n{files}",
        hint="keep the change as a patch (nox -s import), then write the folder anew: nox -s vendor -- --restore",
    )


def _write_source(repo: Repository, release: Release) -> None:
    with repo.scratch() as folder:
        new = folder / "src"
        new.mkdir()
        repo.git.write_folder(release.tree, new)
        replace_folder(new, repo.source)


def _sound(path: Path, release: Release) -> bool:
    """Tell whether a kept sdist has the pinned bytes."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) == release.size and hashlib.sha256(content).hexdigest() == release.sha256


def _refuse_other_bytes(path: Path, release: Release, index: Index) -> None:
    if _sound(path, release):
        return
    size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    raise EnvironmentFailedError(
        f"{release.file} from {index.address} is not the pinned file:\n"
        f"    pinned: {release.size} bytes, sha256 {release.sha256}\n"
        f"    served: {size} bytes, sha256 {digest}",
        hint="do not install it; find out who changed the file, or try another index",
    )


def _import(git: Git, name: str, release: Release, sdist: Path, parent: str | None) -> str:
    """Write one commit with `git fast-import`, which never touches the file system with a path of the archive."""
    seconds = int(release.uploaded.timestamp())
    message = f"{name} {release.version}\n\n{release.file}\nsha256 {release.sha256}\n".encode()
    head = [
        b"commit refs/fork/import\n",
        f"author {_AUTHOR} {seconds} +0000\ncommitter {_AUTHOR} {seconds} +0000\n".encode(),
        f"data {len(message)}\n".encode() + message,
        f"from {parent}\n".encode() if parent else b"",
    ]
    git.run("update-ref", "-d", "refs/fork/import")
    git.run("fast-import", "--quiet", "--date-format=raw", "--force", stdin=b"".join(_stream(head, read_sdist(sdist))))
    return git.text("rev-parse", "refs/fork/import")


def _stream(head: list[bytes], members: list) -> Iterator[bytes]:  # type: ignore[type-arg]
    yield from head
    yield from iter_fast_import(members)
    yield b"done\n"
