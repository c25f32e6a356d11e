"""`locked` in fork.toml: the locked release, whichever it is, and exclusions that name one that no longer is."""

from datetime import UTC, datetime

import pytest

from scripts.core.config import read_config
from scripts.core.errors import UsageError
from scripts.core.model import Lock, Release
from tests.support.matrix_toml import HEAD, MATRIX

RELEASES = tuple(
    Release(name, "", 0, "", datetime(2020, 1, 1, tzinfo=UTC)) for name in ("1", "2", "3")
)
AT_2, AT_3 = (Lock("tally", locked, RELEASES) for locked in ("2", "3"))
EXCLUDE = """
[[matrix.exclude]]
databases = ["big"]
releases = "{}"
reason = "one release will do"
"""


@pytest.fixture
def configured(tmp_path):
    """Return a function that decodes a fork.toml with one exclusion."""

    def read(releases):
        (tmp_path / "fork.toml").write_text(HEAD + MATRIX + EXCLUDE.format(releases))
        return read_config(tmp_path / "fork.toml")

    return read


def on_big(config, lock):
    return {cell.release for cell in config.matrix_cells(lock) if cell.database == "big"}


@pytest.mark.parametrize("lock", [AT_2, AT_3])
def test_exclusion_of_all_but_the_locked_release_moves_with_the_lock(configured, lock):
    config = configured("!=locked")
    assert (on_big(config, lock), list(config.stale_exclusions(lock))) == ({lock.locked}, [])


def test_locked_stands_in_any_specifier(configured):
    assert on_big(configured("<locked"), AT_2) == {"2", "3"}
    assert on_big(configured("!=3,!=locked"), AT_2) == {"2", "3"}
    assert on_big(configured("==locked"), AT_3) == {"2"}


def test_environment_may_be_for_the_locked_release_alone(configured):
    config = configured("!=locked")
    environment = config.environments[0].model_copy(update={"releases": "==locked"})
    config = config.model_copy(update={"environments": (environment,)})
    assert {cell.release for cell in config.default_cells(AT_2)} == {"2"}


def test_exclusion_that_leaves_out_the_locked_release_too_is_named(configured):
    config = configured("!=2")
    assert list(config.stale_exclusions(AT_2)) == []
    (warning,) = config.stale_exclusions(AT_3)
    assert warning == (
        "fork.toml: matrix.exclude[0].releases = '!=2' names 2, and 3 is locked; "
        "write `locked` where the locked release is meant (one release will do)"
    )


@pytest.mark.parametrize("releases", ["!=1,!=locked", "!=1,!=3", "<2", ">=1,<3", "==2", "==2.*"])
def test_exclusion_that_does_not_mean_the_locked_release_is_left_alone(configured, releases):
    assert list(configured(releases).stale_exclusions(AT_3)) == []


def test_exclusion_of_the_release_that_was_locked_before_is_named(configured):
    (warning,) = configured("==2").stale_exclusions(AT_3, "2")
    assert warning.startswith(
        "fork.toml: matrix.exclude[0].releases = '==2' names 2, and 3 is locked; "
    )
    assert list(configured("==locked").stale_exclusions(AT_3, "2")) == []


def test_other_word_is_no_release(configured):
    with pytest.raises(UsageError, match="not a version specifier"):
        configured("!=lock")
