"""The fields of a patch: which it must and may have, their order, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from scripts.core.errors import Problem
from scripts.core.model import State
from scripts.series.field_checks import field_problems, form_problems
from scripts.series.trailers import Trailers

REQUIRED = ("Id", "Base", "Origin", "Forwarded", "Last-Update")
OPTIONAL = ("Bug", "Features", "Overrides", "Depends", "Place", "Applied-Upstream")
RECORD_REQUIRED = ("Probes", "Drop-When")
"""What a patch needs in addition if it names no features, because it is then its own record."""

RECORD_OPTIONAL = ("Needs", "Replaced-By", "Mutation", "Code")

ORDER = (
    *("Id", "Base", "Origin", "Bug", "Forwarded", "Last-Update", "Features", "Probes", "Overrides"),
    *("Depends", "Needs", "Replaced-By", "Mutation", "Code", "Drop-When", "Place"),
    "Applied-Upstream",
)
"""The order that decides where an added field is inserted."""


def wrong_fields(
    trailers: Sequence[tuple[str, str]],
    state: State,
    slug: str,
    record: Mapping[str, str] | None = None,
) -> Iterator[Problem]:
    """Yield missing, unknown, repeated and malformed fields; `slug` is the id to suggest.

    `record` are the trailers that a patch lacks if it neither names features nor is a record
    itself, with values to suggest: `Features:`, or those of its own record.
    """
    record = record or {"Features": slug}
    required: tuple[str, ...] = REQUIRED
    own = [*RECORD_REQUIRED, *RECORD_OPTIONAL]
    names = {name for name, _ in trailers}
    if "Features" in names:
        yield from _misplaced(trailers, own)
    elif names.intersection(RECORD_REQUIRED):
        required += RECORD_REQUIRED
    else:
        required += tuple(record)
    if state is State.RETIRED:
        required += ("Applied-Upstream",)
    # In the order in which a message has them.
    required = tuple(sorted(required, key=ORDER.index))
    known = [*REQUIRED, *OPTIONAL, *own]
    yield from field_problems(trailers, required, known, {"Id": slug, **record})
    yield from form_problems(trailers, slug)


def _misplaced(trailers: Sequence[tuple[str, str]], own: Collection[str]) -> Iterator[Problem]:
    """Yield fields of a feature's record in a patch whose features have records of their own."""
    features = " or ".join(Trailers(trailers).names("Features"))
    for name, value in trailers:
        if name in own:
            yield Problem(
                f"the field {name}: belongs in the docstring of a feature's probes",
                f"move `{name}: {value}` into the docstring of {features}",
            )
