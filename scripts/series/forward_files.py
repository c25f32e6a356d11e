"""The folders `tests/forward/ID`: files for upstream, of which each belongs to a live patch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from scripts.core.config import near_misses
from scripts.core.errors import Problem
from scripts.core.repository import Repository
from scripts.series.patch_series import Series

FOLDER = PurePosixPath("tests", "forward")
"""Where these folders are, relative to the repository."""


def unused_forward_folders(repo: Repository, series: Series) -> Iterator[Problem]:
    """Yield the folders of patches that have retired or that nobody knows.

    `forward` takes a live patch, so it would never read them.
    """
    live, retired = ({patch.id for patch in found} for found in (series.active, series.retired))
    for path in sorted((repo.root / FOLDER).glob("*/")):
        name, where = path.name, str(FOLDER / path.name)
        if name in live or not any(item.is_file() for item in path.rglob("*")):
            continue
        word, gone = shlex.quote(where), name in retired
        near = [] if gone else near_misses(name, sorted(live))
        ways = [f"mv {word} {shlex.quote(str(FOLDER / other))}" for other in near]
        text = f"the patch {name} has retired" if gone else f"there is no patch {name}"
        advice = "\n".join([*ways, f"rm -r {word}"])
        yield Problem(f"{text}, so `forward` never reads it", advice, where)
