"""The files that a person writes for upstream, in `tests/forward/ID`: above all its new test.

They are laid over the source's tree. A module that stands in for an override module may be among
them. Nothing of upstream's own may be, for no text of upstream is committed to a fork.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath

from scripts.core.config import Suite
from scripts.core.errors import AttentionError, Problem, UsageError
from scripts.core.model import Feature
from scripts.core.repository import Repository, write_atomically
from scripts.series.forward_files import FOLDER

TO_WRITE = "<the test, in the style of upstream's own>"
"""What a template holds until somebody has written the test."""

_PATTERNS = ("test*.py", "*_test.py")


@dataclass(frozen=True)
class NewFiles:
    """The files of `tests/forward/ID`, by their paths in upstream's tree.

    `folder` is relative to the repository.
    """

    folder: PurePosixPath
    contents: Mapping[str, bytes]

    @property
    def tests(self) -> tuple[str, ...]:
        """The files that are run."""
        return tuple(name for name in self.contents if is_test(name))


def is_test(name: str) -> bool:
    """Return whether a file is one of tests, by its name."""
    return any(fnmatch(PurePosixPath(name).name, pattern) for pattern in _PATTERNS)


def read_new_files(repo: Repository, patch_id: str) -> NewFiles:
    """Read the files; there may be none."""
    place = FOLDER / patch_id
    folder = repo.root / place
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return NewFiles(
        place, {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    )


def check_new_files(new: NewFiles, suite: Suite, upstream: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong with the files; `upstream` are the files of the source."""
    for name, content in new.contents.items():
        where = str(new.folder / name)
        if name in upstream:
            yield Problem(
                "upstream has a file of that name", "write it as a new file of another name", where
            )
        if TO_WRITE.encode() in content:
            yield Problem(
                "it is still the template",
                f"write the test in place of `{TO_WRITE}`, and delete the lines above it",
                where,
            )
        if is_test(name) and not _is_copied(name, suite.files):
            yield Problem(
                f"upstream's tests are in {', '.join(suite.files)}, and it is outside of that",
                f"move it to {new.folder / suite.files[0]}",
                where,
            )


def _is_copied(name: str, files: Sequence[str]) -> bool:
    return any(name == file or PurePosixPath(name).is_relative_to(file) for file in files)


def write_template(
    repo: Repository, new: NewFiles, features: Sequence[Feature], again: str
) -> AttentionError:
    """Write the template of the test, and return the error that says what to write."""
    suite = suite_of(repo)
    first = PurePosixPath(suite.files[0])
    place = first.parent if first.suffix else first
    patch_id = new.folder.name
    path = new.folder / place / f"test_{patch_id.replace('-', '_')}.py"
    write_atomically(repo.root / path, _template(place, features).encode())
    return AttentionError(
        f"there is no test of {patch_id} for upstream's suite yet; a template of it is written:\n"
        f"    {path}\n"
        "    the test must fail without the change and pass with it; write it from scratch in\n"
        "    upstream's own style, import its helpers, and copy no text of upstream",
        hint=f"write the test, then `{again}`",
    )


def suite_of(repo: Repository) -> Suite:
    """Return how upstream's tests run; raise UsageError if fork.toml does not say."""
    if repo.config.suite is None:
        raise UsageError(
            "fork.toml has no [suite], so nothing can show that the change works for upstream",
            hint="add [suite] to fork.toml: files, tests, command",
        )
    return repo.config.suite


def _template(place: PurePosixPath, features: Sequence[Feature]) -> str:
    what = "\n\n".join(
        dict.fromkeys(text for item in features for text in (f"{item.title}.", item.why) if text)
    )
    advice = (
        "The test must fail there without the change and pass with it. Write it from scratch, as"
        " upstream writes its tests; import its helpers and models, and copy nothing. Other new"
        " files that it needs go beside it. Then delete these comments."
    )
    lines = [
        f"This file is laid over upstream's tree, in {place}/, beside its own tests.",
        advice,
        "What it has to show:",
        what,
    ]
    text = "\n\n".join(
        "\n\n".join(textwrap.fill(part, 96) for part in line.split("\n\n")) for line in lines
    )
    return f"{textwrap.indent(text, '# ', lambda _: True)}\n\n# {TO_WRITE}\n".replace("# \n", "#\n")
