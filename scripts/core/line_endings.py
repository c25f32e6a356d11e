"""Compare and convert line endings.

A release that changed only line endings is no conflict, and a patch gets the line endings of the
file that it is applied to.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from scripts.core.git import Git

CRLF, LF = b"\r\n", b"\n"


def endings_differ(*contents: bytes) -> bool:
    """Return whether files may differ in their line endings: of two kinds, or mixed in one file."""
    kinds = {(CRLF in content, LF in content.replace(CRLF, b"")) for content in contents}
    return len(kinds - {(False, False)}) > 1 or (True, True) in kinds


def with_endings_of(content: bytes, model: bytes) -> bytes:
    """Return `content` with the line endings of `model`, another version of the file.

    A line in both keeps its ending in `model`; a new line gets the ending of most lines there.
    """
    # The LF of each CRLF is counted, too.
    ends = CRLF if 2 * model.count(CRLF) > model.count(LF) else LF
    here, there = content.splitlines(keepends=True), model.splitlines(keepends=True)
    bare = [line.replace(CRLF, LF) for line in here]
    # With `autojunk`, difflib ignores lines that occur often in a long file.
    matcher = difflib.SequenceMatcher(
        None, [line.replace(CRLF, LF) for line in there], bare, autojunk=False
    )
    lines: list[bytes] = []
    for what, first, last, start, stop in matcher.get_opcodes():
        lines += (
            there[first:last]
            if what == "equal"
            else [line.replace(LF, ends) for line in bare[start:stop]]
        )
    return b"".join(lines)


def restore_line_endings(work: Git, head: str) -> None:
    """Restore the line endings of `head` in the files that the last commit changed."""
    assert work.work_tree is not None
    changed = False
    for path in work.text(
        "diff-tree", "-r", "-z", "--no-renames", "--diff-filter=M", "--name-only", head, "HEAD"
    ).split("\0"):
        # The list ends with NUL, so its last path is empty.
        old, new = (
            read_blob(work, f"{commit}:{path}") if path else b"" for commit in (head, "HEAD")
        )
        # A file with NUL is binary.
        if CRLF in old + new and b"\0" not in old and (wanted := with_endings_of(new, old)) != new:
            (work.work_tree / path).write_bytes(wanted)
            # Upstream's own .gitignore may exclude the file.
            work.run("add", "--force", "--", path)
            changed = True
    if changed:
        work.run(
            "commit",
            "--quiet",
            "--amend",
            "--allow-empty",
            "--cleanup=verbatim",
            "--reuse-message=HEAD",
        )


def tree_with_lf(work: Git, commit: str, paths: Iterable[str], diff: bytes = b"") -> str | None:
    """Return a commit's tree with CRLF replaced by LF in `paths` and with `diff` applied.

    Returns None if the diff does not apply.
    """
    with work.temporary_index(commit) as handle:
        for path in paths:
            entry = handle.text("ls-files", "--stage", "--", path)
            if entry:
                content = read_blob(handle, f":{path}").replace(CRLF, LF)
                made = handle.text("hash-object", "-w", "--stdin", stdin=content)
                handle.run("update-index", "--cacheinfo", f"{entry.split()[0]},{made},{path}")
        if (
            diff
            and handle.run("apply", "--cached", "-", stdin=diff.replace(CRLF, LF), ok=None).code
            != 0
        ):
            return None
        return handle.text("write-tree")


def read_blob(git: Git, name: str) -> bytes:
    """Return the content of an object, or empty bytes if there is none."""
    done = git.run("cat-file", "blob", name, ok=None)
    return done.stdout if done.code == 0 else b""
