"""Replacing several paths at once, killed at every step."""

import subprocess
import sys

import pytest

from scripts.core.atomic_files import recover, replace_all
from scripts.core.errors import AttentionError
from tests.support.local_index import ROOT, contents

pytestmark = pytest.mark.slow

OLD = {
    "patches/0001.patch": b"old",
    "patches/gone.patch": b"old",
    "upstream/lock.toml": b"old",
    "overrides/a.py": b"old",
}
NEW = {
    "patches/0001.patch": b"new",
    "patches/0002.patch": b"new",
    "upstream/lock.toml": b"new",
    "added/b.py": b"new",
}
CHANGES = ("patches", "upstream/lock.toml", "added")
REMOVED = ("overrides",)

DRIVER = """
import os, signal, sys
from pathlib import Path
from scripts.core.atomic_files import recover, replace_all
verb, step, root = sys.argv[1], sys.argv[2], Path(sys.argv[3])
seen = 0
def hook(name, args):
    global seen
    if name in ("os.rename", "os.mkdir", "os.remove", "os.rmdir") or (name == "open" and args[1] not in ("r", None)):
        seen += 1
        if step == str(seen) or step in repr(args) and not step.isdigit():
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
if verb == "replace":
    changes = {root / name: root / ".fork/tmp-new" / name for name in %r}
    replace_all(root, root / ".fork", {**changes, **{root / name: None for name in %r}})
else:
    recover(root, root / ".fork")
""" % (CHANGES, REMOVED)


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, OLD)
    write(tmp_path / ".fork" / "tmp-new", NEW)
    return tmp_path


def driven(verb, step, root):
    """Tell whether the driver was killed at that step (a number, or a part of a path); False: it ran through."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, verb, str(step), root],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def state(root):
    return {
        name: content for name, content in contents(root).items() if not name.startswith(".fork/")
    }


def test_everything_is_replaced(root):
    assert not driven("replace", 0, root)
    assert state(root) == NEW
    assert not (root / ".fork" / "transaction").exists()


def test_kill_at_any_step_leaves_the_old_state_or_the_new_one_after_recovery(tmp_path):
    seen = []
    for number in range(1, 50):
        root = tmp_path / str(number)
        write(root, OLD)
        write(root / ".fork" / "tmp-new", NEW)
        killed = driven("replace", number, root)
        recover(root, root / ".fork")
        assert state(root) in (OLD, NEW), number
        seen.append(state(root) == NEW)
        if not killed:
            break
    assert seen == sorted(seen), "once decided, it stays decided"
    assert 3 < seen.index(True) < len(seen) - 5


def test_recovery_that_is_killed_itself_is_finished_by_the_next(tmp_path):
    for number in range(1, 50):
        root = tmp_path / str(number)
        write(root, OLD)
        write(root / ".fork" / "tmp-new", NEW)
        assert driven("replace", "0.old", root), "killed right after it was decided"
        assert (root / ".fork" / "transaction").exists()
        killed = driven("recover", number, root)
        recover(root, root / ".fork")
        assert state(root) == NEW
        if not killed:
            break
    assert number > 5


def test_recovery_without_anything_to_do_does_nothing(root):
    assert recover(root, root / ".fork") == []
    assert state(root) == OLD


def test_path_that_somebody_wrote_again_after_the_kill_is_not_thrown_away(root):
    assert driven("replace", "transaction/0.new", root)
    assert not (root / "patches").exists()
    write(root, {"patches/mine.patch": b"mine"})
    with pytest.raises(AttentionError, match="something else was put there since"):
        recover(root, root / ".fork")
    assert contents(root / "patches") == {"mine.patch": b"mine"}
    (root / "patches").rename(root / "kept")
    assert recover(root, root / ".fork") == [*CHANGES, *REMOVED]
    assert contents(root / "patches") == {"0001.patch": b"new", "0002.patch": b"new"}


def test_failure_before_the_decision_changes_nothing(root):
    with pytest.raises(FileNotFoundError):
        replace_all(
            root, root / ".fork", {root / "patches": root / ".fork" / "tmp-new" / "nothing"}
        )
    assert recover(root, root / ".fork") == []
    assert state(root) == OLD
