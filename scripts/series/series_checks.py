"""Check patches against each other and against the rest of the repository, by reading alone."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from packaging.version import InvalidVersion, Version

from scripts.core.errors import Problem
from scripts.core.model import Lock, Patch
from scripts.core.repository import Repository
from scripts.series.bases import series_base
from scripts.series.feature_checks import feature_problems
from scripts.series.module_checks import (
    misnamed_modules,
    missing_modules,
    unclaimed_modules,
    unnamed_imports,
    with_meant_modules,
)
from scripts.series.patch_series import Series
from scripts.series.probe_files import missing_records


def series_problems(repo: Repository, series: Series, lock: Lock) -> Iterator[Problem]:
    """Yield problems between patches, and between them and the rest of the repository."""
    yield from _repeated_ids(repo, series)
    yield from _features_of_several(repo, series)
    for patch in series.all:
        where = place(repo, patch)
        yield from (item.at(where) for item in _patch_problems(series, lock, patch))
    meant = with_meant_modules(repo, series)
    for patch, right in zip(series.active, meant.active, strict=True):
        where = place(repo, patch)
        yield from (item.at(where) for item in misnamed_modules(repo, patch, right))
        yield from (item.at(where) for item in missing_modules(repo, patch, right))
        yield from (item.at(where) for item in unnamed_imports(repo, meant, right))
    yield from missing_records(repo, series)
    for feature in series.features:
        where = str(feature.record.relative_to(repo.root))
        yield from (item.at(where) for item in feature_problems(repo, feature))
    yield from _missing_extra_files(repo)
    yield from unclaimed_modules(repo, series)
    yield from _too_many_lines(repo, series)


def place(repo: Repository, patch: Patch) -> str:
    """Return a patch's file, relative to the repository."""
    return str(patch.path.relative_to(repo.root))


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


def _patch_problems(series: Series, lock: Lock, patch: Patch) -> Iterator[Problem]:
    """Yield problems with the names that one patch uses."""
    yield from _wrong_base(series, lock, patch)
    yield from _wrong_depends(series, patch)


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


def _near(word: str, known: Collection[str]) -> list[str]:
    return difflib.get_close_matches(word, known, n=1)


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
