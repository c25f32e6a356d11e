"""Plan what the gate runs: the subject, the Djangos that are available, and the shards."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from packaging.version import Version

from scripts.core.config import DjangoCell, DjangoGate
from scripts.core.console import info, progress
from scripts.core.errors import EnvironmentFailedError, UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import Settings
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache, file_digest
from scripts.gates.django_findings import MODES, DjangoPlace
from scripts.probes.environments import MissingEnvironment, ReadyEnvironment, ensure_environment
from scripts.probes.servers import find_program, install_hint
from scripts.series.apply import TreeBuilder
from scripts.series.profile import check_profile, settings_for
from scripts.series.series import read_series
from scripts.upstream.sdist import read_sdist
from scripts.upstream.vendor import ensure_releases


# Hashed by identity (`eq=False`), because the settings have no hash.
@dataclass(frozen=True, eq=False)
class Subject:
    """What the tests run under: a tree with its settings, identified by its content.

    Without a folder it is plain Django.
    """

    name: str
    folder: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    content: str = "plain"


PLAIN = Subject("plain Django")


@dataclass(frozen=True)
class DjangoSelection:
    """Which part of the gate runs; by default all of it."""

    django: str = ""
    database: str = ""
    mode: str = ""
    labels: tuple[str, ...] = ()
    share: str = ""
    jobs: int = 0
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class AvailableDjango:
    """A Django that can be tested here: its environment, its version, and its tests' folder."""

    cell: DjangoCell
    ready: ReadyEnvironment
    version: str
    folder: Path


@dataclass(frozen=True, eq=False)
class ShardJob:
    """One process: some labels in one place, under one subject."""

    django: AvailableDjango
    place: DjangoPlace
    labels: tuple[str, ...]
    subject: Subject
    size: int = 0


def gate_of(repo: Repository) -> DjangoGate:
    """Return fork.toml's `[django]`; raise UsageError if there is none."""
    if repo.config.django is None:
        raise UsageError(
            "fork.toml has no [django], so this fork does not run Django's own tests",
            hint="add [django] to fork.toml, with the keys path, excused, server and cells",
        )
    return repo.config.django


def subject_of(repo: Repository, *, upstream: bool = False, tree: Path | None = None) -> Subject:
    """Return the tree that goes into the wheel, with the settings of the profile.

    With `upstream` it is the bare release, without settings; with `tree` that folder replaces the
    tree.
    """
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        series = read_series(repo, lock)
        release = lock.locked_release
        builder = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
        if upstream:
            return Subject(
                f"bare {lock.name} {lock.locked}", builder.folder(release.tree), {}, release.tree
            )
        settings: Settings = settings_for(check_profile(repo, series), series, lock.locked, None)
        if tree is not None:
            return Subject(
                str(tree),
                tree,
                settings.as_dict(),
                file_digest(*(path for path in tree.iterdir() if path.is_dir())),
            )
        built = builder.build(series.active, release)
        return Subject(
            f"{lock.name} {lock.locked} with the series",
            builder.folder(built.tree),
            settings.as_dict(),
            built.tree,
        )


def parse_settings(given: Sequence[str]) -> dict[str, Any]:
    """Return the settings that `NAME=VALUE` states, with values as Python literals.

    Raise UsageError for what is not of this form.
    """
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        try:
            found[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            sign = ""
        if not sign or not name.isidentifier():
            raise UsageError(
                f"{text!r} is not a setting", hint="write NAME=VALUE, with a Python literal"
            )
    return found


def available_djangos(
    repo: Repository, gate: DjangoGate, selection: DjangoSelection
) -> list[AvailableDjango]:
    """Make the environments of the requested cells, and get the tests of the Django in each.

    Print what is missing here. Raise UsageError if fork.toml has no such cell,
    EnvironmentFailedError if no Django can run.
    """
    cells = [cell for cell in gate.cells if selection.django in {"", cell.django}]
    cells = [cell for cell in cells if selection.database in {"", *cell.databases}]
    if not cells:
        asked = " ".join(
            filter(None, (selection.django, "on" if selection.database else "", selection.database))
        )
        raise UsageError(f"fork.toml's [django] has no Django {asked}", hint="edit fork.toml")
    found = []
    for cell in cells:
        environment = repo.config.environment(cell.environment)
        ready = ensure_environment(
            repo, f"django-{cell.environment}", environment, [*environment.requires, *gate.requires]
        )
        if isinstance(ready, MissingEnvironment):
            info(f"Django {cell.django} is not tried: {ready.reason}")
            continue
        version = ready.versions["django"]
        found.append(AvailableDjango(cell, ready, version, django_tests(repo, version)))
    if not found:
        raise EnvironmentFailedError(
            "no Django could be tried", hint="see above for what is missing"
        )
    return found


def django_tests(repo: Repository, version: str) -> Path:
    """Return the folder of a Django's own tests.

    They are downloaded from the index, checked against the digest that the index states, and kept
    under .fork/.
    """
    folder = repo.work / "django" / version
    if (folder / "tests").exists():
        return folder / "tests"
    # The import takes a fifth of a second, which a run with nothing to download need not spend.
    from scripts.upstream.index import Index  # noqa: PLC0415

    index = Index(repo.index_settings)
    remote = next(
        (item for item in index.sdists("Django") if item.version == Version(version)), None
    )
    if remote is None:
        raise EnvironmentFailedError(
            f"the index {index.address} has no sdist of Django {version}",
            hint="choose an index that has it",
        )
    path = repo.work / "sdists" / remote.file
    if not path.exists():
        with progress(f"downloading {remote.file}", 1) as advance:
            index.download(remote, path, advance)
    with repo.scratch() as scratch:
        for member in read_sdist(path):
            if member.path.startswith("tests/"):
                place = scratch / "django" / member.path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(member.content)
        folder.parent.mkdir(exist_ok=True)
        try:
            (scratch / "django").rename(folder)
        except OSError:  # another process was faster
            if not (folder / "tests").exists():
                raise
    return folder / "tests"


def plan_jobs(
    repo: Repository,
    gate: DjangoGate,
    djangos: Sequence[AvailableDjango],
    selection: DjangoSelection,
    subject: Subject,
) -> list[ShardJob]:
    """Return every process, each without the cache before the one with it."""
    found = []
    for django in djangos:
        sizes = {
            label: size
            for label, size in labels_of(django.folder).items()
            if label not in gate.excluded
        }
        for place in _places(repo, django, selection):
            for labels in _shards(gate, sizes, selection):
                size = sum(sizes.get(label, 1) for label in labels)
                found += [
                    ShardJob(django, place, labels, which, size) for which in (PLAIN, subject)
                ]
    return found


def _shards(
    gate: DjangoGate, sizes: Mapping[str, int], selection: DjangoSelection
) -> list[tuple[str, ...]]:
    every: list[tuple[str, ...]] = [(label,) for label in match_labels(sizes, selection.labels)]
    every = every or shards(sizes, gate.shard)
    return select_share(every, selection.share) if selection.share else every


def _places(
    repo: Repository, django: AvailableDjango, selection: DjangoSelection
) -> Iterator[DjangoPlace]:
    for database in django.cell.databases:
        server = repo.config.database(database)
        if selection.database not in {"", database}:
            continue
        if server is not None and find_program(server) is None:
            info(f"Django {django.cell.django} is not tried on {database}: {install_hint(server)}")
            continue
        for mode in MODES:
            if selection.mode in {"", mode}:
                yield DjangoPlace(django.cell.django, database, mode)


def labels_of(folder: Path) -> dict[str, int]:
    """Return the labels in a folder of Django's tests, with the approximate number of tests."""
    found = {path.parent.name: path.parent for path in sorted(folder.glob("*/__init__.py"))}
    sizes = {
        label: sum(text.count("    def test") for text in _sources(place))
        for label, place in found.items()
    }
    return {label: size for label, size in sizes.items() if size}


def _sources(folder: Path) -> Iterator[str]:
    return (path.read_text(errors="replace") for path in sorted(folder.rglob("*.py")))


def match_labels(labels: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the labels that patterns such as `m2m_*` match.

    The dotted name of a test is returned as it is. Raise UsageError if nothing matches.
    """
    every = list(labels)
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [label for label in every if fnmatchcase(label, pattern)]
        if not matching and pattern.partition(".")[0] not in every:
            raise UsageError(
                f"Django's tests have no label {pattern!r}", hint="ls .fork/django/*/tests"
            )
        found |= dict.fromkeys(matching or [pattern])
    return list(found)


def shards(sizes: Mapping[str, int], tests: int) -> list[tuple[str, ...]]:
    """Group all labels, in their order, into shards of about `tests` tests.

    The same labels make the same shards.
    """
    found: list[list[str]] = []
    room = 0
    for label, size in sizes.items():
        if not found or size > room:
            found.append([])
            room = tests
        found[-1].append(label)
        room -= size
    return [tuple(shard) for shard in found]


def select_share(every: Sequence[tuple[str, ...]], words: str) -> list[tuple[str, ...]]:
    """Return the share `3/8` of all shards: every eighth one, from the third.

    Raise UsageError if `words` is no such share.
    """
    number, slash, count = words.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UsageError(f"not a share such as 3/8: {words!r}")
    return list(every[int(number) - 1 :: int(count)])
