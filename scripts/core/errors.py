"""Expected errors: what failed, the likely cause, the next command, and an exit code per kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import IntEnum

_SECRET = re.compile(r"(?<=//)[^/\s]+@")
_registered_secrets: set[str] = set()


class Exit(IntEnum):
    """The exit codes of every verb; README says what they mean."""

    OK = 0
    BUG = 1
    USAGE = 2
    ENVIRONMENT = 3
    REFRESH = 10
    ATTENTION = 20
    INTERRUPTED = 130


class ForkError(Exception):
    """An expected failure; `main()` prints it without a traceback.

    `hint` is the next command, ready to paste, or the next step. Each further line is an
    alternative.
    """

    exit_code = Exit.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(redact(message))
        self.message = redact(message)
        self.hint = redact(hint)

    def __str__(self) -> str:
        ways = self.hint.replace("\n", "\n    or: ")
        return f"{self.message}\n  next: {ways}" if ways else self.message


class UsageError(ForkError):
    """Wrong use or configuration."""

    exit_code = Exit.USAGE


class EnvironmentFailedError(ForkError):
    """The index, a server, an interpreter or the disk failed."""

    exit_code = Exit.ENVIRONMENT


class AttentionError(ForkError):
    """A person must decide: a conflict, an edited upstream file, a refused export."""

    exit_code = Exit.ATTENTION


def register_secrets(*secrets: str) -> None:
    """Mask secrets in every later message; strings of one or two characters are ignored."""
    _registered_secrets.update(secret for secret in secrets if len(secret) > 2)


def redact(text: str) -> str:
    """Return a text without the credentials in its addresses and without hidden secrets."""
    text = _SECRET.sub("", text)
    # Longest first, for one secret may be part of another.
    for secret in sorted(_registered_secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text


def problems_error(title: str, problems: Iterable[str], *, hint: str = "") -> UsageError:
    """Return one UsageError that lists every problem, so that one run shows them all."""
    return UsageError("\n".join([title, *(f"  - {problem}" for problem in problems)]), hint=hint)


def raise_all(*checks: Callable[[], object]) -> None:
    """Run every check, and raise one UsageError with the problems of all of them."""
    found = []
    for check in checks:
        try:
            check()
        except UsageError as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        raise UsageError(
            "\n".join(map(str, found[:-1])) + f"\n{found[-1].message}", hint=found[-1].hint
        )
