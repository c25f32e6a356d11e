"""Read which of Django's own tests may fail under the wheel, and return what is not excused."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from scripts.core.config import ConfigTable
from scripts.core.errors import UsageError, problems_error
from scripts.gates.django_findings import MODES, DjangoPlace, PlaceSummary, WrongValue


class Excuse(ConfigTable):
    """Tests that may fail, by name (`*` and `?` as in a shell), with the reason.

    `failures` excuses their failures, `values` their wrong values.
    """

    reason: Annotated[str, Field(min_length=10)]
    tests: Annotated[tuple[str, ...], Field(min_length=1)]
    modes: tuple[str, ...] = MODES
    djangos: tuple[str, ...] = ("*",)
    databases: tuple[str, ...] = ("*",)
    failures: bool = True
    values: bool = False

    def applies(self, place: DjangoPlace) -> bool:
        """Return whether the excuse is valid in a place."""
        return (
            place.mode in self.modes
            and any(fnmatchcase(place.django, pattern) for pattern in self.djangos)
            and any(fnmatchcase(place.database, pattern) for pattern in self.databases)
        )


class _Excuses(ConfigTable):
    excused: tuple[Excuse, ...] = ()


def read_excuses(path: Path) -> tuple[Excuse, ...]:
    """Return the excuses in a file; raise UsageError if it is missing or invalid."""
    try:
        found = tomllib.loads(path.read_text())
        excused = tuple(
            {key: _frozen(value) for key, value in item.items()}
            for item in found.pop("excused", ())
        )
        return _Excuses.model_validate({**found, "excused": excused}).excused
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no {path.name}, which fork.toml names (django.excused)",
            hint=f"touch {path}",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name} is not TOML: {error}", hint=f"edit {path.name}") from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise problems_error(
            f"{path.name} is wrong:", problems, hint=f"edit {path.name}"
        ) from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def unexcused(
    summary: PlaceSummary, excuses: Sequence[Excuse]
) -> tuple[dict[str, str], list[WrongValue]]:
    """Return the new failures and the wrong values that nothing excuses."""
    here = [excuse for excuse in excuses if excuse.applies(summary.place)]

    def is_excused(test: str, *, value: bool) -> bool:
        of_kind = [excuse for excuse in here if (excuse.values if value else excuse.failures)]
        return any(fnmatchcase(test, pattern) for excuse in of_kind for pattern in excuse.tests)

    failures = {
        test: words for test, words in summary.failures.items() if not is_excused(test, value=False)
    }
    return failures, [item for item in summary.wrong if not is_excused(item.test, value=True)]


def unused_excuses(summaries: Sequence[PlaceSummary], excuses: Sequence[Excuse]) -> list[str]:
    """Return the excused names of which tests ran and none failed: they excuse nothing any more."""
    return [
        pattern
        for excuse in excuses
        for pattern in excuse.tests
        if _ran(summaries, excuse, pattern) and not _is_used(summaries, excuse, pattern)
    ]


def _ran(summaries: Sequence[PlaceSummary], excuse: Excuse, pattern: str) -> bool:
    here = (summary for summary in summaries if excuse.applies(summary.place))
    return any(fnmatchcase(test, pattern) for summary in here for test in summary.ran)


def _is_used(summaries: Sequence[PlaceSummary], excuse: Excuse, pattern: str) -> bool:
    for summary in summaries:
        found = [
            *(summary.failures if excuse.failures else ()),
            *(item.test for item in summary.wrong if excuse.values),
        ]
        if excuse.applies(summary.place) and any(fnmatchcase(test, pattern) for test in found):
            return True
    return False
