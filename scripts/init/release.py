"""What an sdist tells of its package: the module to import, and what it requires."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.upstream.import_folder import NOT_SHIPPED, TOP, import_folder

_TOOLING = frozenset({"conftest", "fabfile", "noxfile", "setup", "tasks", "toxfile", "versioneer"})
"""Modules beside the code in many sdists."""


@dataclass(frozen=True)
class InspectedRelease:
    """The files of an sdist by their path, and what they say."""

    project: str
    files: Mapping[str, bytes]

    def read(self, name: str) -> str:
        """Return the text of a file; a missing one is empty."""
        return self.files.get(name, b"").decode(errors="replace")

    @cached_property
    def metadata(self) -> RawMetadata:
        """The fields of PKG-INFO."""
        return parse_email(self.files.get("PKG-INFO", b""))[0]

    @property
    def name(self) -> str:
        """The package's name as upstream writes it."""
        written = self.metadata.get("name", "")
        same = canonicalize_name(written) == canonicalize_name(self.project)
        return written if same else self.project

    @cached_property
    def folder(self) -> str:
        """The folder from which the modules are imported."""
        return import_folder(list(self.files), self.read)

    @cached_property
    def modules(self) -> list[str]:
        """The top-level packages and modules that can be what upstream installs."""
        found = set(_tops(self.files, "" if self.folder == TOP else f"{self.folder}/"))
        declared = found.intersection(*map(str.split, self._egg_info("top_level.txt")))
        public = {name for name in declared or found if not name.startswith("_")}
        return sorted(public - NOT_SHIPPED or public)

    @property
    def module(self) -> str | None:
        """The module to import, or None if the files leave it open."""
        names = [name for name in self.modules if _same(name, self.project)] or self.modules
        if len(names) != 1:
            return None
        dotted = self.project.replace("-", ".")
        is_nested = dotted.startswith(f"{names[0]}.") and self.has_module(dotted)
        return dotted if is_nested else names[0]

    def has_module(self, module: str) -> bool:
        """Return whether the files have a module or package of that dotted name."""
        place = str(PurePosixPath(self.folder, *module.split(".")))
        return any(name == f"{place}.py" or name.startswith(f"{place}/") for name in self.files)

    def is_single_file(self, module: str) -> bool:
        """Return whether a module is one file."""
        return str(PurePosixPath(self.folder, *module.split("."))) + ".py" in self.files

    @property
    def requires(self) -> list[str]:
        """What the package requires without any extra, as the newest form of its metadata says."""
        stated = self.metadata.get("requires_dist")
        texts = stated or _from_requires_txt(self._egg_info("requires.txt"))
        needed = map(Requirement, texts)
        return [str(need) for need in needed if "extra ==" not in str(need.marker or "")]

    @property
    def build_requires(self) -> list[Requirement]:
        """What builds the package's wheel."""
        try:
            system = tomllib.loads(self.read("pyproject.toml")).get("build-system", {})
        except tomllib.TOMLDecodeError:
            system = {}
        return list(map(Requirement, system.get("requires", ["setuptools"])))

    def _egg_info(self, name: str) -> list[str]:
        """Return the text of a file of the `*.egg-info` folder, if there is one."""
        paths = [path for path in self.files if path.endswith(f".egg-info/{name}")]
        return [self.read(path) for path in paths[:1]]


def _tops(names: Mapping[str, bytes], prefix: str) -> Iterator[str]:
    """Yield the packages and modules in a folder, which is empty or ends with a slash."""
    for name in names:
        first, slash, rest = name.removeprefix(prefix).partition("/")
        module = first if slash else first.removesuffix(".py")
        is_code = name.startswith(prefix) and (rest if slash else first).endswith(".py")
        if is_code and module.isidentifier() and module not in _TOOLING:
            yield module


def _same(module: str, project: str) -> bool:
    return canonicalize_name(module) == canonicalize_name(project)


def _from_requires_txt(texts: list[str]) -> Iterator[str]:
    """Yield the requirements of setuptools' own file, of which sections are extras or markers."""
    section = ""
    for line in texts[0].splitlines() if texts else ():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.strip() and not section:
            yield line
        elif line.strip() and section.startswith(":"):
            yield f"{line}; {section[1:]}"
