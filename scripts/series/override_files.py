"""The files of the override package that a patch brings.

`Overrides:` names modules (`cache.locks`) or whole folders (`cache/`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from scripts.core.model import Patch

SERIES_FILE = "_series.py"
"""The module that lists the patches of a tree; written when the tree is built."""


def module_files(folder: Path) -> frozenset[str]:
    """Return the modules of a package, relative to its folder, without the `__init__.py` files."""
    return frozenset(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if path.name != "__init__.py"
    )


def file_of(module: str) -> str:
    """Return the path of a dotted module, relative to the package's folder."""
    return f"{module.replace('.', '/')}.py"


def module_of(file: str) -> str:
    """Return the dotted name of the module at a path."""
    return file.removesuffix(".py").replace("/", ".")


def matching_files(name: str, files: Collection[str]) -> frozenset[str]:
    """Return the files that a name of `Overrides:` stands for; a folder means all below it."""
    if name.endswith("/"):
        return frozenset(file for file in files if file.startswith(name))
    return frozenset({file_of(name)}.intersection(files))


def plain_name(name: str, package: str) -> str:
    """Return a name of `Overrides:` that is a path, or has the package in it, in the usual form."""
    parts = name.removesuffix(".py").replace("/", ".").strip(".").split(".")
    module = ".".join(parts[1:] if parts[0] == package else parts)
    return f"{module.replace('.', '/')}/" if name.endswith("/") else module


def usual_name(name: str, package: str, files: Collection[str]) -> str:
    """Return how `Overrides:` names what a path or a name with the package stands for, or nothing.

    A folder may also lack the slash at its end.
    """
    plain = plain_name(name, package)
    if matching_files(plain, files):
        return plain
    folder = f"{plain.rstrip('/').replace('.', '/')}/"
    return folder if matching_files(folder, files) else ""


def files_by_patch(patches: Iterable[Patch], files: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the files that each patch brings, by the patch's id.

    If several names stand for a file, only the most specific ones count.
    """
    claims: dict[str, dict[str, int]] = {}
    for patch in patches:
        for name in patch.overrides:
            for file in matching_files(name, files):
                by_patch = claims.setdefault(file, {})
                by_patch[patch.id] = max(_specificity(name), by_patch.get(patch.id, 0))
    found: dict[str, list[str]] = {}
    for file, by_patch in sorted(claims.items()):
        for patch_id, specificity in by_patch.items():
            if specificity == max(by_patch.values()):
                found.setdefault(patch_id, []).append(file)
    return {patch_id: tuple(brought) for patch_id, brought in found.items()}


def with_package_inits(files: Iterable[str], folder: Path) -> list[str]:
    """Add the `__init__.py` of each folder that contains one of the files, if there is one."""
    parents = {parent for file in files for parent in PurePosixPath(file).parents if parent.name}
    inits = (str(parent / "__init__.py") for parent in parents)
    return sorted({*files, *(init for init in inits if (folder / init).is_file())})


def imported_files(file: str, source: str, package: str, files: Collection[str]) -> Iterator[str]:
    """Yield the files that a module needs when it is imported.

    Imports inside functions do not count, because they run only if the imported module is there.
    Source that is not Python yields nothing, because other checks report it.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for item in tree.body:
        for name in _imported_names(item, f"{package}.{module_of(file)}"):
            parts = name.split(".")
            if parts[0] == package:
                # The name may be a module or something in one.
                candidates = (f"{'/'.join(parts[1:end])}.py" for end in range(len(parts), 1, -1))
                yield from (candidate for candidate in candidates if candidate in files)


def _imported_names(item: ast.stmt, module: str) -> Iterator[str]:
    """Yield the dotted names that a statement imports: modules, or names in modules."""
    if isinstance(item, ast.Import):
        yield from (alias.name for alias in item.names)
    elif isinstance(item, ast.ImportFrom):
        above = module.split(".")[: -item.level] if item.level else []
        parent = ".".join([*above, *filter(None, [item.module])])
        yield from (f"{parent}.{alias.name}" for alias in item.names)


def _specificity(name: str) -> int:
    """Return how many folders a name contains; a module is more specific than any folder."""
    return name.count("/") if name.endswith("/") else sys.maxsize
