"""The files of a wheel, read from a backend's wheel; equal files are written as equal bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata
from packaging.tags import parse_tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from scripts.core.errors import UsageError

LICENSES = "licenses"
SBOMS = "sboms"

_OLDEST_METADATA = "2.4"
"""The first metadata version that has `License-File`."""

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class WheelContents:
    """A pure wheel's files: those for `site-packages`, and `.dist-info` by the names inside it."""

    name: str
    version: str
    library: Files
    info: Files

    @property
    def info_folder(self) -> str:
        """The name of the `.dist-info` folder."""
        return f"{_escaped(self.name)}-{self.version}.dist-info"

    @property
    def file_name(self) -> str:
        """The name of the wheel's file."""
        return f"{_escaped(self.name)}-{self.version}-py3-none-any.whl"

    @property
    def files(self) -> dict[str, bytes]:
        """Every file except RECORD by its path in the wheel, in the order of writing."""
        info = {
            f"{self.info_folder}/{name}": content for name, content in sorted(self.info.items())
        }
        return {**dict(sorted(self.library.items())), **info}

    @property
    def packages(self) -> set[str]:
        """The top-level modules and packages that are installed."""
        return {path.partition("/")[0].removesuffix(".py") for path in self.library}

    def with_files(
        self, *, library: Files | None = None, info: Files | None = None
    ) -> WheelContents:
        """Return the contents with more files, which replace those of the same name."""
        return replace(
            self, library={**self.library, **(library or {})}, info={**self.info, **(info or {})}
        )

    def metadata(self) -> Metadata:
        """Return the decoded METADATA; raises UsageError if it is not valid core metadata."""
        try:
            return Metadata.from_email(self.info["METADATA"], validate=True)
        except (ExceptionGroup, InvalidMetadata) as error:
            problems = getattr(error, "exceptions", [error])
            raise UsageError(
                f"the wheel's metadata is not valid: {'; '.join(map(str, problems))}",
                hint="see [wheel] in fork.toml",
            ) from error


def read_contents(
    path: Path, *, origin: str = "the backend made", hint: str = "see [wheel] in fork.toml"
) -> WheelContents:
    """Return the contents of a wheel; an error begins with `origin` and ends with `hint`.

    Raises UsageError if it is not pure Python, or if it installs files outside the library.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise UsageError(f"{origin} {path.name}, which is no wheel: {error}", hint=hint) from error
    if not tags & set(parse_tag("py3-none-any")):
        raise UsageError(f"{origin} {path.name}, which is not for every Python 3", hint=hint)
    try:
        files = _unpack(path)
        folder = next(top for name in files if (top := _top(name)).endswith(".dist-info"))
        metadata = files[f"{folder}/METADATA"]
    except (OSError, zipfile.BadZipFile, StopIteration, KeyError) as error:
        raise UsageError(
            f"{origin} {path.name}, which cannot be read as a wheel: {error!r}", hint=hint
        ) from error
    library = {
        path: content for path, content in files.items() if not path.startswith(f"{folder}/")
    }
    elsewhere = sorted({top for path in library if (top := _top(path)).endswith(".data")})
    if elsewhere:
        raise UsageError(
            f"{origin} {path.name}, which installs scripts or data outside the library:"
            f" {elsewhere[0]}",
            hint=hint,
        )
    info = {
        path.removeprefix(f"{folder}/"): content
        for path, content in files.items()
        if path.startswith(f"{folder}/")
    }
    # METADATA has the name as it is written, the file name has it normalised.
    return WheelContents(
        _metadata_name(metadata) or name, str(version), library, _without(info, {"RECORD"})
    )


def _unpack(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {
            info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()
        }


def _top(path: str) -> str:
    """Return the first part of a path."""
    return path.partition("/")[0]


def with_metadata(
    contents: WheelContents,
    version: str,
    fields: Iterable[tuple[str, str]],
    defaults: Mapping[str, str],
) -> WheelContents:
    """Return the contents under another version, with more fields in METADATA.

    `defaults` are added only for fields that METADATA does not have yet. Raises UsageError if the
    result is not valid core metadata.
    """
    head, blank, body = contents.info["METADATA"].decode().replace("\r\n", "\n").partition("\n\n")
    lines = [_updated_field(line, version) for line in head.splitlines()]
    known = {line.partition(":")[0].lower() for line in lines}
    added = [
        *((name, value) for name, value in defaults.items() if name.lower() not in known),
        *fields,
    ]
    text = "\n".join([*lines, *(f"{name}: {value}" for name, value in added)])
    info = {
        "METADATA": (text + blank + body).encode(),
        "WHEEL": _wheel_file(contents.info["WHEEL"]),
    }
    if "top_level.txt" in contents.info:
        info["top_level.txt"] = "".join(f"{name}\n" for name in sorted(contents.packages)).encode()
    changed = replace(contents, version=version).with_files(info=info)
    changed.metadata()  # raises if it is not valid
    return changed


def write_wheel(contents: WheelContents, moment: datetime) -> bytes:
    """Return the bytes of a wheel, which depend only on the contents and the moment.

    Files are stored, not compressed, because two builds of zlib may compress to different bytes.
    """
    buffer = io.BytesIO()
    files = contents.files
    files[f"{contents.info_folder}/RECORD"] = record_file(files, f"{contents.info_folder}/RECORD")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files.items():
            archive.writestr(_entry(path, moment), content)
    return buffer.getvalue()


def record_file(files: Files, own: str) -> bytes:
    """Return RECORD: the path, sha256 and size in bytes of each file, and `own`, its own path."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for path, content in files.items():
        sha = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((path, f"sha256={sha}", len(content)))
    rows.writerow((own, "", ""))
    return text.getvalue().encode()


def _entry(path: str, moment: datetime) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, moment.timetuple()[:6])
    entry.create_system = 3  # Unix, whatever the system is
    entry.external_attr = 0o100644 << 16
    return entry


def _updated_field(line: str, version: str) -> str:
    name, _, value = line.partition(": ")
    if name == "Version":
        return f"Version: {version}"
    if name == "Metadata-Version" and tuple(map(int, value.split("."))) < tuple(
        map(int, _OLDEST_METADATA.split("."))
    ):
        return f"Metadata-Version: {_OLDEST_METADATA}"
    return line


def _wheel_file(content: bytes) -> bytes:
    """Return the WHEEL file for Python 3 alone, because the fork's package supports no other."""
    lines = [line for line in content.decode().splitlines() if line and not line.startswith("Tag:")]
    return "".join(f"{line}\n" for line in [*lines, "Tag: py3-none-any"]).encode()


def _metadata_name(metadata: bytes) -> str:
    return next(
        (line[6:].strip() for line in metadata.decode().splitlines() if line.startswith("Name: ")),
        "",
    )


def _escaped(name: str) -> str:
    return canonicalize_name(name).replace("-", "_")


def _without(files: Files, names: set[str]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path not in names}
