"""Temporary folders of runs that were killed are removed, and those of others are left alone."""

import subprocess
import sys

from scripts.core.repository import Repository

HOLD = """
import sys
from pathlib import Path
from scripts.core.repository import Repository
with Repository(Path(sys.argv[1])).scratch() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def hold(root):
    """Start a process that has a temporary folder until its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_run_removes_what_a_killed_process_left_and_nothing_of_a_living_one(tmp_path):
    repo = Repository(tmp_path)
    with hold(tmp_path) as alive, hold(tmp_path) as killed:
        living, abandoned = (process.stdout.readline().strip() for process in (alive, killed))
        killed.kill()
        killed.wait()
        with repo.scratch() as own:
            assert {str(path) for path in repo.work.iterdir()} == {living, abandoned, str(own)}
            with repo.exclusive():
                assert {str(path) for path in repo.work.glob("tmp-*")} == {living, str(own)}
    assert not list(repo.work.glob("tmp-*"))


def test_folder_without_an_owner_is_removed(tmp_path):
    repo = Repository(tmp_path)
    (repo.work / "tmp-work").mkdir(parents=True)
    with repo.exclusive():
        assert not list(repo.work.glob("tmp-*"))
