"""Find hunks for files that upstream does not ship, where no probe would see them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from scripts.core.config import Config
from scripts.core.errors import Problem
from scripts.core.git import Git
from scripts.core.model import Patch, Release
from scripts.core.repository import Repository
from scripts.series.patch_series import Series
from scripts.series.series_checks import place
from scripts.upstream import import_folder

_FILE = re.compile(r"^diff --git a/(?:.+) b/(?P<new>.+)$")
_END = "-- "


def shipped_places(git: Git, config: Config, release: Release) -> tuple[str, ...]:
    """Return the folders and modules that a release ships, or nothing if that is not known."""
    names = git.text("ls-tree", "-r", "--name-only", release.tree).splitlines()

    def read(name: str) -> str:
        return git.run("cat-file", "blob", f"{release.tree}:{name}").text

    given = config.upstream.configured_import_folder(release.version)
    folder = (
        given
        if given and import_folder.has_code(names, given)
        else import_folder.import_folder(names, read)
    )
    return import_folder.shipped_places(names, read, folder)


def place_problems(repo: Repository, series: Series, shipped: Sequence[str]) -> Iterator[Problem]:
    """Yield the files of live patches that are outside of what upstream ships."""
    for patch in series.active if shipped else ():
        for path, first, last in diff_places(patch):
            if not _is_within(path, shipped):
                delete = f"delete lines {first} to {last} of {place(repo, patch)}"
                yield _problem(repo.config, path, shipped, delete).at(place(repo, patch))


def diff_places(patch: Patch) -> Iterator[tuple[str, int, int]]:
    """Yield each file that a patch changes, with the first and last line of its part."""
    lines = patch.path.read_text(encoding="utf-8", errors="replace").splitlines()
    # A mail may end with a signature: `-- ` and git's version.
    end = len(lines) - lines[::-1].index(_END) - 1 if _END in lines[-3:] else len(lines)
    starts = [number for number, line in enumerate(lines) if _FILE.match(line)]
    for start, last in itertools.pairwise([*starts, end]):
        found = _FILE.match(lines[start])
        assert found is not None
        yield found["new"], start + 1, last


def _is_within(path: str, shipped: Sequence[str]) -> bool:
    return any(path == item or (item.endswith("/") and path.startswith(item)) for item in shipped)


def _problem(config: Config, path: str, shipped: Sequence[str], delete: str) -> Problem:
    """Say why a file does not belong into a patch, and where its content goes."""
    package = config.overrides.package
    if path.startswith(f"{package}/"):
        text = f"a hunk for {path}: override modules are files of this repository"
        return Problem(text, f"put the module into {path} here, and {delete}")
    outside = f"a hunk for {path}, outside of what upstream ships ({', '.join(shipped)})"
    files = config.suite.files if config.suite else ()
    if any(path == item or path.startswith(f"{item}/") for item in files):
        return Problem(
            f"{outside}: upstream's tests run as upstream wrote them",
            f"{delete}; a test that may fail goes into [suite.excused] of fork.toml",
        )
    return Problem(f"{outside}: no probe imports it", delete)
