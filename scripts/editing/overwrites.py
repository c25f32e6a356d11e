"""Refuse to overwrite what changed in `patches/` since `import`, and say how to keep both."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scripts.core.errors import AttentionError
from scripts.core.git import Git
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.editing.branch import Branch, BranchCommit, read_commits
from scripts.editing.import_branch import BRANCH, series_head
from scripts.editing.import_record import IMPORTED, Digests, changed_names, digests, read_record
from scripts.editing.unexported import message_words, words_of
from scripts.series.apply import format_patch
from scripts.series.patch_file import read_mail

_MOVES = re.compile(rb"^(index .*|@@ -[0-9,]+ \+[0-9,]+ @@)", re.MULTILINE)
"""The parts of a mail that another commit can change."""


def check_overwrites(
    repo: Repository,
    lock: Lock,
    branch: Branch,
    commits: Sequence[BranchCommit],
    wanted: Digests | None,
) -> None:
    """Raise AttentionError if `patches/` is neither what `import` saw nor what is wanted there.

    If it cannot be imported again, that is said instead, because every way out begins with it.
    """
    seen = read_record(branch.place)
    names = changed_names(seen, digests(repo.patches), wanted)
    if names:
        series_head(repo, lock)
        own, both = _own_commits(repo.git, branch, commits)
        folder = repo.patches.relative_to(repo.root)
        title = "changed since the import" if seen else "may have changed since the import"
        raise AttentionError(
            "\n".join(
                [f"refused: these {title}, and the export would overwrite them:"]
                + [f"  {folder / name}" for name in names]
                + list(_explain(own, _words_for_picks(repo, branch, both)))
            ),
            hint="\n".join(_ways(branch, own, both)),
        )


def _own_commits(
    git: Git, branch: Branch, commits: Sequence[BranchCommit]
) -> tuple[list[BranchCommit], list[BranchCommit]]:
    """Return the commits that a person made or amended since the import, and the amended ones."""
    refspec = f"+{IMPORTED}:{IMPORTED}"
    there = git.run("fetch", "--quiet", "--no-tags", branch.place.absolute(), refspec, ok=None)
    before = _imported_changes(git, branch) if there.code == 0 else {}
    own = [item for item in commits if before.get(item.id) != _change(git, item.commit)]
    return own, [item for item in own if item.id in before]


def _imported_changes(git: Git, branch: Branch) -> dict[str, bytes]:
    """Return what the commits of the branch were at the import, by their ids."""
    at_import = replace(branch, head=IMPORTED)
    return {item.id: _change(git, item.commit) for item in read_commits(git, at_import)}


def _change(git: Git, commit: str) -> bytes:
    """Return a commit as a mail, without what another commit can change of it."""
    return _MOVES.sub(b"", format_patch(git, commit))


def _words_for_picks(
    repo: Repository, branch: Branch, both: Sequence[BranchCommit]
) -> dict[BranchCommit, str]:
    """Return the word of a rebase for each amended commit with which no edit of a message is lost.

    `fixup` keeps the message of the patch file, `fixup -C` that of the commit, `squash` both.
    """
    at_import = replace(branch, head=IMPORTED)
    before = {item.id: words_of(item) for item in read_commits(repo.git, at_import)} if both else {}
    files = _words_in_files(repo.patches)
    found = {}
    for item in both:
        is_reworded = words_of(item) != before[item.id]
        is_edited = files.get(item.id, before[item.id]) != before[item.id]
        found[item] = ("squash" if is_edited else "fixup -C") if is_reworded else "fixup"
    return found


def _words_in_files(patches: Path) -> dict[str, tuple[str, ...]]:
    """Return the words of the messages of all patch files, by their ids."""
    mails = [read_mail(path.read_bytes()) for path in sorted(patches.glob("*.patch"))]
    return {mail.fields.value("Id"): message_words(mail.message) for mail in mails}


def _explain(own: Sequence[BranchCommit], both: Mapping[BranchCommit, str]) -> Iterator[str]:
    if not own:
        yield "The branch holds nothing that is not exported, so it can be made anew."
        return
    yield "To keep both, make the branch anew and take over what is yours:"
    yield from (f"  {item.name}" for item in own)
    if both:
        yield "In the list that opens at the end, these are there twice. Move the later line below"
        yield "the earlier one, and write for its `pick` what stands here:"
        yield from (f"  `{word}`: {item.title}" for item, word in both.items())
        if "squash" in both.values():
            yield "`squash` opens an editor with both messages, that of the patch file first."
        yield "Where both changed the same line of a hunk, that of the branch is taken."


def _ways(
    branch: Branch, own: Sequence[BranchCommit], both: Sequence[BranchCommit]
) -> Iterator[str]:
    place = shlex.quote(str(branch.place))
    import_again = "nox -s import" + ("" if branch.tree.is_default else f" -- {place}")
    if not own:
        yield f"rm -rf {place} && {import_again}"
        return
    aside = shlex.quote(str(_free_name(branch.place)))
    picks = " ".join(item.commit for item in own)
    strategy = "-X theirs " if both else ""
    steps = [
        f"mv {place} {aside}",
        import_again,
        f"git -C {place} fetch --quiet {aside} {BRANCH}",
        f"git -C {place} cherry-pick --allow-empty {strategy}{picks}",
    ]
    if both:
        steps.append(f"git -C {place} rebase --interactive --keep-empty {branch.base.version}")
    yield " && ".join([*steps, branch.tree.export])


def _free_name(place: Path) -> Path:
    names = (place.with_name(f"{place.name}-mine{number or ''}") for number in range(1000))
    return next(name for name in names if not name.exists())
