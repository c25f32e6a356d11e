"""The exit codes of the noxfile's sessions, which nox alone would flatten to 1."""

import runpy
import sys
import types
from pathlib import Path

import pytest

NOXFILE = Path(__file__).parents[3] / "noxfile.py"


class CommandFailedError(Exception):
    """What nox raises where a command of a session fails."""


class Session:
    """A session that writes down what it is asked for."""

    bin, env, name = "/bin", {"GONE": None}, "lint"

    def __init__(self, *posargs, offline=False):
        self.posargs, self.offline, self.logged = list(posargs), offline, []

    def install(self, *_):
        if self.offline:
            raise CommandFailedError

    def log(self, words):
        self.logged.append(words)


@pytest.fixture
def noxfile(monkeypatch):
    """Give the noxfile's names, with a stand-in for nox, and a dictionary of what each program ends with."""
    nox = types.ModuleType("nox")
    nox.session = lambda function=None, **_: function or (lambda it: it)
    nox.options = types.SimpleNamespace()
    nox.project = types.SimpleNamespace(load_toml=lambda _: {}, dependency_groups=lambda *_: [])
    command = types.ModuleType("nox.command")
    command.CommandFailed = CommandFailedError
    monkeypatch.setitem(sys.modules, "nox", nox)
    monkeypatch.setitem(sys.modules, "nox.command", command)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = runpy.run_path(str(NOXFILE))
    ran, codes = [], {}

    def run(words, **_):
        ran.append([str(word) for word in words[1:]])
        return types.SimpleNamespace(returncode=codes.get(words[2], 0))

    monkeypatch.setattr(names["subprocess"], "run", run)
    monkeypatch.setitem(
        names["install"].__globals__, "choose", lambda _: types.SimpleNamespace(environment=dict)
    )
    return types.SimpleNamespace(**names, ran=ran, codes=codes)


def ended(session, function):
    """Return the code that a session ends with."""
    try:
        function(session)
    except SystemExit as error:
        return int(error.code)
    return 0


@pytest.mark.parametrize(
    ("codes", "expected"),
    [({}, 0), ({"scripts": 2}, 2), ({"ruff": 1}, 20), ({"ruff": 1, "scripts": 2}, 2)],
)
def test_lint_ends_with_the_code_of_what_is_wrong_and_runs_everything(noxfile, codes, expected):
    noxfile.codes.update(codes)
    assert ended(Session(), noxfile.lint) == expected
    assert noxfile.ran == [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "scripts", "lint"],
    ]


def test_lint_sums_up_what_found_something_at_the_end(noxfile):
    noxfile.codes.update({"ruff": 1, "scripts": 2})
    session = Session()
    ended(session, noxfile.lint)
    assert session.logged == [
        "checked: ruff check .; ruff format --check .; scripts lint",
        "not in order: ruff check .; ruff format --check .; scripts lint",
        "`nox -s lint -- --write` mends what can be mended; each finding above says what mends it",
    ]


def test_lint_that_writes_lets_every_check_mend_what_it_can(noxfile):
    noxfile.codes["scripts"] = 2
    session = Session("--write")
    assert ended(session, noxfile.lint) == 2
    assert noxfile.ran == [
        ["-m", "ruff", "check", "--fix", "."],
        ["-m", "ruff", "format", "."],
        ["-m", "scripts", "lint", "--write"],
    ]
    assert session.logged == [
        "checked: ruff check --fix .; ruff format .; scripts lint --write",
        "not in order: scripts lint --write",
        "each finding above says what mends it",
    ]


def test_lint_gives_other_words_to_the_verb_alone(noxfile):
    session = Session("--help")
    assert ended(session, noxfile.lint) == 0
    assert (noxfile.ran, session.logged) == ([["-m", "scripts", "lint", "--help"]], [])


def test_tools_that_cannot_be_installed_are_the_environments_fault(noxfile):
    session = Session(offline=True)
    assert ended(session, noxfile.status) == 3
    assert session.logged == [
        "the tools could not be installed: check the network and the index, then run this again"
    ]


def test_cell_runs_the_verb_of_its_name(noxfile):
    session = Session("7.2@py311")
    session.name = "cell"
    noxfile.codes["scripts"] = 20
    assert ended(session, noxfile.cell) == 20
    assert noxfile.ran == [["-m", "scripts", "cell", "7.2@py311"]]
