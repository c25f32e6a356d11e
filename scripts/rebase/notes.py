"""The notes that a rebase ends with: the answer, what was dropped or not tried, the range-diff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from scripts.core.repository import Repository
from scripts.rebase.plan import has_evidence
from scripts.rebase.replay import release_of, tree_builder
from scripts.rebase.staging import orphaned_modules
from scripts.rebase.state import RebaseState, target_lock
from scripts.upstream.source_tree import is_subtree
from scripts.verdicts.aggregate import Report


def rebase_notes(repo: Repository, state: RebaseState, report: Report) -> Iterator[str]:
    """Yield the closing notes: the answer, what was dropped or not tried, and the range-diff."""
    yield report.answer.short
    series = tree_builder(repo).series
    for patch in (patch for patch in series.all if patch.id in state.skipped):
        probes = [spec for feature in series.features_of(patch) for spec in feature.probes]
        yield (
            f"{patch.id} was skipped, so its features are gone: "
            f"nothing runs {', '.join(probes)} any more"
        )
    for name, reason in state.waived.items():
        yield f"{name} is not proven, waived: {reason}"
    yield from repo.config.stale_exclusions(
        target_lock(repo), None if state.by_hand else state.origin
    )
    for path in orphaned_modules(repo, state):
        tests = ", ".join(_importers(repo, path))
        yield f"{path} went with its patch" + (f"; look at {tests}" if tests else "")
    for name in state.again:
        yield f"{name}: its conflict was resolved as once before; look at it in the range-diff"
    untried = [item.feature.id for item in report.features if not has_evidence(item, report)]
    if untried:
        yield f"not tried on {state.target}, for no cell here can: {', '.join(untried)}"
    if is_subtree(repo):
        yield (
            "upstream/src/ is a subtree and left as it is; "
            f"nox -s vendor -- --subtree merges {state.target} into it"
        )
    yield from _range_diff(repo, state)


def _importers(repo: Repository, module: Path) -> Iterator[str]:
    """Yield the tests that import an override module."""
    package = re.escape(".".join(module.parent.parts))
    # Only imports count, because a module's name may be an ordinary word.
    imported = re.compile(
        rf"\b{package}\.{module.stem}\b|\bfrom {package} import [^\n]*\b{module.stem}\b"
    )
    for test in sorted(repo.root.glob("tests/**/*.py")):
        if imported.search(test.read_text(encoding="utf-8")):
            yield str(test.relative_to(repo.root))


def _range_diff(repo: Repository, state: RebaseState) -> Iterator[str]:
    builder = tree_builder(repo)
    if builder.series.active:
        old = builder.commits(builder.series.active).ids[builder.series.active[-1].id]
        base, target = (
            release_of(repo, builder.series.active[0].base),
            release_of(repo, state.target),
        )
        yield repo.git.text(
            "range-diff", "--no-color", f"{base.commit}..{old}", f"{target.commit}..{state.head}"
        )
