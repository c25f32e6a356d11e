"""undo: restore every byte when a manual step is directly followed by the opposite step.

What each manual step changed is kept under `.fork/`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from scripts.core.repository import Repository, write_atomically
from scripts.rebase.plan_text import RebasePlan


def snapshot(repo: Repository) -> str:
    """Return the id of a git tree of the current files that a manual step may change."""
    places = [str(path.relative_to(repo.root)) for path in _changeable_paths(repo) if path.exists()]
    with dataclasses.replace(repo.git, work_tree=repo.root).temporary_index() as handle:
        handle.run("add", "--all", "--force", "--", *places, ":(exclude,glob)**/__pycache__/**")
        return handle.text("write-tree")


def record_step(repo: Repository, names: Sequence[str], before: str, *, back: bool) -> None:
    """Store the trees from before and after a manual step."""
    record = {"names": list(names), "back": back, "before": before, "after": snapshot(repo)}
    steps = [*_steps(repo), record]
    write_atomically(_file(repo), json.dumps(steps, indent=2).encode())


def tree_to_restore(repo: Repository, names: Sequence[str], *, back: bool) -> str | None:
    """Return the tree from before the last opposite step for the same names.

    Return None if there is no such step or tree, or if anything changed since.
    """
    steps = [
        step for step in _steps(repo) if step["names"] == list(names) and step["back"] is not back
    ]
    if not steps or not repo.git.resolve(f"{steps[-1]['before']}^{{tree}}"):
        return None
    return str(steps[-1]["before"]) if steps[-1]["after"] == snapshot(repo) else None


def restore(repo: Repository, tree: str, names: Sequence[str]) -> RebasePlan:
    """Restore `tree`, the files from before the undone step, and return what was done.

    Files that the step did not change are left alone.
    """
    changed = repo.git.text(
        "diff-tree", "-r", "-z", "--no-renames", "--name-only", snapshot(repo), tree
    ).split("\0")
    with repo.scratch() as scratch:
        (scratch / "old").mkdir()
        repo.git.write_folder(tree, scratch / "old")
        new = {path: scratch / f"{number}" for number, path in enumerate(_changeable_paths(repo))}
        for path, copy in new.items():
            if path.is_dir():
                shutil.copytree(path, copy, symlinks=True)
        for name in filter(None, changed):
            _restore_file(repo.root / name, scratch / "old" / name, new)
        repo.replace({path: copy for path, copy in new.items() if copy.exists()})
    return RebasePlan(
        "",
        "",
        notes=(f"{', '.join(names)}: everything is as it was before the step that this undoes",),
    )


def _restore_file(place: Path, old: Path, new: dict[Path, Path]) -> None:
    """Move one old file into the copy of the folder that holds it, or remove it there."""
    top = next(path for path in new if place == path or path in place.parents)
    copy = new[top] / place.relative_to(top)
    copy.unlink(missing_ok=True)
    if old.exists() or old.is_symlink():
        copy.parent.mkdir(parents=True, exist_ok=True)
        old.replace(copy)


def _changeable_paths(repo: Repository) -> list[Path]:
    probes = (repo.root / repo.config.probes.control[0]).parent
    return [repo.patches, repo.overrides, probes, repo.root / "README.md"]


def _steps(repo: Repository) -> list[dict[str, object]]:
    try:
        found: list[dict[str, object]] = json.loads(_file(repo).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # Without a usable record, the opposite step is planned and proven as any other.
        return []
    return found


def _file(repo: Repository) -> Path:
    return repo.work / "by-hand.json"
