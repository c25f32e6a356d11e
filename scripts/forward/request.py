"""The text of a pull request: what fails, what changes, and what shows it, in nobody's jargon."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import unidiff.patch

from scripts.core.model import Feature, Patch
from scripts.forward.evidence import Evidence, failing_bare
from scripts.forward.new_test import is_test
from scripts.probes.upstream_suite import Comparison


@dataclass(frozen=True)
class Request:
    """What a pull request is about: the patch, the source, the change, and the evidence."""

    patch: Patch
    features: tuple[Feature, ...]
    source: str
    diff: str
    tests: tuple[str, ...]
    evidence: Evidence


def request_text(request: Request) -> str:
    """Return the text as Markdown; its first line is the title."""
    parts = [f"# {request.patch.title}", *_why(request.patch, request.features)]
    parts += ["## What changes", "\n".join(_changes(request.diff))]
    parts += ["## Tests", "\n".join(f"- {line}" for line in evidence_lines(request))]
    return "\n\n".join(parts) + "\n"


def commit_message(patch: Patch) -> str:
    """Return a patch's message without the fork's trailers."""
    return f"{patch.title}\n\n{patch.why}\n" if patch.why else f"{patch.title}\n"


def _why(patch: Patch, features: Sequence[Feature]) -> Iterator[str]:
    """Yield the paragraphs of the reason, and upstream's issues about it."""
    yield from _paragraphs([patch.why])
    # Where the patch is the record of its feature, both say the same.
    yield from _paragraphs(
        text
        for feature in features
        if feature.id in patch.features
        for text in (f"{feature.title}.", feature.why)
    )
    bugs = [value for name, value in patch.trailers if name == "Bug"]
    yield from (f"See {bug}." for bug in bugs)


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    parts = (part for text in texts for part in re.split(r"\n\s*\n", text))
    # One line each, for Markdown of a web page keeps the ends of lines.
    yield from (" ".join(part.split()) for part in parts if part.strip())


def _changes(diff: str) -> Iterator[str]:
    for file in unidiff.patch.PatchSet(diff):
        lines = f"{file.added} added, {file.removed} removed"
        if file.is_added_file:
            lines = f"new, {file.added} lines{', the test' if is_test(file.path) else ''}"
        yield f"- `{file.path}`: {lines}"


def evidence_lines(request: Request) -> Iterator[str]:
    """Yield sentences about the runs of the new test and of upstream's own tests."""
    name = ", ".join(f"`{test}`" for test in request.tests)
    yield f"On {request.source}."
    yield from _grouped(name, request.evidence.new_test, _new_test)
    yield from _grouped("The existing tests", request.evidence.suite, _suite)
    if not request.evidence.suite:
        yield "The source brings no tests of its own."


def _grouped(
    name: str, runs: Sequence[Comparison], words: Callable[[Comparison], str]
) -> Iterator[str]:
    """Yield one sentence for all runs that show the same, with the places and the modes."""
    found: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        place = f"{run.environment} with {run.server}" if run.server else run.environment
        found.setdefault(words(run), {}).setdefault(place, []).append(run.mode)
    for said, places in found.items():
        where = [
            place if modes == ["default"] else f"{place} ({', '.join(modes)})"
            for place, modes in places.items()
        ]
        yield f"{name}: {said}: {'; '.join(where)}."


def _new_test(run: Comparison) -> str:
    failing, passed = failing_bare(run), run.changed.passed
    count = f"{len(failing & passed)} of {len(passed)} tests fail"
    # A file that cannot even be imported has no test that fails.
    before = count if failing & passed else "it fails" if failing else "it passes"
    return f"{before} without the change, and all pass with it"


def _suite(run: Comparison) -> str:
    both = len(run.changed.passed & run.bare.passed)
    return f"{len(run.bare.passed)} pass without the change, and {both} of these with it"
