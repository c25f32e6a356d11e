"""The series and the retired patches, and every check of them before anything runs."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from scripts.core.errors import problems_error
from scripts.core.model import Feature, Lock, Patch, State
from scripts.core.repository import Repository
from scripts.series.feature_record import feature_from_patch, read_feature, record_path
from scripts.series.override_files import (
    file_of,
    files_by_patch,
    imported_files,
    matching_files,
    module_files,
    module_of,
)
from scripts.series.patch_file import read_patch


@dataclass(frozen=True)
class Series:
    """The live patches in order, the retired ones, and the features that they bring."""

    active: tuple[Patch, ...]
    retired: tuple[Patch, ...]
    features: tuple[Feature, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, Patch]:
        """Every patch by its id."""
        return {patch.id: patch for patch in self.all}

    @property
    def all(self) -> tuple[Patch, ...]:
        """The live patches, then the retired ones."""
        return self.active + self.retired

    def dependents(self, patch: Patch) -> set[str]:
        """Return the ids of the live patches that need `patch`, its own included."""
        found = {patch.id}
        # A patch comes after those that it depends on, so one pass finds all.
        for other in self.active:
            if found.intersection(other.depends):
                found.add(other.id)
        return found

    @cached_property
    def feature_by_id(self) -> dict[str, Feature]:
        """Every feature by its id."""
        return {feature.id: feature for feature in self.features}

    def features_of(self, patch: Patch) -> tuple[Feature, ...]:
        """Return the features that a patch brings, retired ones included."""
        return tuple(feature for feature in self.features if feature.patch.id == patch.id)

    def features_named(self, name: str) -> tuple[Feature, ...]:
        """Return the feature with an id or a former id, or all features of the patch with the id.

        Returns nothing if there is none.
        """
        if name in self.by_id:
            return self.features_of(self.by_id[name])
        return tuple(
            feature for feature in self.features if name in (feature.id, *feature.formerly)
        )

    @property
    def lines(self) -> int:
        """How many upstream lines the live patches add and remove."""
        return sum(patch.lines for patch in self.active)

    @property
    def probes(self) -> tuple[str, ...]:
        """The paths and node ids of every feature's probes."""
        return tuple(spec for feature in self.features for spec in feature.probes)

    def with_dependencies(self, patch: Patch) -> tuple[Patch, ...]:
        """Return the patches that a patch depends on, in order, with the patch itself last."""
        before = [
            part for name in patch.depends for part in self.with_dependencies(self.by_id[name])
        ]
        return tuple(dict.fromkeys([*before, patch]))


def read_series(repo: Repository, lock: Lock, *, one_base: bool = True) -> Series:
    """Read and check every patch; raise one UsageError that lists all that is wrong.

    Only `import` passes `one_base=False`, because it is the way to get a single base. It also
    accepts the modules of a patch that is not exported yet.
    """
    series, problems = read_with_problems(repo, lock)
    if one_base:
        problems += _several_bases(series)
    else:
        unclaimed = set(_unclaimed_modules(repo, series))
        problems = [problem for problem in problems if problem not in unclaimed]
    if problems:
        raise problems_error(
            "the patches are not in order:",
            problems,
            hint="edit the files named, then `nox -s lint`",
        )
    return series


def read_with_problems(repo: Repository, lock: Lock) -> tuple[Series, list[str]]:
    """Read every patch, and return the series with a list of all that is wrong with it."""
    problems: list[str] = []
    listed = _listed_files(repo, problems)
    active = tuple(_read_patches(repo, listed, State.ACTIVE, problems))
    retired = tuple(
        _read_patches(
            repo, sorted((repo.patches / "retired").glob("*.patch")), State.RETIRED, problems
        )
    )
    series = Series(active, retired, tuple(_features(repo, (*active, *retired), problems)))
    problems += _series_problems(repo, series, lock)
    return series, problems


def _listed_files(repo: Repository, problems: list[str]) -> list[Path]:
    """Return the files that `patches/series` names; note unlisted, missing and duplicate ones."""
    try:
        text = (repo.patches / "series").read_text()
    except FileNotFoundError:
        problems.append("patches/series is missing")
        text = ""
    names = [line.split("#")[0].strip() for line in text.splitlines()]
    names = [name for name in names if name]
    here = {path.name for path in repo.patches.glob("*.patch")}
    problems += [
        f"patches/series: {name} is listed {names.count(name)} times"
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    problems += [
        f"patches/series: {name} is listed, but there is no such file"
        for name in names
        if name not in here
    ]
    problems += [
        f"patches/{name} is not listed in patches/series" for name in sorted(here - set(names))
    ]
    return [repo.patches / name for name in dict.fromkeys(names) if name in here]


def _read_patches(
    repo: Repository, paths: list[Path], state: State, problems: list[str]
) -> Iterator[Patch]:
    for path in paths:
        patch, wrong = read_patch(path, state)
        problems += [f"{path.relative_to(repo.root)}: {text}" for text in wrong]
        yield patch


def _features(repo: Repository, patches: Iterable[Patch], problems: list[str]) -> Iterator[Feature]:
    """Yield the features of each patch: from their records, or from the patch itself."""
    for patch in patches:
        files = {name: record_path(repo.config.probes.control[0], name) for name in patch.features}
        read = [
            read_feature(repo.record_file(file), name, patch, file) for name, file in files.items()
        ]
        for feature, wrong in read or [feature_from_patch(patch)]:
            problems += [f"{feature.record.relative_to(repo.root)}: {text}" for text in wrong]
            yield feature


def _series_problems(repo: Repository, series: Series, lock: Lock) -> Iterator[str]:
    """Yield problems between patches, and between them and the rest of the repository."""
    ids = [patch.id for patch in series.all]
    yield from (
        f"the id {name} is used by {ids.count(name)} patches"
        for name in sorted(set(ids))
        if ids.count(name) > 1
    )
    for name, brought in sorted(_patches_by_feature(series).items()):
        if len(brought) > 1:
            yield f"the feature {name} is brought by several patches: {', '.join(brought)}"
    for patch in series.all:
        where = patch.path.relative_to(repo.root)
        yield from (f"{where}: {text}" for text in _patch_problems(repo, series, lock, patch))
    for feature in series.features:
        where = feature.record.relative_to(repo.root)
        yield from (f"{where}: {text}" for text in _feature_problems(repo, feature))
    beside = [name for item in repo.config.probes.extra_servers for name in item.files]
    yield from (
        f"fork.toml: probes.extra_servers names {name}, which does not exist"
        for name in beside
        if not (repo.root / name).exists()
    )
    yield from _unclaimed_modules(repo, series)
    most = repo.config.patches.most_lines
    if most is not None and series.lines > most:
        yield (
            f"the live patches touch {series.lines} upstream lines,"
            f" and fork.toml allows {most} (patches.most_lines)"
        )


def _patches_by_feature(series: Series) -> dict[str, list[str]]:
    """Return the ids of the patches that bring each feature, by the feature's id."""
    found: dict[str, list[str]] = {}
    for feature in series.features:
        patches = found.setdefault(feature.id, [])
        if feature.patch.id not in patches:
            patches.append(feature.patch.id)
    return found


def _several_bases(series: Series) -> Iterator[str]:
    bases = sorted({patch.base for patch in series.active if patch.base})
    if len(bases) > 1:
        yield (
            f"the live patches have several bases: {', '.join(bases)};"
            " `nox -s import`, then `nox -s export` gives them one"
        )


def _patch_problems(repo: Repository, series: Series, lock: Lock, patch: Patch) -> Iterator[str]:
    """Yield problems with the names that one patch uses."""
    if patch.base and lock.release(patch.base) is None:
        yield f"Base: {patch.base} is not pinned in upstream/lock.toml"
    if patch.base:
        try:
            Version(patch.base)
        except InvalidVersion:
            yield f"Base: {patch.base!r} is not a version"
    yield from _wrong_depends(series, patch)
    if patch.state is State.ACTIVE:
        there = module_files(repo.overrides)
        missing = [name for name in patch.overrides if not matching_files(name, there)]
        yield from (f"Overrides: there is no {_path(repo, name)}" for name in missing)
        yield from _unnamed_imports(repo, series, patch)


def _feature_problems(repo: Repository, feature: Feature) -> Iterator[str]:
    """Yield problems with the names that a feature's record uses."""
    yield from _wrong_needs(feature)
    yield from (
        f"Probes: {spec} matches nothing"
        for spec in feature.probes
        if not _matches(repo.root, spec)
    )
    if feature.mutation and not (repo.root / feature.mutation).is_file():
        yield f"Mutation: there is no {feature.mutation}"
    try:
        _ = feature.retired_in  # parses the release
    except InvalidVersion:
        yield f"Applied-Upstream: {feature.applied_upstream!r} does not begin with a release"


def _path(repo: Repository, name: str) -> str:
    """Return the path that a name of `Overrides:` stands for: a module's file, or a folder."""
    return f"{repo.config.overrides.package}/{name if name.endswith('/') else file_of(name)}"


def _unnamed_imports(repo: Repository, series: Series, patch: Patch) -> Iterator[str]:
    """Yield imports of modules that neither this patch nor one that it depends on brings.

    A tree with these patches alone would lack the modules, so leaving out another patch would break
    it.
    """
    package, there = repo.config.overrides.package, module_files(repo.overrides)
    brought = files_by_patch(series.active, there)
    here = {*repo.config.overrides.common}.union(
        *(brought.get(name, ()) for name in _reachable(series, patch.id))
    )
    for file in brought.get(patch.id, ()):
        for other in imported_files(file, (repo.overrides / file).read_text(), package, there):
            if other not in here:
                lacking = (
                    f"imports {module_of(other)},"
                    " which neither this patch nor one it depends on names"
                )
                yield f"Overrides: {package}/{file} {lacking}"


def _wrong_depends(series: Series, patch: Patch) -> Iterator[str]:
    live = patch in series.active
    earlier = (
        {other.id for other in series.active[: series.active.index(patch)]}
        if live
        else set(series.by_id)
    )
    for name in patch.depends:
        if name not in series.by_id:
            yield f"Depends: there is no patch {name}"
        elif name not in earlier:
            yield f"Depends: {name} comes later in the series"
        elif not live and patch.id in _reachable(series, name):
            yield f"Depends: {name} depends on {patch.id} itself"


def _reachable(series: Series, name: str) -> set[str]:
    """Return a patch's id and those of all that it depends on, even if they form a cycle."""
    found: set[str] = set()
    left = [name]
    while left:
        name = left.pop()
        if name not in found and name in series.by_id:
            found.add(name)
            left += series.by_id[name].depends
    return found


def _wrong_needs(feature: Feature) -> Iterator[str]:
    for text in feature.needs:
        try:
            Requirement(text)
        except InvalidRequirement:
            yield f"Needs: {text!r} is not a requirement such as `Django>=6`"


def _matches(root: Path, spec: str) -> bool:
    """Return whether a probe path or node id names something that exists."""
    name, _, node = spec.partition("::")
    path = root / name
    if not path.is_file():
        return False
    if not node:
        return True
    try:
        tree = ast.parse(path.read_text())
    except SyntaxError:  # the run of the probe reports it
        return True
    wanted = node.split("::")[-1].split("[")[0]
    return any(
        isinstance(item, (ast.FunctionDef, ast.ClassDef)) and item.name == wanted
        for item in ast.walk(tree)
    )


def _unclaimed_modules(repo: Repository, series: Series) -> Iterator[str]:
    """Yield override modules that no live patch names, which would ship without being needed."""
    there = module_files(repo.overrides)
    named = {*repo.config.overrides.common}.union(*files_by_patch(series.active, there).values())
    for file in sorted(there - named):
        yield (
            f"{repo.config.overrides.package}/{file}: no live patch names it"
            f" (Overrides: {module_of(file)})"
        )
