"""The changelog entry that a rebase drafts, for those who install the wheel."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from scripts.core.model import Feature, State

_UNRELEASED = re.compile(
    r"(#{1,5})[ \t].*\b(unreleased|not (yet )?released|upcoming)\b", re.IGNORECASE
)
_FENCE = re.compile(r" {0,3}(```|~~~)")
_WIDTH = 100
_MOST_CELLS = 3
"""How many cells an entry names before it only counts them; the patch's trailer has all."""


@dataclass(frozen=True)
class ForkState:
    """What the wheel has on a release: features, settings by what they stand for, modules."""

    release: str
    features: Collection[Feature] = ()
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    modules: Collection[str] = ()


@dataclass(frozen=True)
class Draft:
    """The entry of a rebase of the fork of `name`; `waived` are features that are not proven."""

    name: str
    old: ForkState
    new: ForkState
    waived: Mapping[str, str] = field(default_factory=dict)

    def text(self, level: int = 2) -> str:
        """Return the entry with a heading of that level.

        What upstream changed is not known here, so a person writes that line.
        """
        old, new = self.old, self.new
        lines = [
            f"<what upstream changed from {old.release} to {new.release} that a user sees>",
            *_feature_lines(old, new, self.name),
            *(f"Not proven: `{feature}` ({why})." for feature, why in self.waived.items()),
            *_setting_lines(old, new),
            *_module_lines(old, new),
        ]
        heading = f"{'#' * level} From {self.name} {old.release} to {new.release}"
        return f"{heading}\n\n" + "".join(map(_item, lines))

    def put_into(self, changelog: str) -> str | None:
        """Return the changelog with the entry first under its heading for what is not released.

        If that heading names the old release, it names the new one instead. Returns None if there
        is no such heading.
        """
        lines = changelog.splitlines(keepends=True)
        found = _unreleased(lines)
        if found is None:
            return None
        number, level = found
        end = "\r\n" if lines[number].endswith("\r\n") else "\n"
        heading = re.sub(
            rf"\bon {re.escape(f'{self.name} {self.old.release}')}(?![\w.+])",
            lambda _: f"on {self.name} {self.new.release}",
            lines[number].rstrip("\r\n"),
        )
        entry = f"{heading}\n\n{self.text(level + 1)}".replace("\n", end)
        rest = lines[number + 1 :]
        gap = [] if not rest or not rest[0].strip() else [end]
        return "".join([*lines[:number], entry, *gap, *rest])


def _unreleased(lines: list[str]) -> tuple[int, int] | None:
    """Return the line and the level of the heading for what is not released, outside code."""
    in_code = False
    for number, line in enumerate(lines):
        if _FENCE.match(line):
            in_code = not in_code
        elif not in_code and (found := _UNRELEASED.match(line)):
            return number, len(found[1])
    return None


def _feature_lines(old: ForkState, new: ForkState, name: str) -> Iterator[str]:
    """Yield the features that retired, were dropped or came back."""
    now = {feature.id: feature for feature in new.features}
    for feature in old.features:
        what = f"`{feature.id}` ({feature.title})"
        after = now.get(feature.id)
        match feature.state, after and after.state:
            case State.ACTIVE, State.RETIRED:
                assert after is not None
                yield f"Retired: {what}: {_proof(after.applied_upstream, new.release)}."
            case State.ACTIVE, None:
                yield f"Dropped without proof: {what}."
            case State.RETIRED, State.ACTIVE:
                yield f"Brought back: {what}, which {name} {new.release} does not do by itself."


def _proof(trailer: str, release: str) -> str:
    """Return an `Applied-Upstream:` trailer in words."""
    since, how, listed = [*map(str.strip, trailer.split(";", 2)), "", ""][:3]
    cells = listed.split(", ") if listed else []
    seen = [f"since {since}"] if since != release else []
    if cells:
        seen.append(f"on {listed if len(cells) <= _MOST_CELLS else f'{len(cells)} cells'}")
    return f"{how} ({', '.join(seen)})" if seen else how


def _setting_lines(old: ForkState, new: ForkState) -> Iterator[str]:
    """Yield the settings that the profile has no longer, or has now."""
    before, after = _owners(old), _owners(new)
    for setting, owners in before.items():
        if setting not in after:
            yield f"Left the profile: `{setting}` (it stood for {owners})."
    for setting, owners in after.items():
        if setting not in before:
            yield f"New in the profile: `{setting}` (it stands for {owners})."


def _owners(state: ForkState) -> dict[str, str]:
    """Return what each setting stands for, by the setting as it is written."""
    found: dict[str, str] = {}
    for owner, settings in state.settings.items():
        for name, value in settings.items():
            setting = f"{name} = {value!r}"
            found[setting] = ", ".join(filter(None, (found.get(setting), f"`{owner}`")))
    return found


def _module_lines(old: ForkState, new: ForkState) -> Iterator[str]:
    """Yield the override modules that the wheel has no longer, or has again."""
    for word, files in (
        ("Gone", set(old.modules) - set(new.modules)),
        ("Back", set(new.modules) - set(old.modules)),
    ):
        if files:
            plural = "s" * (len(files) > 1)
            yield f"{word}: the module{plural} {', '.join(f'`{file}`' for file in sorted(files))}."


def _item(text: str) -> str:
    return (
        textwrap.fill(
            f"- {text}",
            _WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
    )
