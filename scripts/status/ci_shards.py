"""CI shards: the jobs of a CI, the file that each of them writes, and one report from all files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scripts.core.errors import UsageError, problems_error
from scripts.core.lockfile import read_lock
from scripts.core.model import Cell, Lock, TextPresence
from scripts.core.repository import Repository, write_atomically
from scripts.core.result_cache import digest, file_digest
from scripts.series.series import Series
from scripts.status.selection import Selection, scope_of
from scripts.verdicts.aggregate import Report
from scripts.verdicts.decide import Facts, keep_one_without_run
from scripts.verdicts.summary import Findings, Scope, build_report

_FACTS = TypeAdapter(Facts)
_MISSING = "no result file has it; run its job again"
_LAST = "last.json"


def ci_matrix(repo: Repository, cells: Iterable[Cell]) -> dict[str, list[dict[str, str]]]:
    """Return a CI's dynamic matrix: one job per environment, because making one takes longest."""
    by_environment: dict[str, list[str]] = {}
    for cell in cells:
        by_environment.setdefault(cell.environment, []).append(cell.id)
    return {
        "include": [
            {"name": name, "python": repo.config.environment(name).python, "cells": " ".join(ids)}
            for name, ids in by_environment.items()
        ]
    }


def write_results(repo: Repository, scope: Scope, found: Findings, path: Path) -> None:
    """Write the findings of a job, with a digest of what they depend on.

    So only files of the same commit are joined.
    """
    content: dict[str, Any] = {
        "schema": 2,
        "of": inputs_digest(repo, scope.series, read_lock(repo.lock_file)),
        "cells": [cell.id for cell in scope.cells],
        "facts": [
            [feature, cell.id, _FACTS.dump_python(facts, mode="json")]
            for (feature, cell), facts in found.facts.items()
        ],
        "texts": [[*key, text] for key, text in found.texts.items()],
        "biting": sorted(found.killed_mutation),
        "versions": {name: dict(versions) for name, versions in found.versions.items()},
        "skipped": dict(found.skipped),
        "servers": dict(found.servers),
        "smallest": list(found.smallest),
        "warnings": list(found.warnings),
    }
    write_atomically(path, json.dumps(content).encode())


def inputs_digest(repo: Repository, series: Series, lock: Lock) -> str:
    """Return a digest of what the results of all jobs of a commit depend on."""
    probes = [repo.root / name for name in ("fork.toml", *repo.config.probes.support)]
    files = {
        repo.root / spec.partition("::")[0]
        for feature in series.features
        for spec in feature.probes
    }
    releases = [release.commit for release in lock.releases]
    return digest(
        lock.locked,
        releases,
        [patch.sha256 for patch in series.all],
        file_digest(*probes, *sorted(files)),
    )


def merge_results(repo: Repository, paths: Iterable[Path]) -> Report:
    """Return the report of all result files in the paths (files or folders); nothing is run.

    Raise UsageError if a file is no result file or was written at another commit.
    """
    lock = read_lock(repo.lock_file)
    cells_by_id = {cell.id: cell for cell in repo.config.matrix_cells(lock)}
    scope = scope_of(repo, lock, Selection())
    files = _result_files(paths)
    contents = [_read(path, cells_by_id, inputs_digest(repo, scope.series, lock)) for path in files]
    given = {name for content in contents for name in content.cells}
    # Cells beyond the default ones come from jobs of the matrix.
    wide = not given <= {cell.id for cell in scope.cells}
    if wide:
        scope = scope_of(repo, lock, Selection(matrix=True))
    missing = {cell.id: _MISSING for cell in scope.cells if cell.id not in given}
    return build_report(
        scope, _join_findings(scope, [content.found for content in contents], missing)
    )


def store_last(repo: Repository, scope: Scope, found: Findings) -> None:
    """Store the findings of a run on every release and feature, for `last_report`."""
    write_results(repo, scope, found, repo.work / _LAST)


def last_report(repo: Repository, selection: Selection) -> Report | None:
    """Return the report of the last run on every release and feature, or None without results.

    Its notes contain the time of that run. Nothing is run or written, so this works while another
    run has exclusive access.
    """
    lock, path = read_lock(repo.lock_file), repo.work / _LAST
    scope = scope_of(repo, lock, selection)
    try:
        content = _read(path, {cell.id: cell for cell in repo.config.matrix_cells(lock)}, None)
    except UsageError:  # there is none, or another version of the tool wrote it
        return None
    if not {cell for _, cell in content.found.facts}.intersection(scope.cells):
        return None
    when = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    other = (
        ""
        if content.inputs == inputs_digest(repo, scope.series, lock)
        else "; patches, probes or pins have changed since"
    )
    note = f"these are the results of {when:%Y-%m-%d %H:%M}{other}"
    untried = {
        cell.id: "the last run did not try it"
        for cell in scope.cells
        if cell.id not in content.cells
    }
    found = replace(content.found, notes=(note,), skipped={**content.found.skipped, **untried})
    return build_report(scope, found if not selection.features else replace(found, smallest=()))


@dataclass(frozen=True)
class _ResultFile:
    """A result file: its cells, their findings, and a digest of what these depend on."""

    cells: tuple[str, ...]
    found: Findings
    inputs: str


def _result_files(paths: Iterable[Path]) -> list[Path]:
    found = [
        file
        for path in paths
        for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])
    ]
    if not found:
        raise UsageError(
            "there is no result file",
            hint="nox -s status -- --cells 'CELL CELL' --results FILE writes one",
        )
    return found


def _read(path: Path, cells_by_id: Mapping[str, Cell], expected: str | None) -> _ResultFile:
    """Return a result file.

    If `expected` is None, its patches, probes and pins may be others than those here.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["schema"] != 2:
            raise UsageError(
                f"{path} is of schema {content['schema']}, this reads 2", hint="run its job again"
            )
        if expected is not None and content["of"] != expected:
            raise UsageError(
                f"{path} was written with other patches, probes or pins than those here",
                hint="check out the commit of the job, or run it again",
            )
        # The last report may be about cells that fork.toml no longer has.
        known = [
            fact for fact in content["facts"] if expected is not None or fact[1] in cells_by_id
        ]
        facts = {
            (feature, cells_by_id[cell]): _FACTS.validate_python(fact)
            for feature, cell, fact in known
        }
        texts = {
            (feature, version): TextPresence(text) for feature, version, text in content["texts"]
        }
        found = Findings(
            facts,
            texts,
            content["biting"],
            content["versions"],
            content["skipped"],
            tuple(content["smallest"]),
            tuple(content["warnings"]),
            servers=content["servers"],
        )
        return _ResultFile(tuple(content["cells"]), found, content["of"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise problems_error(
            "not a result file:",
            [f"{path}: {error}"],
            hint="nox -s status -- --cells 'CELL CELL' --results FILE writes one",
        ) from error


def _join_findings(scope: Scope, parts: Sequence[Findings], missing: Mapping[str, str]) -> Findings:
    """Join the findings of jobs; a patch that one of them needs is in the smallest series."""
    joined = Findings({}, skipped=missing)
    for part in parts:
        joined = Findings(
            {**joined.facts, **part.facts},
            {**joined.texts, **part.texts},
            {*joined.killed_mutation, *part.killed_mutation},
            {**joined.versions, **part.versions},
            {**joined.skipped, **part.skipped},
            (*joined.smallest, *part.smallest),
            tuple(dict.fromkeys((*joined.warnings, *part.warnings))),
            servers={**joined.servers, **part.servers},
        )
    joined = replace(
        joined,
        # Each job left out the patch in a cell of its own, where one run does so once.
        facts=keep_one_without_run({key: joined.facts[key] for key in _ordered(scope, joined)}),
    )
    return replace(
        joined,
        smallest=tuple(patch.id for patch in scope.series.active if patch.id in joined.smallest),
    )


def _ordered(scope: Scope, found: Findings) -> list[tuple[str, Cell]]:
    """Return the keys of the findings, in the order in which a single run would produce them."""
    keys = [(feature.id, cell) for feature in scope.features for cell in scope.cells]
    return [key for key in keys if key in found.facts]
