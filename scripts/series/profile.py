"""The wheel's profile: the settings Rover runs with, and the feature or patch that each of them stands for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from packaging.version import Version

from scripts.core.errors import UsageError, collected
from scripts.core.model import Feature, Settings, State
from scripts.core.repository import Repository
from scripts.series.series import Series

Profile = dict[str, dict[str, object]]
"""Settings by the id of the feature or patch, live or retired, that they stand for."""


def read_profile(repo: Repository) -> Profile:
    """Read the literal `SETTINGS` of the profile module; raises UsageError where it is none."""
    name = repo.config.overrides.profile
    if name is None:
        return {}
    path = repo.overrides / name
    try:
        profile = ast.literal_eval(settings_literal(path.read_text()))
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(
            f"{path.relative_to(repo.root)} has no literal SETTINGS = {{patch id: {{name: value}}}}: {error}"
        ) from error
    return dict(profile)


def profile_name(repo: Repository) -> str:
    """Return the name of the module that takes settings; raises UsageError where fork.toml names none."""
    name = repo.config.overrides.profile
    if name is None:
        folder = repo.overrides.relative_to(repo.root)
        raise UsageError(
            "settings replace a patch, and fork.toml names no profile to put them into",
            hint=f'write SETTINGS = {{}} to {folder}/profile.py, and profile = "profile.py" to [overrides] in fork.toml',
        )
    return name


def settings_literal(text: str) -> ast.Dict:
    """Return the dictionary that a profile module assigns to `SETTINGS`; raises ValueError where there is none."""
    values = [line.value for line in ast.parse(text).body if _assigns_settings(line)]
    if not values or not isinstance(values[0], ast.Dict):
        raise ValueError("it is no dictionary")
    return values[0]


def settings_for(
    profile: Profile, series: Series, release: str, without: Feature | None
) -> Settings:
    """Return the settings that probes run under on a release.

    An entry that stands for what is retired counts from the release named in its `Applied-Upstream`, for before it
    upstream may have no such setting or refuse its value. What the patch of `without` brought is left out.
    """
    parts = []
    for name, settings in profile.items():
        features = series.features_named(name)
        since = [
            feature.retired_in
            for feature in features
            if feature.state is State.RETIRED and feature.retired_in
        ]
        own = without is not None and any(
            feature.patch.id == without.patch.id for feature in features
        )
        if not own and all(Version(release) >= first for first in since):
            parts.append(settings)
    return Settings.of(*parts)


def check_profile(repo: Repository, series: Series) -> Profile:
    """Read the profile, whose every entry must stand for a patch; raises UsageError."""
    profile = read_profile(repo)
    unknown = sorted(name for name in profile if not series.features_named(name))
    if unknown:
        raise collected(
            "the profile has entries that stand for no patch:",
            unknown,
            hint="name the feature or the patch, live or retired",
        )
    clashing = list(clashes(profile))
    if clashing:
        raise collected(
            "the profile gives a setting two values:", clashing, hint="let the entries agree"
        )
    return profile


def clashes(profile: Profile) -> Iterator[str]:
    """Find settings to which two entries give different values: the wheel can have one alone."""
    first: dict[str, tuple[str, object]] = {}
    for name, settings in profile.items():
        for setting, value in settings.items():
            other, there = first.setdefault(setting, (name, value))
            if (type(there), there) != (type(value), value):
                yield f"{setting} is {there!r} for {other} and {value!r} for {name}"


def _assigns_settings(line: ast.stmt) -> TypeGuard[ast.Assign | ast.AnnAssign]:
    targets = (
        [line.target]
        if isinstance(line, ast.AnnAssign)
        else line.targets
        if isinstance(line, ast.Assign)
        else []
    )
    return any(isinstance(target, ast.Name) and target.id == "SETTINGS" for target in targets)
