"""Check patches against each other and against the rest of the repository, by reading alone."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from packaging.version import InvalidVersion, Version

from scripts.core.errors import Problem
from scripts.core.model import Lock, Patch, State
from scripts.core.repository import Repository
from scripts.series.bases import series_base
from scripts.series.feature_checks import feature_problems
from scripts.series.override_files import (
    SERIES_FILE,
    file_of,
    files_by_patch,
    imported_files,
    matching_files,
    module_files,
    module_of,
)
from scripts.series.patch_series import Series


def series_problems(repo: Repository, series: Series, lock: Lock) -> Iterator[Problem]:
    """Yield problems between patches, and between them and the rest of the repository."""
    yield from _repeated_ids(repo, series)
    yield from _features_of_several(repo, series)
    for patch in series.all:
        where = place(repo, patch)
        yield from (item.at(where) for item in _patch_problems(repo, series, lock, patch))
    for feature in series.features:
        where = str(feature.record.relative_to(repo.root))
        yield from (item.at(where) for item in feature_problems(repo, feature))
    yield from _missing_extra_files(repo)
    yield from unclaimed_modules(repo, series)
    yield from _too_many_lines(repo, series)


def place(repo: Repository, patch: Patch) -> str:
    """Return a patch's file, relative to the repository."""
    return str(patch.path.relative_to(repo.root))


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


def _repeated_ids(repo: Repository, series: Series) -> Iterator[Problem]:
    first: dict[str, Patch] = {}
    for patch in series.all:
        other = first.setdefault(patch.id, patch)
        if other is not patch:
            text = f"Id: {patch.id} is the id of {place(repo, other)} too"
            yield Problem(text, f"write `Id: {patch.id}-2`", place(repo, patch))


def _features_of_several(repo: Repository, series: Series) -> Iterator[Problem]:
    first: dict[str, Patch] = {}
    for feature in series.features:
        other = first.setdefault(feature.id, feature.patch)
        if other.id != feature.patch.id:
            text = f"the feature {feature.id} is that of {place(repo, other)} too"
            advice = f"take {feature.id} out of `Features:` in one of them"
            yield Problem(text, advice, place(repo, feature.patch))


def _patch_problems(
    repo: Repository, series: Series, lock: Lock, patch: Patch
) -> Iterator[Problem]:
    """Yield problems with the names that one patch uses."""
    yield from _wrong_base(series, lock, patch)
    yield from _wrong_depends(series, patch)
    if patch.state is State.ACTIVE:
        yield from _missing_overrides(repo, patch)
        yield from _unnamed_imports(repo, series, patch)


def _wrong_base(series: Series, lock: Lock, patch: Patch) -> Iterator[Problem]:
    if not patch.base or lock.release(patch.base):
        return
    usual = f"write `Base: {series_base(series, lock).version}`"
    try:
        Version(patch.base)
    except InvalidVersion:
        yield Problem(f"Base: {patch.base!r} is not a version", usual)
    else:
        text = f"Base: {patch.base} is not pinned in upstream/lock.toml"
        yield Problem(text, f"{usual}\nnox -s pin")


def _wrong_depends(series: Series, patch: Patch) -> Iterator[Problem]:
    live = patch in series.active
    earlier = (
        [other.id for other in series.active[: series.active.index(patch)]]
        if live
        else list(series.by_id)
    )
    for name in patch.depends:
        rest = [other for other in patch.depends if other != name]
        without = f"write `Depends: {', '.join(rest)}`" if rest else "delete the line `Depends:`"
        if name not in series.by_id:
            text, advice = f"Depends: there is no patch {name}", without
            for other in _near(name, earlier):
                advice = f"write `{other}` for {name}\n{without}"
            yield Problem(text, advice)
        elif name not in earlier:
            files = series.by_id[name].path.name, patch.path.name
            text = f"Depends: {name} comes later in the series"
            yield Problem(text, f"move {files[0]} above {files[1]} in patches/series\n{without}")
        elif not live and patch.id in series.reachable(name):
            yield Problem(f"Depends: {name} depends on {patch.id} itself", without)


def _missing_overrides(repo: Repository, patch: Patch) -> Iterator[Problem]:
    there = module_files(repo.overrides)
    known = sorted(map(module_of, there))
    for name in patch.overrides:
        if not matching_files(name, there):
            rest = [other for other in patch.overrides if other != name]
            near = [f"write `{other}` for {name}" for other in _near(name, known)]
            gone = f"write `Overrides: {', '.join(rest)}`" if rest else "delete the line"
            yield Problem(f"Overrides: there is no {_path(repo, name)}", "\n".join([*near, gone]))


def _near(word: str, known: Collection[str]) -> list[str]:
    return difflib.get_close_matches(word, known, n=1)


def _path(repo: Repository, name: str) -> str:
    """Return the path that a name of `Overrides:` stands for: a module's file, or a folder."""
    return f"{repo.config.overrides.package}/{name if name.endswith('/') else file_of(name)}"


def _unnamed_imports(repo: Repository, series: Series, patch: Patch) -> Iterator[Problem]:
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


def _missing_extra_files(repo: Repository) -> Iterator[Problem]:
    names = [name for item in repo.config.probes.extra_servers for name in item.files]
    for name in names:
        if not (repo.root / name).exists():
            text = f"probes.extra_servers names {name}, which does not exist"
            there = sorted(
                str(path.relative_to(repo.root))
                for path in (repo.root / name).parent.glob("test_*.py")
            )
            near = [f"write `{other}` for it" for other in _near(name, there)]
            yield Problem(text, "\n".join([*near, "take it out of `files`"]), "fork.toml")


def unclaimed_modules(repo: Repository, series: Series) -> Iterator[Problem]:
    """Yield override modules that no live patch names, which would ship without being needed."""
    package, there = repo.config.overrides.package, module_files(repo.overrides)
    named = {*repo.config.overrides.common}.union(*files_by_patch(series.active, there).values())
    for file in sorted(there - named):
        module = module_of(file)
        advice = f"add `{module}` to the `Overrides:` of the patch that needs it\n"
        yield Problem(
            f"no live patch names it (Overrides: {module})",
            f"{advice}rm {package}/{file}",
            f"{package}/{file}",
        )


def _too_many_lines(repo: Repository, series: Series) -> Iterator[Problem]:
    most = repo.config.patches.most_lines
    if most is not None and series.lines > most:
        yield Problem(
            f"the live patches touch {series.lines} upstream lines,"
            f" and {most} are allowed (patches.most_lines)",
            f"move code of hunks into {repo.config.overrides.package}/\n"
            f"write `most_lines = {series.lines}`",
            "fork.toml",
        )
