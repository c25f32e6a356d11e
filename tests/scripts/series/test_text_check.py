"""Whether a change stands in a tree: the same as git says of each, mostly without asking it."""

import pytest

from scripts.core.git import Git
from scripts.core.model import TextPresence
from scripts.series.cherry_pick import commit_diff
from scripts.series.text_check import check_texts
from tests.support.commits import commit

LINES = [f"line {number}\n".encode() for number in range(9)]
BASE = b"".join(LINES)
ONE = BASE.replace(b"line 3\n", b"three\n")
TWO = ONE.replace(b"line 4\n", b"four\n")


def changes(git, *states):
    """Return the changes from each state of the files to the next one."""
    commits = [commit(git, states[0])]
    for files in states[1:]:
        commits.append(commit(git, files, commits[-1]))
    return {f"patch {number}": commit_diff(git, made) for number, made in enumerate(commits[1:])}


def said_by_git(git, diffs, tree):
    """Take every change back, the last one first."""
    found = dict.fromkeys(diffs, TextPresence.ABSENT)
    with git.temporary_index(tree) as handle:
        for name, diff in reversed(list(diffs.items())):
            if handle.run("apply", "--cached", "--reverse", "-", stdin=diff, ok=None).code == 0:
                found[name] = TextPresence.PRESENT
    return found


@pytest.fixture
def git(tmp_path):
    return Git.create(tmp_path / "upstream.git")


def file(*contents):
    return [{"a.py": content} for content in contents]


CASES = {
    "it stands": (file(BASE, ONE), {"a.py": ONE}),
    "it stands further down": (file(BASE, ONE), {"a.py": b"new\n" * 30 + ONE}),
    "it does not": (file(BASE, ONE), {"a.py": BASE}),
    "its context changed": (file(BASE, ONE), {"a.py": ONE.replace(b"line 2", b"two")}),
    "the file is gone": (file(BASE, ONE), {"b.py": ONE}),
    "one under another": (file(BASE, ONE, TWO), {"a.py": TWO}),
    "the first of two": (file(BASE, ONE, TWO), {"a.py": ONE}),
    "only with line endings": (file(BASE, ONE), {"a.py": ONE.replace(b"\n", b"\r\n")}),
    "without a newline": (
        file(BASE[:-1], ONE[:-1].replace(b"line 8", b"eight")),
        {"a.py": ONE[:-1].replace(b"line 8", b"eight")},
    ),
    "with a newline": (
        file(BASE[:-1], ONE[:-1].replace(b"line 8", b"eight")),
        {"a.py": ONE.replace(b"line 8", b"eight")},
    ),
    "other bytes": (
        file(BASE, ONE.replace(b"three", b"\xff\x85\x0c")),
        {"a.py": ONE.replace(b"three", b"\xff\x85\x0c")},
    ),
    "a new file": ([{"a.py": BASE}, {"a.py": BASE, "b.py": ONE}], {"a.py": BASE, "b.py": ONE}),
    "a new file that is not there": ([{"a.py": BASE}, {"a.py": BASE, "b.py": ONE}], {"a.py": BASE}),
    "a file that went": ([{"a.py": BASE, "b.py": ONE}, {"a.py": BASE}], {"a.py": BASE}),
    "a file of bytes": ([{"a.py": b"\0one"}, {"a.py": b"\0two"}], {"a.py": b"\0two"}),
    "half of it": (
        [{"a.py": BASE, "b.py": BASE}, {"a.py": ONE, "b.py": ONE}],
        {"a.py": ONE, "b.py": BASE},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_git_says(git, case):
    states, files = CASES[case]
    diffs, tree = changes(git, *states), git.tree_of(commit(git, files))
    assert check_texts(git, diffs, tree) == said_by_git(git, diffs, tree)


def test_git_is_not_asked_where_no_change_can_stand(git, monkeypatch):
    diffs = changes(git, *file(BASE, ONE, TWO))
    tree = git.tree_of(commit(git, {"a.py": BASE}))
    monkeypatch.setattr(Git, "temporary_index", lambda *_: pytest.fail("git was asked"))
    assert set(check_texts(git, diffs, tree).values()) == {TextPresence.ABSENT}
