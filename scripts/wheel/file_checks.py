"""Check a wheel as a file: CycloneDX's schema, twine and check-wheel-contents."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from check_wheel_contents.checker import WheelChecker
from check_wheel_contents.checks import Check
from check_wheel_contents.contents import WheelContents
from check_wheel_contents.errors import WheelValidationError

from scripts.core.result_cache import ResultCache, digest
from scripts.core.subprocesses import run
from scripts.probes.environments import WheelFile
from scripts.wheel.contents import SBOMS, read_contents
from scripts.wheel.sbom import sbom_problem

_CHECKERS = ("check-wheel-contents", "cyclonedx-python-lib", "twine")
_LICENSE = re.compile(r"(?i)(licen[cs]e|copying|notice)[^/]*$")
"""The path of a file that a fork may have in common with upstream, word for word."""


def cached_file_problems(store: ResultCache, wheel: WheelFile) -> list[str]:
    """Return a file's faults, cached by its sha256 and the versions of the checking programs."""
    versions = [importlib.metadata.version(name) for name in _CHECKERS]
    key = digest("file, equal licences allowed", wheel.sha256, versions)
    kept = store.get(key)
    if kept is None:
        kept = list(_file_problems(wheel.path))
        store.put(key, kept)
    return list(kept)


def _file_problems(path: Path) -> Iterator[str]:
    """Yield the faults that CycloneDX's schema, twine and check-wheel-contents report.

    The fork's own package is expected next to upstream's.
    """
    contents = read_contents(path)
    yield from filter(
        None,
        (
            sbom_problem(file)
            for name, file in contents.info.items()
            if name.startswith(f"{SBOMS}/")
        ),
    )
    words = ["twine", "--no-color", "check", "--strict", str(path)]
    done = run([sys.executable, "-m", *words], cwd=path.parent, ok=None)
    if done.code != 0:
        yield (done.stdout + done.stderr).decode(errors="replace").strip()
    # A single module is named with its suffix.
    tops = {name.partition("/")[0] for name in contents.library}
    yield from _content_problems(path, sorted(tops))


def _content_problems(path: Path, expected: list[str]) -> Iterator[str]:
    """Yield the findings of check-wheel-contents, except that licences are equal.

    Its command line can only ignore equal files of every kind.
    """
    checker = WheelChecker()
    checker.configure_options(toplevel=expected)
    try:
        found = checker.check_contents(WheelContents.from_wheel(path))
    except WheelValidationError as error:
        yield f"{path.name}: {error}"
        return
    for failure in found:
        if failure.check is not Check.W002 or not all(map(_LICENSE.search, failure.args)):
            yield str(failure.show(path.name))
