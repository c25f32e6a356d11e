"""A rebase that is killed at each of its steps, and again in its recovery: the old repository or the new one, never between."""

import os
import shutil
import signal
import sys

import pytest

from scripts.rebase.state import STEPS
from tests.support.harness import make_once
from tests.support.rebasing import Larder, copy_larder

AFTER = ("decided", "forgetting")
"""The steps at which the new repository stands already."""


@pytest.fixture(scope="session")
def moved(old_larder, tmp_path_factory, worker_id):
    """Return a fork with a patch to retire, one to configure and one that conflicts, and what it becomes without any kill."""
    folder = make_once(
        tmp_path_factory, worker_id, "moved", lambda folder: _move(old_larder, folder)
    )
    return Larder(folder / "fork"), Larder(folder / "done").content()


def _move(old_larder, folder):
    folder.mkdir()
    fork = copy_larder(old_larder, folder / "fork")
    for situation in ("absorbed", "configurable", "conflict"):
        fork.apply_situation(situation)
    fork.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n")
    fork.write("patches/notes.txt", "untracked, and nobody's business\n")
    (fork.root / "larder_overrides" / "link").symlink_to("nowhere")
    done = copy_larder(fork, folder / "done")
    assert drive(done) == 0
    assert done.leftovers() == []
    for name in ("results", "trees"):  # what has run once need not run for every kill
        shutil.copytree(done.root / ".fork" / name, fork.root / ".fork" / name, dirs_exist_ok=True)


def drive(fork, **env):
    """Rebase to 2.0, from whatever state it is in, resolving the one conflict; return how the last command ended."""
    under_way = (fork.root / ".fork/rebase/state.json").exists()
    done = fork.run("rebase", "--continue" if under_way else "2.0", **env)
    if done.code == 20 and "two-digits conflicts" in done.stderr:
        fork.resolve()
        done = fork.run("rebase", "--continue", **env)
    return done.code


def twice(fork, folder):
    """Put a copy of a fork into its place and return both; git knows a work tree by its place."""
    kept = folder / "kept"
    shutil.copytree(fork.root, kept, symlinks=True)

    def back():
        shutil.rmtree(fork.root)
        kept.rename(fork.root)

    return back


@pytest.mark.parametrize("step", STEPS)
def test_kill_leaves_the_old_repository_or_the_new_one(moved, tmp_path, step):
    origin, new = moved
    fork = copy_larder(origin, tmp_path / "fork")
    standing = new if step in AFTER else origin.content()
    assert drive(fork, kill_at=step) == -signal.SIGKILL
    assert fork.content() == standing, "after the kill"
    back = twice(fork, tmp_path)
    check_recovery(fork, standing, new, step)
    back()
    check_abort(fork, standing, step)


def check_recovery(fork, standing, new, step):
    """Go on, be killed at the same step where it comes again, and go on to the end."""
    code = drive(fork, kill_at=step)
    assert fork.content() == (standing if code == -signal.SIGKILL else new), (
        "after the kill of the recovery"
    )
    assert drive(fork) == 0
    assert (fork.content(), fork.leftovers()) == (new, [])


def check_abort(fork, standing, step):
    """Abort, be killed in it, abort again: every byte is as before and nothing is left."""
    done = fork.run("rebase", "--abort", kill_at="forgetting")
    assert done.code == (2 if step == "forgetting" else -signal.SIGKILL)
    assert fork.content() == standing
    done = fork.run("rebase", "--abort")
    assert (done.code, fork.content(), fork.leftovers()) == (2, standing, [])
    assert done.stderr.endswith("error: no rebase is under way\n  next: nox -s rebase -- VERSION\n")


@pytest.mark.parametrize("step", ["stopping", "deciding"])
def test_abort_restores_every_byte(moved, tmp_path, step):
    origin, _ = moved
    fork = copy_larder(origin, tmp_path / "fork")
    assert drive(fork, kill_at=step) == -signal.SIGKILL
    done = fork.run("rebase", "--abort")
    assert (done.code, done.stderr) == (0, "aborted: everything is as it was before\n")
    assert (fork.content(), fork.leftovers()) == (origin.content(), [])


def test_abort_of_what_was_done_already_says_so(moved, tmp_path):
    fork = copy_larder(moved[0], tmp_path / "fork")
    assert drive(fork, kill_at="decided") == -signal.SIGKILL
    done = fork.run("rebase", "--abort")
    assert (done.code, fork.content(), fork.leftovers()) == (2, moved[1], [])
    assert done.stderr == (
        "the rebase to 2.0 was complete when it was killed; only its work tree was left\n"
        "error: no rebase is under way\n  next: nox -s rebase -- VERSION\n"
    )


# A kill in the middle of git, which is made to leave half of its work

GIT = """#!{python}
import os, pathlib, signal, subprocess, sys
words = sys.argv[1:]
if not set({words!r}) <= set(words) or "/.fork/rebase/tree" not in " ".join([os.environ.get("GIT_WORK_TREE", ""), *words]):
    os.execv({git!r}, ["git", *words])
inner = pathlib.Path(os.environ["GIT_DIR"])
tree = pathlib.Path(os.environ.get("GIT_WORK_TREE", words[-2]))
if "worktree" in words:
    words.insert(2, "--no-checkout")
subprocess.run([{git!r}, *words])
for place in inner.glob("worktrees/tree*"):
    (place / "locked").write_text("initializing")
    (place / "HEAD").write_text("0" * 40)
    inner = place
(inner / "index.lock").write_bytes(b"half an index")
if "commit" not in words:
    (tree / "larder").mkdir(exist_ok=True)
    (tree / "larder" / "prices.py").write_text("half a file")
    (tree / "larder" / "new.py").write_text("half a file")
os.kill(os.getppid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    "words", [["worktree", "add"], ["cherry-pick", "--allow-empty"], ["commit", "--reuse-message"]]
)
def test_kill_in_the_middle_of_a_git_command(moved, tmp_path, words):
    origin, new = moved
    fork = copy_larder(origin, tmp_path / "fork")
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(GIT.format(python=sys.executable, git=shutil.which("git"), words=words))
    git.chmod(0o755)
    assert drive(fork, PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}") == -signal.SIGKILL
    assert fork.content() == origin.content()
    back = twice(fork, tmp_path)
    assert drive(fork) == 0
    assert (fork.content(), fork.leftovers()) == (new, [])
    back()
    assert fork.run("rebase", "--abort").code == 0
    assert (fork.content(), fork.leftovers()) == (origin.content(), [])
