"""The project's own series on a made-up branch of the real upstream, in one real cell."""

import re
import shutil

import pytest

from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.series.series import read_series
from tests.support.harness import PROJECT, Fork
from tests.support.upstream_history import UpstreamHistory


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Return a copy of this project that has one environment, its releases, and upstream's repository made from them."""
    root = tmp_path_factory.mktemp("own") / "fork"
    kept = (
        "fork.toml",
        "patches",
        "rover_overrides",
        "upstream/lock.toml",
        "tests/probes",
        "scripts",
    )
    for name in kept:
        origin, place = PROJECT / name, root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, place)
    fork = Fork(root)
    head, *environments = fork.read("fork.toml").split("[[environments]]")
    chosen = next(text for text in environments if 'id = "py311-django5.2"' in text)
    text = re.sub(r"^environments = .*$", "environments = []", head, flags=re.MULTILINE)
    text = re.sub(
        r"^\[django\].*?(?=^\[\[)", "", text, flags=re.MULTILINE | re.DOTALL
    )  # it names other environments
    fork.write("fork.toml", f"{text}[[environments]]{chosen}")
    done = fork.run("vendor")
    assert done.code == 0, done.stderr
    lock = read_lock(fork.root / "upstream/lock.toml")
    return (
        fork,
        lock,
        UpstreamHistory(root.parent / "upstream", root / ".fork/sdists", [lock.locked]),
    )


def _two(series):
    """Choose a live patch that upstream could take as it is, and one to leave: a rebase may retire any that a name would say."""
    taken = next(
        patch
        for patch in series.active
        if patch.hunks and not patch.overrides and not patch.depends
    )
    others = (
        patch
        for patch in reversed(series.active)
        if patch is not taken and not any(feature.needs for feature in series.features_of(patch))
    )
    return taken, next(patch for patch in others if taken.id not in patch.depends)


def test_commit_that_takes_over_a_patch_absorbs_it_and_leaves_the_others(own):
    fork, lock, history = own
    taken, left = _two(read_series(Repository(fork.root), lock))
    history.git("apply", str(taken.path))
    tip = history.commit(f"Take over {taken.id}")
    words = ("--upstream", f"git:{history.root}@main", "--patch", taken.id, "--patch", left.id)
    done = fork.status(*words)
    assert done.code == 0, done.stderr
    version = f"{lock.locked}+git.main.{tip[:10]}"
    absorbed, needed = (patch.features or (patch.id,) for patch in (taken, left))
    assert done.verdicts == dict.fromkeys(absorbed, "absorbed") | dict.fromkeys(needed, "needed")
    assert {done.features[name]["releases"][version]["text"] for name in absorbed} == {"present"}
    assert fork.status(*words).probe_processes_run == 0
