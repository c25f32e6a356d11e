"""The domain's nouns as frozen records: release, patch, feature, cell, outcome, verdict."""

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
        """Merge mappings; later ones override earlier ones."""
        joined: dict[str, object] = {}
        for part in parts:
            joined.update(part)
        return cls(tuple(sorted(joined.items())))

    @classmethod
    def parse(cls, text: str) -> Settings:
        """Parse `NAME=literal; NAME=literal`; raise ValueError or SyntaxError if that fails."""
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

    def as_dict(self) -> dict[str, object]:
        """Return the settings as a dictionary."""
        return dict(self.items)


NO_SETTINGS = Settings()


@dataclass(frozen=True)
class Release:
    """One upstream version with its sdist (size in bytes) and its ids in the private repository."""

    version: str
    file: str
    size: int
    sha256: str
    uploaded: datetime
    tree: str = ""
    commit: str = ""

    @property
    def parsed_version(self) -> Version:
        """The version as a comparable object."""
        return Version(self.version)


@dataclass(frozen=True)
class Lock:
    """Every tracked release, oldest first, and the locked one, on which the fork is based."""

    name: str
    locked: str
    releases: tuple[Release, ...]

    def release(self, version: str) -> Release | None:
        """Return the release of that version, or None if it is not pinned."""
        return next((release for release in self.releases if release.version == version), None)

    @property
    def locked_release(self) -> Release:
        """The locked release."""
        return next(release for release in self.releases if release.version == self.locked)

    @property
    def versions(self) -> list[str]:
        """The pinned versions, oldest first."""
        return [release.version for release in self.releases]


class State(StrEnum):
    """Whether a patch or a feature is live; a retired patch's file is in `retired/`."""

    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True)
class Hunk:
    """A hunk: its place in the old and the new file (first line, number of lines), what it adds."""

    path: str
    old: tuple[int, int]
    new: tuple[int, int]
    added: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Patch:
    """One change of upstream: its mail file, trailers and hunks, and the features that it brings.

    `features` are the ids in its `Features:` trailer; a patch without that trailer brings one
    feature, which has the patch's id. `lines` is the number of upstream lines that it adds and
    removes.
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
    """One behaviour that the fork needs, with its probes: the unit of verdicts and retirement.

    It is also the unit that a setting switches off at run time.

    `record` is the file that describes it: its probe file, or a patch that names no features.
    `code` names the modules and functions of the overrides that serve this feature alone,
    `formerly` are earlier ids. A feature is retired with its patch, or earlier, once upstream
    implements it.
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
        """Whether the fork still brings the feature."""
        return State.RETIRED if self.applied_upstream else self.patch.state

    @property
    def retired_in(self) -> Version | None:
        """The release named in `Applied-Upstream:`, which made the feature unnecessary, or None."""
        # `Retirement.trailer` writes `release; how; cells`.
        first = self.applied_upstream.split(";")[0].strip()
        return Version(first) if first else None


_DEFAULT_NAMES = {"database": "own", "mode": "profile"}
"""The names in fork.toml for the defaults that a cell's id leaves out."""


@dataclass(frozen=True)
class Cell:
    """One combination to run probes in: release x environment x server (x database x mode).

    None stands for the default: no server, the probes' own database, the settings of the profile.
    """

    release: str
    environment: str
    server: str | None
    database: str | None = None
    mode: str | None = None

    @property
    def id(self) -> str:
        """The name of the cell, the same in tox, in the report and in JSON."""
        return "@".join(filter(None, (self.release, *self.configuration)))

    @property
    def configuration(self) -> tuple[str | None, ...]:
        """Everything but the release: releases are compared within one configuration."""
        return self.environment, self.server, self.database, self.mode

    @property
    def axes(self) -> dict[str, str]:
        """The values by which a report is filtered, by the name of the axis."""
        named = zip(("environment", "server", "database", "mode"), self.configuration, strict=True)
        return {"release": self.release} | {
            axis: word or _DEFAULT_NAMES.get(axis, "none") for axis, word in named
        }


class Outcome(StrEnum):
    """The combined outcome of a column's probes."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    MISSING = "missing"
    FLAKY = "flaky"


@dataclass(frozen=True)
class Result:
    """The outcome of a feature's probes in one column of a cell, with the text that explains it.

    `control` is False if the control probe did not pass, so that the column says nothing about the
    feature. In that case `detail` explains the control probe, and `own` is the outcome of the
    feature's probes.
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
    def is_conclusive(self) -> bool:
        """Whether the result is conclusive: passed, failed, or the control probe did not pass."""
        return not self.control or self.outcome in (Outcome.PASSED, Outcome.FAILED)


class Applies(StrEnum):
    """How a patch applies to a release."""

    CLEAN = "clean"
    OFFSET = "offset"
    THREE_WAY = "three-way"
    CONFLICT = "conflict"
    UNTRIED = "untried"
    NO_HUNKS = "no-hunks"


class TextPresence(StrEnum):
    """The result of comparing a patch's text with a release: a second opinion, never decisive."""

    ABSENT = "absent"
    PRESENT = "present"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """The conclusion that the runs allow about a feature."""

    # Worst first: this order is WORST_FIRST.
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
"""The precedence of verdicts over several cells.

UNTESTED and UNSUPPORTED count only where there is no other verdict.
"""

FAULTS = frozenset({Verdict.REGRESSED, Verdict.BROKEN, Verdict.CONFLICT, Verdict.UNPROVEN})
"""Verdicts that need a person's attention."""

NO_EVIDENCE = frozenset({Verdict.UNTESTED, Verdict.UNSUPPORTED})
"""Verdicts that are no evidence about a feature."""

DROPPABLE = frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE, Verdict.NOT_NEEDED})
"""Verdicts of a feature that bare upstream, with settings or without, makes unnecessary."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that counts over several cells, UNTESTED if there is none."""
    return min(verdicts, key=WORST_FIRST.index, default=Verdict.UNTESTED)
