"""The sealed git: its version, its throw-away places, and what it does not let in."""

import os
from pathlib import Path

import pytest

from scripts.core.git import Git, sealed_environment, user_git
from tests.support.local_index import contents


@pytest.fixture
def git(tmp_path):
    """Give a private repository with one commit."""
    made = Git.create(tmp_path / "work" / "upstream.git")
    stream = b"commit refs/heads/main\ncommitter A <a@example.invalid> 0 +0000\ndata 0\nM 644 inline a.txt\ndata 4\none\n\ndone\n"
    made.run("fast-import", "--quiet", "--done", stdin=stream)
    return made


def fake_git(folder, text):
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "git").chmod(0o755)
    return {"PATH": str(folder)}


@pytest.mark.parametrize("version", ["1.9.5", "2.33.8", "2.8.0.windows.1"])
def test_git_that_is_too_old_is_named(pinned, tmp_path, version):
    env = fake_git(tmp_path / "bin", f"echo git version {version}")
    done = pinned.run("vendor", env=env, ok=3)
    assert (
        f"git 2.34 or newer is needed, found: git version {version}\n  next: install a newer git"
        in done.stderr
    )


def test_missing_git_is_named(pinned, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (
        "cannot run git: No such file or directory"
        in pinned.run("vendor", env={"PATH": str(tmp_path / "empty")}, ok=3).stderr
    )


def test_work_tree_is_gone_afterwards_whatever_is_in_it(git):
    with git.temporary_worktree("main") as work:
        assert (work.work_tree / "a.txt").read_text() == "one\n"
        assert work.work_tree.is_relative_to(git.git_dir.parent), "where the next run would find it"
        (work.work_tree / "a.txt").write_text("edited")
        (work.work_tree / "b.txt").touch()
    assert [path.name for path in git.git_dir.parent.iterdir()] == ["upstream.git"]
    assert git.text("worktree", "list", "--porcelain").count("worktree ") == 1


def test_index_is_thrown_away(git):
    with git.temporary_index("main") as handle:
        blob = handle.text("hash-object", "-w", "--stdin", stdin=b"two\n")
        handle.run("update-index", "--add", "--cacheinfo", f"100644,{blob},b.txt")
        tree = handle.text("write-tree")
    assert git.text("ls-tree", "--name-only", tree).split() == ["a.txt", "b.txt"]
    assert git.text("ls-tree", "--name-only", "main") == "a.txt"
    assert not (git.git_dir / "index").exists()


def test_folder_is_written_as_the_tree_is(git, tmp_path):
    (tmp_path / "out").mkdir()
    git.write_folder("main", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.txt": b"one\n"}


def test_resolve_tells_what_is_there(git):
    assert git.resolve("main") == git.text("rev-parse", "main")
    assert git.resolve("refs/tags/none") is None
    assert git.resolve("--help") is None


def test_callers_git_variables_do_not_reach_the_sealed_git(git, monkeypatch):
    for name in (
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_AUTHOR_NAME",
        "GIT_CONFIG_PARAMETERS",
        "GIT_SSH_COMMAND",
    ):
        monkeypatch.setenv(name, "'mine'")
    assert "'mine'" not in sealed_environment().values()
    assert git.text("log", "-1", "--format=%an", "main") == "A"


def test_user_git_is_the_users_own_but_not_a_callers(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "somebody@example.invalid")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    (tmp_path / ".gitconfig").write_text("[user]\nname = Somebody\n")
    place = tmp_path / "clone"
    place.mkdir()
    user_git(place, "init", "--quiet")
    assert (place / ".git").is_dir()
    assert user_git(place, "var", "GIT_AUTHOR_IDENT").text.startswith(
        "Somebody <somebody@example.invalid>"
    )


def test_private_repository_is_opened_again_as_it_is(git):
    before = sorted(path for path, _, _ in os.walk(git.git_dir))
    assert Git.create(git.git_dir) == git
    assert sorted(path for path, _, _ in os.walk(git.git_dir)) == before
    assert Path(git.git_dir, "hooks").exists() is False
