"""The two packages that a patch is made of: the fork's override package, and upstream's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from scripts.forward.imports import find_imports
from scripts.series.override_files import module_of


@dataclass(frozen=True)
class OverrideCode:
    """The override package: the text of each file, and the patch that each belongs to.

    A file that no patch brings is the fork's own, in every tree.
    """

    package: str
    texts: Mapping[str, str]
    owners: Mapping[str, str]


@dataclass(frozen=True)
class UpstreamPackage:
    """Upstream's package in the source: its name, its folder, its modules, what its code imports.

    What it imports counts as its requirements. Its metadata might lack some of them, and names what
    is installed rather than what is imported.
    """

    name: str
    folder: str
    modules: frozenset[str]
    imports: frozenset[str]


def upstream_package(
    folder: str, paths: Sequence[str], texts: Mapping[str, str]
) -> UpstreamPackage | None:
    """Return the one package that all changed paths are in, or None.

    `folder` is where upstream's modules are imported from, `texts` are the Python files below it.
    """
    inside = [PurePosixPath(path) for path in paths]
    near = [path.relative_to(folder) for path in inside if path.is_relative_to(folder)]
    names = {path.parts[0] if len(path.parts) > 1 else "" for path in near}
    if len(names) != 1 or "" in names or len(near) < len(inside):
        return None
    name = names.pop()
    place = PurePosixPath(folder, name)
    own = {path: text for path, text in texts.items() if PurePosixPath(path).is_relative_to(place)}
    direct = [PurePosixPath(path).relative_to(place).parts for path in own]
    dotted = {path: module_of(str(PurePosixPath(path).relative_to(folder))) for path in own}
    return UpstreamPackage(
        name,
        str(place),
        frozenset(parts[0].removesuffix(".py") for parts in direct),
        frozenset(
            found.top for path, text in own.items() for found in find_imports(text, dotted[path])
        ),
    )
