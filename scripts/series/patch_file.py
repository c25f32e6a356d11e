"""A patch file: a mail for `git am`, its trailers and its hunks, and what is wrong with it."""

from __future__ import annotations

import email
import email.header
import email.policy
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import unidiff.errors
import unidiff.patch

from scripts.core.errors import Problem
from scripts.core.model import Hunk, Patch, State
from scripts.series.field_checks import field_problems, form_problems
from scripts.series.templates import left_placeholders
from scripts.series.trailers import Trailers, body_problems, read_trailers

REQUIRED = ("Id", "Base", "Origin", "Forwarded", "Last-Update")
OPTIONAL = ("Bug", "Features", "Overrides", "Depends", "Place", "Applied-Upstream")
RECORD_REQUIRED = ("Probes", "Drop-When")
"""What a patch needs in addition if it names no features, because it is then its own record."""

RECORD_OPTIONAL = ("Needs", "Replaced-By", "Mutation", "Code")

_ORDER = (
    *(
        "Id",
        "Base",
        "Origin",
        "Bug",
        "Forwarded",
        "Last-Update",
        "Features",
        "Probes",
        "Overrides",
        "Depends",
        "Needs",
    ),
    *("Replaced-By", "Mutation", "Code", "Drop-When", "Place", "Applied-Upstream"),
)
"""The order that decides where an added field is inserted."""

_DIFF_START = re.compile(r"^diff --git ", re.MULTILINE)
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_BETWEEN_HUNKS = re.compile(
    r"^(diff --git |index |(old|new|deleted) (file )?mode |(dis)?similarity |rename |copy "
    r"|--- |\+\+\+ |\\ No newline|$)"
)
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
    paragraphs = body.strip("\n").split("\n\n")
    trailers, problems = read_trailers(paragraphs[-1])
    if not content.startswith(b"From "):
        text = "the first line is not `From <commit> <date>`"
        problems.append(
            Problem(
                f"not a mail as `git format-patch` writes it: {text}",
                f"put `{_FIRST_LINE}` above its first line",
            )
        )
    problems += [*body_problems(body), *left_placeholders(title + body)]
    return Mail(title, "\n\n".join(paragraphs[:-1]).strip(), tuple(trailers), diff, tuple(problems))


def read_patch(path: Path, state: State) -> tuple[Patch, list[Problem]]:
    """Read one patch file, and return the patch with a list of everything that is wrong with it."""
    content = path.read_bytes()
    mail = read_mail(content)
    slug = _slug(path)
    problems = [*mail.problems, *wrong_fields(mail, state, slug)]
    if not mail.title:
        subject = f"write `Subject: [PATCH] {slug.replace('-', ' ')}`"
        problems.append(Problem("the subject is empty", subject))
    hunks, lines = _hunks(mail.diff, problems)
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
                _ORDER.index(key)
                if (key := line.partition(b":")[0].decode(errors="replace")) in _ORDER
                else 0
                for line in lines
            ]
            place = next(
                (number for number, rank in enumerate(known) if rank > _ORDER.index(name)),
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


def wrong_fields(mail: Mail, state: State, slug: str) -> Iterator[Problem]:
    """Yield missing, unknown, repeated and malformed fields; `slug` is the id to suggest."""
    required: tuple[str, ...] = REQUIRED
    own = [*RECORD_REQUIRED, *RECORD_OPTIONAL]
    names = {name for name, _ in mail.trailers}
    if "Features" in names:
        yield from _misplaced(mail, own)
    elif names.intersection(RECORD_REQUIRED):
        required += RECORD_REQUIRED
    else:
        yield Problem(
            "the trailer `Features:` is missing (or `Probes:` and `Drop-When:`,"
            " if the patch is its own feature's record)",
            f"add `Features: {slug}`",
        )
    if state is State.RETIRED:
        required += ("Applied-Upstream",)
    yield from field_problems(mail.trailers, required, [*REQUIRED, *OPTIONAL, *own], {"Id": slug})
    yield from form_problems(mail.trailers, slug)


def _misplaced(mail: Mail, own: Collection[str]) -> Iterator[Problem]:
    """Yield fields of a feature's record in a patch whose features have records of their own."""
    features = " or ".join(mail.names("Features"))
    for name, value in mail.trailers:
        if name in own:
            yield Problem(
                f"the field {name}: belongs in the docstring of a feature's probes",
                f"move `{name}: {value}` into the docstring of {features}",
            )


def _hunks(diff: str, problems: list[Problem]) -> tuple[tuple[Hunk, ...], int]:
    """Return the places of the hunks, and the number of lines that they add and remove."""
    try:
        # The line above a mail's signature begins with `-`, but removes nothing.
        files = unidiff.patch.PatchSet(diff.replace("\n-- \n", "\n") if diff else "")
    except unidiff.errors.UnidiffParseError as error:
        problems.append(
            Problem(
                f"its diff is unreadable: {error}",
                "make the counts after its `@@` those of the lines below, or take back the edit",
            )
        )
        return (), 0
    problems += [
        Problem(
            f"the line {line!r} is in no hunk, git would drop it",
            "delete it, or count it in the numbers after the `@@` above",
        )
        for line in _stray_lines(diff)
    ]
    hunks = [
        Hunk(
            file.path,
            (hunk.source_start, hunk.source_length),
            (hunk.target_start, hunk.target_length),
            tuple(line.value.rstrip("\r\n") for line in hunk if line.is_added),
        )
        for file in files
        for hunk in file
    ]
    return tuple(hunks), sum(file.added + file.removed for file in files)


def _stray_lines(diff: str) -> Iterator[str]:
    """Yield lines of a diff that are in no hunk and no header, which git would drop.

    It stops at a binary part or a signature.
    """
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
