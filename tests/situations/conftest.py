"""One fork a session is pinned, vendored and run through; every test edits a copy of it."""

import pytest
from filelock import FileLock

from tests.support import rebasing
from tests.support.harness import (
    SITUATIONS,
    Fork,
    copy_fork,
    index_of_releases,
    make_fork,
    make_once,
)
from tests.support.local_index import serving

collect_ignore_glob = ["*/*"]  # the forks' own probes, which run in their cells


@pytest.fixture(scope="session")
def template(tmp_path_factory, worker_id):
    """Return the fork of `larder/` after a first `status`; parallel workers share one."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    fork = Fork(base / "larder")
    with FileLock(base / "larder.lock"):
        if not (base / "larder.ready").exists():
            make_fork(SITUATIONS / "larder", fork.root)
            with serving(
                index_of_releases(SITUATIONS / "larder_releases", "made_up_larder")
            ) as index:
                done = fork.run("pin", PIP_INDEX_URL=index.address, NO_PROXY="127.0.0.1")
            assert done.code == 0, done.stderr
            for verb in ("vendor", "status"):
                done = fork.run(verb)
                assert done.code == 0, done.stderr
            (base / "larder.ready").touch()
    return fork


@pytest.fixture
def fork(template, tmp_path):
    """Return a fork in which everything is in order and nothing is left to run."""
    return copy_fork(template, tmp_path / "fork")


@pytest.fixture(scope="session")
def old_larder(tmp_path_factory, worker_id):
    """Return a fork that stands on 1.1, with 2.0 pinned and every patch of the situations tried; parallel workers share it."""
    return rebasing.Larder(
        make_once(tmp_path_factory, worker_id, "old_larder", rebasing.make_old_larder) / "fork"
    )


@pytest.fixture
def larder(old_larder, tmp_path):
    """Return a fork that stands on 1.1, to be moved to 2.0."""
    return rebasing.copy_larder(old_larder, tmp_path / "fork")
