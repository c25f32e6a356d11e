"""Check whether the text of a patch is already in a release.

The text proves nothing about the behaviour, so it decides no verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import unidiff.patch

from scripts.core.git import Git
from scripts.core.model import TextPresence

_NO_NEWLINE = "\\"


def check_texts(git: Git, diffs: Mapping[str, bytes], tree: str) -> dict[str, TextPresence]:
    """Return for each patch's change, by id, whether it can be reverted from a tree.

    `diffs` are in the order of the series; the last one is reverted first.
    """
    found = dict.fromkeys(diffs, TextPresence.ABSENT)
    if _any_may_be_applied(git, diffs.values(), tree):
        with git.temporary_index(tree) as handle:
            for name, diff in reversed(list(diffs.items())):
                if handle.run("apply", "--cached", "--reverse", "-", stdin=diff, ok=None).code == 0:
                    found[name] = TextPresence.PRESENT
    return found


def _any_may_be_applied(git: Git, diffs: Collection[bytes], tree: str) -> bool:
    """Return whether any change may be in the tree; if not, git need not be run.

    A change is not there if a hunk has lines that the tree's file at its path lacks.
    """
    changes = [unidiff.patch.PatchSet(_decoded(diff)) for diff in diffs]
    contents = _contents(git, tree, sorted({file.path for change in changes for file in change}))
    return any(
        all(_may_be_applied(file, contents.get(file.path)) for file in change) for change in changes
    )


def _may_be_applied(file: unidiff.patch.PatchedFile, content: str | None) -> bool:
    # Only git can tell, so it is asked.
    if not file.is_modified_file or file.is_rename or file.is_binary_file:
        return True
    return content is not None and all(_may_contain(content, hunk) for hunk in file)


def _may_contain(content: str, hunk: unidiff.patch.Hunk) -> bool:
    lines = list(hunk)
    if any(line.line_type == _NO_NEWLINE for line in lines):
        return True
    return "".join(line.value for line in lines if not line.is_removed) in content


def _contents(git: Git, tree: str, paths: Collection[str]) -> dict[str, str]:
    """Return the contents of those files that exist in a tree, with one git command."""
    requested = "".join(f"{tree}:{path}\n" for path in paths)
    output = git.run("cat-file", "--batch", stdin=requested.encode()).stdout
    found, at = {}, 0
    for path in paths:
        end = output.index(b"\n", at)
        head = output[at:end].split(b" ")
        at = end + 1
        if head[-1] != b"missing":
            size = int(head[-1])
            found[path] = _decoded(output[at : at + size])
            at += size + 1
    return found


def _decoded(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
