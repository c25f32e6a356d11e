"""What the message of a commit lacks to become a patch, in the words of its trailers."""

from __future__ import annotations

import re

from scripts.core.errors import Problem
from scripts.core.model import State
from scripts.editing.begun import Begun
from scripts.series.patch_fields import ORDER, wrong_fields
from scripts.series.templates import left_placeholders, slug_of
from scripts.series.trailers import Body, Trailers, body_problems, read_body

ADDED = ("Base", "Last-Update")
"""The trailers that `export` writes itself."""

_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]*$")

# `git am` takes such a line for one of the mail's header, if the body begins with it.
_LOOKS_LIKE_HEADER = re.compile(r"^(From: |Subject: |Date: |>From |\[PATCH)", re.IGNORECASE)


def read_message(body: str) -> Body:
    """Split the body of a commit's message into its text and its trailers."""
    return read_body(body, ORDER, ADDED)


def message_problems(title: str, body: str, begun: Begun | None = None) -> list[Problem]:
    """Return everything that a message lacks, besides the trailers that `export` adds.

    `begun` is what `new` began that the commit probably is.
    """
    found = read_message(body)
    kept = tuple((name, value) for name, value in found.trailers if name not in ADDED)
    added = tuple((name, "2000-01-01") for name in ADDED)
    slug = begun.id if begun else slug_of(title)
    record = _missing_record(begun, Trailers(found.trailers).value("Id"))
    return [
        # Prose at the end means that there are no trailers, not that each line is a wrong one.
        *(found.unread if found.last else ()),
        *found.misplaced,
        *_header_problems(body),
        *body_problems(body),
        *left_placeholders(title + body),
        *wrong_fields((*kept, *added), State.ACTIVE, slug, record),
        *([] if title else [Problem("the subject is empty", "write what it does in one line")]),
    ]


def reason_problems(body: str) -> list[Problem]:
    """Return that the reason is missing if a message has nothing but a title and trailers."""
    if read_message(body).text:
        return []
    text = "the reason is missing, the text between the title and the trailers"
    return [Problem(text, "write why it is needed")]


def missing_trailers(body: str, begun: Begun | None) -> list[tuple[str, str]]:
    """Return the trailers that `new` began and that a message has nowhere."""
    there = {name for name, _ in read_message(body).trailers}
    return [pair for pair in begun.trailers if pair[0] not in there] if begun else []


def _missing_record(begun: Begun | None, name: str) -> dict[str, str]:
    """Return the trailers that name the features, as `new` began them, or nothing."""
    if begun is None or (not begun.features and not begun.probes):
        return {"Features": name} if _SLUG.match(name) else {}
    if begun.features:
        return {"Features": ", ".join(begun.features)}
    return {"Probes": ", ".join(begun.probes), "Drop-When": ""}


def _header_problems(body: str) -> list[Problem]:
    first = body.lstrip("\n").partition("\n")[0]
    return (
        [
            Problem(
                f"the body line {first!r} would be taken for the mail's header",
                "write another paragraph above it",
            )
        ]
        if _LOOKS_LIKE_HEADER.match(first)
        else []
    )
