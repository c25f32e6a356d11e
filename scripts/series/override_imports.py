"""Which override modules a module cannot be imported without."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Name the modules of `package` that a module imports at once; what a function imports, it imports where that is there.

    Source that is no Python names none: other checks say so.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for item in tree.body:
        if isinstance(item, ast.ImportFrom) and item.module == package:
            yield from (alias.name for alias in item.names)
            continue
        names = [item.module or ""] if isinstance(item, ast.ImportFrom) else []
        names += [alias.name for alias in item.names] if isinstance(item, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith(f"{package}."))
