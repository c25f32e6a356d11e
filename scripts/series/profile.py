"""The wheel's profile: the settings that the fork runs with, and the feature or patch of each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TypeGuard

from packaging.version import Version

from scripts.core.errors import Problem, UsageError, problems_error
from scripts.core.model import Feature, Settings, State
from scripts.core.repository import Repository
from scripts.series.series import Series

Profile = dict[str, dict[str, object]]
"""Settings by the id of the feature or patch, live or retired, that they stand for."""


def read_profile(repo: Repository) -> Profile:
    """Read the literal `SETTINGS` of the profile module; raise UsageError if it is not a literal.

    Without a profile in fork.toml there are no settings.
    """
    name = repo.config.overrides.profile
    if name is None:
        return {}
    path = repo.overrides / name
    try:
        profile = ast.literal_eval(settings_literal(path.read_text()))
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(
            f"{path.relative_to(repo.root)} has no literal"
            f" SETTINGS = {{feature id: {{name: value}}}}: {error}"
        ) from error
    return dict(profile)


def profile_name(repo: Repository) -> str:
    """Return the file name of the profile module; raise UsageError if fork.toml names none."""
    name = repo.config.overrides.profile
    if name is None:
        folder = repo.overrides.relative_to(repo.root)
        raise UsageError(
            "settings replace a feature, and fork.toml names no profile to put them into",
            hint=f"write SETTINGS = {{}} to {folder}/profile.py,"
            ' and profile = "profile.py" to [overrides] in fork.toml',
        )
    return name


def settings_literal(text: str) -> ast.Dict:
    """Return the dictionary that a profile module assigns to `SETTINGS`.

    Raises ValueError if there is none.
    """
    values = [line.value for line in ast.parse(text).body if _assigns_settings(line)]
    if not values or not isinstance(values[0], ast.Dict):
        raise ValueError("it is no dictionary")
    return values[0]


def settings_for(
    profile: Profile, series: Series, release: str, without: Feature | None
) -> Settings:
    """Return the settings under which probes run on a release.

    The entry of a retired feature counts from the release in its `Applied-Upstream:` on, because an
    earlier upstream may lack the setting or refuse its value. So does the entry of a patch without
    a live feature. Settings that the patch of `without` brought are left out.
    """
    parts = []
    for name, settings in profile.items():
        features = series.features_named(name)
        is_live = any(feature.state is State.ACTIVE for feature in features)
        since = [feature.retired_in for feature in features if feature.retired_in and not is_live]
        own = without is not None and any(
            feature.patch.id == without.patch.id for feature in features
        )
        if not own and all(Version(release) >= first for first in since):
            parts.append(settings)
    return Settings.of(*parts)


def check_profile(repo: Repository, series: Series) -> Profile:
    """Read the profile; raise UsageError if an entry stands for no patch or two clash."""
    problems = list(profile_problems(repo, series))
    if problems:
        raise problems_error("the profile is not in order:", problems, hint="nox -s lint")
    return read_profile(repo)


def profile_problems(repo: Repository, series: Series) -> Iterator[Problem]:
    """Yield entries of the profile that stand for no feature or patch, and settings that clash."""
    if repo.config.overrides.profile is None:
        return
    where = f"{repo.config.overrides.package}/{repo.config.overrides.profile}"
    try:
        profile = read_profile(repo)
    except UsageError as error:
        yield Problem(error.message.removeprefix(f"{where} "), "write `SETTINGS = {}`", where)
        return
    known = [*series.by_id, *series.feature_by_id]
    for name in sorted(profile):
        if not series.features_named(name):
            near = [f"write `{other}` for it" for other in get_close_matches(name, known, n=1)]
            advice = "\n".join([*near, f"delete the entry {name!r}"])
            yield Problem(f"the entry {name!r} stands for no feature or patch", advice, where)
    for text in conflicting_settings(profile):
        yield Problem(f"a setting has two values: {text}", "give both the same value", where)


def conflicting_settings(profile: Profile) -> Iterator[str]:
    """Yield settings to which two entries give different values; the wheel can have only one."""
    first: dict[str, tuple[str, object]] = {}
    for name, settings in profile.items():
        for setting, value in settings.items():
            other, there = first.setdefault(setting, (name, value))
            if (type(there), there) != (type(value), value):  # True equals 1
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
