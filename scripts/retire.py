"""retire: decide from verdicts which patches upstream made unnecessary, and move one of them into `patches/retired/`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts.apply import FORMAT, Workshop, pick
from scripts.errors import AttentionError
from scripts.evidence import PatchReport, Report
from scripts.git import Git
from scripts.model import Applies, Patch, Settings, State, Verdict


@dataclass(frozen=True)
class Retirement:
    """A patch that upstream made unnecessary, and the proof: the release, how, and the cells that showed it."""

    id: str
    release: str
    how: str
    cells: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)

    @property
    def trailer(self) -> str:
        """The value of `Applied-Upstream`."""
        return f"{self.release}; {self.how}; {', '.join(self.cells)}"

    def record(self) -> dict[str, object]:
        """Return the retirement as JSON can write it."""
        return {"id": self.id, "release": self.release, "how": self.how, "cells": self.cells, "settings": str(self.settings)}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Retirement:
        """Read what `record` gave."""
        settings = Settings.parse(record["settings"]) if record["settings"] else Settings()
        return cls(record["id"], record["release"], record["how"], tuple(record["cells"]), settings)


@dataclass(frozen=True)
class Plan:
    """What a rebase would do, or did: for the person who asked."""

    origin: str
    target: str
    retire: tuple[Retirement, ...]
    replay: tuple[str, ...]
    notes: tuple[str, ...] = ()


def retirements(report: Report) -> list[Retirement]:
    """Return the live patches whose probes pass on the bare locked release, with settings or without."""
    live = [item for item in report.patches if item.patch.state is State.ACTIVE]
    return [found for item in live if (found := _retirement(item, report.locked)) is not None]


def _retirement(item: PatchReport, target: str) -> Retirement | None:
    at = item.release(target)
    if at is None:
        return None
    cells = tuple(cell.cell.id for cell in at.cells if cell.counts)
    if item.verdict is Verdict.ABSORBED:
        release = item.absorbed_in or target
        return Retirement(item.patch.id, release, f"absorbed, the probes pass bare on {target}", cells)
    if item.verdict is Verdict.CONFIGURABLE and item.settings:
        how = f"configurable, the probes pass bare on {target} with {str(item.settings).replace('; ', ' and ')}"
        return Retirement(item.patch.id, target, how, cells, item.settings)
    return None


def retired_mail(shop: Workshop, patch: Patch, retirement: Retirement) -> bytes:
    """Return a live patch as a retired one: on its base with what it depends on, its modules in it, its proof in a trailer.

    Raises AttentionError where it does not stand on its base without the patches before it.
    """
    commits = shop.commits(shop.series.active)
    base = shop.lock.release(patch.base)
    assert base is not None
    with shop.git.checkout(base.commit) as work:
        for part in shop.series.needed_by(patch):
            step = pick(work, commits.ids[part.id], part)
            if step.applies is Applies.CONFLICT:
                raise AttentionError(
                    f"{patch.id} cannot retire: on {patch.base} it needs a patch that its Depends: does not name: {step.detail}",
                    hint="nox -s import, add the Depends: trailer, nox -s export",
                )
        _add_modules(shop, work, patch)
        _amend(work, with_trailer(work.text("log", "-1", "--format=%B"), "Applied-Upstream", retirement.trailer))
        return work.run("format-patch", *FORMAT, "-1", "--stdout", "HEAD").stdout


def _add_modules(shop: Workshop, work: Git, patch: Patch) -> None:
    """Write the patch's override modules into the work tree and stage them."""
    package = shop.repo.config.overrides.package
    assert work.work_tree is not None
    for module in patch.overrides:
        path = work.work_tree / package / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((shop.repo.overrides / f"{module}.py").read_bytes())
        work.run("add", "--force", "--", path)


def _amend(work: Git, message: str) -> None:
    """Amend HEAD, keeping its author and date."""
    work.run("commit", "--quiet", "--amend", "--allow-empty", "--cleanup=verbatim", "--file=-", stdin=message.encode())


def with_trailer(message: str, name: str, value: str) -> str:
    """Return a commit message whose last paragraph has this trailer, in the place of one of that name."""
    lines = [line for line in message.rstrip().splitlines() if not line.startswith(f"{name}:")]
    return "\n".join([*lines, f"{name}: {value}"]) + "\n"


def profile_with(text: str, entries: Mapping[str, Mapping[str, object]]) -> str:
    """Return the profile module's text with entries added to its literal `SETTINGS`."""
    tree = ast.parse(text)
    value = next(
        line.value
        for line in tree.body
        if isinstance(line, (ast.Assign, ast.AnnAssign)) and re.match(r"SETTINGS\b", ast.unparse(line))
    )
    assert isinstance(value, ast.Dict)
    lines = text.splitlines(keepends=True)
    there = {key.value for key in value.keys if isinstance(key, ast.Constant)}
    new = [f"    {_literal(name)}: {_literal(settings)},\n" for name, settings in entries.items() if name not in there]
    assert value.end_lineno is not None
    assert value.end_col_offset is not None
    if value.lineno == value.end_lineno:
        opening = lines[value.lineno - 1]
        head, tail = opening[: value.end_col_offset - 1].rstrip(), opening[value.end_col_offset - 1 :]
        return "".join([*lines[: value.lineno - 1], head + "\n", *new, tail, *lines[value.lineno :]])
    return "".join([*lines[: value.end_lineno - 1], *new, *lines[value.end_lineno - 1 :]])


def _literal(value: object) -> str:
    """Write a literal with double quotes, as the formatter wants it."""
    match value:
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Mapping():
            return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
        case tuple():
            return "(" + ", ".join(map(_literal, value)) + ("," if len(value) == 1 else "") + ")"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
        case _:
            return repr(value)
