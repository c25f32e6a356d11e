"""`fork.toml`, decoded once into frozen records that reject unknown keys."""

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

from scripts.core.errors import UsageError, problems_error, redact
from scripts.core.model import NO_SETTINGS, Cell, Lock, Settings

LOCKED_WORD = re.compile(r"\blocked\b")
"""The word that stands for the locked release where cells are selected by release."""


def covers(specifiers: str, release: str, locked: str) -> bool:
    """Return whether version specifiers of `fork.toml` include a release.

    The word `locked` in them stands for the locked release.
    """
    # The default for pre-releases differs between versions of `packaging`.
    return SpecifierSet(LOCKED_WORD.sub(locked, specifiers)).contains(release, prereleases=True)


def _specifiers(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"not a version specifier such as '>=7,<8': {text!r}") from error
    return text


def _releases(text: str) -> str:
    # Any version will do here, because only the form is checked.
    _specifiers(LOCKED_WORD.sub("0", text))
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
            f"not an address such as 'https://index.example/simple/': {redact(text)!r}"
        )
    # This message does not quote the address, because it may contain a password.
    if "@" in parts.netloc:
        raise ValueError(
            "an address in fork.toml holds no user and no password; they go into"
            " TWINE_USERNAME and TWINE_PASSWORD, ~/.pypirc, the keyring or ~/.netrc"
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
# Ids are joined with `@` into the names of cells, and they are names of folders.
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ConfigTable(BaseModel):
    """A frozen table that rejects unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Upstream(ConfigTable):
    """The forked project: its name on the index, its tracked releases, and what else is watched.

    `watch` lists unreleased sources, `git:URL@REF` or `path:DIR`. Pre-releases are tracked only
    with `prereleases`. `path` is the folder of a release from which its modules are imported. It is
    either one folder for all releases or a folder per version specifier. A release without code in
    that folder uses the folder that its own files imply.
    """

    name: str
    track: Specifiers
    watch: tuple[str, ...] = ()
    index: str | None = None
    prereleases: bool = False
    path: Folder | dict[Specifiers, Folder] = {}

    def tracks(self, version: Version) -> bool:
        """Return whether a release is tracked.

        Every verb uses this method, whatever the default of `packaging` for pre-releases is.
        """
        wanted = self.prereleases or not version.is_prerelease
        return wanted and SpecifierSet(self.track).contains(version, prereleases=True)

    def configured_import_folder(self, version: str) -> str | None:
        """Return the import folder configured for a release, or None."""
        given = self.path if isinstance(self.path, dict) else {"": self.path}
        return next(
            (
                place
                for text, place in given.items()
                if SpecifierSet(text).contains(version, prereleases=True)
            ),
            None,
        )


class Overrides(ConfigTable):
    """The package that the fork adds; `common` files are in every tree with at least one patch."""

    package: Identifier
    common: tuple[str, ...] = ("__init__.py",)
    profile: str | None = None


class ExtraServer(ConfigTable):
    """An extra server that some probe files need, and the environment variable with its URL."""

    files: tuple[str, ...]
    server: Identifier
    variable: Annotated[str, Field(pattern=r"^PROBE_[A-Z]+_URL$")]


class Probes(ConfigTable):
    """How probes run: the control probe, the shared files, the extra servers and requirements.

    `extra_servers` lists servers that some probes need in addition to the cell's server. A pytest
    plugin in `requires` is loaded only where `pytest_plugins` names it. `timeout` is in seconds,
    for one process.
    """

    control: tuple[str, ...]
    support: tuple[str, ...] = ()
    extra_servers: tuple[ExtraServer, ...] = ()
    requires: tuple[RequirementText, ...] = ("pytest>=8", "pytest-reportlog")
    timeout: Annotated[int, Field(gt=0)] = 180


def _settings(found: dict[str, Any]) -> Settings:
    return Settings.of(found)


class Server(ConfigTable):
    """A server or database for a cell's probes, from a wheel of the tool's environment or PATH.

    `command` and `url` may contain `{socket}`, `{port}` and `{folder}`, which are private to one
    process of probes. `prepare` are commands to run before `command` starts. The server is up when
    something listens at `ready_when`. `nodes` is the number of instances to start, and
    `create_cluster` are the commands that make one server of them (`{addresses}` stands for all of
    their addresses). With `reuse` the server stays up for the next process, and `reset` are the
    commands that empty it, run on each node; `{name}` is new each time. A command is a program of
    the wheel or on PATH, or `WHEEL:PROGRAM`. `unprivileged` means that the server refuses to run as
    root. `settings` are the settings that its clients need.
    """

    id: Identifier
    command: tuple[str, ...]
    url: str
    wheel: str | None = None
    prepare: tuple[tuple[str, ...], ...] = ()
    ready_when: str = "{socket}"
    nodes: Annotated[int, Field(gt=0)] = 1
    create_cluster: tuple[tuple[str, ...], ...] = ()
    reuse: bool = False
    reset: tuple[tuple[str, ...], ...] = ()
    unprivileged: bool = False
    settings: Annotated[Settings, BeforeValidator(_settings)] = NO_SETTINGS


class Environment(ConfigTable):
    """A Python with requirements, and the releases and servers it is used for."""

    id: Identifier
    python: Annotated[str, Field(pattern=r"^3\.\d+$")]
    requires: tuple[RequirementText, ...] = ()
    releases: Releases = ""
    servers: tuple[str, ...] = ()


class Mode(ConfigTable):
    """Settings to run cells under instead of the profile's.

    Without `gating`, the verdicts are reported but do not count.
    """

    id: Identifier
    settings: dict[Identifier, Any] = {}
    gating: bool = True
    reason: str = ""


class Stack(ConfigTable):
    """Requirements of the matrix, with their Pythons and releases; environments are `pyXY-ID`."""

    id: Identifier
    pythons: tuple[Annotated[str, Field(pattern=r"^3\.\d+$")], ...]
    requires: tuple[RequirementText, ...] = ()
    releases: Releases = ""

    def environments(self) -> list[Environment]:
        """Return one environment per Python."""
        return [
            Environment(
                id=f"py{python.replace('.', '')}-{self.id}",
                python=python,
                requires=self.requires,
                releases=self.releases,
            )
            for python in self.pythons
        ]


class Exclusion(ConfigTable):
    """Cells of the matrix that are left out, and why.

    An axis that is not given matches every cell; names may contain `*`. In `releases`, the word
    `locked` stands for the locked release.
    """

    reason: Annotated[str, Field(min_length=1)]
    releases: Releases = ""
    environments: tuple[str, ...] = ("*",)
    servers: tuple[str, ...] = ("*",)
    databases: tuple[str, ...] = ("*",)
    modes: tuple[str, ...] = ("*",)

    def matches(self, cell: Cell, locked: str) -> bool:
        """Return whether a cell is left out."""
        words = (
            cell.environment,
            cell.server or "",
            cell.database or OWN_DATABASE,
            cell.mode or PROFILE_MODE,
        )
        patterns = (self.environments, self.servers, self.databases, self.modes)
        named = all(
            any(fnmatchcase(word, pattern) for pattern in names)
            for word, names in zip(words, patterns, strict=True)
        )
        return named and covers(self.releases, cell.release, locked)

    def names_exactly(self, release: str) -> bool:
        """Return whether a release is named exactly (`==` or `!=`), not as the end of a range."""
        items = SpecifierSet(LOCKED_WORD.sub("0", self.releases))
        exact = [
            item
            for item in items
            if item.operator in {"==", "!="} and not item.version.endswith("*")
        ]
        return any(
            item.contains(release, prereleases=True) is (item.operator == "==") for item in exact
        )


OWN_DATABASE, PROFILE_MODE = "own", "profile"
"""The names of the probes' own database and of the profile's settings; a cell has None for both."""


class Matrix(ConfigTable):
    """The axes of the full matrix, and the cells excluded from their product."""

    environments: tuple[Stack, ...] = ()
    servers: tuple[str, ...] = ()
    databases: tuple[str, ...] = (OWN_DATABASE,)
    modes: tuple[str, ...] = (PROFILE_MODE,)
    exclude: tuple[Exclusion, ...] = ()


class WheelConfig(ConfigTable):
    """How the fork's wheel differs from upstream's, apart from its code.

    Its version is `RELEASE+LABEL.N`. `backend` pins the build backend, because its version affects
    the wheel's bytes. `license` is the fork's own file. `metadata` are fields that upstream's
    metadata lacks.
    """

    # By default that of the first fork, whose published versions must not change.
    label: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")] = "rover"
    backend: tuple[RequirementText, ...] = ()
    license: str = "LICENSE"
    metadata: dict[str, str] = {}
    extras: dict[Identifier, tuple[RequirementText, ...]] = {}


class Suite(ConfigTable):
    """Upstream's own tests: their files in the sdist, how they run, and in which modes.

    `command` and `env` may contain `{log}` (a file in the format of pytest-reportlog), `{server}`
    (an address), `{python}` and `{folder}` (which holds `files`). `tests` are the arguments that
    select every test. `path` folders are importable. A mode is a set of environment variables.
    `timeout` is in seconds, for one mode. Without `environments` the tests run wherever the release
    does. `excused` names tests that assert what a patch changes on purpose, each with the reason.
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


class DjangoCell(ConfigTable):
    """A Django version whose own tests are run, with its environment and its databases.

    A database is `sqlite` or an id of `[[databases]]`.
    """

    django: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    environment: str
    databases: tuple[str, ...]


class DjangoGate(ConfigTable):
    """Django's own tests under the wheel: the cells they run in, and what runs them.

    `path` lists the folders with the code that runs inside the test processes. `excused` is the
    file that names the failures that do not count. `requires` is installed in addition to the
    environment's own requirements. `timeout` is in seconds, for one shard of about `shard` tests.
    `excluded` are labels that never run, each with the reason. `short` are the labels that the
    repository's own tests run. `seen` are the labels in which the gate must report more than
    `at_least` wrong values of bare upstream; fewer mean that the gate detects nothing.
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


class ChaosGate(ConfigTable):
    """An application under faults: its checker, environment, servers and database.

    `checker` is the package that checks it. `requires` is installed in addition to the
    environment's own requirements.
    """

    checker: Annotated[str, Field(pattern=r"^[a-z_.]+$")]
    environment: str
    servers: tuple[str, ...]
    database: str
    requires: tuple[RequirementText, ...] = ()


class IndexTarget(ConfigTable):
    """A named index to publish to: the upload address, and the simple index with the files."""

    name: Identifier
    upload: Address
    simple: Address


class PatchRules(ConfigTable):
    """Limits that `lint` enforces on the live patches.

    `most_lines` is how many upstream lines they may add and remove, all together.
    """

    most_lines: Annotated[int, Field(ge=0)] | None = None


class Config(ConfigTable):
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
    wheel: WheelConfig = WheelConfig()
    suite: Suite | None = None
    django: DjangoGate | None = None
    chaos: ChaosGate | None = None
    indexes: tuple[IndexTarget, ...] = ()

    def environment(self, name: str) -> Environment:
        """Return the environment with that id, which a cell of this configuration names."""
        return next(item for item in self.all_environments if item.id == name)

    @cached_property
    def all_environments(self) -> tuple[Environment, ...]:
        """The environments of the default cells, then those that only the matrix has."""
        # An id in both is one environment; `_unknown_in_matrix` checks that they agree.
        defaults = {item.id for item in self.environments}
        more = [item for stack in self.matrix.environments for item in stack.environments()]
        return (*self.environments, *(item for item in more if item.id not in defaults))

    def server(self, name: str | None) -> Server | None:
        """Return the server with that id, or None for a cell without one."""
        return next((item for item in self.servers if item.id == name), None)

    def database(self, name: str | None) -> Server | None:
        """Return the database with that id, or None for a cell with the probes' own."""
        return next((item for item in self.databases if item.id == name), None)

    def matrix_cells(self, lock: Lock) -> list[Cell]:
        """Return every cell of the matrix and the default cells, oldest release first."""
        defaults = self.default_cells(lock)
        left_in = [
            cell
            for cell, reason in self.matrix_product(lock)
            if reason is None and cell not in defaults
        ]
        return [
            cell
            for version in lock.versions
            for cell in (*defaults, *left_in)
            if cell.release == version
        ]

    def stale_exclusions(self, lock: Lock, origin: str | None = None) -> Iterator[str]:
        """Yield a warning for each exclusion that names a release where it seems to mean `locked`.

        There are two kinds: an exclusion of all but named releases (`!=`) that covers the locked
        release, and one that names `origin`, the previously locked release.
        """
        for number, item in enumerate(self.matrix.exclude):
            named = [
                version
                for version in lock.versions
                if version != lock.locked and item.names_exactly(version)
            ]
            # After a rebase, `!=` of the release before silently drops cells of the locked one.
            all_but = "!=" in item.releases and covers(item.releases, lock.locked, lock.locked)
            meant = named if all_but else [version for version in named if version == origin]
            if meant:
                where = (
                    f"fork.toml: matrix.exclude[{number}].releases = {item.releases!r}"
                    f" names {', '.join(meant)}"
                )
                yield (
                    f"{where}, and {lock.locked} is locked;"
                    f" write `locked` where the locked release is meant ({item.reason})"
                )

    def matrix_product(self, lock: Lock) -> Iterator[tuple[Cell, str | None]]:
        """Yield every cell of the axes' product, with the reason why it is left out, or None."""
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
                        None if database == OWN_DATABASE else database,
                        None if mode == PROFILE_MODE else mode,
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

    def default_cells(self, lock: Lock) -> list[Cell]:
        """Return the default cells, oldest release first."""
        return [
            Cell(release.version, environment.id, server)
            for release in lock.releases
            for environment in self.environments
            if covers(environment.releases, release.version, lock.locked)
            for server in (environment.servers or (None,))
        ]


def read_config(path: Path) -> Config:
    """Decode a `fork.toml`.

    Raises UsageError with every wrong key, its path and the closest known name.
    """
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
        raise problems_error(
            f"{path.name} is wrong:", map(_problem, error.errors()), hint=f"edit {path.name}"
        ) from error
    problems = list(_unknown_names(config))
    if problems:
        raise problems_error(f"{path.name} is wrong:", problems, hint=f"edit {path.name}")
    return config


def _tuples(value: Any) -> Any:
    """Convert TOML's arrays to the tuples that frozen records hold."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _problem(error: Any) -> str:
    """Return a validation error as text: its key path, and the closest key to an unknown one."""
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]
    ).lstrip(".")
    if error["type"] != "extra_forbidden":
        # pydantic puts this before the message of a ValueError.
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    key = str(error["loc"][-1])
    if key in _RENAMED:
        return f"{path}: unknown key; it is called {_RENAMED[key]} now"
    return f"{path}: unknown key{did_you_mean(key, _keys_at(error['loc'][:-1]))}"


_RENAMED = {
    "beside": "extra_servers",
    "decides": "gating",
    "join": "create_cluster",
    "keep": "reuse",
    "lease": "reset",
    "ready": "ready_when",
}
"""Former names of keys, each with its current one."""


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at a path may have."""
    record: Any = Config
    for part in loc:
        if isinstance(part, str):
            record = _record_in(record.model_fields[part].annotation)
    return list(record.model_fields)


def _record_in(annotation: Any) -> Any:
    """Return the record class in an annotation such as `tuple[Server, ...]` or `Server | None`."""
    parts = typing.get_args(annotation)
    if not parts:
        return annotation
    return next(found for part in parts if (found := _record_in(part)) is not types.NoneType)


def near_misses(word: str, known: list[str]) -> list[str]:
    """Return the known name that is closest to a word, or up to three that begin with it."""
    begun = [name for name in known if word and name.startswith(word)]
    return difflib.get_close_matches(word, known, n=1) or begun[:3]


def did_you_mean(word: str, known: list[str]) -> str:
    """Return `; did you mean X?`, or if none is close `_MAX_LISTED` names, the nearest first."""
    known = list(dict.fromkeys(known))
    near = near_misses(word, known)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    # The names may be the cells of the matrix, which are hundreds.
    known.sort(key=lambda name: -difflib.SequenceMatcher(None, name, word).ratio())
    more = f", and {len(known) - _MAX_LISTED} more" if len(known) > _MAX_LISTED else ""
    return f"; known: {', '.join(known[:_MAX_LISTED])}{more}"


def near_commands(command: str, word: str, known: list[str]) -> str:
    """Return the hint that repeats a command with each name that is close to a wrong one."""
    return "\n".join(f"{command} {name}" for name in near_misses(word, list(dict.fromkeys(known))))


_MAX_LISTED = 10
"""The maximum number of known names to list."""


def _unknown_names(config: Config) -> typing.Iterator[str]:
    """Yield errors that types alone cannot detect: undefined servers, ids used twice."""
    servers = [server.id for server in config.servers]
    for number, environment in enumerate(config.environments):
        for name in environment.servers:
            if name not in servers:
                yield (
                    f"environments[{number}].servers: no server {name!r}"
                    f"{did_you_mean(name, servers)}"
                )
    taken = {
        "PROBE_SERVER_URL": "a cell's own server",
        "PROBE_DATABASE_URL": "a cell's own database",
    }
    for number, extra_server in enumerate(config.probes.extra_servers):
        if extra_server.server not in servers:
            yield (
                f"probes.extra_servers[{number}].server: no server {extra_server.server!r}"
                f"{did_you_mean(extra_server.server, servers)}"
            )
        if taken.setdefault(extra_server.variable, extra_server.server) != extra_server.server:
            yield (
                f"probes.extra_servers[{number}].variable: {extra_server.variable}"
                f" is already used for {taken[extra_server.variable]}"
            )
    environments = [item.id for item in config.environments]
    for name in config.suite.environments if config.suite else ():
        if name not in environments:
            yield f"suite.environments: no environment {name!r}{did_you_mean(name, environments)}"
    yield from _unknown_in_django(config, servers)
    yield from _unknown_in_chaos(config, servers)
    indexes = [item.name for item in config.indexes]
    databases, modes = [item.id for item in config.databases], [item.id for item in config.modes]
    yield from _unknown_in_matrix(
        config,
        {
            "servers": servers,
            "databases": [OWN_DATABASE, *databases],
            "modes": [PROFILE_MODE, *modes],
        },
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
    """Yield names in the `[django]` table that are not defined."""
    if config.django is None:
        return
    environments = [item.id for item in config.all_environments]
    databases = ["sqlite", *(item.id for item in config.databases)]
    if config.django.server not in servers:
        yield (
            f"django.server: no server {config.django.server!r}"
            f"{did_you_mean(config.django.server, servers)}"
        )
    for number, cell in enumerate(config.django.cells):
        if cell.environment not in environments:
            where = f"django.cells[{number}].environment"
            yield (
                f"{where}: no environment {cell.environment!r}"
                f"{did_you_mean(cell.environment, environments)}"
            )
        for name in cell.databases:
            if name not in databases:
                yield (
                    f"django.cells[{number}].databases: no database {name!r}"
                    f"{did_you_mean(name, databases)}"
                )


def _unknown_in_chaos(config: Config, servers: list[str]) -> Iterator[str]:
    """Yield names in the `[chaos]` table that are not defined."""
    if config.chaos is None:
        return
    environments = [item.id for item in config.all_environments]
    databases = [item.id for item in config.databases]
    for name in config.chaos.servers:
        if name not in servers:
            yield f"chaos.servers: no server {name!r}{did_you_mean(name, servers)}"
    if config.chaos.environment not in environments:
        name = config.chaos.environment
        yield f"chaos.environment: no environment {name!r}{did_you_mean(name, environments)}"
    if config.chaos.database not in databases:
        yield (
            f"chaos.database: no database {config.chaos.database!r}"
            f"{did_you_mean(config.chaos.database, databases)}"
        )


def _unknown_in_matrix(config: Config, known: dict[str, list[str]]) -> Iterator[str]:
    """Yield undefined names in the matrix, and environments that contradict a default cell's."""
    for axis, names in known.items():
        for name in getattr(config.matrix, axis):
            if name not in names:
                yield f"matrix.{axis}: there is no {name!r}{did_you_mean(name, names)}"
    defaults = {item.id: item for item in config.environments}
    for stack in config.matrix.environments:
        for item in stack.environments():
            same = defaults.get(item.id)
            if same is not None and (same.python, set(same.requires)) != (
                item.python,
                set(item.requires),
            ):
                yield (
                    f"matrix.environments: {item.id} has other requirements"
                    " than the environment of that id"
                )
