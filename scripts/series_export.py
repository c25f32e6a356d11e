"""export: write the branch that `import` made back as `patches/`; a patch that did not change keeps every byte."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from scripts.apply import FORMAT, Workshop
from scripts.errors import AttentionError, UsageError
from scripts.git import Git
from scripts.lock import read_lock
from scripts.mail import read_mail, read_patch
from scripts.model import Lock, Patch, Release, State
from scripts.process import run
from scripts.repository import Repository, replace_folder
from scripts.series import Series, examine
from scripts.series_import import BRANCH, default_place
from scripts.store import Store

_REF = "refs/fork/exported"
_INDEX_LINE = re.compile(rb"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?$", re.MULTILINE)


@dataclass(frozen=True)
class Written:
    """A patch file as it will stand in `patches/`."""

    name: str
    content: bytes


def export_series(repo: Repository, folder: Path | None = None) -> list[str]:
    """Write the branch in `folder` as the series and return what changed, a line each.

    Raises UsageError for a folder that is not ready, AttentionError where applying the written files again does not give
    the branch's own tree.
    """
    place = default_place(repo, folder)
    lock = read_lock(repo.lock_file)
    with repo.alone():
        _check_ready(place)
        repo.git.run("fetch", "--quiet", "--no-tags", place, f"+refs/heads/{BRANCH}:{_REF}")
        series, _ = examine(repo, lock)
        base = _base(repo.git, lock)
        written = _written(repo, series, base)
        with repo.scratch() as scratch:
            new = scratch / "patches"
            _write(repo, series, written, new)
            _check_same_tree(repo, lock, series, [new / item.name for item in written])
            changed = _changes(repo.patches, new)
            if changed:
                replace_folder(new, repo.patches)
    return changed


def _check_ready(place: Path) -> None:
    """Refuse a folder that is not a work tree, is in the middle of something or has changes nobody committed."""
    if not (place / ".git").exists():
        raise UsageError(f"{place} is not a work tree of the series", hint="nox -s import")
    dirty = run(["git", "-C", place, "status", "--porcelain"]).text.rstrip()
    if dirty:
        raise UsageError(
            f"{place} has changes that are in no commit:\n{dirty}",
            hint="git commit (or git commit --amend), then export",
        )
    branch = run(["git", "-C", place, "symbolic-ref", "--quiet", "--short", "HEAD"], ok=(0, 1)).text.strip()
    if branch != BRANCH:
        raise UsageError(
            f"{place} is on {branch or 'no branch (a rebase under way?)'} instead of `{BRANCH}`",
            hint=f"git -C {place} checkout {BRANCH}",
        )


def _base(git: Git, lock: Lock) -> Release:
    """Return the newest release that the branch stands on."""
    for release in reversed(lock.releases):
        if git.run("merge-base", "--is-ancestor", release.commit, _REF, ok=(0, 1, 128)).code == 0:
            return release
    raise UsageError("the branch stands on no pinned release", hint="nox -s import")


def _written(repo: Repository, series: Series, base: Release) -> list[Written]:
    """Return every patch file of the branch, in order."""
    commits = repo.git.text("rev-list", "--reverse", "--topo-order", f"{base.commit}..{_REF}").splitlines()
    merges = repo.git.text("rev-list", "--merges", f"{base.commit}..{_REF}").splitlines()
    if merges:
        raise UsageError(f"the branch holds a merge ({merges[0][:12]}); a series is a line of commits", hint="git rebase it away")
    numbers = [int(path.name[:4]) for path in repo.patches.glob("[0-9][0-9][0-9][0-9]-*.patch")]
    fresh = max(numbers, default=0)
    found: list[Written] = []
    for commit in commits:
        content = _with_base(_formatted(repo.git, commit), base.version)
        name = read_mail(content).value("Id")
        if not name:
            title = repo.git.text("log", "-1", "--format=%s", commit)
            raise UsageError(
                f"the commit {title!r} has no `Id:` trailer",
                hint="git commit --amend, and add the trailers of docs/patches.md",
            )
        old = series.by_id.get(name)
        if old is None or old.state is State.RETIRED:
            fresh += 1
            found.append(Written(f"{fresh:04}-{name}.patch", content))
        else:
            found.append(Written(old.path.name, _unchanged(old, content)))
    return found


def _formatted(git: Git, commit: str) -> bytes:
    return git.run("format-patch", *FORMAT, "-1", "--stdout", commit).stdout


def _with_base(content: bytes, version: str) -> bytes:
    return re.sub(rb"^Base: .*$", b"Base: " + version.encode(), content, count=1, flags=re.MULTILINE)


def _unchanged(old: Patch, content: bytes) -> bytes:
    """Return the old bytes where only blob ids differ, which a change in an earlier patch brings about."""
    before = old.path.read_bytes()
    return before if _INDEX_LINE.sub(b"", before) == _INDEX_LINE.sub(b"", content) else content


def _write(repo: Repository, series: Series, written: list[Written], new: Path) -> None:
    """Write the whole new folder beside the old one."""
    shutil.copytree(repo.patches, new)
    for patch in series.active:
        (new / patch.path.name).unlink(missing_ok=True)
    for item in written:
        (new / item.name).write_bytes(item.content)
    (new / "series").write_text(_series_text(repo.patches / "series", [item.name for item in written]))


def _series_text(path: Path, names: list[str]) -> str:
    """Return the list of names; comments at the top and behind a name stay."""
    lines = path.read_text().splitlines() if path.exists() else []
    listed = {line.split("#")[0].strip(): line for line in lines if line.split("#")[0].strip()}
    if list(listed) == names:
        return path.read_text()
    head = []
    for line in lines:
        if line.split("#")[0].strip():
            break
        head.append(line)
    return "\n".join([*head, *(listed.get(name, name) for name in names)]) + "\n"


def _check_same_tree(repo: Repository, lock: Lock, series: Series, paths: list[Path]) -> None:
    """Refuse files that, applied again, do not give the branch's own tree."""
    patches = [read_patch(path, State.ACTIVE)[0] for path in paths]
    shop = Workshop(repo, lock, Series(tuple(patches), series.retired), Store(repo.work / "results"))
    made = shop.commits(patches)
    if made.failed:
        raise AttentionError(
            "refused: the files written would not apply again:\n"
            + "\n".join(f"  {name}: {step.detail}" for name, step in made.failed.items()),
            hint="give the commit more distance from its neighbours, or join the two",
        )
    if patches and repo.git.tree_of(made.ids[patches[-1].id]) != repo.git.tree_of(_REF):
        raise AttentionError(
            "refused: the files written, applied again, give another tree than the branch",
            hint="report this with the branch",
        )


def _changes(old: Path, new: Path) -> list[str]:
    """Say what is new, changed and gone between two folders of patches."""
    names = sorted({path.name for folder in (old, new) for path in folder.iterdir() if path.is_file()})
    found = []
    for name in names:
        before, after = old / name, new / name
        if not before.exists():
            found.append(f"new: patches/{name}")
        elif not after.exists():
            found.append(f"gone: patches/{name}")
        elif before.read_bytes() != after.read_bytes():
            found.append(f"changed: patches/{name}")
    return found
