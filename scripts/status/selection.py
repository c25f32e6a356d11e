"""select: from what the command line asks for to the scope of a run."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from scripts.core.config import near_miss
from scripts.core.console import say
from scripts.core.errors import UsageError, without_secret
from scripts.core.model import Cell, Feature, Lock, Settings
from scripts.core.repository import Repository
from scripts.series.profile import check_profile
from scripts.series.series import Series, read_series
from scripts.status.last_watch import newer_release
from scripts.verdicts.summary import Scope

_T = TypeVar("_T")


@dataclass(frozen=True)
class Choice:
    """What the command line requests: releases, features or patches, and cells (empty: all).

    `fresh` ignores earlier results. `sources` are the requested releases that upstream did not
    release; the report answers for the last of them. `asked` are the releases and sources as they
    were named. `bare` leaves out the series columns, to show what upstream does by itself. `matrix`
    takes every cell instead of the default cells. `graph` leaves out each patch in turn and finds
    what it depends on. `suite` runs upstream's own tests. `part` means that the cells are one job's
    share of all.
    """

    releases: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    fresh: bool = False
    bare: bool = False
    matrix: bool = False
    graph: bool = False
    suite: bool = False
    part: bool = False
    sources: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Return whether every release and cell counts; only then is a "since when" derived."""
        return not self.releases and not self.cells

    def with_sources(self, found: Mapping[str, Sequence[str]]) -> Choice:
        """Return the choice with the names of sources replaced by their versions."""
        releases = [version for name in self.releases for version in found.get(name, [name])]
        sources = tuple(version for made in found.values() for version in made)
        return replace(self, releases=tuple(releases), sources=sources, asked=self.releases)


def scope_of(repo: Repository, lock: Lock, choice: Choice) -> Scope:
    """Return what a run covers; raise UsageError for a name that does not exist."""
    series = read_series(repo, lock)
    short, every = repo.config.cells(lock), repo.config.matrix_cells(lock)
    all_cells = (
        every
        if choice.matrix
        else [*short, *(cell for cell in every if cell.id in choice.cells and cell not in short)]
    )
    cells = _chosen_cells(lock, choice, all_cells)
    releases = [
        version for version in lock.versions if any(cell.release == version for cell in cells)
    ]
    if not releases:
        raise UsageError(
            "no environment runs any of the releases asked for",
            hint="edit fork.toml: environments.releases",
        )
    return Scope(
        name=lock.name,
        locked=lock.locked,
        at=_answers_for(lock, choice, releases),
        releases=tuple(releases),
        features=_chosen_features(series, choice.features),
        cells=tuple(cells),
        all_cells=tuple(all_cells),
        series=series,
        profile=check_profile(repo, series),
        whole=choice.whole,
        modes={mode.id: Settings.of(mode.settings) for mode in repo.config.modes},
        quiet={mode.id: mode.reason for mode in repo.config.modes if not mode.decides},
        servers={server.id: server.settings for server in repo.config.servers if server.settings},
        excluded=Counter(reason for _, reason in repo.config.product(lock) if reason)
        if choice.matrix
        else {},
        newer=newer_release(repo, lock),
        verb="matrix" if choice.matrix else "status",
        asked=tuple(_asked(choice)),
    )


def _asked(choice: Choice) -> Iterator[str]:
    """Yield the options that request the same releases and cells again."""
    yield from (
        f"--upstream {shlex.quote(without_secret(name))}"
        for name in choice.asked or choice.releases
    )
    if choice.cells:
        yield f"--cells {shlex.quote(' '.join(choice.cells))}"


def _chosen_features(series: Series, names: Sequence[str]) -> tuple[Feature, ...]:
    """Return the requested features in the order of the series, or all of them.

    Each is named by itself or by its patch. Raise UsageError for an unknown name.
    """
    wrong = [name for name in names if not series.features_named(name)]
    if wrong:
        known = [*series.feature_by_id, *series.by_id]
        raise UsageError(f"there is no patch {wrong[0]}{near_miss(wrong[0], known)}")
    for name in names:
        for feature in series.features_named(name):
            if name in feature.formerly:
                say(f"{name} is called {feature.id} now")
    found = {feature.id for name in names for feature in series.features_named(name)}
    return tuple(feature for feature in series.features if not names or feature.id in found)


def _answers_for(lock: Lock, choice: Choice, releases: Sequence[str]) -> str:
    """Return the release that the report answers for.

    It is the last requested source, else the locked release, else the newest.
    """
    sources = [version for version in releases if version in choice.sources]
    return sources[-1] if sources else lock.locked if lock.locked in releases else releases[-1]


def _chosen_cells(lock: Lock, choice: Choice, all_cells: Sequence[Cell]) -> list[Cell]:
    """Return the requested cells, or those of the requested releases, or all."""
    if choice.cells:
        return _chosen("cell", choice.cells, {cell.id: cell for cell in all_cells})
    wanted = _chosen(
        "release", choice.releases, {release.version: release for release in lock.releases}
    )
    return [cell for cell in all_cells if cell.release in {release.version for release in wanted}]


def _chosen(kind: str, names: Sequence[str], known: dict[str, _T]) -> list[_T]:
    """Return what is requested by name, or everything; raise UsageError with the near miss."""
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UsageError(f"there is no {kind} {wrong[0]}{near_miss(wrong[0], list(known))}")
    return [known[name] for name in names] if names else list(known.values())
