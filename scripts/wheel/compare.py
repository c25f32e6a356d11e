"""Compare two wheels: their files, metadata, patches, features and public names."""

from __future__ import annotations

import difflib
import email
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from packaging.requirements import InvalidRequirement, Requirement

from scripts.series.override_files import SERIES_FILE
from scripts.wheel.contents import WheelContents
from scripts.wheel.provenance import RECORD
from scripts.wheel.public_names import literal, public_names

K = TypeVar("K", str, tuple[str, str])
T = TypeVar("T")


@dataclass(frozen=True)
class Difference:
    """What differs between two wheels in one respect, each thing as a text."""

    what: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class Comparison:
    """Two wheels, by name and version, and what differs between them."""

    old: str
    new: str
    differences: tuple[Difference, ...]

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return any(self.differences)


def compare(old: WheelContents, new: WheelContents) -> Comparison:
    """Return what differs between two wheels.

    One without the fork's record, such as upstream's own, has no patches and no features.
    """
    return Comparison(
        f"{old.name} {old.version}",
        f"{new.name} {new.version}",
        (
            _difference("files", _files(old), _files(new), _describe_file),
            _difference("metadata", _metadata(old), _metadata(new), _describe_field),
            _difference("patches", _patches(old), _patches(new), _describe_patch),
            _difference("features", _features(old), _features(new), _describe_name),
            _difference(
                "public names",
                public_names(old.library),
                public_names(new.library),
                _describe_name,
            ),
        ),
    )


def _difference(
    what: str, old: Mapping[K, T], new: Mapping[K, T], describe: Callable[..., str]
) -> Difference:
    """Compare two mappings; `describe` is called with a name and its value, or both values."""
    return Difference(
        what,
        tuple(describe(name, new[name]) for name in sorted(new.keys() - old.keys())),
        tuple(describe(name, old[name]) for name in sorted(old.keys() - new.keys())),
        tuple(
            describe(name, old[name], new[name])
            for name in sorted(old.keys() & new.keys())
            if old[name] != new[name]
        ),
    )


def _files(wheel: WheelContents) -> dict[str, bytes]:
    """Return a wheel's files; the name of `.dist-info` is left out, because it has the version."""
    info = {f".dist-info/{name}": content for name, content in wheel.info.items()}
    return {**wheel.library, **info}


def _metadata(wheel: WheelContents) -> dict[tuple[str, str], str]:
    """Return the fields of METADATA; one that may stand several times has its value in the key."""
    message = email.message_from_bytes(wheel.info["METADATA"])
    fields = [(name, _normalized(name, str(value))) for name, value in message.items()]
    found = {((name, value) if name in _REPEATED else (name, "")): value for name, value in fields}
    return found | {("Description", ""): str(message.get_payload())}


def _normalized(name: str, value: str) -> str:
    """Return a requirement as it is always written, because backends differ in white space."""
    try:
        return str(Requirement(value)) if name == "Requires-Dist" else value
    except InvalidRequirement:
        return value


_REPEATED = frozenset(
    (
        *("Classifier", "Dynamic", "Import-Name", "Import-Namespace", "License-File", "Platform"),
        *("Obsoletes-Dist", "Project-URL", "Provides-Dist", "Provides-Extra", "Requires-Dist"),
        *("Requires-External", "Supported-Platform"),
    )
)
"""The fields of core metadata that may stand several times."""


def _patches(wheel: WheelContents) -> dict[str, tuple[str, str]]:
    """Return the sha256 and the title of each patch, by its id."""
    record = _record(wheel)
    return {item["id"]: (item["sha256"], item["title"]) for item in record.get("patches", ())}


def _features(wheel: WheelContents) -> dict[str, str]:
    """Return the features that a wheel brings; where it names none, its patches are features."""
    folder = _fork_package(wheel)
    named = literal(wheel.library.get(f"{folder}/{SERIES_FILE}", b""), "FEATURES")
    names = named if isinstance(named, tuple) else _patches(wheel)
    return dict.fromkeys(map(str, names), "")


def _record(wheel: WheelContents) -> dict[str, Any]:
    folder = _fork_package(wheel)
    found: dict[str, Any] = json.loads(wheel.library.get(f"{folder}/{RECORD}", b"{}"))
    return found


def _fork_package(wheel: WheelContents) -> str:
    """Return the folder that has the fork's record; empty if there is none."""
    places = (PurePosixPath(path) for path in wheel.library)
    return next((str(place.parent) for place in places if place.name == RECORD), "")


def _describe_file(path: str, *contents: bytes) -> str:
    return f"{path} ({' → '.join(f'{len(content):,}' for content in contents)} bytes)"


def _describe_field(field: tuple[str, str], *values: str) -> str:
    name, _ = field
    if any("\n" in value for value in values):
        return f"{name}: {_describe_lines(*values)}"
    return f"{name}: {' → '.join(values)}"


def _describe_lines(text: str, later: str | None = None) -> str:
    """Return how many lines a text has, or how many differ in a later one."""
    lines = text.splitlines()
    if later is None:
        return f"{len(lines)} lines"
    # Its first two lines name the files.
    diff = list(difflib.unified_diff(lines, later.splitlines(), n=0))[2:]
    first = [line[0] for line in diff]
    return f"{first.count('+')} lines added, {first.count('-')} removed"


def _describe_patch(name: str, *records: tuple[str, str]) -> str:
    _, title = records[-1]
    return f"{name}: {title}"


def _describe_name(name: str, *signatures: str) -> str:
    """Return a name with its signature, or with both of them, each on a line."""
    if len(signatures) == 1:
        return f"{name}{signatures[0]}"
    return "\n  ".join([name, *(text or "no signature" for text in signatures)])
