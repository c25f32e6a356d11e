"""export: write the branch that `import` made back to `patches/`.

A patch that did not change keeps every byte.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import AttentionError, UsageError, problems_error
from scripts.core.git import Git, user_git
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock, Release, State
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.series.apply import SeriesCommits, TreeBuilder, format_patch
from scripts.series.import_branch import BRANCH, SYNCED, branch_folder
from scripts.series.patch_file import read_patch
from scripts.series.series import Series, read_with_problems

_REF = "refs/fork/exported"
_INDEX_LINE = re.compile(rb"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?$", re.MULTILINE)
_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]*$")


@dataclass(frozen=True)
class ExportedPatch:
    """A commit of the branch as a patch: its id, git's mail of it, and its file in `patches/`."""

    id: str
    mail: bytes
    name: str
    content: bytes


def export_series(repo: Repository, folder: Path | None = None) -> list[str]:
    """Write the branch in `folder` as the series, and return what changed, one line each.

    Raises UsageError for a folder that is not ready, and AttentionError if the written files,
    applied again, do not give the branch's own commits.
    """
    place = branch_folder(repo, folder)
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        _check_ready(place)
        repo.git.run(
            "fetch", "--quiet", "--no-tags", place.absolute(), f"+refs/heads/{BRANCH}:{_REF}"
        )
        # The export itself solves problems such as several bases.
        series, _ = read_with_problems(repo, lock)
        written = _export_patches(repo, lock, series, _mails(repo.git, lock))
        with repo.scratch() as scratch:
            new = scratch / "patches"
            _write(repo, series, written, new)
            _check_round_trip(repo, lock, series, written, new)
            changed = _changes(repo.patches, new)
            if changed:
                repo.replace({repo.patches: new})
        user_git(place, "update-ref", SYNCED, repo.git.text("rev-parse", _REF))
    return changed


def _check_ready(place: Path) -> None:
    """Raise UsageError unless the folder is a clean work tree on the branch and in no rebase."""
    export = f"nox -s export -- {place}"
    if not (place / ".git").exists():
        raise UsageError(f"{place} is not a work tree of the series", hint="nox -s import")
    branch = user_git(place, "symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1)).text.strip()
    if branch != BRANCH:
        rebasing = any(
            (place / ".git" / name).exists() for name in ("rebase-merge", "rebase-apply")
        )
        raise UsageError(
            f"{place} is in the middle of a rebase"
            if rebasing
            else f"{place} is on {branch or 'no branch'}, not on `{BRANCH}`",
            hint=f"git -C {place} rebase --continue && {export}\ngit -C {place} rebase --abort"
            if rebasing
            else f"git -C {place} checkout {BRANCH} && {export}",
        )
    dirty = user_git(place, "status", "--porcelain", "--untracked-files=normal").text.rstrip()
    if dirty:
        raise UsageError(
            f"{place} has changes that are in no commit:\n{dirty}",
            hint=f"git -C {place} commit --all && {export}\n"
            f"git -C {place} commit --all --amend && {export}",
        )


def _mails(git: Git, lock: Lock) -> dict[str, bytes]:
    """Return every commit of the branch as a mail, by its id, in order.

    Raises UsageError for a merge, and one for all commits without an id of their own.
    """
    base = _base(git, lock)
    merges = git.text("rev-list", "--merges", f"{base.commit}..{_REF}").splitlines()
    if merges:
        raise UsageError(
            f"the branch holds a merge ({merges[0][:12]}); a series is a line of commits",
            hint=f"make it a line: git rebase {base.version}, then nox -s export",
        )
    found: dict[str, bytes] = {}
    problems = []
    for commit in git.text(
        "rev-list", "--reverse", "--topo-order", f"{base.commit}..{_REF}"
    ).splitlines():
        title, name = git.text(
            "log", "-1", "--format=%h %s%x00%(trailers:key=Id,valueonly)", commit
        ).split("\0")
        if not _SLUG.match(name):
            problems.append(
                f"{title}: "
                + (f"Id: {name!r} is no slug" if name else "the trailer `Id:` is missing")
            )
        elif name in found:
            problems.append(f"{title}: another commit has Id: {name} too")
        found[name] = _with_base(format_patch(git, commit), base)
    if problems:
        raise problems_error(
            "every commit needs an id of its own:",
            problems,
            hint="reword it with git rebase -i: `Id: SLUG` belongs into its last paragraph",
        )
    return found


def _base(git: Git, lock: Lock) -> Release:
    """Return the newest release that the branch is based on."""
    # Each release's commit is the parent of the next one, so the newest ancestor counts.
    for release in reversed(lock.releases):
        if git.run("merge-base", "--is-ancestor", release.commit, _REF, ok=(0, 1, 128)).code == 0:
            return release
    raise UsageError("the branch is on no pinned release", hint="nox -s import")


def _with_base(mail: bytes, base: Release) -> bytes:
    """Return a mail whose trailer `Base:` names the release that the branch is based on."""
    head, diff, rest = mail.partition(b"\ndiff --git ")
    # The last one, because a line of the body may look like the trailer.
    body, trailer, value = head.rpartition(b"\nBase: ")
    if not trailer:
        return mail
    return (
        body + trailer + base.version.encode() + b"".join(value.partition(b"\n")[1:]) + diff + rest
    )


def _export_patches(
    repo: Repository, lock: Lock, series: Series, mails: dict[str, bytes]
) -> list[ExportedPatch]:
    """Return every patch file of the branch, in order; an unchanged patch keeps its bytes."""
    retired = [
        f"Id: {patch.id} is that of {patch.path.name}"
        for patch in series.retired
        if patch.id in mails
    ]
    if retired:
        hint = "nox -s unretire -- ID\nreword it: git rebase -i"
        raise problems_error("a commit has the id of a retired patch:", retired, hint=hint)
    before = {patch.id: patch for patch in series.active}
    made = _earlier_commits(repo, lock, series)
    names = _new_file_names(repo, [name for name in mails if name not in before])
    found = []
    for name, mail in mails.items():
        old = before.get(name)
        kept = (
            old is not None
            and name in made.ids
            and _is_same_mail(format_patch(repo.git, made.ids[name]), mail)
        )
        content = old.path.read_bytes() if old and kept else mail
        found.append(ExportedPatch(name, mail, old.path.name if old else names[name], content))
    return found


def _earlier_commits(repo: Repository, lock: Lock, series: Series) -> SeriesCommits:
    """Build the series as it was before the export.

    Without a single pinned base nothing is built, and every patch is written anew.
    """
    bases = {patch.base for patch in series.active}
    if len(bases) != 1 or lock.release(next(iter(bases))) is None:
        return SeriesCommits({}, {})
    return _tree_builder(repo, lock, series).commits(series.active)


def _new_file_names(repo: Repository, ids: Sequence[str]) -> dict[str, str]:
    """Return file names for new patches, with the next numbers."""
    numbers = [int(path.name[:4]) for path in repo.patches.glob("[0-9][0-9][0-9][0-9]-*.patch")]
    return {
        name: f"{number:04}-{name}.patch"
        for number, name in enumerate(ids, max(numbers, default=0) + 1)
    }


def _is_same_mail(before: bytes, after: bytes) -> bool:
    """Return whether two mails differ only in blob ids, which an earlier patch can change."""
    return _INDEX_LINE.sub(b"", before) == _INDEX_LINE.sub(b"", after)


def _write(repo: Repository, series: Series, written: list[ExportedPatch], new: Path) -> None:
    """Write the whole new folder without touching the old one."""
    shutil.copytree(repo.patches, new)
    for patch in series.active:
        (new / patch.path.name).unlink(missing_ok=True)
    for item in written:
        (new / item.name).write_bytes(item.content)
    listing = repo.patches / "series"
    old = listing.read_text(encoding="utf-8") if listing.exists() else ""
    (new / "series").write_text(
        _series_file(old, [item.name for item in written]), encoding="utf-8"
    )


def _series_file(old: str, names: list[str]) -> str:
    """Return the new text of `series`.

    The head stays. A comment stays with the name below it, or moves to the next name that is left.
    """
    lines = old.splitlines()
    listed = [line.split("#")[0].strip() for line in lines]
    if [name for name in listed if name] == names:
        return old
    head, above, line_of, waiting = [], dict[str, list[str]](), dict[str, str](), list[str]()
    for line, name in zip(lines, listed, strict=True):
        if not name and not line_of:
            head.append(line)
        elif not name:
            waiting.append(line)
        else:
            line_of[name] = line
            if name in names:
                above[name], waiting = waiting, []
    body = [line for name in names for line in (*above.get(name, ()), line_of.get(name, name))]
    return "".join(f"{line}\n" for line in (*head, *body, *waiting))


def _check_round_trip(
    repo: Repository, lock: Lock, series: Series, written: list[ExportedPatch], new: Path
) -> None:
    """Raise AttentionError if the files, applied again, do not give the branch's own commits."""
    patches = {item.name: read_patch(new / item.name, State.ACTIVE)[0] for item in written}
    problems = [
        f"  {item.name}: its trailers Id: and Base: cannot be read back"
        for item in written
        if patches[item.name].id != item.id or lock.release(patches[item.name].base) is None
    ]
    problems = problems or _reapply_problems(
        repo, lock, Series(tuple(patches.values()), series.retired), written
    )
    if problems:
        raise AttentionError(
            "refused: the files written would not give the branch again:\n" + "\n".join(problems),
            hint="look for lines in the commit message that git takes for a patch"
            " (`diff --git …` or `---`); patches/ is unchanged",
        )


def _reapply_problems(
    repo: Repository, lock: Lock, series: Series, written: list[ExportedPatch]
) -> list[str]:
    """Apply the files; return those that fail, or else those that become another commit."""
    made = _tree_builder(repo, lock, series).commits(series.active)
    failed = [f"  {name}: {step.detail}" for name, step in made.failed.items()]
    return failed or [
        f"  {name}: it becomes another commit"
        for name in _differing_commits(repo.git, made, written)
    ]


def _differing_commits(
    git: Git, made: SeriesCommits, written: list[ExportedPatch]
) -> Iterator[str]:
    """Yield the patches whose rebuilt commit differs in text, author or change."""
    for item in written:
        if format_patch(git, made.ids[item.id]) != item.mail:
            yield item.id


def _tree_builder(repo: Repository, lock: Lock, series: Series) -> TreeBuilder:
    return TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))


def _changes(old: Path, new: Path) -> list[str]:
    """Return the new, changed and removed files between two folders of patches."""
    names = sorted(
        {path.name for folder in (old, new) for path in folder.iterdir() if path.is_file()}
    )
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
