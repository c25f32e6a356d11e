"""A patch file: a mail that `git am` takes, its trailers and its hunks, and what is wrong with it."""

from __future__ import annotations

import email
import email.header
import email.policy
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import unidiff.errors
import unidiff.patch

from scripts.core.config import near_miss
from scripts.core.model import Hunk, Patch, Settings, State

REQUIRED = ("Id", "Base", "Origin", "Forwarded", "Last-Update", "Probes", "Drop-When")
OPTIONAL = ("Bug", "Overrides", "Depends", "Needs", "Replaced-By", "Applied-Upstream", "Mutation", "Place")
REPEATABLE = ("Bug", "Needs", "Replaced-By")

_ORDER = (
    *("Id", "Base", "Origin", "Bug", "Forwarded", "Last-Update", "Probes", "Overrides", "Depends", "Needs", "Replaced-By"),
    *("Mutation", "Drop-When", "Place", "Applied-Upstream"),
)
"""Where a field stands that is added."""

_TRAILER = re.compile(r"^([A-Za-z][A-Za-z-]*):[ \t]+(\S.*)$")
_DIFF_START = re.compile(r"^diff --git ", re.MULTILINE)
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_BETWEEN_HUNKS = re.compile(
    r"^(diff --git |index |(old|new|deleted) (file )?mode |(dis)?similarity |rename |copy |--- |\+\+\+ |\\ No newline|$)"
)
_LOOKS_LIKE_PATCH = re.compile(r"^(---|diff |Index: )")
_VALUES = {
    "Origin": re.compile(r"^(vendor|backport, .+)$"),
    "Forwarded": re.compile(r"^(no|not-needed|https?://\S+)$"),
    "Last-Update": re.compile(r"^\d{4}-\d\d-\d\d$"),
    "Id": re.compile(r"^[a-z0-9][a-z0-9-]*$"),
}


@dataclass(frozen=True)
class Mail:
    """The parts of a patch file as they stand in it."""

    title: str
    body: str
    trailers: tuple[tuple[str, str], ...]
    diff: str
    problems: tuple[str, ...]

    def values(self, name: str) -> list[str]:
        """Return the values of a trailer, in order."""
        return [value for key, value in self.trailers if key == name]

    def value(self, name: str) -> str:
        """Return a trailer's first value, or the empty string."""
        return next(iter(self.values(name)), "")

    def names(self, name: str) -> tuple[str, ...]:
        """Return a trailer's comma-separated names."""
        return tuple(word.strip() for value in self.values(name) for word in value.split(",") if word.strip())


def read_mail(content: bytes) -> Mail:
    """Take a patch file apart; what is wrong with it is listed in `problems`."""
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    text = content.decode(errors="replace").replace("\r\n", "\n").partition("\n\n")[2]
    start = _DIFF_START.search(text)
    body, diff = (text[: start.start()], text[start.start() :]) if start else (text, "")
    title = re.sub(r"^\[PATCH\] ?", "", _header(message.get("Subject")))
    paragraphs = body.strip("\n").split("\n\n")
    trailers, problems = _trailers(paragraphs[-1])
    if not content.startswith(b"From "):
        problems.append("not a mail as `git format-patch` writes it: the first line is not `From <commit> <date>`")
    problems += [
        f"the body line {line!r} would be taken for a patch" for line in body.splitlines() if _LOOKS_LIKE_PATCH.match(line)
    ]
    return Mail(title, "\n\n".join(paragraphs[:-1]).strip(), tuple(trailers), diff, tuple(problems))


def read_patch(path: Path, state: State) -> tuple[Patch, list[str]]:
    """Read one patch file; the list names everything that is wrong with it."""
    content = path.read_bytes()
    mail = read_mail(content)
    problems = [*mail.problems, *_wrong_fields(mail, state)]
    hunks, lines = _hunks(mail.diff, problems)
    return Patch(
        path=path,
        state=state,
        id=mail.value("Id") or path.stem,
        title=mail.title,
        base=mail.value("Base"),
        sha256=hashlib.sha256(content).hexdigest(),
        probes=mail.names("Probes"),
        overrides=mail.names("Overrides"),
        depends=mail.names("Depends"),
        needs=tuple(mail.values("Needs")),
        replaced_by=tuple(_replacements(mail, problems)),
        drop_when=mail.value("Drop-When"),
        why=mail.body,
        applied_upstream=mail.value("Applied-Upstream"),
        mutation=mail.value("Mutation"),
        place=mail.value("Place"),
        hunks=hunks,
        lines=lines,
        trailers=mail.trailers,
    ), problems


def with_trailers(text: bytes, changes: Mapping[str, str | None]) -> bytes:
    """Return a mail or a commit message with trailers of its last paragraph changed, added or (None) removed.

    One that is added comes before the first that follows it in the usual order.
    """
    head, diff, rest = text.partition(b"\ndiff --git ")
    kept = head.rstrip(b"\n")
    before, gap, paragraph = kept.rpartition(b"\n\n")
    left = dict(changes)
    lines = []
    for line in re.split(rb"\n(?![ \t])", paragraph):
        name = line.partition(b":")[0].decode(errors="replace")
        if name not in changes:
            lines.append(line)
        elif value := left.pop(name, None):
            lines.append(f"{name}: {value}".encode())
    for name, value in left.items():
        if value:
            known = [
                _ORDER.index(key) if (key := line.partition(b":")[0].decode(errors="replace")) in _ORDER else 0 for line in lines
            ]
            place = next((number for number, rank in enumerate(known) if rank > _ORDER.index(name)), len(lines))
            lines.insert(place, f"{name}: {value}".encode())
    return before + gap + b"\n".join(lines) + head[len(kept) :] + diff + rest


def _header(value: str | None) -> str:
    if value is None:
        return ""
    text = str(email.header.make_header(email.header.decode_header(value)))
    return re.sub(r"\s*\n\s*", " ", text)


def _trailers(paragraph: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Read the last paragraph as git trailers; a line that is none is a problem, for git would then see no trailer at all."""
    found: list[tuple[str, str]] = []
    problems: list[str] = []
    for line in paragraph.splitlines():
        match = _TRAILER.match(line)
        if match:
            found.append((match[1], match[2].strip()))
        elif line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            problems.append(f"the last paragraph must be trailers (`Name: value`), this line is none: {line!r}")
    return found, problems


def _wrong_fields(mail: Mail, state: State) -> Iterator[str]:
    """Name missing, unknown, repeated and malformed fields."""
    names = [name for name, _ in mail.trailers]
    required = (*REQUIRED, "Applied-Upstream") if state is State.RETIRED else REQUIRED
    known = [*REQUIRED, *OPTIONAL]
    yield from (f"the field {name}: is missing" for name in required if name not in names)
    yield from (f"unknown field {name}:{near_miss(name, known)}" for name in names if name not in known)
    yield from (
        f"the field {name}: is there twice" for name in sorted(set(names)) if names.count(name) > 1 and name not in REPEATABLE
    )
    for name, pattern in _VALUES.items():
        yield from (
            f"{name}: {value!r} is not of the form {pattern.pattern}" for value in mail.values(name) if not pattern.match(value)
        )
    if not mail.title:
        yield "the subject is empty"


def _replacements(mail: Mail, problems: list[str]) -> Iterator[Settings]:
    for text in mail.values("Replaced-By"):
        try:
            yield Settings.parse(text)
        except (ValueError, SyntaxError) as error:
            problems.append(f"Replaced-By: {text!r} is not NAME=literal: {error}")


def _hunks(diff: str, problems: list[str]) -> tuple[tuple[Hunk, ...], int]:
    """Read the places of the hunks, and count the lines they add and remove."""
    try:
        files = unidiff.patch.PatchSet(diff.replace("\n-- \n", "\n") if diff else "")
    except unidiff.errors.UnidiffParseError as error:
        problems.append(f"its diff is unreadable: {error}")
        return (), 0
    problems += [f"the line {line!r} is in no hunk, git would drop it" for line in _stray_lines(diff)]
    hunks = [
        Hunk(file.path, (hunk.source_start, hunk.source_length), (hunk.target_start, hunk.target_length))
        for file in files
        for hunk in file
    ]
    return tuple(hunks), sum(file.added + file.removed for file in files)


def _stray_lines(diff: str) -> Iterator[str]:
    """Find lines of a diff that its hunks do not count and that are no header, up to a binary part or a signature."""
    old = new = 0
    for line in diff.split("\n"):
        if old > 0 or new > 0:
            old -= line[:1] in {"", " ", "-"}
            new -= line[:1] in {"", " ", "+"}
        elif found := _HUNK.match(line):
            old, new = (int(found[number] or 1) for number in (1, 2))
        elif line in {"-- ", "GIT binary patch"}:
            return
        elif not _BETWEEN_HUNKS.match(line):
            yield line
