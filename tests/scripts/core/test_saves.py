"""Waiting for a save: which files count, and when a save has ended."""

import os

import pytest

from scripts.core import saves
from scripts.core.saves import file_stamps, wait_for_save


@pytest.fixture
def folder(tmp_path):
    for name in ("a.py", "inner/b.py", ".git/index", "__pycache__/a.pyc", ".a.py.swp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    return tmp_path


@pytest.fixture
def looks(monkeypatch):
    """Replace each wait by the next of these actions; without one, the wait would never end."""
    actions = []
    monkeypatch.setattr(saves.time, "sleep", lambda _: actions.pop(0)())
    return actions


def save(path, text="new"):
    """Write a file as many editors do: another one takes its place."""
    path.with_suffix(".tmp").write_text(text)
    path.with_suffix(".tmp").rename(path)


def test_hidden_files_and_bytecode_do_not_count(folder):
    assert {path.relative_to(folder).as_posix() for path in file_stamps([folder])} == {
        "a.py",
        "inner/b.py",
    }


def test_single_files_count_and_missing_ones_do_not(folder):
    assert set(file_stamps([folder / "a.py", folder / "gone.py"])) == {folder / "a.py"}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: save(folder / "a.py"),
        lambda folder: (folder / "a.py").unlink(),
        lambda folder: os.utime(folder / "a.py", ns=(1, 1)),
    ],
    ids=["replaced", "removed", "touched"],
)
def test_change_is_named(folder, looks, change):
    before = file_stamps([folder])
    looks += [lambda: change(folder), lambda: None]
    assert wait_for_save([folder], before) == [folder / "a.py"]


def test_new_file_is_named(folder, looks):
    before = file_stamps([folder])
    looks += [lambda: save(folder / "c.py"), lambda: None]
    assert wait_for_save([folder], before) == [folder / "c.py"]


def test_save_before_the_wait_counts(folder, looks):
    before = file_stamps([folder])
    save(folder / "a.py")
    looks += [lambda: None]
    assert wait_for_save([folder], before) == [folder / "a.py"]


def test_saves_that_follow_each_other_are_one(folder, looks):
    before = file_stamps([folder])
    looks += [
        lambda: save(folder / "a.py"),
        lambda: save(folder / "inner/b.py"),
        lambda: None,
    ]
    assert wait_for_save([folder], before) == [folder / "a.py", folder / "inner/b.py"]
    assert looks == []
