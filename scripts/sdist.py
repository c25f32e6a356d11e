"""An sdist's files, read from the archive without ever writing a path that it names."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scripts.errors import EnvironmentFailedError

_FORBIDDEN = frozenset({"", ".", "..", ".git", "git~1"})
"""Parts of a path that leave the folder or that git refuses, the last one being `.git` on Windows."""

_DISTRUST = "do not trust this file; ask upstream or the index's owner"
_LAST_SECOND = 2**32 - 1


@dataclass(frozen=True)
class Member:
    """One regular file of an sdist, its path relative to the archive's one top folder."""

    path: str
    executable: bool
    content: bytes

    @property
    def mode(self) -> str:
        """The file's mode as git writes it."""
        return "100755" if self.executable else "100644"


def read_sdist(path: Path) -> list[Member]:
    """Read every file of a tar archive, sorted by path.

    Raises EnvironmentFailedError for an archive that cannot be read or that names a path outside its own folder.
    """
    with _opened(path) as archive:
        members = [_member(archive, info, path.name) for info in archive if not info.isdir()]
    _check_tops(members, path.name)
    return sorted((Member(inside, executable, content) for _, inside, executable, content in members), key=lambda m: m.path)


def newest_time(path: Path) -> int:
    """Return the newest modification time in an archive, in seconds since the epoch."""
    with _opened(path) as archive:
        newest = max((int(info.mtime) for info in archive), default=0)
    return min(max(newest, 0), _LAST_SECOND)


def iter_fast_import(members: list[Member]) -> Iterator[bytes]:
    """Give the file commands of a `git fast-import` commit that holds just these files."""
    yield b"deleteall\n"
    for member in members:
        yield f"M {member.mode} inline ".encode() + _quoted(member.path) + b"\n"
        yield f"data {len(member.content)}\n".encode() + member.content + b"\n"


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive; whatever is wrong with its bytes becomes one error.

    It is unpacked to its end first: tarfile alone stops before the checksum.
    """
    try:
        content = io.BytesIO(gzip.decompress(path.read_bytes()))
        with tarfile.open(fileobj=content, mode="r:", encoding="utf-8") as archive:
            yield archive
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise EnvironmentFailedError(f"{path.name} is not a readable archive: {error}", hint=_DISTRUST) from error


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> tuple[str, str, bool, bytes]:
    """Return top folder, path below it, mode and content of one member, or refuse it."""
    parts = info.name.split("/")
    if not info.isreg():
        raise EnvironmentFailedError(f"{name} holds {info.name!r}, which is a link or a device: refused", hint=_DISTRUST)
    if PurePosixPath(info.name).is_absolute() or "\\" in info.name or len(parts) < 2 or any(map(_unsafe, parts)):
        raise EnvironmentFailedError(f"{name} holds the path {info.name!r}, which leaves its folder: refused", hint=_DISTRUST)
    file = archive.extractfile(info)
    content = b"" if file is None else file.read()
    return parts[0], "/".join(parts[1:]), bool(info.mode & stat.S_IXUSR), content


def _unsafe(part: str) -> bool:
    return part in _FORBIDDEN or part.rstrip(". ").lower() in _FORBIDDEN or "\n" in part or "\0" in part


def _check_tops(members: list[tuple[str, str, bool, bytes]], name: str) -> None:
    """Refuse an archive with several top folders, with one path twice, or with a file that is a folder too."""
    tops = sorted({top for top, *_ in members})
    paths = [inside for _, inside, *_ in members]
    folders = {str(parent) for inside in paths for parent in PurePosixPath(inside).parents}
    if len(tops) != 1 or len(set(paths)) != len(paths) or folders.intersection(paths):
        raise EnvironmentFailedError(f"{name} is not an sdist: top folders {tops or 'none'}, {len(paths)} files", hint=_DISTRUST)


def _quoted(path: str) -> bytes:
    """Quote a path as fast-import reads it; bytes that are no UTF-8 come back as they were in the archive."""
    return b'"' + path.encode(errors="surrogateescape").replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
