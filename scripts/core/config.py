"""`fork.toml`, decoded once into frozen records that refuse what they do not know."""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
import types
import typing
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from scripts.core.errors import UsageError, collected, without_secret
from scripts.core.model import NO_SETTINGS, Cell, Lock, Settings

LOCKED = re.compile(r"\blocked\b")
"""The word that stands for the locked release wherever cells are chosen by release."""


def covers(specifiers: str, release: str, locked: str) -> bool:
    """Return whether specifiers of fork.toml, in which `locked` stands for the locked release, name a release."""
    return SpecifierSet(LOCKED.sub(locked, specifiers)).contains(release, prereleases=True)


def _specifiers(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"not a version specifier such as '>=7,<8': {text!r}") from error
    return text


def _releases(text: str) -> str:
    _specifiers(LOCKED.sub("0", text))
    return text


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"not a requirement such as 'Django==5.2.*': {text!r}") from error
    return text


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f"not an address such as 'https://index.example/simple/': {without_secret(text)!r}"
        )
    if "@" in parts.netloc:
        raise ValueError(
            "an address in fork.toml holds no user and no password; see docs/publish.md for where they go"
        )
    return text


def _folder(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"not a folder inside a release such as 'src': {text!r}")
    return str(path)


Specifiers = Annotated[str, AfterValidator(_specifiers)]
Folder = Annotated[str, AfterValidator(_folder)]
Releases = Annotated[str, AfterValidator(_releases)]
RequirementText = Annotated[str, AfterValidator(_requirement)]
Address = Annotated[str, AfterValidator(_address)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Record(BaseModel):
    """A frozen table that refuses unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Upstream(Record):
    """What is forked: the project's name on the index, which of its releases are tracked, and what else is watched.

    `watch` are sources that are not released, `git:URL@REF` or `path:DIR`. Pre-releases are tracked with `prereleases` alone.
    `path` is the folder of a release from which its modules are imported, where the release itself does not say so: one word
    for all that have such a folder, or a word by specifiers of releases.
    """

    name: str
    track: Specifiers
    watch: tuple[str, ...] = ()
    index: str | None = None
    prereleases: bool = False
    path: Folder | dict[Specifiers, Folder] = {}

    def tracks(self, version: Version) -> bool:
        """Tell whether a release is tracked; the one answer for every verb, whatever `packaging` takes for a default."""
        wanted = self.prereleases or not version.is_prerelease
        return wanted and SpecifierSet(self.track).contains(version, prereleases=True)

    def import_path(self, version: str) -> str | None:
        """Return the folder that is given for a release, None where there is none."""
        given = self.path if isinstance(self.path, dict) else {"": self.path}
        return next(
            (
                place
                for text, place in given.items()
                if SpecifierSet(text).contains(version, prereleases=True)
            ),
            None,
        )


class Overrides(Record):
    """The package that the fork adds; `common` files are in every tree that has a series."""

    package: Identifier
    common: tuple[str, ...] = ("__init__.py",)
    profile: str | None = None


class Beside(Record):
    """A server that some probe files need beside the cell's, and the variable of their process that says its address."""

    files: tuple[str, ...]
    server: Identifier
    variable: Annotated[str, Field(pattern=r"^PROBE_[A-Z]+_URL$")]


class Probes(Record):
    """How probes run: the control probe, the files they share, what they need beside a cell's requirements.

    `beside` are servers that some of them need beside the cell's. A plugin of pytest in `requires` is loaded by whoever names
    it in `pytest_plugins`. `timeout` is in seconds, for one process.
    """

    control: tuple[str, ...]
    support: tuple[str, ...] = ()
    beside: tuple[Beside, ...] = ()
    requires: tuple[RequirementText, ...] = ("pytest>=8", "pytest-reportlog")
    timeout: Annotated[int, Field(gt=0)] = 180


def _settings(found: dict[str, Any]) -> Settings:
    return Settings.of(found)


class Server(Record):
    """A server or a database that a cell's probes talk to, from a wheel of the tool's own environment or from PATH.

    `command` and `url` may hold `{socket}`, `{port}` and `{folder}`, which are private to one process of probes; `prepare`
    are commands to run before it. It is up when something listens at `ready`. `nodes` are started as many times, and `join`
    makes one of them (`{addresses}` stands for all of them). With `keep` it stays up for the next process, and `lease` are
    commands that make it empty, run on each node; `{name}` is new each time. A command is a program of the wheel or from
    PATH, or `WHEEL:PROGRAM`. `unprivileged` says that it refuses to run as root. `settings` are those that its clients need.
    """

    id: Identifier
    command: tuple[str, ...]
    url: str
    wheel: str | None = None
    prepare: tuple[tuple[str, ...], ...] = ()
    ready: str = "{socket}"
    nodes: Annotated[int, Field(gt=0)] = 1
    join: tuple[tuple[str, ...], ...] = ()
    keep: bool = False
    lease: tuple[tuple[str, ...], ...] = ()
    unprivileged: bool = False
    settings: Annotated[Settings, BeforeValidator(_settings)] = NO_SETTINGS


class Environment(Record):
    """A Python with requirements, and the releases and servers it is used for."""

    id: Identifier
    python: Annotated[str, Field(pattern=r"^3\.\d+$")]
    requires: tuple[RequirementText, ...] = ()
    releases: Releases = ""
    servers: tuple[str, ...] = ()


class Mode(Record):
    """Settings to run cells under in place of the profile's; without `decides` the verdicts are shown and count for nothing."""

    id: Identifier
    settings: dict[Identifier, Any] = {}
    decides: bool = True
    reason: str = ""


class Stack(Record):
    """Requirements of the matrix, with the Pythons and releases they are used for; environments are `pyXY-ID`."""

    id: Identifier
    pythons: tuple[Annotated[str, Field(pattern=r"^3\.\d+$")], ...]
    requires: tuple[RequirementText, ...] = ()
    releases: Releases = ""

    def environments(self) -> list[Environment]:
        """List an environment a Python."""
        return [
            Environment(
                id=f"py{python.replace('.', '')}-{self.id}",
                python=python,
                requires=self.requires,
                releases=self.releases,
            )
            for python in self.pythons
        ]


class Exclusion(Record):
    """Cells of the matrix that are left out, and why; what is not given matches all, names may hold `*`.

    In `releases` the word `locked` stands for the locked release.
    """

    reason: Annotated[str, Field(min_length=1)]
    releases: Releases = ""
    environments: tuple[str, ...] = ("*",)
    servers: tuple[str, ...] = ("*",)
    databases: tuple[str, ...] = ("*",)
    modes: tuple[str, ...] = ("*",)

    def matches(self, cell: Cell, locked: str) -> bool:
        """Tell whether a cell is left out."""
        words = (cell.environment, cell.server or "", cell.database or OWN, cell.mode or PROFILE)
        patterns = (self.environments, self.servers, self.databases, self.modes)
        named = all(
            any(fnmatchcase(word, pattern) for pattern in names)
            for word, names in zip(words, patterns, strict=True)
        )
        return named and covers(self.releases, cell.release, locked)

    def names(self, release: str) -> bool:
        """Return whether a release is named for itself, not as the end of a range."""
        items = SpecifierSet(LOCKED.sub("0", self.releases))
        exact = [
            item
            for item in items
            if item.operator in {"==", "!="} and not item.version.endswith("*")
        ]
        return any(
            item.contains(release, prereleases=True) is (item.operator == "==") for item in exact
        )


OWN, PROFILE = "own", "profile"
"""The words for the probes' own database and for the profile's settings, which cells go without."""


class Matrix(Record):
    """The axes of the whole matrix, and what is left out of their product."""

    environments: tuple[Stack, ...] = ()
    servers: tuple[str, ...] = ()
    databases: tuple[str, ...] = (OWN,)
    modes: tuple[str, ...] = (PROFILE,)
    exclude: tuple[Exclusion, ...] = ()


class Wheel(Record):
    """How the fork's wheel differs from upstream's, beside its code.

    `backend` pins what builds it, for the backend's version shows in the wheel's bytes; `license` is the fork's own file;
    `metadata` are fields that upstream's metadata lacks.
    """

    backend: tuple[RequirementText, ...] = ()
    license: str = "LICENSE"
    metadata: dict[str, str] = {}
    extras: dict[Identifier, tuple[RequirementText, ...]] = {}


class Suite(Record):
    """Upstream's own tests: what of the sdist they are, how they run, and in which modes (process environments).

    `command` and `env` may hold `{log}` (a file in the format of pytest-reportlog), `{server}` (an address), `{python}` and
    `{folder}` (which holds `files`); `tests` are the words that choose every test. `path` folders are importable. `timeout`
    is in seconds, for one mode. Without `environments` it runs wherever the release does. `excused` names tests that assert
    what a patch is there to change, each with the reason.
    """

    files: tuple[str, ...]
    command: tuple[str, ...]
    tests: tuple[str, ...]
    requires: tuple[RequirementText, ...] = ()
    path: tuple[str, ...] = ()
    env: dict[str, str] = {}
    modes: dict[Identifier, dict[str, str]] = {"default": {}}
    environments: tuple[str, ...] = ()
    excused: dict[str, str] = {}
    timeout: Annotated[int, Field(gt=0)] = 600


class DjangoCell(Record):
    """A Django whose own tests are run: the environment that has it, and the databases (`sqlite`, or one of `[[databases]]`)."""

    django: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    environment: str
    databases: tuple[str, ...]


class DjangoGate(Record):
    """Django's own tests under the wheel: in which cells, and what runs them.

    `path` are the folders with the code that runs inside the tests' processes, `excused` is the file that names the failures
    that count for nothing. `requires` is installed beside the environment's own requirements. `timeout` is in seconds, for one
    shard of about `shard` tests. `excluded` are labels that are never run, each with the reason. `short` are the labels that
    the repository's own tests run. `seen` are those in which bare upstream must have more than `at_least` wrong values.
    """

    path: tuple[str, ...]
    excused: str
    cells: tuple[DjangoCell, ...]
    server: str
    requires: tuple[RequirementText, ...] = ()
    timeout: Annotated[int, Field(gt=0)] = 1800
    shard: Annotated[int, Field(gt=0)] = 200
    excluded: dict[str, str] = {}
    short: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    at_least: int = 50


class ChaosGate(Record):
    """An application under faults: the package that checks it, the environment of its processes with what they need beside,
    and the servers and the database that it runs on.
    """

    checker: Annotated[str, Field(pattern=r"^[a-z_.]+$")]
    environment: str
    servers: tuple[str, ...]
    database: str
    requires: tuple[RequirementText, ...] = ()


class IndexTarget(Record):
    """An index to publish to, by its name: where files are uploaded, and the simple index that then lists them."""

    name: Identifier
    upload: Address
    simple: Address


class PatchRules(Record):
    """What lint asks of the live patches: how many upstream lines they may add and remove, all together."""

    most_lines: Annotated[int, Field(ge=0)] | None = None


class Config(Record):
    """The whole of `fork.toml`."""

    upstream: Upstream
    patches: PatchRules = PatchRules()
    overrides: Overrides
    probes: Probes
    servers: tuple[Server, ...] = ()
    databases: tuple[Server, ...] = ()
    modes: tuple[Mode, ...] = ()
    environments: tuple[Environment, ...]
    matrix: Matrix = Matrix()
    wheel: Wheel = Wheel()
    suite: Suite | None = None
    django: DjangoGate | None = None
    chaos: ChaosGate | None = None
    indexes: tuple[IndexTarget, ...] = ()

    def environment(self, name: str) -> Environment:
        """Return the environment of that id, which a cell of this configuration names."""
        return next(item for item in self.all_environments if item.id == name)

    @cached_property
    def all_environments(self) -> tuple[Environment, ...]:
        """The environments of the short list, then those of the matrix alone."""
        short = {item.id for item in self.environments}
        more = [item for stack in self.matrix.environments for item in stack.environments()]
        return (*self.environments, *(item for item in more if item.id not in short))

    def server(self, name: str | None) -> Server | None:
        """Return the server of that id, or None for a cell without one."""
        return next((item for item in self.servers if item.id == name), None)

    def database(self, name: str | None) -> Server | None:
        """Return the database of that id, or None for a cell with the probes' own."""
        return next((item for item in self.databases if item.id == name), None)

    def matrix_cells(self, lock: Lock) -> list[Cell]:
        """List every cell of the matrix, and those of the short list, oldest release first."""
        short = self.cells(lock)
        left_in = [
            cell for cell, reason in self.product(lock) if reason is None and cell not in short
        ]
        return [
            cell
            for version in lock.versions
            for cell in (*short, *left_in)
            if cell.release == version
        ]

    def stale_exclusions(self, lock: Lock, origin: str | None = None) -> Iterator[str]:
        """Yield a warning for each exclusion that seems to mean the locked release and names another one.

        Such is one that leaves out all but named releases, the locked one too, and one that names `origin`, the locked release
        before.
        """
        for number, item in enumerate(self.matrix.exclude):
            named = [
                version
                for version in lock.versions
                if version != lock.locked and item.names(version)
            ]
            all_but = "!=" in item.releases and covers(item.releases, lock.locked, lock.locked)
            meant = named if all_but else [version for version in named if version == origin]
            if meant:
                where = f"fork.toml: matrix.exclude[{number}].releases = {item.releases!r} names {', '.join(meant)}"
                yield f"{where}, and {lock.locked} is locked; write `locked` where the locked release is meant ({item.reason})"

    def product(self, lock: Lock) -> Iterator[tuple[Cell, str | None]]:
        """Yield every cell that the axes make, with the reason why it is left out."""
        axes = self.matrix
        for release in lock.releases:
            for environment in (
                item for stack in axes.environments for item in stack.environments()
            ):
                if not covers(environment.releases, release.version, lock.locked):
                    continue
                for server, database, mode in itertools.product(
                    axes.servers or (None,), axes.databases, axes.modes
                ):
                    cell = Cell(
                        release.version,
                        environment.id,
                        server,
                        None if database == OWN else database,
                        None if mode == PROFILE else mode,
                    )
                    yield (
                        cell,
                        next(
                            (
                                item.reason
                                for item in axes.exclude
                                if item.matches(cell, lock.locked)
                            ),
                            None,
                        ),
                    )

    def cells(self, lock: Lock) -> list[Cell]:
        """List the cells of the short list, oldest release first."""
        return [
            Cell(release.version, environment.id, server)
            for release in lock.releases
            for environment in self.environments
            if covers(environment.releases, release.version, lock.locked)
            for server in (environment.servers or (None,))
        ]


def read_config(path: Path) -> Config:
    """Decode a `fork.toml`; raises UsageError with every key that is wrong, its path and the near miss."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no {path.name} in {path.parent}",
            hint="run this in a fork, or give --repo DIR",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is not TOML: {error}", hint=f"edit {path.name}") from error
    try:
        config = Config.model_validate(_tuples(data))
    except ValidationError as error:
        raise collected(
            f"{path.name} is wrong:", map(_problem, error.errors()), hint=f"edit {path.name}"
        ) from error
    problems = list(_unknown_names(config))
    if problems:
        raise collected(f"{path.name} is wrong:", problems, hint=f"edit {path.name}")
    return config


def _tuples(value: Any) -> Any:
    """Turn TOML's arrays into the tuples that frozen records hold."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _problem(error: Any) -> str:
    """Say what is wrong at which key path, with the near miss of an unknown key."""
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]
    ).lstrip(".")
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    return f"{path}: unknown key{near_miss(str(error['loc'][-1]), _keys_at(error['loc'][:-1]))}"


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    """List the keys that the table at a path knows."""
    record: Any = Config
    for part in loc:
        if isinstance(part, str):
            record = _record_in(record.model_fields[part].annotation)
    return list(record.model_fields)


def _record_in(annotation: Any) -> Any:
    """Find the record inside an annotation such as `tuple[Server, ...]` or `Server | None`."""
    parts = typing.get_args(annotation)
    if not parts:
        return annotation
    return next(found for part in parts if (found := _record_in(part)) is not types.NoneType)


def near_miss(word: str, known: list[str]) -> str:
    """Return `; did you mean X?`, or what is known where nothing is near; of many, some."""
    begun = [name for name in known if word and name.startswith(word)]
    near = difflib.get_close_matches(word, known, n=1) or begun[:3]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    more = f", and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"; known: {', '.join(known[:_NAMED])}{more}"


_NAMED = 40
"""How many names are listed."""


def _unknown_names(config: Config) -> typing.Iterator[str]:
    """Find what the types alone cannot: servers that are not defined, ids used twice."""
    servers = [server.id for server in config.servers]
    for number, environment in enumerate(config.environments):
        for name in environment.servers:
            if name not in servers:
                yield f"environments[{number}].servers: no server {name!r}{near_miss(name, servers)}"
    taken = {"PROBE_SERVER_URL": "a cell's own", "PROBE_DATABASE_URL": "a cell's own"}
    for number, beside in enumerate(config.probes.beside):
        if beside.server not in servers:
            yield f"probes.beside[{number}].server: no server {beside.server!r}{near_miss(beside.server, servers)}"
        if taken.setdefault(beside.variable, beside.server) != beside.server:
            yield f"probes.beside[{number}].variable: {beside.variable} says the address of {taken[beside.variable]}"
    environments = [item.id for item in config.environments]
    for name in config.suite.environments if config.suite else ():
        if name not in environments:
            yield f"suite.environments: no environment {name!r}{near_miss(name, environments)}"
    yield from _unknown_in_django(config, servers)
    yield from _unknown_in_chaos(config, servers)
    indexes = [item.name for item in config.indexes]
    databases, modes = [item.id for item in config.databases], [item.id for item in config.modes]
    yield from _unknown_in_matrix(
        config, {"servers": servers, "databases": [OWN, *databases], "modes": [PROFILE, *modes]}
    )
    kinds = {
        "servers": servers,
        "databases": databases,
        "modes": modes,
        "environments": environments,
        "indexes": indexes,
    }
    for kind, ids in kinds.items():
        yield from (
            f"{kind}: id {name!r} is used {ids.count(name)} times"
            for name in sorted(set(ids))
            if ids.count(name) > 1
        )


def _unknown_in_django(config: Config, servers: list[str]) -> Iterator[str]:
    """Find words of the gate's table that are not defined."""
    if config.django is None:
        return
    environments = [item.id for item in config.all_environments]
    databases = ["sqlite", *(item.id for item in config.databases)]
    if config.django.server not in servers:
        yield f"django.server: no server {config.django.server!r}{near_miss(config.django.server, servers)}"
    for number, cell in enumerate(config.django.cells):
        if cell.environment not in environments:
            where = f"django.cells[{number}].environment"
            yield f"{where}: no environment {cell.environment!r}{near_miss(cell.environment, environments)}"
        for name in cell.databases:
            if name not in databases:
                yield f"django.cells[{number}].databases: no database {name!r}{near_miss(name, databases)}"


def _unknown_in_chaos(config: Config, servers: list[str]) -> Iterator[str]:
    """Find words of the other gate's table that are not defined."""
    if config.chaos is None:
        return
    environments = [item.id for item in config.all_environments]
    databases = [item.id for item in config.databases]
    for name in config.chaos.servers:
        if name not in servers:
            yield f"chaos.servers: no server {name!r}{near_miss(name, servers)}"
    if config.chaos.environment not in environments:
        name = config.chaos.environment
        yield f"chaos.environment: no environment {name!r}{near_miss(name, environments)}"
    if config.chaos.database not in databases:
        yield f"chaos.database: no database {config.chaos.database!r}{near_miss(config.chaos.database, databases)}"


def _unknown_in_matrix(config: Config, known: dict[str, list[str]]) -> Iterator[str]:
    """Find words of the matrix that are not defined, and environments that are not what the short list says of them."""
    for axis, names in known.items():
        for name in getattr(config.matrix, axis):
            if name not in names:
                yield f"matrix.{axis}: there is no {name!r}{near_miss(name, names)}"
    short = {item.id: item for item in config.environments}
    for stack in config.matrix.environments:
        for item in stack.environments():
            same = short.get(item.id)
            if same is not None and (same.python, set(same.requires)) != (
                item.python,
                set(item.requires),
            ):
                yield f"matrix.environments: {item.id} has other requirements than the environment of that id"
