"""selection: turn what the command line requests into the scope of a run."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from scripts.core.config import did_you_mean, near_commands
from scripts.core.console import info
from scripts.core.errors import UsageError, redact
from scripts.core.model import Cell, Feature, Lock, Settings
from scripts.core.repository import Repository
from scripts.series.profile import check_profile
from scripts.series.series import Series
from scripts.status.last_watch import newer_release
from scripts.status.not_exported import read_exported
from scripts.verdicts.summary import Scope

_T = TypeVar("_T")


@dataclass(frozen=True)
class Selection:
    """What the command line requests: releases, features or patches, and cells (empty: all).

    `fresh` ignores earlier results. `sources` are the requested releases that upstream did not
    release; the report answers for the last of them. `named_releases` are the releases and sources
    as the command line named them. `bare` leaves out the series columns, to show what upstream does
    by itself. `matrix` takes every cell instead of the default cells. `graph` leaves out each patch
    in turn and finds what it depends on. `suite` runs upstream's own tests. `is_ci_shard` means
    that the cells are one CI job's share of all.
    """

    releases: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    fresh: bool = False
    bare: bool = False
    matrix: bool = False
    graph: bool = False
    suite: bool = False
    is_ci_shard: bool = False
    sources: tuple[str, ...] = ()
    named_releases: tuple[str, ...] = ()

    @property
    def is_unfiltered(self) -> bool:
        """Return whether every release and cell counts; only then is a "since when" derived."""
        return not self.releases and not self.cells

    def with_sources(self, found: Mapping[str, Sequence[str]]) -> Selection:
        """Return the selection with the names of sources replaced by their versions."""
        releases = [version for name in self.releases for version in found.get(name, [name])]
        sources = tuple(version for made in found.values() for version in made)
        return replace(
            self, releases=tuple(releases), sources=sources, named_releases=self.releases
        )


def scope_of(repo: Repository, lock: Lock, selection: Selection) -> Scope:
    """Return what a run covers; raise UsageError for a name that does not exist."""
    series = read_exported(repo, lock, selection.features)
    default, every = repo.config.default_cells(lock), repo.config.matrix_cells(lock)
    all_cells = (
        every
        if selection.matrix
        else [
            *default,
            *(cell for cell in every if cell.id in selection.cells and cell not in default),
        ]
    )
    cells = _selected_cells(lock, selection, all_cells)
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
        answer_release=_answer_release(lock, selection, releases),
        releases=tuple(releases),
        features=_selected_features(series, selection.features),
        cells=tuple(cells),
        all_cells=tuple(all_cells),
        series=series,
        profile=check_profile(repo, series),
        is_unfiltered=selection.is_unfiltered,
        modes={mode.id: Settings.of(mode.settings) for mode in repo.config.modes},
        advisory_modes={mode.id: mode.reason for mode in repo.config.modes if not mode.gating},
        servers={server.id: server.settings for server in repo.config.servers if server.settings},
        excluded=Counter(reason for _, reason in repo.config.matrix_product(lock) if reason)
        if selection.matrix
        else {},
        newer=newer_release(repo, lock),
        verb="matrix" if selection.matrix else "status",
        cli_options=tuple(_repeating_options(selection)),
    )


def _repeating_options(selection: Selection) -> Iterator[str]:
    """Yield the options that request the same releases and cells again."""
    yield from (
        f"--upstream {shlex.quote(redact(name))}"
        for name in selection.named_releases or selection.releases
    )
    if selection.cells:
        yield f"--cells {shlex.quote(' '.join(selection.cells))}"


def _selected_features(series: Series, names: Sequence[str]) -> tuple[Feature, ...]:
    """Return the requested features in the order of the series, or all of them.

    Each is named by itself or by its patch. Raise UsageError for an unknown name.
    """
    wrong = [name for name in names if not series.features_named(name)]
    if wrong:
        known = [*series.feature_by_id, *series.by_id]
        raise UsageError(
            f"there is no feature or patch {wrong[0]}{did_you_mean(wrong[0], known)}",
            hint=near_commands("nox -s status -- --patch", wrong[0], known) or "nox -s status",
        )
    for name in names:
        for feature in series.features_named(name):
            if name in feature.formerly:
                info(f"{name} is called {feature.id} now")
    found = {feature.id for name in names for feature in series.features_named(name)}
    return tuple(feature for feature in series.features if not names or feature.id in found)


def _answer_release(lock: Lock, selection: Selection, releases: Sequence[str]) -> str:
    """Return the release that the report answers for.

    It is the last requested source, else the locked release, else the newest.
    """
    sources = [version for version in releases if version in selection.sources]
    return sources[-1] if sources else lock.locked if lock.locked in releases else releases[-1]


def _selected_cells(lock: Lock, selection: Selection, all_cells: Sequence[Cell]) -> list[Cell]:
    """Return the requested cells, or those of the requested releases, or all."""
    if selection.cells:
        known = {cell.id: cell for cell in all_cells}
        return _select("cell", selection.cells, known, "nox -s cell --")
    releases = {release.version: release for release in lock.releases}
    wanted = _select("release", selection.releases, releases, "nox -s status -- --upstream")
    return [cell for cell in all_cells if cell.release in {release.version for release in wanted}]


def _select(kind: str, names: Sequence[str], known: dict[str, _T], command: str) -> list[_T]:
    """Return what is requested by name, or everything; raise UsageError with the near miss.

    `command` is the one that takes such a name.
    """
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UsageError(
            f"there is no {kind} {wrong[0]}{did_you_mean(wrong[0], list(known))}",
            hint=near_commands(command, wrong[0], list(known)) or "nox -s matrix -- --list",
        )
    return [known[name] for name in names] if names else list(known.values())
