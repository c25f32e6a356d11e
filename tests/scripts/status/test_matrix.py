"""The matrix as data: which cells the axes make, what is left out and why, and what is wrong with a matrix."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.core.config import read_config
from scripts.core.errors import UsageError
from scripts.core.model import (
    Applies,
    Cell,
    Lock,
    Outcome,
    Release,
    Result,
    Settings,
    TextPresence,
    Verdict,
)
from scripts.verdicts.aggregate import cell_report, combine_cells
from scripts.verdicts.decide import Facts
from scripts.verdicts.summary import Findings, Scope, release_reports
from tests.support.matrix_toml import HEAD, MATRIX
from tests.support.sample_features import feature

LOCK = Lock(
    "tally",
    "2",
    tuple(Release(name, "", 0, "", datetime(2020, 1, 1, tzinfo=UTC)) for name in ("1", "2")),
)


@pytest.fixture
def config(tmp_path):
    """Read a fork.toml."""

    def read(text):
        path = tmp_path / "fork.toml"
        path.write_text(HEAD + text)
        return read_config(path)

    return read


def ids(cells):
    return [cell.id for cell in cells]


def test_short_list_stays_what_it_was(config):
    assert (
        ids(config(MATRIX).default_cells(LOCK))
        == ids(config("").default_cells(LOCK))
        == ["1@py311-new@quick", "2@py311-new@quick"]
    )
    assert ids(config("").matrix_cells(LOCK)) == ["1@py311-new@quick", "2@py311-new@quick"]


def test_matrix_is_the_product_of_the_axes_and_the_short_list(config):
    found = ids(config(MATRIX).matrix_cells(LOCK))
    places = [
        "@".join(filter(None, (f"2@py{python}-new", server, database, mode)))
        for python in ("311", "312")
        for server in ("quick", "slow")
        for database in (None, "big")
        for mode in (None, "loud")
    ]
    assert sorted(found) == sorted({"1@py311-new@quick", *places})
    assert len(set(found)) == len(found)
    assert found[0] == "1@py311-new@quick", "oldest release first"


@pytest.mark.parametrize(
    ("exclusion", "left_out"),
    [
        ('servers = ["slow"]', lambda cell: cell.server == "slow"),
        ('environments = ["py312-*"]', lambda cell: cell.environment == "py312-new"),
        (
            'databases = ["big"]\nmodes = ["loud"]',
            lambda cell: cell.database == "big" and cell.mode == "loud",
        ),
        (
            'databases = ["own"]\nmodes = ["profile"]',
            lambda cell: cell.database is None and cell.mode is None,
        ),
        ('releases = "<2"', lambda cell: False),
        ('releases = ">=2"', lambda cell: True),
    ],
)
def test_what_is_excluded_is_left_out_with_its_reason(config, exclusion, left_out):
    made = config(f'{MATRIX}\n[[matrix.exclude]]\nreason = "because"\n{exclusion}')
    for cell, reason in made.matrix_product(LOCK):
        assert reason == ("because" if left_out(cell) else None), cell.id
        assert (cell in made.matrix_cells(LOCK)) is (
            not left_out(cell) or cell.id == "2@py311-new@quick"
        )


def test_environment_of_both_lists_is_one(config):
    assert [item.id for item in config(MATRIX).all_environments] == ["py311-new", "py312-new"]
    assert config(MATRIX).environment("py312-new").python == "3.12"


def test_all_that_is_wrong_with_a_matrix_is_listed(config):
    text = (
        MATRIX.replace('"slow"]', '"slwo"]')
        .replace('"big"]', '"bgi"]')
        .replace('"loud"]', '"load"]')
        .replace("3.*", "2.*")
    )
    with pytest.raises(UsageError) as caught:
        config(text)
    assert [line for line in str(caught.value).splitlines() if "matrix" in line] == [
        "  - matrix.servers: there is no 'slwo'; did you mean slow?",
        "  - matrix.databases: there is no 'bgi'; did you mean big?",
        "  - matrix.modes: there is no 'load'; did you mean loud?",
        "  - matrix.environments: py311-new has other requirements than the environment of that id",
    ]


def test_exclusion_without_a_reason_is_refused(config):
    with pytest.raises(UsageError, match="reason: Field required"):
        config(f'{MATRIX}\n[[matrix.exclude]]\nservers = ["slow"]')


# Modes and differences

FAIL, PASS = Result(Outcome.FAILED, "no"), Result(Outcome.PASSED)


def scope(*cells):
    """Return a scope with a mode that decides and one that does not."""
    modes = {"loud": Settings.of({"LOUD": True}), "soft": Settings.of({"LOUD": False})}
    servers = {"crowd": Settings.of({"CLIENT": "many"})}
    return Scope(
        "tally",
        "2",
        "2",
        ("2",),
        (),
        cells,
        cells,
        None,
        {},
        modes=modes,
        advisory_modes={"loud": "it is loud"},
        servers=servers,
    )


def test_mode_that_does_not_decide_is_shown_and_counts_for_nothing():
    loud, soft = Cell("2", "new", None, None, "loud"), Cell("2", "new", None, None, "soft")
    tally = feature("a")
    found = Findings({("a", loud): Facts(bare=FAIL, series=FAIL), ("a", soft): Facts(bare=PASS)})
    (report,) = release_reports(scope(loud, soft), found, tally, [loud, soft])
    assert [cell.verdict for cell in report.cells] == [Verdict.BROKEN, Verdict.ABSORBED]
    assert report.verdict is Verdict.ABSORBED
    assert [str(cell.settings) for cell in report.cells] == ["LOUD=True", "LOUD=False"]


def test_settings_of_a_server_go_with_those_of_the_cell():
    one, crowd = Cell("2", "new", "one", None, "soft"), Cell("2", "new", "crowd", None, "soft")
    assert str(scope(one).settings(None, one)) == "LOUD=False"
    assert str(scope(crowd).settings(None, crowd)) == "CLIENT='many'; LOUD=False"


def test_what_nobody_tries_without_the_patch_is_needed_and_says_so():
    report = cell_report(Cell("2", "new", None), Facts(bare=FAIL, series=PASS, try_without=False))
    assert report.verdict is Verdict.NEEDED
    assert (
        report.detail
        == "bare upstream fails, the series passes: no (the series without the patch was not run)"
    )


@pytest.mark.parametrize(
    ("needed", "absorbed", "words"),
    [
        ([("new", "a"), ("new", "b")], [("old", "a"), ("old", "b")], "needed on new alone"),
        ([("new", "a"), ("old", "a")], [("new", "b"), ("old", "b")], "needed on a alone"),
        (
            [("new", "a"), ("old", "b")],
            [("new", "b"), ("old", "a")],
            "needed on 2@new@a, 2@old@b alone",
        ),
        ([("new", "a")], [("old", "a")], "needed on 2@new@a alone"),
    ],
)
def test_difference_names_the_axis_that_tells_the_cells_apart(needed, absorbed, words):
    cells = [cell_report(Cell("2", *place), Facts(bare=FAIL, try_series=False)) for place in needed]
    cells += [cell_report(Cell("2", *place), Facts(bare=PASS)) for place in absorbed]
    assert combine_cells("2", cells, Applies.UNTRIED, TextPresence.ABSENT).difference == words


# The project's own


def test_own_matrix_gives_every_axis_of_the_brief_a_cell():
    root = Path(__file__).parents[3]
    made = read_config(root / "fork.toml")
    from scripts.core.lockfile import read_lock

    lock = read_lock(root / "upstream" / "lock.toml")
    cells = made.matrix_cells(lock)
    assert {cell.release for cell in cells} == set(lock.versions)
    assert {cell.server for cell in cells} == {"redis6.2", "redis", "valkey9", "valkey", "cluster"}
    assert {cell.database for cell in cells} == {None, "postgresql"}
    assert {cell.mode for cell in cells} == {None, "default", "INSIDEOUT"}
    assert {cell.environment.partition("django")[2][:3] for cell in cells} == {
        "2.2",
        "3.0",
        "3.2",
        "4.2",
        "5.2",
        "6.0",
        "6.1",
    }
    assert set(made.default_cells(lock)) <= set(cells)
