"""Check that each override module is in every tree with the patches that need it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import replace

from scripts.core.errors import Problem
from scripts.core.git import git_of
from scripts.core.model import Patch
from scripts.core.repository import Repository
from scripts.series.hunk_imports import imported_by_hunks
from scripts.series.override_files import (
    SERIES_FILE,
    file_of,
    files_by_patch,
    imported_files,
    matching_files,
    module_files,
    module_of,
    plain_name,
    usual_name,
)
from scripts.series.patch_series import Series

_SURE = 0.8
"""How alike a wrong name and a module must be if no hunk shows that the module is meant."""


def with_meant_modules(repo: Repository, series: Series) -> Series:
    """Return the series with the modules that are meant by wrong names of `Overrides:`.

    So a wrong name is one finding, and not another one for each place that needs the module.
    """
    free, there = _unclaimed_files(repo, series), module_files(repo.overrides)
    patches = tuple(
        patch
        if all(matching_files(name, there) for name in patch.overrides)
        else replace(patch, overrides=_meant_names(repo, patch, free))
        for patch in series.active
    )
    return replace(series, active=patches)


def _meant_names(repo: Repository, patch: Patch, free: frozenset[str]) -> tuple[str, ...]:
    """Return what the `Overrides:` of a patch with wrong names must be, as far as that is known.

    These are the names that stand for something, and the modules that its hunks import and that no
    patch names.
    """
    there, package = module_files(repo.overrides), repo.config.overrides.package
    imported = imported_by_hunks(repo, patch)
    meant = (
        name
        if matching_files(name, there)
        else usual_name(name, package, there)
        or _meant_module(plain_name(name, package), free, imported)
        for name in patch.overrides
    )
    names = list(dict.fromkeys(filter(None, meant)))
    covered = {file for name in names for file in matching_files(name, there)}
    return (*names, *sorted(map(module_of, free.intersection(imported) - covered)))


def _meant_module(name: str, free: frozenset[str], imported: Collection[str]) -> str:
    """Return the module that no patch names and that a wrong name stands for, or nothing.

    A module that a hunk imports may still have to be written.
    """
    if file_of(name) in imported:
        return name
    near = difflib.get_close_matches(name, sorted(map(module_of, free.intersection(imported))), 1)
    near = near or difflib.get_close_matches(name, sorted(map(module_of, free)), 1, _SURE)
    return near[0] if near else ""


def misnamed_modules(repo: Repository, patch: Patch, meant: Patch) -> Iterator[Problem]:
    """Yield the names of a patch's `Overrides:` that are paths or have the package in them.

    `meant` is the patch with the names that were probably meant.
    """
    there, package = module_files(repo.overrides), repo.config.overrides.package
    for name in patch.overrides:
        right = usual_name(name, package, there)
        if right and not matching_files(name, there):
            kind = "folder" if right.endswith("/") else "module"
            text = f"Overrides: the {kind} is named `{right}` here, not `{name}`"
            yield Problem(text, _meant_line(meant))


def missing_modules(repo: Repository, patch: Patch, meant: Patch) -> Iterator[Problem]:
    """Yield the names of a patch's `Overrides:` for which there is no file.

    `meant` is the patch with the names that were probably meant.
    """
    there, package = module_files(repo.overrides), repo.config.overrides.package
    for name in patch.overrides:
        if not matching_files(name, there) and not usual_name(name, package, there):
            plain = plain_name(name, package)
            path = f"{package}/{plain if plain.endswith('/') else file_of(plain)}"
            is_imported = file_of(plain) in imported_by_hunks(repo, patch)
            advice = f"write {path}" if is_imported else _meant_line(meant)
            yield Problem(f"Overrides: there is no {path}", advice)


def _meant_line(meant: Patch) -> str:
    names = ", ".join(dict.fromkeys(meant.overrides))
    return f"write `Overrides: {names}`" if names else "delete the line `Overrides:`"


def uncovered_imports(repo: Repository, series: Series, patch: Patch) -> Iterator[Problem]:
    """Yield imports in added lines of modules that may be left out while the patch is there."""
    package, here = repo.config.overrides.package, modules_with(repo, series, patch)
    for file, path in imported_by_hunks(repo, patch).items():
        if file not in here and (repo.overrides / file).exists():
            text = f"its hunk for {path} imports {package}.{module_of(file)},"
            yield Problem(
                f"{text} which neither this patch nor one it depends on names",
                coverage_advice(repo, series, patch, file),
            )


def imports_of_nothing(repo: Repository, series: Series, patch: Patch) -> Iterator[Problem]:
    """Yield imports in added lines of modules that nobody has."""
    package, here = repo.config.overrides.package, modules_with(repo, series, patch)
    for file, path in imported_by_hunks(repo, patch).items():
        if file not in here and not (repo.overrides / file).exists():
            text = f"its hunk for {path} imports {package}.{module_of(file)}, and there is no"
            yield Problem(f"{text} {package}/{file}", _missing_advice(repo, patch, file))


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


def unnamed_imports(repo: Repository, series: Series, patch: Patch) -> Iterator[Problem]:
    """Yield imports of modules that neither this patch nor one that it depends on brings.

    A tree with these patches alone would lack the modules, so leaving out another patch would break
    it.
    """
    package, there = repo.config.overrides.package, module_files(repo.overrides)
    here = modules_with(repo, series, patch)
    for file in files_by_patch(series.active, there).get(patch.id, ()):
        for other in imported_files(file, (repo.overrides / file).read_text(), package, there):
            if other not in here:
                lacking = "which neither this patch nor one it depends on names"
                yield Problem(
                    f"Overrides: {package}/{file} imports {module_of(other)}, {lacking}",
                    f"{coverage_advice(repo, series, patch, other)}\n"
                    f"import {module_of(other)} in the function that uses it",
                )


def modules_with(repo: Repository, series: Series, patch: Patch) -> set[str]:
    """Return the override modules that are in every tree with a patch, relative to the package.

    These are its own modules, those of the patches that it depends on, and the common ones.
    """
    brought = files_by_patch(series.active, module_files(repo.overrides))
    own = (brought.get(name, ()) for name in series.reachable(patch.id))
    return {*repo.config.overrides.common, SERIES_FILE}.union(*own)


def coverage_advice(repo: Repository, series: Series, patch: Patch, file: str) -> str:
    """Return the line to write so that a module is in every tree with a patch."""
    brought = files_by_patch(series.active, module_files(repo.overrides))
    owners = [other for other in series.active if file in brought.get(other.id, ())]
    if not owners:
        return f"write `Overrides: {', '.join([*patch.overrides, module_of(file)])}`"
    earlier = series.active[: series.active.index(patch)]
    depends = f"write `Depends: {', '.join([*patch.depends, owners[0].id])}`"
    if owners[0] in earlier:
        return depends
    return f"{depends}, and move {owners[0].path.name} above {patch.path.name} in patches/series"


def unclaimed_modules(repo: Repository, series: Series) -> Iterator[Problem]:
    """Yield override modules that no live patch names, which would ship without being needed."""
    package, series = repo.config.overrides.package, with_meant_modules(repo, series)
    files = sorted(_unclaimed_files(repo, series))
    patches = series.active if files else ()
    users = {file: patch for patch in patches for file in imported_by_hunks(repo, patch)}
    for file in files:
        module, where = module_of(file), f"{package}/{file}"
        text = f"no live patch names it (Overrides: {module})"
        yield Problem(text, _unclaimed_advice(repo, module, where, users.get(file)), where)


def _unclaimed_advice(repo: Repository, module: str, where: str, user: Patch | None) -> str:
    """Return what to do about a module; what git does not have cannot be removed without loss."""
    if user:
        line = f"`Overrides: {', '.join([*user.overrides, module])}`"
        return f"write {line} in {user.path.relative_to(repo.root)}, whose hunk imports it"
    tracked = git_of(repo.root, "ls-files", "--error-unmatch", "--", where).code == 0
    gone = f"rm {where}" if tracked else f"move {where} away; git does not have it yet"
    return f"add `{module}` to the `Overrides:` of the patch that needs it\n{gone}"


def _unclaimed_files(repo: Repository, series: Series) -> frozenset[str]:
    there = module_files(repo.overrides)
    named = files_by_patch(series.active, there)
    return there.difference(repo.config.overrides.common, *named.values())
