"""Check that each override module that a hunk imports is there whenever the hunk is."""

from __future__ import annotations

import ast
import difflib
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.core.errors import Problem
from scripts.core.model import Patch
from scripts.core.repository import Repository
from scripts.series.override_files import module_files, module_of
from scripts.series.patch_series import Series
from scripts.series.series_checks import coverage_advice, modules_with, place

_IMPORT = re.compile(r"^\s*(?:from|import)\s")


@dataclass(frozen=True)
class Import:
    """An import from a package: the module's dotted name in the package, and a name in it."""

    module: str
    name: str = ""


def hunk_import_problems(repo: Repository, series: Series) -> Iterator[Problem]:
    """Yield imports in added lines of modules that nobody has, or that may be left out."""
    for patch in series.active:
        files: dict[str, str] = {}
        for hunk in patch.hunks:
            for found in imports(hunk.added, repo.config.overrides.package):
                files.setdefault(_file(repo, found), hunk.path)
        for file, path in files.items():
            yield from _problems(repo, series, patch, file, path)


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


def _problems(
    repo: Repository, series: Series, patch: Patch, file: str, path: str
) -> Iterator[Problem]:
    package, where = repo.config.overrides.package, place(repo, patch)
    if not file or file in modules_with(repo, series, patch):
        return
    module = module_of(file)
    if not (repo.overrides / file).exists():
        text = f"its hunk for {path} imports {package}.{module}, and there is no {package}/{file}"
        yield Problem(text, _missing_advice(repo, patch, file), where)
    else:
        text = f"its hunk for {path} imports {package}.{module},"
        yield Problem(
            f"{text} which neither this patch nor one it depends on names",
            coverage_advice(repo, series, patch, file),
            where,
        )


def _missing_advice(repo: Repository, patch: Patch, file: str) -> str:
    package, known = repo.config.overrides.package, map(module_of, module_files(repo.overrides))
    near = difflib.get_close_matches(module_of(file), list(known), n=1)
    names = dict.fromkeys([*patch.overrides, module_of(file)])
    covers = any(name.endswith("/") and file.startswith(name) for name in patch.overrides)
    named = "" if covers else f", and name it: `Overrides: {', '.join(names)}`"
    return "\n".join(
        [
            *(f"write `{package}.{other}` in the hunk" for other in near),
            f"write {package}/{file}{named}",
        ]
    )
