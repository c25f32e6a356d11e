"""The imports of a piece of Python: what they name, and how they are pointed at another module.

Everything here is pure. A rewritten import keeps its names and its line breaks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_FROM = re.compile(rb"^from\s+[.\w]+\s+import")


@dataclass(frozen=True)
class Import:
    """One imported name: the dotted module it is in, the name (empty: the module itself), where.

    `alias` is the name that the code uses.
    """

    module: str
    name: str
    alias: str
    line: int

    @property
    def top(self) -> str:
        """The top-level package."""
        return self.module.partition(".")[0]

    @property
    def dotted(self) -> str:
        """The module and the name in it."""
        return f"{self.module}.{self.name}" if self.name else self.module


@dataclass(frozen=True)
class Target:
    """Where an override module goes: its module in upstream's package, and that package."""

    package: str
    name: str


def find_imports(source: str, module: str = "") -> Iterator[Import]:
    """Yield every import of a source, those in functions included; `module` is its own name.

    Source that is not Python yields nothing.
    """
    for node in _nodes(source):
        yield from _imports_of(node, module)


def override_file(found: Import, package: str, files: Mapping[str, str]) -> str | None:
    """Return the file of the override package that an import needs, or None if there is none."""
    inside = found.module.split(".")[1:]
    named = [*inside, found.name] if found.name else inside
    # The name may be a module, something in a module, or something in a package.
    candidates = (
        f"{'/'.join(named)}.py",
        f"{'/'.join(inside)}.py",
        "/".join([*inside, "__init__.py"]),
    )
    return next((name for name in candidates if found.top == package and name in files), None)


def point_imports_at(
    source: str, module: str, package: str, targets: Mapping[str, Target], files: Mapping[str, str]
) -> str:
    """Return a source whose imports of the override package name the modules' targets instead.

    `targets` are by file; every import of the package must have one, and `import a.b` an `as`.
    """
    lines = source.encode("utf-8", errors="surrogateescape").splitlines(keepends=True)
    # From the end, so that what is still to be replaced keeps its place.
    for node in sorted(_nodes(source), key=_start, reverse=True):
        found = list(_imports_of(node, module))
        if found[0].top == package:
            into = [targets[_file(item, package, files)] for item in found]
            _replace(lines, node, _statement(lines, node, found, into, package, files))
    return b"".join(lines).decode("utf-8", errors="surrogateescape")


def _nodes(source: str) -> list[ast.Import | ast.ImportFrom]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, UnicodeError):
        return []
    return [item for item in ast.walk(tree) if isinstance(item, ast.Import | ast.ImportFrom)]


def _start(node: ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _parent(node: ast.ImportFrom, module: str) -> str:
    """Return the dotted module that an import is from, as seen from a module."""
    above = module.split(".")[: -node.level] if node.level else []
    return ".".join([*above, *filter(None, [node.module])])


def _imports_of(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[Import]:
    for alias in node.names:
        used = alias.asname or alias.name
        if isinstance(node, ast.Import):
            yield Import(alias.name, "", used, node.lineno)
        else:
            yield Import(_parent(node, module), alias.name, used, node.lineno)


def _file(found: Import, package: str, files: Mapping[str, str]) -> str:
    file = override_file(found, package, files)
    assert file is not None, found
    return file


def _statement(
    lines: Sequence[bytes],
    node: ast.Import | ast.ImportFrom,
    found: Sequence[Import],
    into: Sequence[Target],
    package: str,
    files: Mapping[str, str],
) -> bytes:
    """Return the statement that stands for one import, over as many lines as there are targets."""
    whole = [_is_module(item, package, files) for item in found]
    if not any(whole) and len(set(into)) == 1:
        new = f"from {into[0].package}.{into[0].name} import".encode()
        return _FROM.sub(new, _text(lines, node), count=1)
    made = [
        f"from {to.package} import {_named(to.name, item.alias)}"
        if is_module
        else f"from {to.package}.{to.name} import {_named(item.name, item.alias)}"
        for item, to, is_module in zip(found, into, whole, strict=True)
    ]
    return f"\n{' ' * node.col_offset}".join(made).encode()


def _is_module(found: Import, package: str, files: Mapping[str, str]) -> bool:
    """Return whether an import binds a module rather than something in one."""
    named = [*found.module.split(".")[1:], *filter(None, [found.name])]
    return _file(found, package, files) == f"{'/'.join(named)}.py"


def _named(name: str, alias: str) -> str:
    return name if name == alias else f"{name} as {alias}"


def _text(lines: Sequence[bytes], node: ast.stmt) -> bytes:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    own = list(lines[node.lineno - 1 : node.end_lineno])
    own[-1] = own[-1][: node.end_col_offset]
    own[0] = own[0][node.col_offset :]
    return b"".join(own)


def _replace(lines: list[bytes], node: ast.stmt, new: bytes) -> None:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    before = lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :]
    lines[node.lineno - 1 : node.end_lineno] = [before + new + after]
