"""Repositories that belong to another user: git refuses to read them, and says so in a way that is easily missed."""

import os
import pwd
import subprocess

import pytest

from scripts.core.errors import EnvironmentFailedError
from scripts.core.git import user_git
from scripts.core.repository import Repository
from scripts.upstream.unreleased import _fetch, _find_commit, parse_source


@pytest.fixture
def upstream(tmp_path):
    folder = tmp_path / "upstream"
    for words in (
        ["init", "--quiet", "--initial-branch=main", folder],
        [
            "-C",
            folder,
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            "One",
        ],
        [
            "-C",
            folder,
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            "Two",
        ],
    ):
        subprocess.run(["git", *words], check=True)
    return folder


@pytest.fixture
def foreign(monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")


@pytest.mark.parametrize("ok", [(0,), None])
def test_clone_of_another_user_is_named_as_that_with_the_command_that_helps(upstream, foreign, ok):
    with pytest.raises(EnvironmentFailedError) as error:
        user_git(upstream, "rev-parse", "HEAD", ok=ok)
    assert str(error.value) == (
        f"{upstream} belongs to another user, so git reads nothing of it\n"
        f"  next: git config --global --add safe.directory {upstream}"
    )


def fetched(tmp_path, upstream, revision):
    repo = Repository(tmp_path / "fork")
    repo.work.mkdir(parents=True)
    source = parse_source(f"git:{upstream}@{revision}")
    return repo.git.text(
        "log", "-1", "--format=%s", _find_commit(repo.git, _fetch(repo, source), source, revision)
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_upstream_of_another_user_can_be_tried(tmp_path, upstream):
    nobody = pwd.getpwnam("nobody").pw_uid
    for path in (upstream, *upstream.rglob("*")):
        os.chown(path, nobody, -1)
    assert fetched(tmp_path, upstream, "main") == "Two"


@pytest.mark.parametrize(
    ("revision", "subject"), [("HEAD", "Two"), ("HEAD~1", "One"), ("HEAD^", "One")]
)
def test_head_is_what_the_repository_has_checked_out(tmp_path, upstream, revision, subject):
    assert fetched(tmp_path, upstream, revision) == subject


def test_branch_whose_name_begins_like_head_is_a_branch(tmp_path, upstream):
    subprocess.run(["git", "-C", upstream, "branch", "HEAD-of-old", "main~1"], check=True)
    assert fetched(tmp_path, upstream, "HEAD-of-old") == "One"
