"""The change as upstream would get it: override modules become upstream's, no word is the fork's.

`plan_modules` decides; here the files of the work tree are read and written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

import unidiff.patch

from scripts.core.errors import Problem
from scripts.core.model import Patch
from scripts.core.repository import Repository
from scripts.forward.imports import point_imports_at
from scripts.forward.module_plan import ModulePlan, plan_modules
from scripts.forward.new_test import NewFiles
from scripts.forward.packages import OverrideCode, UpstreamPackage, upstream_package
from scripts.forward.work_tree import ForwardTree
from scripts.series.override_files import files_by_patch, module_files, module_of
from scripts.series.patch_series import Series
from scripts.series.series_checks import place


def write_for_upstream(
    repo: Repository,
    tree: ForwardTree,
    series: Series,
    patch: Patch,
    new: NewFiles,
    import_folder: str,
) -> list[Problem]:
    """Turn the picked change into one of upstream alone, and lay a person's new files over it.

    Returns everything that stands in the way; then the work tree is of no use.
    """
    features = series.features_of(patch)
    code = override_code(repo, series)
    changed = _python_files(tree.folder, tree.changed_files())
    upstream = _upstream(tree, patch, import_folder)
    ids = [feature.id for feature in features]
    plan = plan_modules(patch.id, ids, changed, code, upstream, new.contents, str(new.folder))
    problems = [*plan.problems, *_words_in_texts(repo, series, patch)]
    if not problems:
        _write(tree.folder, changed, code, plan, upstream, new.contents)
        _lay_over(tree.folder, new)
        tree.stage()
        problems = list(_words_in_code(repo, series, tree))
    return problems


def override_code(repo: Repository, series: Series) -> OverrideCode:
    """Return the override package, and which live patch each of its modules belongs to."""
    texts = {
        path.relative_to(repo.overrides).as_posix(): path.read_text(encoding="utf-8")
        for path in repo.overrides.rglob("*.py")
    }
    brought = files_by_patch(series.active, module_files(repo.overrides))
    common = set(repo.config.overrides.common)
    owners = {file: name for name, files in brought.items() for file in files if file not in common}
    return OverrideCode(repo.config.overrides.package, texts, owners)


def _python_files(folder: Path, names: Collection[str]) -> dict[str, str]:
    return {
        # Not as text, which would change its line endings.
        name: (folder / name).read_bytes().decode("utf-8", errors="surrogateescape")
        for name in names
        if name.endswith(".py")
    }


def _upstream(tree: ForwardTree, patch: Patch, import_folder: str) -> UpstreamPackage | None:
    names = tree.git.text("ls-tree", "-r", "-z", "--name-only", tree.source.commit).split("\0")
    there = _python_files(tree.folder, [name for name in names if (tree.folder / name).exists()])
    paths = list(dict.fromkeys(hunk.path for hunk in patch.hunks)) or list(tree.changed_files())
    return upstream_package(import_folder, paths, there)


def _write(
    folder: Path,
    changed: Mapping[str, str],
    code: OverrideCode,
    plan: ModulePlan,
    upstream: UpstreamPackage | None,
    by_hand: Collection[str],
) -> None:
    """Write the modules into upstream's package, and point every import at them."""
    texts = {name: ("", text) for name, text in changed.items()}
    for file, target in plan.targets.items():
        assert upstream is not None
        path = str(PurePosixPath(upstream.folder, f"{target.name}.py"))
        if path not in by_hand:
            texts[path] = (f"{code.package}.{module_of(file)}", code.texts[file])
    for path, (module, text) in texts.items():
        new = point_imports_at(text, module, code.package, plan.targets, code.texts)
        if new != changed.get(path):
            (folder / path).write_bytes(new.encode("utf-8", errors="surrogateescape"))


def _lay_over(folder: Path, new: NewFiles) -> None:
    for name, content in new.contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _words_in_code(repo: Repository, series: Series, tree: ForwardTree) -> Iterator[Problem]:
    """Yield the added lines that name what nobody outside the fork knows."""
    wanted = fork_words(repo, series)
    diff = tree.git.run("diff", "--cached", "--no-renames", "--no-color", tree.source.commit)
    for file in unidiff.patch.PatchSet(diff.text):
        for line in (line for hunk in file for line in hunk if line.is_added):
            where = f"{file.path}:{line.target_line_no}"
            yield from _named(wanted, line.value.strip(), where)


def _words_in_texts(repo: Repository, series: Series, patch: Patch) -> Iterator[Problem]:
    """Yield what the message and the features' records name of the fork."""
    wanted = fork_words(repo, series)
    yield from _named(wanted, f"{patch.title}\n{patch.why}", place(repo, patch))
    for feature in series.features_of(patch):
        where = str(feature.record.relative_to(repo.root))
        yield from _named(wanted, f"{feature.title}\n{feature.why}", where)


def _named(wanted: re.Pattern[str], text: str, where: str) -> Iterator[Problem]:
    for line in text.splitlines():
        found = wanted.search(line)
        if found:
            what = f"names what upstream does not know (`{found[0]}`): {line.strip()}"
            yield Problem(what, "say it in other words", where)


def fork_words(repo: Repository, series: Series) -> re.Pattern[str]:
    """Return an expression for the fork's own words: its package, its wheel's label, and ids.

    An id of one word may be an ordinary word.
    """
    label = repo.config.wheel.label
    names = [repo.config.overrides.package]
    names += [] if label in repo.config.upstream.name else [label]
    names += [name for name in (*series.by_id, *series.feature_by_id) if "-" in name]
    # As a word, or as a part of an identifier.
    words = (rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9-])" for name in names)
    return re.compile("|".join(words), re.IGNORECASE)
