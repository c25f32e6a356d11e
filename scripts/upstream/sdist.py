"""Read an sdist's files from the archive without ever writing a path that it names."""

from __future__ import annotations

import gzip
import io
import itertools
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scripts.core.errors import EnvironmentFailedError

_FORBIDDEN = frozenset({"", ".", "..", ".git", "git~1"})
"""Path parts that leave the folder or that git refuses; `git~1` is `.git` on Windows."""

_DISTRUST = "do not trust this file; ask upstream or the index's owner"
_EXCLUDE_HINT = (
    f"{_DISTRUST}; to go on without that release,"
    " exclude it in fork.toml: upstream.track = '…,!=VERSION'"
)
# git cannot write a later time.
_LAST_SECOND = 2**32 - 1


@dataclass(frozen=True)
class Member:
    """One file of an sdist: its path below the archive's top folder, its git mode and its content.

    The content of a symbolic link is its target path.
    """

    path: str
    mode: str
    content: bytes


def read_sdist(path: Path) -> list[Member]:
    """Read every file of a tar archive, sorted by path.

    Raises EnvironmentFailedError for an archive that cannot be read or that names a path outside
    its own folder.
    """
    with _open_archive(path) as archive:
        members = [_member(archive, info, path.name) for info in archive if not info.isdir()]
    _check_tops(members, path.name)
    return sorted(
        (Member(inside, mode, content) for _, inside, mode, content in members),
        key=lambda m: m.path,
    )


def newest_time(path: Path) -> int:
    """Return the newest modification time in an archive, in seconds since the epoch."""
    with _open_archive(path) as archive:
        newest = max((int(info.mtime) for info in archive), default=0)
    return min(max(newest, 0), _LAST_SECOND)


def iter_fast_import(members: list[Member]) -> Iterator[bytes]:
    """Yield the file commands of a `git fast-import` commit that contains exactly these files."""
    yield b"deleteall\n"
    for member in members:
        yield f"M {member.mode} inline ".encode() + _quoted(member.path) + b"\n"
        yield f"data {len(member.content)}\n".encode() + member.content + b"\n"


@contextmanager
def _open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive; any error in its bytes becomes one EnvironmentFailedError.

    It is decompressed to its end first, because tarfile alone stops before the checksum.
    """
    try:
        content = io.BytesIO(gzip.decompress(path.read_bytes()))
        with tarfile.open(fileobj=content, mode="r:", encoding="utf-8") as archive:
            yield archive
    except (
        tarfile.TarError,
        zlib.error,
        EOFError,
        KeyError,
        OSError,
        ValueError,
    ) as error:  # KeyError: a link to nothing
        raise EnvironmentFailedError(
            f"{path.name} is not a readable archive: {error}", hint=_EXCLUDE_HINT
        ) from error


def _member(
    archive: tarfile.TarFile, info: tarfile.TarInfo, name: str
) -> tuple[str, str, str, bytes]:
    """Return a member's top folder, path below it, mode and content.

    Raises EnvironmentFailedError for a path or link that leaves the folder, and for a device.
    """
    if _escapes_folder(info.name):
        raise EnvironmentFailedError(
            f"{name} holds the path {info.name!r}, which leaves its folder: refused",
            hint=_EXCLUDE_HINT,
        )
    top, _, inside = info.name.partition("/")
    if info.issym() and _stays_inside(inside, info.linkname):
        return top, inside, "120000", info.linkname.encode(errors="surrogateescape")
    copies = (
        info.islnk() and not _escapes_folder(info.linkname) and info.linkname.startswith(f"{top}/")
    )
    if not (info.isreg() or copies):
        what = f"a link to {info.linkname!r}, outside its folder" if info.linkname else "a device"
        raise EnvironmentFailedError(
            f"{name} holds {info.name!r}, which is {what}: refused", hint=_EXCLUDE_HINT
        )
    file = archive.extractfile(info)
    content = b"" if file is None else file.read()
    return top, inside, "100755" if info.mode & stat.S_IXUSR else "100644", content


def _escapes_folder(path: str) -> bool:
    """Return whether a path of the archive is not that of a file below its top folder."""
    parts = path.split("/")
    return (
        PurePosixPath(path).is_absolute()
        or "\\" in path
        or len(parts) < 2
        or any(map(_unsafe, parts))
    )


def _stays_inside(path: str, target: str) -> bool:
    """Return whether a symbolic link leads to a place in the top folder.

    Steps upwards are accepted only at the beginning. After a name that is another link, they would
    lead somewhere else.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    names = list(itertools.dropwhile(lambda part: part == "..", parts))
    within = len(parts) - len(names) <= path.count("/")
    return (
        within
        and bool(names)
        and not target.startswith("/")
        and "\\" not in target
        and not any(map(_unsafe, names))
    )


def _unsafe(part: str) -> bool:
    return (
        part in _FORBIDDEN
        # Windows ignores case, and dots and spaces at the end.
        or part.rstrip(". ").lower() in _FORBIDDEN
        or "\n" in part
        or "\0" in part
    )


def _check_tops(members: list[tuple[str, str, str, bytes]], name: str) -> None:
    """Raise EnvironmentFailedError unless there is one top folder and each path is there once.

    A path must not be a file and a folder at once either.
    """
    tops = sorted({top for top, *_ in members})
    paths = [inside for _, inside, *_ in members]
    folders = {str(parent) for inside in paths for parent in PurePosixPath(inside).parents}
    if len(tops) != 1 or len(set(paths)) != len(paths) or folders.intersection(paths):
        raise EnvironmentFailedError(
            f"{name} is not an sdist: top folders {tops or 'none'}, {len(paths)} files",
            hint=_EXCLUDE_HINT,
        )


def _quoted(path: str) -> bytes:
    """Quote a path for fast-import; bytes that are not UTF-8 are restored as in the archive."""
    return (
        b'"'
        + path.encode(errors="surrogateescape").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        + b'"'
    )
