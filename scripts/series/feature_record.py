"""A feature's record: the docstring of its probe file, or its patch.

A patch that names no features is the record of its one feature, which has the patch's id. The
docstring is a sentence (the title), the reason, and a last paragraph of trailers; a patch's
subject, body and trailers state the same.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from scripts.core.errors import Problem
from scripts.core.model import Feature, Patch, Settings
from scripts.series.field_checks import field_problems
from scripts.series.templates import left_placeholders
from scripts.series.trailers import Trailers, read_body

REQUIRED = ("Drop-When",)
OPTIONAL = (
    "Formerly",
    "Probes",
    "Needs",
    "Replaced-By",
    "Mutation",
    "Bug",
    "Code",
    "Applied-Upstream",
)


def record_path(control: str, feature: str) -> str:
    """Return the path of a feature's probe file, whose docstring is the feature's record.

    It is in the folder of the control probe.
    """
    return str(PurePosixPath(control).parent / f"test_{feature.replace('-', '_')}.py")


def feature_from_patch(patch: Patch) -> tuple[Feature, list[Problem]]:
    """Return the one feature of a patch that names none, and the problems of its record.

    The patch itself is the record.
    """
    return _feature(patch.id, patch, patch.path, patch.title, patch.why, patch.trailers, ())


def has_own_record(feature: Feature) -> bool:
    """Return whether a feature's record is a file of its own rather than its patch."""
    return feature.id in feature.patch.features


def read_feature(path: Path, name: str, patch: Patch, file: str) -> tuple[Feature, list[Problem]]:
    """Read a feature's record from its probe file; return the feature and the record's problems.

    `file` is the path of the probe file relative to the repository. That it is not there is no
    problem here, because only the series as a whole tells which file is meant.
    """
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except FileNotFoundError:
        return Feature(name, patch, path, ""), []
    except (OSError, SyntaxError) as error:
        unreadable = f"the record of the feature {name} cannot be read: {error}"
        return Feature(name, patch, path, ""), [Problem(unreadable, _unreadable_advice(error))]
    title, _, rest = text.partition("\n\n")
    known = [*REQUIRED, *OPTIONAL]
    found = read_body(rest, known)
    feature, wrong = _feature(name, patch, path, title, found.text, found.trailers, (file,))
    problems = [*found.unread, *found.misplaced, *left_placeholders(text)]
    problems += field_problems(found.trailers, REQUIRED, known, {})
    return feature, [*problems, *wrong]


def _unreadable_advice(error: OSError | SyntaxError) -> str:
    return "make it readable as Python" if isinstance(error, SyntaxError) else "make it readable"


def with_applied_upstream(source: str, value: str | None) -> str:
    """Return a probe file's source with another `Applied-Upstream:` in its record.

    With None the trailer is removed.
    """
    node = next(item for item in ast.parse(source).body if isinstance(item, ast.Expr))
    assert node.end_lineno is not None
    lines = source.split("\n")
    record = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    quotes = record.rstrip()[-3:]
    head, _, last = record.rstrip().removesuffix(quotes).rstrip().rpartition("\n\n")
    # A line that begins with white space continues a trailer.
    kept = [
        line for line in re.split(r"\n(?![ \t])", last) if not line.startswith("Applied-Upstream:")
    ]
    kept += [f"Applied-Upstream: {value}"] if value else []
    new = f"{head}\n\n{chr(10).join(kept)}\n{quotes}"
    return "\n".join([*lines[: node.lineno - 1], new, *lines[node.end_lineno :]])


def _feature(
    name: str,
    patch: Patch,
    record: Path,
    title: str,
    why: str,
    trailers: Sequence[tuple[str, str]],
    probes: tuple[str, ...],
) -> tuple[Feature, list[Problem]]:
    found, problems = Trailers(trailers), list[Problem]()
    return Feature(
        id=name,
        patch=patch,
        record=record,
        title=" ".join(title.split()).removesuffix("."),
        why=why.strip(),
        probes=tuple(dict.fromkeys([*probes, *found.names("Probes")])),
        needs=tuple(found.values("Needs")),
        replaced_by=tuple(_replacements(found, problems)),
        drop_when=found.value("Drop-When"),
        mutation=found.value("Mutation"),
        code=found.names("Code"),
        formerly=found.names("Formerly"),
        applied_upstream=found.value("Applied-Upstream") or patch.applied_upstream,
    ), problems


def _replacements(trailers: Trailers, problems: list[Problem]) -> Iterator[Settings]:
    for text in trailers.values("Replaced-By"):
        try:
            yield Settings.parse(text)
        except (ValueError, SyntaxError) as error:
            problems.append(
                Problem(
                    f"Replaced-By: {text!r} is not NAME=literal: {error}",
                    "write it as `Replaced-By: SETTING=True; OTHER='value'`",
                )
            )
