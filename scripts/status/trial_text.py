"""What `probe` says: one sentence for each feature, and below it what its files gave."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version
from rich.console import Console
from rich.text import Text as Styled

from scripts.core.errors import with_command
from scripts.core.model import Outcome, Result, State
from scripts.probes.report_log import OUTCOME_PRECEDENCE, FileResult
from scripts.status.trial import ColumnTrial, FeatureTrial, Trial

_WORDS = {
    Outcome.PASSED: "passes",
    Outcome.FAILED: "fails",
    Outcome.ERROR: "ends with an error",
    Outcome.SKIPPED: "is skipped",
    Outcome.MISSING: "has no test",
    Outcome.FLAKY: "gives two results",
}


def is_proven(trial: FeatureTrial) -> bool:
    """Return whether a feature passes on the imported tree and, if that was tried, fails on bare.

    What upstream has made unnecessary must pass on bare upstream instead.
    """
    if trial.bare is None or not trial.own.result.passed:
        return trial.own.result.passed
    if trial.feature.state is State.RETIRED:
        return trial.bare.result.passed
    return _fails(trial.bare.result)


def sentence(trial: FeatureTrial) -> str:
    """Return what a trial shows about a feature."""
    name = f"bare {trial.cell.release}"
    if not trial.own.result.passed:
        return _on("your tree", trial.own.result) + _before_retirement(trial)
    if trial.bare is None:
        return f"passes on your tree ({name} was not tried)"
    bare = trial.bare.result
    if trial.feature.state is State.RETIRED:
        return (
            f"passes on your tree, and on {name}, as it must: it is retired"
            if bare.passed
            else f"passes on your tree, but it is retired and {_on(name, bare)}"
        )
    if _fails(bare):
        return f"passes on your tree, and fails on {name}, as it must"
    if not bare.passed:
        instead = " instead of a failed assertion" if bare.control else ""
        return f"passes on your tree, but {_on(name, bare)}{instead}"
    if trial.feature.mutation:  # where the probes can be seen failing
        return f"passes on your tree, but {name} passes it too: upstream has it"
    return f"passes on your tree, but it proves nothing: {name} passes it too"


def print_trial(trial: Trial, root: Path, console: Console) -> None:
    """Print each feature's sentence, and what its files gave on each tree."""
    for number, found in enumerate(trial.features):
        style = "bold green" if is_proven(found) else "bold red"
        gap = "\n" if number else ""
        head = Styled(f"{gap}{found.feature.id}: {sentence(found)}", style)
        console.print(head, soft_wrap=True)
        for line in _details(found, _shown(trial.place, root)):
            console.print(Styled(line), soft_wrap=True)


def ways_to_prove(trial: Trial, again: str) -> list[str]:
    """Return what to do about each feature that is not proven; `again` is the command to repeat."""
    left = (found for found in trial.features if not is_proven(found))
    return list(dict.fromkeys(with_command(_remedy(found, trial.place), again) for found in left))


def _remedy(trial: FeatureTrial, place: Path) -> str:
    """Return what makes a trial prove its feature."""
    own, bare = trial.own.result, trial.bare.result if trial.bare else None
    probe = trial.feature.probes[0].partition("::")[0]
    if not own.control:
        return f"mend {place}, in which nothing can run, then try again"
    if own.outcome is Outcome.MISSING:
        return f"write a test in {probe}, then try again"
    if not own.passed or bare is None:
        return f"edit the tree or {probe} until it passes, then try again"
    if not bare.control:
        return "find out why the control probe does not pass on bare upstream, then try again"
    if trial.feature.state is State.RETIRED:
        return f"if upstream does it in another way now, edit {probe}, then try again"
    if bare.passed:
        return f"assert in {probe} what upstream lacks, then try again"
    return f"let {probe} fail on bare upstream by an assertion, then try again"


def _on(tree: str, result: Result) -> str:
    """Return how probes that did not pass ended on a tree."""
    if not result.control:
        return f"the control probe does not pass on {tree}, so nothing else counts"
    return f"{_WORDS[result.outcome]} on {tree}"


def _before_retirement(trial: FeatureTrial) -> str:
    """Return the likely reason why a retired feature fails on a tree of an older release."""
    since = trial.feature.retired_in
    if since is None or since <= Version(trial.cell.release):
        return ""
    return f"; upstream has it since {since}, and your tree is based on {trial.cell.release}"


def _fails(result: Result) -> bool:
    return result.control and result.outcome is Outcome.FAILED


def _details(trial: FeatureTrial, place: str) -> Iterator[str]:
    """Yield the lines below the sentence: for each file, what it gave on each tree."""
    columns = {place: trial.own}
    if trial.bare is not None:
        columns[f"bare {trial.cell.release}"] = trial.bare
    width = max(map(len, columns))
    for file in dict.fromkeys(file for column in columns.values() for file in column.files):
        yield f"  {file} in {trial.cell.id}"
        for name, column in columns.items():
            if file in column.files:
                yield f"    {name:{width}}  {_file_words(column.files[file])}"
                yield from _failures(file, column, brief=column is trial.bare)


def _file_words(found: FileResult) -> str:
    """Return what a file gave as a whole, with the number of tests."""
    if found.problem:
        return _WORDS[Outcome.ERROR]
    outcomes = [outcome for outcome, _ in found.tests.values()]
    worst = min(outcomes, key=OUTCOME_PRECEDENCE.index, default=Outcome.MISSING)
    counts = [f"{outcomes.count(item)} {item}" for item in Outcome if item in outcomes]
    counts += [f"{len(found.left_out)} left out after it"] if found.left_out else []
    return f"{_WORDS[worst]} ({', '.join(counts)})" if counts else _WORDS[worst]


def _failures(file: str, column: ColumnTrial, *, brief: bool) -> Iterator[str]:
    """Yield what did not pass in a file; if `brief`, an assertion is one line."""
    found = column.files[file]
    failed = {name: test for name, test in found.tests.items() if test[0] is not Outcome.PASSED}
    if found.problem:
        failed[file] = (Outcome.ERROR, found.problem)
    for name, (outcome, words) in failed.items():
        text = column.texts.get(name)
        if not text or outcome is Outcome.FLAKY or (brief and outcome is Outcome.FAILED):
            yield f"      {name.removeprefix(f'{file}::')}: {words}"
        if text and not (brief and outcome is Outcome.FAILED):
            yield textwrap.indent(text, "      ")


def _shown(place: Path, root: Path) -> str:
    return str(place.relative_to(root)) if place.is_relative_to(root) else str(place)
