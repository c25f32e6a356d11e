"""A running index with two releases, and forks of it in three stages; a stage is made once a session and copied."""

import shutil

import pytest

from tests.support.local_index import (
    copy_stage,
    index_of_two_releases,
    make_fork,
    serving,
)
from tests.support.shipping import (  # noqa: F401 - fixtures
    configured_index,
    publishable_fork,
    publishable_fork_template,
    pypi_index,
)


@pytest.fixture
def index():
    """Give an index with releases 1.0 and 1.1."""
    with serving(index_of_two_releases()) as running:
        yield running


@pytest.fixture
def fork(tmp_path, index):
    """Give a fork in which nothing is pinned."""
    return make_fork(tmp_path, index)


@pytest.fixture(scope="session")
def stages(tmp_path_factory):
    """Make a fork that is pinned, and one that is vendored too."""
    folder = tmp_path_factory.mktemp("stages")
    with serving(index_of_two_releases()) as running:
        made = make_fork(folder, running)
        made.run("pin")
        shutil.copytree(made.root, folder / "pinned")
        made.run("vendor")
        shutil.copytree(made.root, folder / "vendored")
    return folder


@pytest.fixture
def pinned(stages, tmp_path, index):
    """Give a fork with a lock, and with what `pin` downloaded."""
    return copy_stage(stages / "pinned", tmp_path, index)


@pytest.fixture
def vendored(stages, tmp_path, index):
    """Give a fork whose `upstream/src/` stands, locked on 1.1."""
    return copy_stage(stages / "vendored", tmp_path, index)
