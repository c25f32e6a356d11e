"""A fork with five patches, and the branch that `import` made of them; each test edits a copy."""

import pytest

from tests.support.imported_series import copy_exported, copy_work, make_exported


@pytest.fixture(scope="session")
def exported(stages, tmp_path_factory):
    """Give a fork whose series was written by `export`."""
    return make_exported(stages, tmp_path_factory.mktemp("imported"))


@pytest.fixture
def fork(exported, tmp_path, index):
    """Give a copy of the fork without an imported branch."""
    return copy_exported(exported, tmp_path, index)


@pytest.fixture
def work(fork, exported):
    """Give the fork's imported branch."""
    return copy_work(fork, exported)
