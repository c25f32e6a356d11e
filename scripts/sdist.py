"""An sdist's files, read from the archive without ever writing a path that it names."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scripts.errors import EnvironmentFailedError

_FORBIDDEN = frozenset({"", ".", "..", ".git"})


@dataclass(frozen=True)
class Member:
    """One regular file of an sdist, its path relative to the archive's one top folder."""

    path: str
    executable: bool
    content: bytes


def read_sdist(path: Path) -> list[Member]:
    """Read every file of a tar archive, sorted by path.

    Raises EnvironmentFailedError for an archive that cannot be read or that names a path outside its own folder.
    """
    try:
        with tarfile.open(path) as archive:
            members = [_member(archive, info, path.name) for info in archive if not info.isdir()]
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise EnvironmentFailedError(f"{path.name} is not a readable archive: {error}", hint="run vendor again") from error
    _check_tops(members, path.name)
    return sorted((Member(inside, executable, content) for _, inside, executable, content in members), key=lambda m: m.path)


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> tuple[str, str, bool, bytes]:
    """Return top folder, path below it, mode and content of one member, or refuse it."""
    parts = info.name.split("/")
    if not info.isreg():
        raise EnvironmentFailedError(f"{name} holds {info.name!r}, which is a link or a device: refused", hint=_DISTRUST)
    if PurePosixPath(info.name).is_absolute() or "\\" in info.name or len(parts) < 2 or _unsafe(parts):
        raise EnvironmentFailedError(f"{name} holds the path {info.name!r}, which leaves its folder: refused", hint=_DISTRUST)
    file = archive.extractfile(info)
    content = b"" if file is None else file.read()
    return parts[0], "/".join(parts[1:]), bool(info.mode & stat.S_IXUSR), content


def _unsafe(parts: list[str]) -> bool:
    return any(part in _FORBIDDEN or part.lower() == ".git" or "\n" in part or "\0" in part for part in parts)


def _check_tops(members: list[tuple[str, str, bool, bytes]], name: str) -> None:
    """Refuse an archive with several top folders, or with one path twice."""
    tops = sorted({top for top, *_ in members})
    paths = [inside for _, inside, *_ in members]
    if len(tops) != 1 or len(set(paths)) != len(paths):
        raise EnvironmentFailedError(f"{name} is not an sdist: top folders {tops or 'none'}, {len(paths)} files", hint=_DISTRUST)


def executable_mode(member: Member) -> str:
    """Return the file mode as git writes it."""
    return "100755" if member.executable else "100644"


_DISTRUST = "do not trust this file; ask upstream or the index's owner"


def newest_time(path: Path) -> int:
    """Return the newest modification time in an archive, in seconds since the epoch."""
    with tarfile.open(path) as archive:
        return max((int(info.mtime) for info in archive), default=0)


def iter_fast_import(members: list[Member]) -> Iterator[bytes]:
    """Give the file commands of a `git fast-import` commit that holds just these files."""
    yield b"deleteall\n"
    for member in members:
        yield f"M {executable_mode(member)} inline {_quoted(member.path)}\n".encode()
        yield f"data {len(member.content)}\n".encode() + member.content + b"\n"


def _quoted(path: str) -> str:
    """Quote a path as fast-import reads it."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
