"""Read the series and the retired patches, and check them before anything runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripts.core.config import near_misses
from scripts.core.errors import Problem, UsageError, problems_error
from scripts.core.model import Feature, Lock, Patch, State
from scripts.core.repository import Repository
from scripts.series.bases import several_bases
from scripts.series.feature_record import feature_from_patch, read_feature, record_path
from scripts.series.module_checks import unclaimed_modules
from scripts.series.patch_file import read_patch
from scripts.series.patch_series import Series
from scripts.series.series_checks import series_problems

__all__ = ["FIX_ALL", "Series", "not_in_order", "read_series", "read_with_problems"]

FIX_ALL = "do what stands below each of them, then `nox -s lint`"


def read_series(repo: Repository, lock: Lock, *, one_base: bool = True) -> Series:
    """Read and check every patch; raise one UsageError that lists all that is wrong.

    Only `import` passes `one_base=False`, because it is the way to get a single base. It also
    accepts the modules of a patch that is not exported yet.
    """
    series, problems = read_with_problems(repo, lock)
    if one_base:
        problems += several_bases(series, lock)
    else:
        unclaimed = set(unclaimed_modules(repo, series))
        problems = [problem for problem in problems if problem not in unclaimed]
    if problems:
        raise not_in_order(problems)
    return series


def not_in_order(problems: Iterable[Problem]) -> UsageError:
    """Return one error that lists all that is wrong with the patches."""
    return problems_error("the patches are not in order:", problems, hint=FIX_ALL)


def read_with_problems(repo: Repository, lock: Lock) -> tuple[Series, list[Problem]]:
    """Read every patch, and return the series with a list of all that is wrong with it."""
    problems: list[Problem] = []
    listed = _listed_files(repo, problems)
    active = tuple(_read_patches(repo, listed, State.ACTIVE, problems))
    retired = tuple(
        _read_patches(
            repo, sorted((repo.patches / "retired").glob("*.patch")), State.RETIRED, problems
        )
    )
    series = Series(active, retired, tuple(_features(repo, (*active, *retired), problems)))
    problems += series_problems(repo, series, lock)
    return series, problems


def _listed_files(repo: Repository, problems: list[Problem]) -> list[Path]:
    """Return the files that `patches/series` names; note unlisted, missing and duplicate ones."""
    try:
        text = (repo.patches / "series").read_text()
    except FileNotFoundError:
        problems.append(_MISSING_LIST)
        text = ""
    names = [name for line in text.splitlines() if (name := line.split("#")[0].strip())]
    here = {path.name for path in repo.patches.glob("*.patch")}
    problems += _list_problems(names, here)
    return [repo.patches / name for name in dict.fromkeys(names) if name in here]


_LIST = "patches/series"
_MISSING_LIST = Problem(
    "the list of the patches is missing", "(cd patches && ls [0-9]*.patch > series)", where=_LIST
)


def _list_problems(names: list[str], here: set[str]) -> Iterator[Problem]:
    """Yield what is wrong with the list of patches, given the files that are there."""
    for name in sorted(set(names)):
        if names.count(name) > 1:
            text = f"{name} is listed {names.count(name)} times"
            yield Problem(text, f"keep one line `{name}` and delete the others", _LIST)
    for name in names:
        if name not in here:
            near = [f"write `{other}`" for other in near_misses(name, sorted(here - set(names)))]
            advice = "\n".join([*near, f"delete the line `{name}`"])
            yield Problem(f"{name} is listed, but there is no such file", advice, _LIST)
    for name in sorted(here - set(names)):
        word = shlex.quote(name)
        advice = f"echo {word} >> {_LIST}\nrm patches/{word}"
        yield Problem(f"not listed in {_LIST}", advice, where=f"patches/{name}")


def _read_patches(
    repo: Repository, paths: list[Path], state: State, problems: list[Problem]
) -> Iterator[Patch]:
    for path in paths:
        patch, wrong = read_patch(path, state)
        problems += [item.at(str(path.relative_to(repo.root))) for item in wrong]
        yield patch


def _features(
    repo: Repository, patches: Iterable[Patch], problems: list[Problem]
) -> Iterator[Feature]:
    """Yield the features of each patch: from their records, or from the patch itself."""
    for patch in patches:
        files = {name: record_path(repo.config.probes.control[0], name) for name in patch.features}
        read = [
            read_feature(repo.record_file(file), name, patch, file) for name, file in files.items()
        ]
        for feature, wrong in read or [feature_from_patch(patch)]:
            problems += [item.at(str(feature.record.relative_to(repo.root))) for item in wrong]
            yield feature
