"""What the message of a commit lacks to become a patch, in the words of its trailers."""

from __future__ import annotations

import re

from scripts.core.errors import Problem
from scripts.core.model import State
from scripts.series.patch_fields import wrong_fields
from scripts.series.templates import left_placeholders, slug_of
from scripts.series.trailers import body_problems, read_trailers

ADDED = ("Base", "Last-Update")
"""The trailers that `export` writes itself."""

# `git am` takes such a line for one of the mail's header, if the body begins with it.
_LOOKS_LIKE_HEADER = re.compile(r"^(From: |Subject: |Date: |>From |\[PATCH)", re.IGNORECASE)


def message_problems(title: str, body: str) -> list[Problem]:
    """Return everything that a message lacks, besides the trailers that `export` adds."""
    found, problems = read_trailers(body.strip("\n").split("\n\n")[-1])
    kept = tuple((name, value) for name, value in found if name not in ADDED)
    added = tuple((name, "2000-01-01") for name in ADDED)
    return [
        # Prose at the end means that there are no trailers, not that each line is a wrong one.
        *(problems if found else ()),
        *_header_problems(body),
        *body_problems(body),
        *left_placeholders(title + body),
        *wrong_fields((*kept, *added), State.ACTIVE, slug_of(title)),
        *([] if title else [Problem("the subject is empty", "write what it does in one line")]),
    ]


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
