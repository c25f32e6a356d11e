"""The fields of a patch: which it must and may have, their order, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

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
    trailers: Sequence[tuple[str, str]], state: State, slug: str, record: str = ""
) -> Iterator[Problem]:
    """Yield missing, unknown, repeated and malformed fields; `slug` is the id to suggest.

    `record` is the advice if the patch neither names features nor is a record itself.
    """
    required: tuple[str, ...] = REQUIRED
    own = [*RECORD_REQUIRED, *RECORD_OPTIONAL]
    names = {name for name, _ in trailers}
    if "Features" in names:
        yield from _misplaced(trailers, own)
    elif names.intersection(RECORD_REQUIRED):
        required += RECORD_REQUIRED
    else:
        yield Problem(
            "the trailer `Features:` is missing (or `Probes:` and `Drop-When:`,"
            " if the patch is its own feature's record)",
            record or f"add `Features: {slug}`",
        )
    if state is State.RETIRED:
        required += ("Applied-Upstream",)
    yield from field_problems(trailers, required, [*REQUIRED, *OPTIONAL, *own], {"Id": slug})
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
