"""Check the trailers of a patch or of a feature's record, with the line to write for each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from scripts.core.config import did_you_mean, near_misses
from scripts.core.errors import Problem
from scripts.series.trailers import Trailers

REPEATABLE = ("Bug", "Needs", "Replaced-By")
_LISTS = frozenset({"Features", "Probes", "Overrides", "Depends", "Code", "Formerly"})
"""Trailers whose value is a list, so that two of them can be joined."""

_FORMS = {
    "Id": re.compile(r"^[a-z0-9][a-z0-9-]*$"),
    "Origin": re.compile(r"^(vendor|backport, .+)$"),
    "Forwarded": re.compile(r"^(no|not-needed|https?://\S+)$"),
    "Last-Update": re.compile(r"^\d{4}-\d\d-\d\d$"),
}


def field_problems(
    pairs: Sequence[tuple[str, str]],
    required: Collection[str],
    known: Sequence[str],
    examples: Mapping[str, str],
) -> Iterator[Problem]:
    """Yield missing, unknown and repeated trailers; `examples` are values to begin with."""
    names = [name for name, _ in pairs]
    for name in required:
        if name not in names:
            yield Problem(f"the trailer `{name}:` is missing", f"add `{_example(name, examples)}`")
    for name in names:
        if name not in known:
            near = near_misses(name, list(known))
            advice = f"write `{near[0]}:` for it" if len(near) == 1 else f"delete `{name}:`"
            yield Problem(f"unknown field {name}:{did_you_mean(name, list(known))}", advice)
    for name in sorted(set(names)):
        if names.count(name) > 1 and name not in REPEATABLE:
            yield Problem(f"the field {name}: is there twice", _joined(name, pairs))


def form_problems(pairs: Sequence[tuple[str, str]], slug: str) -> Iterator[Problem]:
    """Yield values that are not of the form that their trailer has."""
    found = Trailers(pairs)
    for name, pattern in _FORMS.items():
        for value in found.values(name):
            if not pattern.match(value):
                yield Problem(
                    f"{name}: {value!r} is not of the form {pattern.pattern}",
                    f"write `{_example(name, {'Id': slug})}`",
                )


def _example(name: str, examples: Mapping[str, str]) -> str:
    usual = {
        "Base": "RELEASE",
        "Origin": "vendor",
        "Forwarded": "no",
        "Last-Update": f"{datetime.now(UTC):%Y-%m-%d}",
        "Probes": "FILE",
        "Drop-When": "what upstream has to do",
        "Applied-Upstream": "RELEASE; how",
    }
    return f"{name}: {examples.get(name) or usual[name]}"


def _joined(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return the one line that can stand for several of a name."""
    values = dict.fromkeys(Trailers(pairs).names(name))
    if name in _LISTS or len(values) == 1:
        return f"write one `{name}: {', '.join(values)}`"
    return f"keep one line `{name}:` and delete the other"
