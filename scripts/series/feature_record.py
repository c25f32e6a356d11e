"""A feature's record: the docstring of its probe file, or the patch itself where that has one feature of its own name.

The docstring is a sentence, why, and a last paragraph of trailers; a patch's subject, body and trailers say the same.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from scripts.core.config import near_miss
from scripts.core.model import Feature, Patch, Settings
from scripts.series.trailers import Trailers, read_trailers

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
REPEATABLE = ("Bug", "Needs", "Replaced-By")


def record_name(control: str, feature: str) -> str:
    """Return the probe file whose docstring is a feature's record: it lies beside the control probe."""
    return str(PurePosixPath(control).parent / f"test_{feature.replace('-', '_')}.py")


def own_feature(patch: Patch) -> tuple[Feature, list[str]]:
    """Return the one feature of a patch that names none, whose record it is, and what is wrong with it."""
    return _feature(patch.id, patch, patch.path, patch.title, patch.why, patch.trailers, ())


def has_own_record(feature: Feature) -> bool:
    """Return whether a feature's record is a file of its own, not its patch."""
    return feature.id in feature.patch.features


def read_feature(path: Path, name: str, patch: Patch, file: str) -> tuple[Feature, list[str]]:
    """Read a feature's record from its probe file, `file` in the repository; the list names what is wrong with it."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (OSError, SyntaxError) as error:
        return Feature(name, patch, path, ""), [
            f"the record of the feature {name} cannot be read: {error}"
        ]
    title, _, rest = text.partition("\n\n")
    why, _, last = rest.rpartition("\n\n")
    trailers, problems = read_trailers(last)
    feature, wrong = _feature(name, patch, path, title, why, tuple(trailers), (file,))
    return feature, [*problems, *_wrong_names(trailers), *wrong]


def with_applied_upstream(source: str, value: str | None) -> str:
    """Return a probe file's source with another `Applied-Upstream:` in the record, or (None) with none."""
    node = next(item for item in ast.parse(source).body if isinstance(item, ast.Expr))
    assert node.end_lineno is not None
    lines = source.split("\n")
    record = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    quotes = record.rstrip()[-3:]
    head, _, last = record.rstrip().removesuffix(quotes).rstrip().rpartition("\n\n")
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
) -> tuple[Feature, list[str]]:
    found, problems = Trailers(trailers), list[str]()
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


def _wrong_names(trailers: Sequence[tuple[str, str]]) -> Iterator[str]:
    names = [name for name, _ in trailers]
    known = [*REQUIRED, *OPTIONAL]
    yield from (f"the field {name}: is missing" for name in REQUIRED if name not in names)
    yield from (
        f"unknown field {name}:{near_miss(name, known)}" for name in names if name not in known
    )
    for name in sorted(set(names)):
        if names.count(name) > 1 and name not in REPEATABLE:
            yield f"the field {name}: is there twice"


def _replacements(trailers: Trailers, problems: list[str]) -> Iterator[Settings]:
    for text in trailers.values("Replaced-By"):
        try:
            yield Settings.parse(text)
        except (ValueError, SyntaxError) as error:
            problems.append(f"Replaced-By: {text!r} is not NAME=literal: {error}")
