"""Environments are made by uv, several at once, and what was not finished does not count."""

import sys
import time

import psutil
import pytest
from uv import find_uv_bin

from scripts.core.config import Environment
from scripts.core.errors import EnvironmentFailedError
from scripts.core.repository import Repository
from scripts.core.subprocesses import is_stopping
from scripts.probes import environments
from scripts.probes.environments import MissingEnvironment, make_environments
from tests.support.harness import wait_until
from tests.support.matrix_toml import HEAD

pytestmark = pytest.mark.slow

UV = """#!/bin/sh
echo "$@" >>{log}
case "$*" in
    *pip*waits*) echo $$ >{log}.new; mv {log}.new {log}.pid; exec sleep 600 ;;
    *pip*fails*) while ! test -e {log}.pid; do sleep 0.02; done; echo no such thing >&2; exit 1 ;;
    *pip*) ;;
    *) exec {uv} "$@" ;;
esac
"""
"""A uv that makes real environments; what it installs there depends on a word of the requirements."""


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Return a fork whose environments a fake uv makes."""
    (tmp_path / "fork.toml").write_text(HEAD)
    program = tmp_path / "uv"
    program.write_text(UV.format(log=tmp_path / "log", uv=find_uv_bin()))
    program.chmod(0o755)
    monkeypatch.setattr(environments, "find_uv_bin", lambda: program)
    return Repository(tmp_path)


def wanted(*names, python=f"3.{sys.version_info.minor}"):
    return [Environment(id=name, python=python, requires=(name,)) for name in names]


def started(repo):
    """Return the process that waits."""
    path = repo.root / "log.pid"
    wait_until(path.exists, "an installation")
    return psutil.Process(int(path.read_text()))


def test_environments_come_as_they_are_ready_and_are_made_once(repo):
    found = list(make_environments(repo, [*wanted("a", "b"), *wanted("c", python="3.1")]))
    assert (list(found[0]), list(map(type, found[0].values()))) == (["c"], [MissingEnvironment])
    made = {name: ready for item in found[1:] for name, ready in item.items()}
    assert {name: ready.python.parents[1] for name, ready in made.items()} == {
        name: repo.work / "environments" / name for name in "ab"
    }
    (repo.root / "log").unlink()
    assert list(make_environments(repo, wanted("a", "b"))) == [made]
    assert not (repo.root / "log").exists()
    (repo.work / "environments" / "a" / "recipe.json").write_text("another")
    assert [list(item) for item in make_environments(repo, wanted("a", "b"))] == [["b"], ["a"]]


def test_leaving_early_stops_what_is_being_made_and_keeps_what_is_ready(repo):
    making = make_environments(repo, wanted("a", "waits"))
    assert [list(next(making)), list(next(making))] == [[], ["a"]]
    process, begun = started(repo), time.monotonic()
    making.close()
    assert time.monotonic() - begun < 60
    assert not process.is_running()
    assert not is_stopping(), "other programs may run"
    assert list(next(make_environments(repo, wanted("a", "waits")))) == ["a"]


def test_environment_that_cannot_be_made_stops_the_others(repo):
    making = make_environments(repo, wanted("waits", "fails"))
    assert next(making) == {}
    with pytest.raises(EnvironmentFailedError, match="no such thing") as caught:
        next(making)
    assert caught.value.hint.startswith("check the index and what fork.toml requires, then `")
    assert not psutil.pid_exists(int((repo.root / "log.pid").read_text()))
    assert next(make_environments(repo, wanted("waits", "fails"))) == {}


def test_link_to_a_shared_environment_is_replaced_and_what_it_links_to_stays(repo):
    *_, made = make_environments(repo, wanted("a"))
    place = repo.work / "environments" / "b"
    place.symlink_to(made["a"].python.parents[1])
    *_, remade = make_environments(repo, wanted("b"))
    assert (list(remade), place.is_symlink()) == (["b"], False)
    assert list(make_environments(repo, wanted("a"))) == [made]
