"""Find the folder of a release from which its modules are imported.

Its own metadata decides; without any, its files do.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from configparser import ConfigParser, Error
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

TOP = "."
"""The tree's own folder."""

_USUAL = "src"
NOT_SHIPPED = frozenset(
    {
        "benchmarks",
        "doc",
        "docs",
        "example",
        "examples",
        "scripts",
        "test",
        "testing",
        "tests",
        "tools",
    }
)
"""Packages beside the code in many sdists, which do not show where the code is."""

_PACKAGE_DIR = re.compile(
    r"""package_dir\s*=\s*(?:dict\(|\{)?[^})]*?["']["']\s*:\s*["']([^"']+)["']"""
)

ReadFile = Callable[[str], str]
"""A function that returns the text of a file by its path in the tree."""


def import_folder(names: Sequence[str], read: ReadFile) -> str:
    """Return the folder, relative to the tree, from which the code of these files is imported."""
    known = set(names)
    for folder in (*_egg_info_folders(names, read), *_declared_folders(known, read)):
        place = str(PurePosixPath(folder))
        if place == TOP or has_code(names, place):
            return place
    # Nothing is declared: `src` counts only if all code is in it.
    return (
        _USUAL if _packages(names, f"{_USUAL}/") and not _packages(names, "") - NOT_SHIPPED else TOP
    )


def has_code(names: Iterable[str], folder: str) -> bool:
    """Return whether a folder, relative to the tree, contains a module."""
    return any(
        name.endswith(".py") and (folder == TOP or name.startswith(f"{folder}/")) for name in names
    )


def shipped_places(names: Sequence[str], read: ReadFile, folder: str) -> tuple[str, ...]:
    """Return what a release ships of its import folder: folders (`name/`) and modules (`name.py`).

    Its metadata decides, else its files. Returns nothing if neither shows it.
    """
    known = set(names)
    tops = [top for at, found in _egg_infos(names, read) if at == folder for top in found]
    prefix = "" if folder == TOP else f"{folder}/"
    if not tops:
        packages = _packages(names, prefix)
        tops = [f"{prefix}{name.removesuffix('.py')}" for name in packages - NOT_SHIPPED]
    modules = (f"{top}.py" for top in tops if f"{top}.py" in known)
    return (*sorted(f"{top}/" for top in tops if f"{top}.py" not in known), *sorted(modules))


def _egg_info_folders(names: Sequence[str], read: ReadFile) -> Iterator[str]:
    """Yield the folder of a `*.egg-info` that contains one of its top-level modules."""
    return (folder for folder, _ in _egg_infos(names, read))


def _egg_infos(names: Sequence[str], read: ReadFile) -> Iterator[tuple[str, list[str]]]:
    """Yield the folder of each `*.egg-info` with the paths of its top-level modules there."""
    for name in names:
        path = PurePosixPath(name)
        if path.name == "top_level.txt" and path.parent.suffix == ".egg-info":
            folder = path.parent.parent
            tops = [
                top
                for top in (str(folder / word) for word in read(name).split())
                if any(other == f"{top}.py" or other.startswith(f"{top}/") for other in names)
            ]
            if tops:
                yield str(folder), tops


def _declared_folders(names: set[str], read: ReadFile) -> Iterator[str]:
    """Yield the folders declared in the files of a build backend, which a checkout has too."""
    if "pyproject.toml" in names:
        with suppress(tomllib.TOMLDecodeError):
            yield from _of_pyproject(tomllib.loads(read("pyproject.toml")).get("tool", {}))
    if "setup.cfg" in names:
        yield from _of_setup_cfg(read("setup.cfg"))
    if "setup.py" in names:
        yield from _PACKAGE_DIR.findall(read("setup.py"))[:1]


def _of_pyproject(tools: Any) -> Iterator[str]:
    """Yield the folders in the tables of setuptools, poetry, hatch, pdm, uv and maturin."""
    setuptools = tools.get("setuptools", {})
    yield from filter(None, [setuptools.get("package-dir", {}).get("")])
    packages = setuptools.get("packages")
    yield from packages.get("find", {}).get("where", [])[:1] if isinstance(packages, dict) else []
    poetry = [
        item.get("from", TOP)
        for item in tools.get("poetry", {}).get("packages", [])
        if isinstance(item, dict)
    ]
    # hatch names packages (`src/name`), the others the folder that contains them.
    hatch = (
        tools.get("hatch", {})
        .get("build", {})
        .get("targets", {})
        .get("wheel", {})
        .get("packages", [])
    )
    pdm = tools.get("pdm", {})
    yield from (*poetry[:1], *(str(PurePosixPath(item).parent) for item in hatch[:1]))
    yield from filter(None, [pdm.get("build", {}).get("package-dir"), pdm.get("package-dir")])
    yield from filter(None, [tools.get("uv", {}).get("build-backend", {}).get("module-root")])
    yield from filter(None, [tools.get("maturin", {}).get("python-source")])


def _of_setup_cfg(text: str) -> Iterator[str]:
    config = ConfigParser(interpolation=None)
    with suppress(Error):
        config.read_string(text)
    for line in config.get("options", "package_dir", fallback="").splitlines():
        package, equals, folder = line.partition("=")
        if equals and not package.strip():
            yield folder.strip()
    yield from config.get("options.packages.find", "where", fallback="").split()[:1]


def _packages(names: Sequence[str], folder: str) -> set[str]:
    """Return the packages directly in a folder and, below the top, its modules too.

    `folder` is empty or ends with a slash.
    """
    parts = [name.removeprefix(folder).split("/") for name in names if name.startswith(folder)]
    found = {part[0] for part in parts if len(part) == 2 and part[1] == "__init__.py"}
    return found | {
        part[0] for part in parts if folder and len(part) == 1 and part[0].endswith(".py")
    }
