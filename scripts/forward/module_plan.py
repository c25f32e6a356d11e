"""Which override modules behind a patch can become modules of upstream, and what is in the way.

Everything here is pure: it reads sources and returns records.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from scripts.core.errors import Problem
from scripts.forward.imports import Import, Target, find_imports, override_file
from scripts.forward.packages import OverrideCode, UpstreamPackage
from scripts.series.override_files import module_of

IMPORTS_EVERYWHERE = frozenset({"__future__", *sys.stdlib_module_names})
"""What any module may import."""


@dataclass(frozen=True)
class ModulePlan:
    """Where each module goes, by its file in the override package, and what is in the way."""

    targets: Mapping[str, Target] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass
class _Planner:
    """Follows imports from the changed files of upstream into the override package.

    `by_hand` are modules of upstream's package that a person wrote, relative to the source, and
    `place` is the folder that such a module can be written into. `needed` are the files of the
    override package that were met.
    """

    patch: str
    features: Collection[str]
    code: OverrideCode
    upstream: UpstreamPackage | None
    by_hand: Collection[str]
    place: str
    needed: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def plan(self, changed: Mapping[str, str]) -> ModulePlan:
        """Return where the modules behind the changed files go, and what is in the way."""
        for path, text in changed.items():
            self._follow(path, "", text, is_override=False)
        # The list grows while modules are read.
        for file in self.needed:
            if self._path(file) not in self.by_hand:
                module = f"{self.code.package}.{module_of(file)}"
                text = self.code.texts[file]
                self._follow(f"{self.code.package}/{file}", module, text, is_override=True)
        if self.needed and self.upstream is None:
            self.problems.append(self._no_package(sorted(changed)))
        return ModulePlan(self._targets(), tuple(self.problems))

    def _no_package(self, changed: Sequence[str]) -> Problem:
        file = self.needed[0]
        return Problem(
            f"no single package of upstream can take {file}: the hunks are in {', '.join(changed)}",
            "write its code into the hunks (nox -s import, nox -s export)",
            f"{self.code.package}/{file}",
        )

    def _follow(self, where: str, module: str, text: str, *, is_override: bool) -> None:
        """Note the modules that a file needs, and what is in the way, one for each statement."""
        found = [item for item in find_imports(text, module) if self._matters(item, is_override)]
        statements = dict.fromkeys((item.line, item.module) for item in found)
        for line, name in statements:
            names = [item for item in found if (item.line, item.module) == (line, name)]
            lacking = [item for item in names if not self._goes_along(item)]
            if lacking:
                advice = "\n".join(self._ways(lacking, where, text, is_override=is_override))
                what = f"imports {_shown(lacking)}{self._reason(lacking[0])}"
                self.problems.append(Problem(what, advice, f"{where}:{line}"))

    def _matters(self, found: Import, is_override: bool) -> bool:
        """Return whether an import is for this to decide; upstream's own are upstream's matter."""
        return is_override or found.top == self.code.package

    def _goes_along(self, found: Import) -> bool:
        """Return whether upstream can import it, and note the module if it is one of the patch."""
        if found.top != self.code.package:
            known = self.upstream.imports | {self.upstream.name} if self.upstream else frozenset()
            return found.top in IMPORTS_EVERYWHERE or found.top in known
        file = self._file(found)
        if file is None or self.code.owners.get(file) != self.patch or not _has_name(found):
            return False
        if file not in self.needed:
            self.needed.append(file)
        return True

    def _file(self, found: Import) -> str | None:
        return override_file(found, self.code.package, self.code.texts)

    def _reason(self, found: Import) -> str:
        if found.top != self.code.package:
            return f", and upstream's code imports nothing of {found.top}"
        file = self._file(found)
        if file is None:
            return ", which does not exist"
        if not _has_name(found):
            return " without naming what it uses"
        owner = self.code.owners.get(file)
        return f", which belongs to the patch {owner}" if owner else ", which is in every tree"

    def _ways(
        self, lacking: Sequence[Import], where: str, text: str, *, is_override: bool
    ) -> Iterator[str]:
        """Yield what would have to be written instead of an import."""
        first = lacking[0]
        used = {item.alias for item in lacking}
        switches = sorted(set(_own_switches(text, used, self.features)))
        if not _has_name(first) and first.top == self.code.package:
            yield f"write `from {first.module.rpartition('.')[0] or first.module} import ...`"
        elif switches:
            yield f"write `True` for `{'`, `'.join(switches)}`: upstream has no such switch"
        elif not is_override:
            yield f"let the hunk of {where} do without it (nox -s import, nox -s export)"
        elif first.top != self.code.package:
            yield f"write it without {first.top}"
        else:
            yield f"write what it needs of it into {where}"
        if is_override:
            path = self._path(where.removeprefix(f"{self.code.package}/"))
            yield f"write the module for upstream as {self.place}/{path}, which then counts instead"

    def _path(self, file: str) -> str:
        """Return the path of the module that an override module becomes."""
        folder = self.upstream.folder if self.upstream else "."
        return str(PurePosixPath(folder, f"{self._name(file)}.py"))

    def _name(self, file: str) -> str:
        """Return the last part of a module's name, or all parts if that is taken."""
        short = PurePosixPath(file).stem
        taken = self.upstream.modules if self.upstream else frozenset()
        alike = [
            other
            for other, owner in self.code.owners.items()
            if owner == self.patch and PurePosixPath(other).stem == short
        ]
        return module_of(file).replace(".", "_") if short in taken or len(alike) > 1 else short

    def _targets(self) -> dict[str, Target]:
        package = self.upstream.name if self.upstream else ""
        return {file: Target(package, self._name(file)) for file in self.needed}


def plan_modules(
    patch: str,
    features: Collection[str],
    changed: Mapping[str, str],
    code: OverrideCode,
    upstream: UpstreamPackage | None,
    by_hand: Collection[str] = (),
    place: str = "",
) -> ModulePlan:
    """Decide which modules behind a patch become upstream's, from the files that it changes.

    A module can if it and all that it imports of the override package belong to the patch, and if
    they import nothing else that upstream's code does not. A module that is written `by_hand` for
    upstream, in `place`, is not looked into.
    """
    return _Planner(patch, features, code, upstream, by_hand, place).plan(changed)


def _has_name(found: Import) -> bool:
    """Return whether an import binds a name of its own, so that the module can move."""
    return bool(found.name) or found.alias != found.module


def _shown(found: Sequence[Import]) -> str:
    names = ", ".join(item.name for item in found if item.name)
    return f"{names} from {found[0].module}" if names else found[0].module


def _own_switches(text: str, used: Collection[str], features: Collection[str]) -> Iterator[str]:
    """Yield the calls of imported functions that ask for a feature of this very patch."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in used
            and len(node.args) == 1
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value in features
        ):
            yield ast.unparse(node)
