"""The files of a new fork: what is written from templates, and the tools themselves."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from scripts.core.repository import Repository

_TEMPLATES = {
    ".gitignore": "gitignore.jinja",
    "CHANGELOG.md": "CHANGELOG.md.jinja",
    "LICENSE": "LICENSE.jinja",
    "README.md": "README.md.jinja",
    "fork.toml": "fork.toml.jinja",
    "noxfile.py": "noxfile.py.jinja",
    "pyproject.toml": "pyproject.toml.jinja",
    "tests/probes/conftest.py": "conftest.py.jinja",
    "tests/probes/test_control.py": "test_control.py.jinja",
    "tox.ini": "tox.ini.jinja",
    "toxfile.py": "toxfile.py.jinja",
}
_EMPTY = ("patches/series", "patches/retired/.gitkeep")
_HERE = Path(__file__).parent
_TOOLS = _HERE.parent
_LICENSE = "LICENSE"
_MAIN = "__main__.py"
_GROUPS = ("tools", "wheel")
_SERVERS = "servers"
"""The group of the servers of this repository's own cells."""

FIXED_NAMES = (*_TEMPLATES, *_EMPTY, _TOOLS.name)
"""The paths that are the same in every fork."""


def write_files(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write a fork's files into an empty folder; `facts` are the variables of the templates."""
    package = str(facts["overrides"])
    texts = _TEMPLATES | {f"{package}/__init__.py": "overrides_init.py.jinja"}
    templates = _environment()
    variables = {**facts, "groups": _dependency_groups()}
    for name, template in texts.items():
        _write(folder / name, templates.get_template(template).render(variables))
    for name in _EMPTY:
        _write(folder / name, "")
    # It is the same in every fork, and the one that these tools belong to has it.
    own = Repository(_TOOLS.parent).overrides
    shutil.copyfile(own / _MAIN, folder / package / _MAIN)
    _copy_tools(folder / _TOOLS.name)


def _copy_tools(place: Path) -> None:
    """Copy the tools with their licence, so that a clone of the fork needs nothing else."""
    shutil.copytree(_TOOLS, place, ignore=shutil.ignore_patterns("__pycache__"))
    if not (place / _LICENSE).exists():  # it is there if these tools are a copy themselves
        shutil.copyfile(_TOOLS.parent / _LICENSE, place / _LICENSE)


def _dependency_groups() -> dict[str, list[Any]]:
    """Return what the tools require, without the servers of this repository's own cells."""
    groups = tomllib.loads((_TOOLS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    left_out = {"include-group": _SERVERS}
    return {
        name: [need for need in groups["dependency-groups"][name] if need != left_out]
        for name in _GROUPS
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=False,  # noqa: S701 (none of it is HTML)
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"toml": _quoted, "ljust": lambda text: str(text).ljust(25)}
    return environment


def _quoted(value: Any) -> str:
    """Return a text or a list of texts as a literal that TOML and Python share with JSON."""
    return json.dumps(value, ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def moves(new: Path, place: Path) -> Iterator[tuple[Path, Path]]:
    """Yield where each part of a folder goes: whole folders where nothing is yet."""
    for path in sorted(new.iterdir()):
        target = place / path.name
        if path.is_dir() and target.is_dir() and not target.is_symlink():
            yield from moves(path, target)
        else:
            yield target, path
