"""The nouns of the domain as frozen records: release, patch, cell, outcome, verdict."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from packaging.version import Version


@dataclass(frozen=True)
class Settings:
    """Settings of the application, in a fixed order, with values that are Python literals."""

    items: tuple[tuple[str, object], ...] = ()

    @classmethod
    def of(cls, *parts: Mapping[str, object]) -> Settings:
        """Join mappings, later ones winning."""
        joined: dict[str, object] = {}
        for part in parts:
            joined.update(part)
        return cls(tuple(sorted(joined.items())))

    @classmethod
    def parse(cls, text: str) -> Settings:
        """Read `NAME=literal; NAME=literal`; raises ValueError with what is wrong."""
        tree = ast.parse(text.strip())
        found: dict[str, object] = {}
        for line in tree.body:
            if not (
                isinstance(line, ast.Assign)
                and len(line.targets) == 1
                and isinstance(line.targets[0], ast.Name)
            ):
                raise ValueError(f"not NAME=literal: {text!r}")
            found[line.targets[0].id] = ast.literal_eval(line.value)
        if not found:
            raise ValueError("no setting")
        return cls.of(found)

    def __bool__(self) -> bool:
        return bool(self.items)

    def __str__(self) -> str:
        return "; ".join(f"{key}={value!r}" for key, value in self.items)

    def mapping(self) -> dict[str, object]:
        """Return the settings as a dictionary."""
        return dict(self.items)


NO_SETTINGS = Settings()


@dataclass(frozen=True)
class Release:
    """One upstream version with its sdist (size in bytes) and the ids it gets in the private repository."""

    version: str
    file: str
    size: int
    sha256: str
    uploaded: datetime
    tree: str = ""
    commit: str = ""

    @property
    def key(self) -> Version:
        """The version as something to compare."""
        return Version(self.version)


@dataclass(frozen=True)
class Lock:
    """Every tracked release, oldest first, and the one that the fork stands on."""

    name: str
    locked: str
    releases: tuple[Release, ...]

    def release(self, version: str) -> Release | None:
        """Return the release of that version, or None where it is not pinned."""
        return next((release for release in self.releases if release.version == version), None)

    @property
    def current(self) -> Release:
        """The locked release."""
        return next(release for release in self.releases if release.version == self.locked)

    @property
    def versions(self) -> list[str]:
        """The pinned versions, oldest first."""
        return [release.version for release in self.releases]


class State(StrEnum):
    """Whether a patch is in the series or in `retired/`."""

    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True)
class Hunk:
    """The place of one hunk in the old file and the new one: first line and number of lines."""

    path: str
    old: tuple[int, int]
    new: tuple[int, int]


@dataclass(frozen=True)
class Patch:
    """One change of upstream: its mail file, the trailers in it, the hunks it brings and the features that it is for.

    `features` are the ids that its `Features:` names; without that trailer it has one feature, of its own name.
    """

    path: Path
    state: State
    id: str
    title: str
    base: str
    sha256: str
    features: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    why: str = ""
    applied_upstream: str = ""
    place: str = ""
    hunks: tuple[Hunk, ...] = ()
    lines: int = 0
    trailers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Feature:
    """One behaviour that the fork needs, told by its probes: the unit of a verdict, of a switch and of retirement.

    `record` is the file that says so: the probes' own, or a patch that has this one feature. `code` names the modules and
    functions of the overrides that serve it alone, `formerly` ids that it had.
    It is retired with its patch, or before it, once upstream does it.
    """

    id: str
    patch: Patch
    record: Path
    title: str
    why: str = ""
    probes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    replaced_by: tuple[Settings, ...] = ()
    drop_when: str = ""
    mutation: str = ""
    code: tuple[str, ...] = ()
    formerly: tuple[str, ...] = ()
    applied_upstream: str = ""

    @property
    def state(self) -> State:
        """Whether the fork still brings it."""
        return State.RETIRED if self.applied_upstream else self.patch.state

    @property
    def retired_in(self) -> Version | None:
        """The release that made it unnecessary, where it is retired."""
        first = self.applied_upstream.split(";")[0].strip()
        return Version(first) if first else None


_USUAL = {"database": "own", "mode": "profile"}
"""The words of fork.toml's axes for what a cell's name leaves out."""


@dataclass(frozen=True)
class Cell:
    """One place to run probes in: release x environment x server (x database x mode).

    None is what needs no word: no server, the probes' own database, the settings of the profile.
    """

    release: str
    environment: str
    server: str | None
    database: str | None = None
    mode: str | None = None

    @property
    def id(self) -> str:
        """The name of the cell, the same in tox, in the report and in JSON."""
        return "@".join(filter(None, (self.release, *self.place)))

    @property
    def place(self) -> tuple[str | None, ...]:
        """Everything but the release: two releases are compared in one place."""
        return self.environment, self.server, self.database, self.mode

    @property
    def axes(self) -> dict[str, str]:
        """The words that a report is filtered by."""
        named = zip(("environment", "server", "database", "mode"), self.place, strict=True)
        return {"release": self.release} | {
            axis: word or _USUAL.get(axis, "none") for axis, word in named
        }


class Outcome(StrEnum):
    """What a column's probes came to."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    MISSING = "missing"
    FLAKY = "flaky"


@dataclass(frozen=True)
class Result:
    """The outcome of a patch's probes in one column of a cell, with the words that explain it.

    `control` is False where the control probe did not pass, so that the column says nothing of the patch; `detail` then are the
    words of that one, and `own` what the patch's probes came to.
    """

    outcome: Outcome
    detail: str = ""
    control: bool = True
    tests: tuple[str, ...] = ()
    own: str = ""

    @property
    def passed(self) -> bool:
        """Whether all probes and the control probe passed."""
        return self.control and self.outcome is Outcome.PASSED

    @property
    def decides(self) -> bool:
        """Whether the column says something: it passed, it failed, or it broke the control probe."""
        return not self.control or self.outcome in (Outcome.PASSED, Outcome.FAILED)


class Applies(StrEnum):
    """How a patch goes onto a release."""

    CLEAN = "clean"
    OFFSET = "offset"
    THREE_WAY = "three-way"
    CONFLICT = "conflict"
    UNTRIED = "untried"
    NO_HUNKS = "no-hunks"


class Text(StrEnum):
    """What comparing texts says of a patch on a release: a second opinion that decides nothing."""

    ABSENT = "absent"
    PRESENT = "present"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What the runs say of a patch."""

    REGRESSED = "regressed"
    BROKEN = "broken"
    CONFLICT = "conflict"
    UNPROVEN = "unproven"
    NEEDED = "needed"
    REDUNDANT = "redundant"
    CONFIGURABLE = "configurable"
    ABSORBED = "absorbed"
    NOT_NEEDED = "not needed"
    UNTESTED = "untested"
    UNSUPPORTED = "unsupported"


WORST_FIRST: tuple[Verdict, ...] = tuple(Verdict)
"""The order in which verdicts of several cells count; UNTESTED and UNSUPPORTED only where there is nothing else."""

FAULTS = frozenset({Verdict.REGRESSED, Verdict.BROKEN, Verdict.CONFLICT, Verdict.UNPROVEN})
"""Verdicts at which somebody must look."""

DROPPABLE = frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE, Verdict.NOT_NEEDED})
"""Verdicts of a patch that bare upstream, configured, can do without."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that counts over several cells."""
    return min(verdicts, key=WORST_FIRST.index, default=Verdict.UNTESTED)
