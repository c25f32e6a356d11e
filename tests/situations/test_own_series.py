"""The project's own series on a made-up branch of the real upstream, in one real cell."""

import re
import shutil

import pytest

from tests.situations.harness import PROJECT, Fork
from tests.situations.upstream_history import History


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Give a copy of this project that has one environment, its releases, and upstream's repository made from them."""
    root = tmp_path_factory.mktemp("own") / "fork"
    kept = ("fork.toml", "tox.ini", "toxfile.py", "patches", "rover_overrides", "upstream/lock.toml", "tests/probes", "scripts")
    for name in kept:
        origin, place = PROJECT / name, root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, place)
    fork = Fork(root)
    head, *environments = fork.read("fork.toml").split("[[environments]]")
    chosen = next(text for text in environments if 'id = "py311-django5.2"' in text)
    text = re.sub(r"^environments = .*$", "environments = []", head, flags=re.MULTILINE)
    fork.write("fork.toml", f"{text}[[environments]]{chosen}")
    done = fork.run("vendor")
    assert done.code == 0, done.stderr
    return fork, History(root.parent / "upstream", root / ".fork/sdists", ["7.2"])


def test_commit_that_takes_over_a_patch_absorbs_it_and_leaves_the_others(own):
    fork, history = own
    (patch,) = (fork.root / "patches").glob("*-degraded-simple-get.patch")
    history.git("apply", str(patch))
    tip = history.commit("Degrade a simple get")
    words = ("--upstream", f"git:{history.root}@main", "--patch", "degraded-simple-get", "--patch", "composed-sql")
    done = fork.status(*words)
    assert done.code == 0, done.stderr
    version = f"7.2+git.main.{tip[:10]}"
    assert done.verdicts == {"degraded-simple-get": "absorbed", "composed-sql": "needed"}
    assert done.patches["degraded-simple-get"]["releases"][version]["text"] == "present"
    assert fork.status(*words).ran == 0
