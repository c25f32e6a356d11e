"""The override modules that the hunks of a patch import."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.core.model import Patch
from scripts.core.repository import Repository
from scripts.series.override_files import module_files

_IMPORT = re.compile(r"^\s*(?:from|import)\s")


@dataclass(frozen=True)
class Import:
    """An import from a package: the module's dotted name in the package, and a name in it."""

    module: str
    name: str = ""


def imported_by_hunks(repo: Repository, patch: Patch) -> dict[str, str]:
    """Return the modules that added lines of a patch import, each with the first such file.

    Modules are files relative to the package, whether they exist or not.
    """
    files: dict[str, str] = {}
    for hunk in patch.hunks:
        for found in imports(hunk.added, repo.config.overrides.package):
            file = _file(repo, found)
            if file:
                files.setdefault(file, hunk.path)
    return files


def imports(lines: Sequence[str], package: str) -> Iterator[Import]:
    """Yield what added lines import from a package; an import may go over several lines."""
    for number, line in enumerate(lines):
        if _IMPORT.match(line):
            for node in _statement(lines[number:]):
                yield from _from_package(node, package)


def _statement(lines: Sequence[str]) -> list[ast.stmt]:
    """Return the statements that begin on the first line, or nothing if it is not Python."""
    for end in range(1, len(lines) + 1):
        try:
            return ast.parse(textwrap.dedent("\n".join(lines[:end]))).body
        except SyntaxError:
            if "(" not in lines[0] and not lines[0].endswith("\\"):
                return []
    return []


def _from_package(node: ast.stmt, package: str) -> Iterator[Import]:
    prefix = f"{package}."
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.startswith(prefix):
                yield Import(alias.name.removeprefix(prefix))
    elif isinstance(node, ast.ImportFrom) and not node.level:
        parent = node.module or ""
        if f"{parent}.".startswith(prefix):
            module = parent.removeprefix(package).removeprefix(".")
            yield from (Import(module, alias.name) for alias in node.names)


def _file(repo: Repository, found: Import) -> str:
    """Return the file of the imported module, relative to the package, whether it exists or not.

    It is empty if a package itself is imported, or a name that its `__init__.py` has.
    """
    there, at = module_files(repo.overrides), found.module.replace(".", "/")
    folder = repo.overrides / at
    if f"{at}.py" in there or not folder.is_dir():
        return f"{at}.py"
    inner = "/".join(filter(None, (at, found.name)))
    if found.name in {"", "*"} or (repo.overrides / inner).is_dir():
        return ""
    init = folder / "__init__.py"
    text = init.read_text() if init.exists() else ""
    has_name = f"{inner}.py" not in there and re.search(rf"\b{found.name}\b", text)
    return "" if has_name else f"{inner}.py"
