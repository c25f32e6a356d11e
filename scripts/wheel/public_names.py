"""The public names of a wheel's modules with their signatures, read from source, never imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

Names = dict[str, str]
"""What a caller sees of each name: a function's parameters, a class's bases, else nothing.

Annotations are left out, because no call depends on them.
"""

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where a compound statement has further statements."""


def public_names(files: Mapping[str, bytes]) -> Names:
    """Return the public names of the modules among a wheel's files, as `package.module.name`."""
    found: Names = {}
    for path, content in files.items():
        module = _public_module(path)
        if module:
            found |= {f"{module}.{name}": text for name, text in _module_names(path, content)}
    return found


def literal(content: bytes, name: str) -> object:
    """Return the literal that a module assigns to a name; None if there is none."""
    try:
        for line in ast.parse(content).body:
            if isinstance(line, ast.Assign) and name in _targets(line):
                return ast.literal_eval(line.value)
    except (SyntaxError, ValueError):
        pass
    return None


def _public_module(path: str) -> str:
    """Return the dotted name of the module at a path; empty if it is private or no module."""
    parts = PurePosixPath(path).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    public = path.endswith(".py") and not any(part.startswith("_") for part in parts)
    return ".".join(parts) if public else ""


def _module_names(path: str, content: bytes) -> Iterator[tuple[str, str]]:
    """Yield a module's public names: those in `__all__`, else those that it defines.

    A package also has the names that its `__init__.py` imports from its own modules.
    """
    try:
        body = ast.parse(content).body
    except (SyntaxError, ValueError):  # a template, or code for another Python
        return
    is_package = PurePosixPath(path).name == "__init__.py"
    imported = dict(_imported(body, relative_only=is_package))
    defined = dict(_defined(body))
    listed = literal(content, "__all__")
    if isinstance(listed, list | tuple):
        wanted = set(map(str, listed))
        found = dict.fromkeys(wanted, "") | imported | defined
    else:
        found = {**(imported if is_package else {}), **defined}
        wanted = {name for name in found if not name.startswith("_")}
    for name, text in found.items():
        if _is_public(name, wanted):
            yield name, text


def _is_public(name: str, wanted: Collection[str]) -> bool:
    """Return whether a name is wanted, or a public method of a class that is."""
    method = re.fullmatch(r"(\w+)\.(\w+)", name)
    if method is None:
        return name in wanted
    return method[1] in wanted and (method[2] == "__init__" or not method[2].startswith("_"))


def _defined(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield what statements define, with the methods of classes as `Class.method`."""
    for line in _statements(body):
        match line:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield line.name, _signature(line)
            case ast.ClassDef():
                yield line.name, f"({', '.join(map(ast.unparse, line.bases))})"
                for method in _statements(line.body):
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                        yield f"{line.name}.{method.name}", _signature(method)
            case ast.AnnAssign(target=ast.Name(name)):
                yield name, ""
            case ast.Assign():
                yield from ((name, "") for name in _targets(line))


def _imported(body: Iterable[ast.stmt], *, relative_only: bool) -> Iterator[tuple[str, str]]:
    """Yield the names that statements import; `from .x import *` is the name `* from .x`."""
    for line in _statements(body):
        if isinstance(line, ast.ImportFrom) and (line.level or not relative_only):
            origin = "." * line.level + (line.module or "")
            for item in line.names:
                yield (f"* from {origin}" if item.name == "*" else item.asname or item.name), ""


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield statements with those in the blocks of `if`, `try`, `with` and loops among them."""
    for line in body:
        yield line
        if not isinstance(line, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for block in _BLOCKS:
                yield from _statements(getattr(line, block, ()))


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return a function's parameters with their defaults."""
    for node in ast.walk(function.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    kind = " async" if isinstance(function, ast.AsyncFunctionDef) else ""
    return f"({ast.unparse(function.args)}){kind}"


def _targets(line: ast.Assign) -> list[str]:
    """Return the names to which a statement assigns, also those in tuples."""
    return [
        node.id
        for target in line.targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
