"""Override modules that somebody wrote into the tree of `import` instead of the repository.

`import` writes none there, and every tree is built with the repository's, so they would be lost.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from scripts.core.errors import Problem, problems_error
from scripts.core.repository import Repository


def stray_modules(repo: Repository, place: Path) -> Iterator[Problem]:
    """Yield override modules that an imported tree has in another version than the repository."""
    package = repo.config.overrides.package
    for path in sorted((place / package).rglob("*.py")):
        name = path.relative_to(place).as_posix()
        here = repo.root / name
        if not here.is_file() or here.read_bytes() != path.read_bytes():
            there = shlex.quote(os.path.relpath(path, repo.root))
            text = f"{there} differs from it, and every tree is built with {name}"
            yield Problem(
                text if here.is_file() else f"it is only in {there}, and no tree is built with it",
                f"mv {there} {shlex.quote(name)}\nrm {there}",
                name,
            )


def check_no_stray_modules(repo: Repository, place: Path) -> None:
    """Raise one UsageError for all such modules."""
    found = list(stray_modules(repo, place))
    if found:
        package = repo.config.overrides.package
        title = f"override modules are files of {package}/ in the repository, not in {place}:"
        raise problems_error(title, found, hint="do what stands below each, then run this again")
