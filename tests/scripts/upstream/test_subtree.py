"""`vendor --subtree` in a clone: upstream becomes part of its history, and is verified from then on."""

import pytest

from tests.support.local_index import FILES_1_0, FILES_1_1, contents, make_clone

pytestmark = pytest.mark.slow


def expected(files):
    return {name: text.encode() for name, text in files.items()}


@pytest.fixture
def clone(vendored):
    """Give a clone of a fork whose `upstream/src/` is 1.0."""
    make_clone(vendored)
    vendored.run("pin", "1.0")
    vendored.run("vendor")
    vendored.git("commit", "--quiet", "--all", "-m", "Stand on 1.0")
    return vendored


@pytest.fixture
def subtree(clone):
    """Give a clone in which 1.0 is committed."""
    clone.run("vendor", "--subtree")
    return clone


def state(clone):
    """Return what a failure must leave as it is."""
    return (
        clone.git("rev-parse", "HEAD"),
        clone.git("status", "--porcelain", "--ignored"),
        contents(clone.root / "upstream"),
    )


def newer(clone):
    clone.run("pin", "1.1")
    clone.git("commit", "--quiet", "--all", "-m", "Pin 1.1")


def test_release_is_committed_as_a_squashed_subtree_and_no_longer_ignored(clone):
    done = clone.run("vendor", "--subtree")
    assert "upstream/src/ is made-up-tally 1.0" in done.stderr
    assert clone.git("log", "--first-parent", "--format=%s").splitlines() == [
        "Vendor made-up-tally 1.0 as a subtree",
        "Stop ignoring upstream/src: upstream becomes a subtree",
        "Stand on 1.0",
        "Begin",
    ]
    assert clone.git("show", "-s", "--format=%s", "HEAD^2").startswith(
        "Squashed 'upstream/src/' content from commit "
    )
    assert clone.git("rev-parse", "HEAD:upstream/src") == clone.git_private(
        "rev-parse", "1.0^{tree}"
    )
    assert clone.git("show", "-s", "--format=%b", "HEAD^2").splitlines()[-2:] == [
        "git-subtree-dir: upstream/src",
        f"git-subtree-split: {clone.git_private('rev-parse', '1.0')}",
    ]
    assert (clone.root / ".gitignore").read_text() == ".fork/\n__pycache__/\n"
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("log", "-1", "--format=%an") == "A Maintainer"
    assert clone.files() == expected(FILES_1_0)


def test_subtree_again_changes_nothing(subtree):
    before = state(subtree)
    subtree.run("vendor", "--subtree")
    subtree.run("vendor")
    assert state(subtree) == before


def test_newer_release_is_merged(subtree):
    newer(subtree)
    done = subtree.run("vendor", ok=20)
    assert (
        "upstream/src/ is committed as 1.0, and 1.1 is locked\n  next: nox -s vendor -- --subtree"
        in done.stderr
    )
    assert subtree.files() == expected(FILES_1_0)
    subtree.run("vendor", "--subtree")
    assert subtree.files() == expected(FILES_1_1)
    assert subtree.git("rev-parse", "HEAD:upstream/src") == subtree.git_private(
        "rev-parse", "1.1^{tree}"
    )
    assert subtree.git("log", "-1", "--format=%s") == "Vendor made-up-tally 1.1 as a subtree"
    subtree.run("vendor")


def test_newer_release_is_merged_in_a_clone_of_the_clone(subtree, tmp_path):
    newer(subtree)
    other = type(subtree)(tmp_path / "colleague", subtree.home, subtree.index, subtree.env)
    subtree.git("clone", "--quiet", str(subtree.root), str(other.root))
    assert "is committed as 1.0, and 1.1 is locked" in other.run("vendor", ok=20).stderr
    other.run("vendor", "--subtree")
    assert other.files() == expected(FILES_1_1)


def test_change_in_the_committed_folder_is_reported_and_never_written_over(subtree):
    path = subtree.source / "tally" / "words.py"
    path.write_text("mine")
    for words in ([], ["--restore"]):
        done = subtree.run("vendor", *words, ok=20)
        assert (
            "upstream/src/ is not release 1.0 as it was published; nothing is built from it:"
            in done.stderr
        )
        assert "M upstream/src/tally/words.py\n" in done.stderr
    subtree.git("commit", "--quiet", "--all", "-m", "Edit upstream")
    for words in ([], ["--restore"], ["--subtree"]):
        assert "    M tally/words.py\n" in subtree.run("vendor", *words, ok=20).stderr
    assert path.read_text() == "mine"
    newer(subtree)
    assert "not release 1.0" in subtree.run("vendor", "--subtree", ok=20).stderr
    subtree.git("revert", "--no-edit", "HEAD~1")
    subtree.run("vendor", "--subtree")
    assert subtree.files() == expected(FILES_1_1)


def test_added_and_removed_committed_files_are_reported(subtree):
    (subtree.source / "new.py").write_text("")
    (subtree.source / "PKG-INFO").unlink()
    subtree.git("add", "--all")
    subtree.git("commit", "--quiet", "-m", "Edit upstream")
    assert "    D PKG-INFO\n    A new.py\n" in subtree.run("vendor", ok=20).stderr


def test_removed_folder_is_reported_not_written(subtree):
    subtree.git("rm", "-r", "--quiet", "upstream/src")
    assert "D  upstream/src/PKG-INFO" in subtree.run("vendor", ok=20).stderr
    assert not subtree.source.exists()


def test_line_endings_of_the_users_clone_are_no_edit(subtree):
    subtree.git("config", "core.autocrlf", "true")
    for name in FILES_1_0:
        (subtree.source / name).unlink()
    subtree.git("checkout", "--", "upstream/src")
    assert b"\r\n" in (subtree.source / "tally" / "words.py").read_bytes()
    subtree.run("vendor")


def test_series_is_built_from_the_release_whatever_is_committed(subtree):
    (subtree.source / "tally" / "words.py").write_text("mine")
    subtree.run("import")
    assert (subtree.root / ".fork" / "series" / "tally" / "words.py").read_text() == FILES_1_0[
        "tally/words.py"
    ]


def dirty(clone):
    (clone.root / "fork.toml").write_text((clone.root / "fork.toml").read_text() + "\n")


def staged(clone):
    (clone.root / "new").write_text("")
    clone.git("add", "new")


def nameless(clone):
    (clone.home / ".gitconfig").write_text("[user]\nuseConfigOnly = true\n")


def no_subtree(clone):
    """Put a git first on PATH that has no subtree, as some distributions do."""
    wrapper = clone.home / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f"""#!/bin/sh
[ "$1" = subtree ] && {{ echo "git: 'subtree' is not a git command." >&2; exit 1; }}
PATH={clone.env["PATH"]!r} exec git "$@"
"""
    )
    wrapper.chmod(0o755)
    clone.env["PATH"] = f"{wrapper.parent}:{clone.env['PATH']}"


def refusing_hook(clone):
    hook = clone.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not on a Friday >&2\nexit 1\n")
    hook.chmod(0o755)


REFUSED = [
    (dirty, 2, "commit these first, a subtree is a commit of its own:\n M fork.toml", "git commit"),
    (staged, 2, "commit these first, a subtree is a commit of its own:\nA  new", "git commit"),
    (nameless, 3, "no email was given", "git config user.name NAME"),
    (no_subtree, 3, "'subtree' is not a git command", "git subtree comes with git"),
    (refusing_hook, 3, "not on a Friday", ""),
]


@pytest.mark.parametrize(
    ("change", "code", "words", "hint"), REFUSED, ids=[row[0].__name__ for row in REFUSED]
)
def test_subtree_that_cannot_be_is_refused_and_the_clone_is_as_before(
    clone, change, code, words, hint
):
    change(clone)
    before = state(clone)
    done = clone.run("vendor", "--subtree", ok=code)
    assert words in done.stderr
    assert hint in done.stderr.partition("  next: ")[2]
    assert state(clone) == before


def test_edited_folder_is_refused_before_anything_is_committed(clone):
    (clone.source / "PKG-INFO").write_text("mine")
    before = state(clone)
    assert "    M PKG-INFO\n" in clone.run("vendor", "--subtree", ok=20).stderr
    assert state(clone) == before


def test_fork_that_is_no_clone_is_refused(vendored):
    assert "not a git repository" in vendored.run("vendor", "--subtree", ok=3).stderr
    assert vendored.files() == expected(FILES_1_1)


def test_fork_inside_a_larger_repository_is_refused(vendored, tmp_path):
    make_clone(vendored)
    (vendored.root / ".git").rename(tmp_path / ".git")
    assert "is inside a larger repository" in vendored.run("vendor", "--subtree", ok=2).stderr
    assert vendored.files() == expected(FILES_1_1)


def test_surrounding_git_variables_are_not_believed(clone):
    before = clone.git("rev-parse", "HEAD")
    clone.run(
        "vendor",
        "--subtree",
        env={"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere", "GIT_WORK_TREE": "/"},
    )
    assert clone.git("rev-list", "--count", f"{before}..HEAD") == "3"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("os.rename", "upstream/src.*tmp-"),
        ("subprocess.Popen", "'commit'"),
        ("subprocess.Popen", "'fetch'"),
        ("subprocess.Popen", "'subtree'"),
    ],
)
def test_subtree_that_is_killed_can_be_run_again(clone, event, text):
    clone.run_killed_at(event, text, "vendor", "--subtree")
    done = clone.run("vendor", "--subtree", ok=None)
    if text == "'commit'":
        assert "commit these first, a subtree is a commit of its own:\n M .gitignore" in done.stderr
        assert "git reset --hard  # where an earlier --subtree was killed" in done.stderr
        clone.git("reset", "--quiet", "--hard")
        done = clone.run("vendor", "--subtree")
    assert done.code == 0, done.stderr
    assert clone.git("rev-parse", "HEAD:upstream/src") == clone.git_private(
        "rev-parse", "1.0^{tree}"
    )
    assert clone.git("status", "--porcelain") == ""
