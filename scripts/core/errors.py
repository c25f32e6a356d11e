"""Expected errors: what failed, the likely cause, the next command, and an exit code per kind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
    alternative; `with_command` makes one of a sentence and a command.
    """

    exit_code = Exit.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(redact(message))
        self.message = redact(message)
        self.hint = redact(hint)

    def __str__(self) -> str:
        return f"{self.message}\n{ways_text(self.hint, '  next')}" if self.hint else self.message


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


def with_command(words: str, command: str) -> str:
    """Return a line of a hint or of advice that says something above its command.

    Words that begin with `if` say when the command is the right one.
    """
    return f"{' '.join(words.split())}\t{command}"


def ways_text(ways: str, word: str) -> str:
    """Return a hint or advice as it is printed: `word` before its first line, `or` before others.

    A command that has words above it is alone on its line, so that it can be pasted.
    """
    lines = []
    for number, way in enumerate(ways.split("\n")):
        words, _, command = way.rpartition("\t")
        head = f"{'or':>{len(word)}}" if number else word
        mark = "," if words.startswith("if ") else ":"
        below = f"{words}:\n{' ' * (len(word) + 2)}" if words else ""
        lines.append(f"{head}{mark} {below}{command}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what, in which file, and the command or the edit that mends it.

    Each further line of the advice is an alternative.
    """

    text: str
    advice: str = ""
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text

    def at(self, where: str) -> Problem:
        """Return the same problem of a file."""
        return replace(self, where=where)

    def with_advice(self) -> str:
        """Return the problem with its advice on the lines below, if it has one."""
        return f"{self}\n{ways_text(self.advice, '      fix')}" if self.advice else str(self)


def problems_error(title: str, problems: Iterable[str | Problem], *, hint: str = "") -> UsageError:
    """Return one UsageError that lists every problem, so that one run shows them all."""
    lines = (
        problem.with_advice() if isinstance(problem, Problem) else problem for problem in problems
    )
    return UsageError("\n".join([title, *(f"  - {line}" for line in lines)]), hint=hint)
