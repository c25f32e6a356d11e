"""decide: a pure function from facts to a verdict.

Nothing here reads a file, starts a program, or knows a release or a patch by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar, assert_never

from scripts.core.model import NO_EVIDENCE, Applies, Cell, Outcome, Result, Verdict

_Key = TypeVar("_Key", bound=tuple[Hashable, Cell])

UNDECLARED = "no longer applies (an undeclared Depends?)"
"""How the detail ends of a column that lacks a patch which others need in order to apply."""

_REPLACED = frozenset({Verdict.ABSORBED, Verdict.CONFIGURABLE})


class Column(StrEnum):
    """One way to run a feature's probes in a cell."""

    BARE = "bare"
    CONFIGURED = "configured"
    SERIES = "series"
    WITHOUT = "without"
    PROFILE = "profile"


@dataclass(frozen=True)
class Facts:
    """What is known about a feature on a cell so far, and which columns may still run.

    `alternatives` is the number of `Replaced-By` settings; `configured` has the results of those
    that ran, in order, and `rejected` the indexes of those that fail in another cell of the release
    (see `agree_on_settings`). `try_settings` requests them although bare upstream passes here.
    `try_series` allows the two series columns, and `try_without` the second of
    them. `try_profile` requests the column that runs a retired feature's probes on the bare tree
    under the full profile.
    """

    alternatives: int = 0
    try_series: bool = True
    try_without: bool = True
    try_profile: bool = False
    retired: bool = False
    bare: Result | None = None
    configured: tuple[Result, ...] = ()
    applies: Applies = Applies.UNTRIED
    applies_detail: str = ""
    series: Result | None = None
    without: Result | None = None
    profile: Result | None = None
    rejected: tuple[int, ...] = ()
    try_settings: bool = False

    @property
    def passing_alternative(self) -> int | None:
        """Return the index of the `Replaced-By` with which bare upstream passes, or None.

        A rejected one does not count.
        """
        return next(
            (
                number
                for number, result in enumerate(self.configured)
                if result.passed and number not in self.rejected
            ),
            None,
        )

    def with_result(self, column: Column, result: Result) -> Facts:
        """Return the facts with the result of one more column."""
        match column:
            case Column.BARE:
                return replace(self, bare=result)
            case Column.CONFIGURED:
                return replace(self, configured=(*self.configured, result))
            case Column.SERIES:
                return replace(self, series=result)
            case Column.WITHOUT:
                return replace(self, without=result)
            case Column.PROFILE:
                return replace(self, profile=result)
        assert_never(column)

    def with_repeated_result(self, column: Column, result: Result) -> Facts:
        """Return the facts with the new result of a column that ran once more.

        For `Column.CONFIGURED` it is the result of the `Replaced-By` that passed.
        """
        if column is not Column.CONFIGURED:
            return self.with_result(column, result)
        assert self.passing_alternative is not None
        return replace(
            self,
            configured=(
                *self.configured[: self.passing_alternative],
                result,
                *self.configured[self.passing_alternative + 1 :],
            ),
        )


def columns_with_result(facts: Facts) -> Iterator[Column]:
    """Yield the columns that have a result.

    `Column.CONFIGURED` is one of them only if a `Replaced-By` passed.
    """
    known = {
        Column.BARE: facts.bare,
        Column.CONFIGURED: None
        if facts.passing_alternative is None
        else facts.configured[facts.passing_alternative],
        Column.SERIES: facts.series,
        Column.WITHOUT: facts.without,
        Column.PROFILE: facts.profile,
    }
    yield from (column for column, result in known.items() if result is not None)


def removal_column(facts: Facts) -> Column | None:
    """Return the column whose pass shows that a live feature can go, or None."""
    match decide(facts)[0]:
        case Verdict.ABSORBED | Verdict.NOT_NEEDED:
            return Column.BARE
        case Verdict.CONFIGURABLE:
            return Column.CONFIGURED
        case Verdict.REDUNDANT:
            return Column.WITHOUT
        case _:
            return None


def keep_one_without_run(known: Mapping[_Key, Facts]) -> dict[_Key, Facts]:
    """Return the facts with the column without the patch in one cell for each feature and release.

    The first cell in which the series fails without the patch is proof enough, so the other cells
    skip that column.
    """
    shown: dict[tuple[Hashable, str], _Key] = {}
    for key, facts in known.items():
        if facts.try_without and facts.without is not None and decide(facts)[0] is Verdict.NEEDED:
            shown.setdefault((key[0], key[1].release), key)
    return {
        key: _drop_without_run(facts) if shown.get((key[0], key[1].release), key) != key else facts
        for key, facts in known.items()
    }


def _drop_without_run(facts: Facts) -> Facts:
    """Return facts without that column if it would run next, or failed as it did elsewhere."""
    failed = facts.without is not None and decide(facts)[0] is Verdict.NEEDED
    return (
        replace(facts, without=None, try_without=False)
        if failed or next_column(facts) is Column.WITHOUT
        else facts
    )


def agree_on_settings(
    known: Mapping[_Key, Facts], gating: Callable[[Cell], bool]
) -> dict[_Key, Facts]:
    """Return the facts such that a `Replaced-By` counts only if it passes in every gating cell.

    An application has one profile. So where the gating cells of a release come to `configurable`
    and `absorbed` alone, a `Replaced-By` that fails in one of them is rejected in all, and the
    cells in which bare upstream passes try it, too.
    """
    groups: dict[tuple[Hashable, str], list[_Key]] = {}
    for key, facts in known.items():
        if gating(key[1]) and not facts.retired:
            groups.setdefault((key[0], key[1].release), []).append(key)
    agreed = dict(known)
    for keys in groups.values():
        decided = {key: decide(known[key])[0] for key in keys}
        here = [key for key in keys if decided[key] not in NO_EVIDENCE]
        if {decided[key] for key in here} | {Verdict.ABSORBED} != _REPLACED:
            continue
        rejected = {
            number
            for key in here
            for number, result in enumerate(known[key].configured)
            if not result.passed
        }
        for key in here:
            agreed[key] = replace(
                known[key],
                rejected=tuple(sorted(rejected)),
                try_settings=decided[key] is Verdict.ABSORBED,
            )
    return agreed


def next_column(facts: Facts) -> Column | None:
    """Return the next column that can change the verdict, or None if the verdict is final."""
    if facts.bare is None:
        return Column.BARE
    if not facts.bare.control:
        return _next_where_unsupported(facts)
    if facts.retired and _fault_of_retired(facts) is not None:
        return None
    if facts.try_profile and facts.profile is None:
        return Column.PROFILE
    if facts.retired:
        return _next_of_retired(facts)
    # The verdict is unproven or absorbed.
    if not facts.bare.is_conclusive or (facts.bare.passed and not facts.try_settings):
        return None
    if facts.passing_alternative is None and len(facts.configured) < facts.alternatives:
        return Column.CONFIGURED
    # The verdict is absorbed, configurable or unproven.
    if (
        facts.bare.passed
        or facts.passing_alternative is not None
        or not all(result.is_conclusive for result in facts.configured)
    ):
        return None
    return _next_of_series(facts)


def _next_where_unsupported(facts: Facts) -> Column | None:
    """Return the series column for a cell in which bare upstream does not run at all.

    Its result decides nothing, but running there may be what the fork is for.
    """
    wanted = (
        facts.try_series
        and facts.try_without
        and not facts.retired
        and facts.applies is not Applies.CONFLICT
    )
    return Column.SERIES if wanted and facts.series is None else None


def _next_of_retired(facts: Facts) -> Column | None:
    if facts.try_series and facts.series is None and facts.applies is not Applies.CONFLICT:
        return Column.SERIES
    failed = facts.bare is not None and facts.bare.is_conclusive and not facts.bare.passed
    if failed and facts.passing_alternative is None and len(facts.configured) < facts.alternatives:
        return Column.CONFIGURED
    return None


def _next_of_series(facts: Facts) -> Column | None:
    if not facts.try_series or facts.applies is Applies.CONFLICT:
        return None
    if facts.series is None:
        return Column.SERIES
    if facts.series.passed and facts.without is None and facts.try_without:
        return Column.WITHOUT
    return None


# README's table of verdicts describes the branches.
def decide(facts: Facts) -> tuple[Verdict, str]:  # noqa: C901
    """Return the verdict of a feature on one cell, and the reason as text."""
    if facts.bare is None:
        return Verdict.UNTESTED, "no cell here meets its requirements"
    if not facts.bare.control:
        words = f"the control probe does not pass on the bare release: {facts.bare.detail}"
        return Verdict.UNSUPPORTED, words + _with_series(facts.series)
    if facts.retired:
        # Before the other columns: broken on its base counts although bare upstream passes.
        fault = _fault_of_retired(facts)
        if fault is not None:
            return fault
    if not facts.bare.is_conclusive:
        return _unproven(Column.BARE, facts.bare)
    if facts.bare.passed:
        return Verdict.ABSORBED, "bare upstream passes"
    if facts.passing_alternative is not None:
        return Verdict.CONFIGURABLE, "bare upstream passes with settings"
    for result in facts.configured:
        if not result.is_conclusive:
            return _unproven(Column.CONFIGURED, result)
    if facts.retired and facts.profile is not None:
        return Verdict.CONFIGURABLE, "bare upstream passes under the profile"
    if facts.retired or not facts.try_series:
        tried = (
            "its patch passes here, on its base" if facts.series is not None else "series untried"
        )
        return (
            Verdict.NEEDED,
            f"bare upstream fails: {facts.bare.detail}{_why_not_configured(facts)} ({tried})",
        )
    return _decide_series(facts)


def _decide_series(facts: Facts) -> tuple[Verdict, str]:
    """Return the verdict of a feature for which bare upstream fails with any settings."""
    assert facts.bare is not None
    if facts.applies is Applies.CONFLICT:
        return Verdict.CONFLICT, facts.applies_detail
    if facts.series is None:
        return Verdict.UNPROVEN, "the series column was not run"
    if not facts.series.is_conclusive:
        return _unproven(Column.SERIES, facts.series)
    if not facts.series.passed:
        return Verdict.BROKEN, f"fails with the series applied: {_detail(facts.series)}"
    if facts.without is None and not facts.try_without:
        return (
            Verdict.NEEDED,
            (
                f"bare upstream fails, the series passes: {facts.bare.detail} "
                "(the series without the patch was not run)"
            ),
        )
    if facts.without is None:
        return Verdict.UNPROVEN, "the column without the patch was not run"
    if not facts.without.is_conclusive:
        return _unproven(Column.WITHOUT, facts.without)
    if facts.without.passed:
        return Verdict.REDUNDANT, "the series passes without its patch: another patch covers it"
    return Verdict.NEEDED, f"bare upstream fails: {facts.bare.detail}{_why_not_configured(facts)}"


def _with_series(result: Result | None) -> str:
    """Return what the series does in a cell in which bare upstream does not run."""
    if result is None:
        return ""
    return (
        "; the series passes here"
        if result.passed
        else f"; with the series: {result.outcome}: {_detail(result)}"
    )


def _fault_of_retired(facts: Facts) -> tuple[Verdict, str] | None:
    """Return the fault of a retired feature, or None.

    Either it fails on its base, or bare upstream under the profile no longer replaces it, or one of
    these columns proves nothing.
    """
    if facts.try_series and facts.applies is Applies.CONFLICT:
        return Verdict.BROKEN, f"does not apply on its base: {facts.applies_detail}"
    if facts.series is not None and not facts.series.is_conclusive:
        return _unproven(Column.SERIES, facts.series)
    if facts.series is not None and not facts.series.passed:
        return Verdict.BROKEN, f"fails on its base: {_detail(facts.series)}"
    if facts.profile is not None and not facts.profile.is_conclusive:
        return _unproven(Column.PROFILE, facts.profile)
    if facts.profile is not None and not facts.profile.passed:
        return (
            Verdict.REGRESSED,
            (
                "bare upstream under the profile no longer has the feature: "
                f"{_detail(facts.profile)}"
            ),
        )
    return None


def _unproven(column: Column, result: Result) -> tuple[Verdict, str]:
    match result.outcome:
        case Outcome.FLAKY:
            return (
                Verdict.UNPROVEN,
                f"flaky: two runs of the {column} column differ: {result.detail}",
            )
        case Outcome.ERROR:
            return Verdict.UNPROVEN, f"an error in the {column} column: {result.detail}"
        case Outcome.SKIPPED:
            return Verdict.UNPROVEN, f"a skip in the {column} column: {result.detail}"
        case Outcome.MISSING:
            return Verdict.UNPROVEN, f"no usable result in the {column} column: {result.detail}"
        case Outcome.PASSED | Outcome.FAILED:
            raise AssertionError(f"{result.outcome} decides")
    assert_never(result.outcome)


def _detail(result: Result) -> str:
    return result.detail if result.control else f"the control probe does not pass: {result.detail}"


def _why_not_configured(facts: Facts) -> str:
    """Return a remark if a `Replaced-By` breaks the cache or fails in another cell, else "".

    A cache that is off or broken is no replacement.
    """
    if any(
        number < len(facts.configured) and facts.configured[number].passed
        for number in facts.rejected
    ):
        return "; a Replaced-By passes here, but fails in another cell, so it replaces nothing"
    broken = next((result for result in facts.configured if not result.control), None)
    return (
        "; under a Replaced-By the control probe does not pass, so it replaces nothing: "
        f"{broken.detail}"
        if broken
        else ""
    )


def reject_other_tests(facts: Facts) -> Facts:
    """Return the facts with each column `MISSING` that ran other tests than the bare one."""
    if facts.bare is None or not facts.bare.is_conclusive:
        return facts

    def checked(result: Result | None) -> Result | None:
        assert facts.bare is not None
        if (
            result is None
            or not result.is_conclusive
            or not result.control
            or result.tests == facts.bare.tests
        ):
            return result
        return replace(
            result, outcome=Outcome.MISSING, detail="it collected other tests than the bare column"
        )

    configured = tuple(result for result in map(checked, facts.configured) if result is not None)
    return replace(
        facts,
        configured=configured,
        series=checked(facts.series),
        without=checked(facts.without),
        profile=checked(facts.profile),
    )
