"""The record in a wheel of where it comes from; `python -m PACKAGE` reads it when installed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scripts.core.model import Patch, Release
from scripts.wheel.contents import WheelContents

SCHEMA = 1
RECORD = "_provenance.json"
"""The record's name inside the fork's own package."""


@dataclass(frozen=True)
class Provenance:
    """What a wheel is made of: a release, the patched tree, the patches, and the waived verdicts.

    `waived` maps the ids of features to the reasons.
    """

    release: Release
    tree: str
    patches: tuple[Patch, ...]
    waived: Mapping[str, str] = field(default_factory=dict)

    def record(self, contents: WheelContents) -> bytes:
        """Return the record of a wheel with exactly these contents.

        It holds no time, so that equal wheels have equal records.
        """
        document = {
            "schema": SCHEMA,
            "name": contents.name,
            "version": contents.version,
            "upstream": {
                "version": self.release.version,
                "file": self.release.file,
                "sha256": self.release.sha256,
            },
            "tree": self.tree,
            "patches": [
                {"id": patch.id, "title": patch.title, "sha256": patch.sha256}
                for patch in self.patches
            ],
            "waived": dict(sorted(self.waived.items())),
            "files": digests(contents.files.items()),
        }
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def digests(files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Return the sha256 of each file, by path."""
    return {path: hashlib.sha256(content).hexdigest() for path, content in files}
