"""A patch file: a mail for `git am`, and what is wrong with it."""

from __future__ import annotations

import email
import email.header
import email.policy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import Problem
from scripts.core.model import Patch, State
from scripts.series.diff_hunks import read_hunks
from scripts.series.patch_fields import ORDER, wrong_fields
from scripts.series.templates import left_placeholders
from scripts.series.trailers import Trailers, body_problems, read_body

_DIFF_START = re.compile(r"^diff --git ", re.MULTILINE)
_FIRST_LINE = f"From {'0' * 40} Mon Sep 17 00:00:00 2001"


@dataclass(frozen=True)
class Mail:
    """The parts of a patch file, as they are in the file."""

    title: str
    body: str
    trailers: tuple[tuple[str, str], ...]
    diff: str
    problems: tuple[Problem, ...]

    @property
    def message(self) -> str:
        """The message of its commit."""
        trailers = "\n".join(f"{name}: {value}" for name, value in self.trailers)
        return f"{self.title}\n\n{self.body}\n\n{trailers}"

    @property
    def fields(self) -> Trailers:
        """The trailers, by name."""
        return Trailers(self.trailers)

    def names(self, name: str) -> tuple[str, ...]:
        """Return a trailer's comma-separated names."""
        return self.fields.names(name)


def read_mail(content: bytes) -> Mail:
    """Split a patch file into its parts; `problems` lists what is wrong with it."""
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    text = content.decode(errors="replace").replace("\r\n", "\n").partition("\n\n")[2]
    start = _DIFF_START.search(text)
    body, diff = (text[: start.start()], text[start.start() :]) if start else (text, "")
    title = re.sub(r"^\[PATCH\] ?", "", _header(message.get("Subject")))
    found = read_body(body, ORDER)
    problems = [*found.unread, *found.misplaced]
    if not content.startswith(b"From "):
        text = "the first line is not `From <commit> <date>`"
        problems.append(
            Problem(
                f"not a mail as `git format-patch` writes it: {text}",
                f"put `{_FIRST_LINE}` above its first line",
            )
        )
    problems += [*body_problems(body), *left_placeholders(title + body)]
    return Mail(title, found.text, found.trailers, diff, tuple(problems))


def read_patch(path: Path, state: State) -> tuple[Patch, list[Problem]]:
    """Read one patch file, and return the patch with a list of everything that is wrong with it."""
    content = path.read_bytes()
    mail = read_mail(content)
    slug = _slug(path)
    problems = [*mail.problems, *wrong_fields(mail.trailers, state, slug)]
    if not mail.title:
        subject = f"write `Subject: [PATCH] {slug.replace('-', ' ')}`"
        problems.append(Problem("the subject is empty", subject))
    hunks, lines, wrong = read_hunks(mail.diff)
    problems += wrong
    fields = mail.fields
    return Patch(
        path=path,
        state=state,
        id=fields.value("Id") or path.stem,
        title=mail.title,
        base=fields.value("Base"),
        sha256=hashlib.sha256(content).hexdigest(),
        features=fields.names("Features"),
        overrides=fields.names("Overrides"),
        depends=fields.names("Depends"),
        why=mail.body,
        applied_upstream=fields.value("Applied-Upstream"),
        place=fields.value("Place"),
        hunks=hunks,
        lines=lines,
        trailers=mail.trailers,
    ), problems


def with_trailers(text: bytes, changes: Mapping[str, str | None]) -> bytes:
    """Return a mail or a commit message with trailers of its last paragraph changed.

    Trailers are replaced, added, or (None) removed. An added one is inserted before the first that
    follows it in the usual order.
    """
    head, diff, rest = text.partition(b"\ndiff --git ")
    kept = head.rstrip(b"\n")
    before, gap, paragraph = kept.rpartition(b"\n\n")
    left = dict(changes)
    lines = []
    # A line that begins with white space continues a trailer.
    for line in re.split(rb"\n(?![ \t])", paragraph):
        name = line.partition(b":")[0].decode(errors="replace")
        if name not in changes:
            lines.append(line)
        elif value := left.pop(name, None):
            lines.append(f"{name}: {value}".encode())
    for name, value in left.items():
        if value:
            known = [
                ORDER.index(key)
                if (key := line.partition(b":")[0].decode(errors="replace")) in ORDER
                else 0
                for line in lines
            ]
            place = next(
                (number for number, rank in enumerate(known) if rank > ORDER.index(name)),
                len(lines),
            )
            lines.insert(place, f"{name}: {value}".encode())
    return before + gap + b"\n".join(lines) + head[len(kept) :] + diff + rest


def _header(value: str | None) -> str:
    if value is None:
        return ""
    text = str(email.header.make_header(email.header.decode_header(value)))
    return re.sub(r"\s*\n\s*", " ", text)


def _slug(path: Path) -> str:
    """Return the id that a file's name implies: its name without the number."""
    return re.sub(r"^\d+-", "", path.stem)
