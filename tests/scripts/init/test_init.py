"""`init`: a fork of any package, in every layout, from an index to a first `status`; all of it or nothing."""

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.harness import PROJECT, Fork, wait_until
from tests.support.local_index import LocalIndex, serving

pytestmark = pytest.mark.slow

INFO = "Metadata-Version: 2.1\nName: made-up-tally\nVersion: {}\n"
CODE = (
    "import importlib.metadata\n\nVERSION = importlib.metadata.version('made-up-tally')\n"
    "def add(a, b):\n    return a + b\n"
)
SETUP = """
from pathlib import Path
from setuptools import setup
folder = "src" if Path("src").exists() else "."
single = {{"py_modules": ["tally"]}} if Path(folder, "tally.py").exists() else {{"packages": ["tally"]}}
setup(name="made-up-tally", version="{}", package_dir={{"": folder}}, **single)
"""
LAYOUTS = {
    "flat": "tally/__init__.py",
    "src": "src/tally/__init__.py",
    "module": "tally.py",
    "src-module": "src/tally.py",
}


def upstream(code="tally.py", count=7):
    """Return an index with releases 1.0, 1.1, and so on."""
    index = LocalIndex()
    for number in range(count):
        version = f"1.{number}"
        files = {"PKG-INFO": INFO.format(version), code: CODE, "LICENSE": "Made up.\n"}
        index.add(version, files | {"setup.py": SETUP.format(version)})
    return index


def init(fork, index, *words, **env):
    with serving(index):
        return fork.run(
            "init",
            "made-up-tally",
            *words,
            PIP_INDEX_URL=index.address,
            NO_PROXY="127.0.0.1",
            **env,
        )


@pytest.fixture
def fork(tmp_path):
    return Fork(tmp_path / "fork")


def test_layouts_work_at_once(tmp_path):
    """One test, because the environment takes longest to make, and the forks can share it."""
    for name, code in LAYOUTS.items():
        fork = Fork(tmp_path / name)
        done = init(fork, upstream(code))
        assert done.code == 0, done.stderr
        assert f"{fork.root} is a fork of made-up-tally 1.6: tally, the " in done.stderr
        assert done.stderr.endswith(f"  next: cd {fork.root} && nox -s status\n")
        if name != "flat":
            (fork.root / ".fork/environments").symlink_to(tmp_path / "flat/.fork/environments")
        status = fork.run("status")
        assert status.code == 0, status.stdout + status.stderr
        assert status.stdout == (
            "Nothing to do: this fork has no patch yet, so it is made-up-tally 1.6 as it is.\n"
            "next: nox -s new -- ID\n\n"
            "the control probe passes in all 5 cells, on bare upstream\n"
        )
        assert fork.run("lint").code == 0


def test_control_probe_that_fails_is_said_so(fork):
    assert init(fork, upstream()).code == 0
    fork.append("tests/probes/test_control.py", "\n\ndef test_more():\n    assert 1 == 2\n")
    done = fork.run("status")
    assert done.code == 20
    assert done.stdout.startswith(
        "Somebody must look: the control probe fails in 5 of 5 cells, in 1.6@"
    )
    assert "\nnext: nox -s cell -- 1.6@" in done.stdout


def test_fork_says_what_was_chosen_and_tracks_the_newest_releases(fork):
    assert init(fork, upstream(), "--label", "acme").code == 0
    config = tomllib.loads(fork.read("fork.toml"))
    assert config["upstream"] == {"name": "made-up-tally", "track": ">=1.2"}
    assert config["wheel"]["label"] == "acme"
    assert config["overrides"]["package"] == "tally_overrides"
    assert [item["python"] for item in config["environments"]] == [
        f"{sys.version_info[0]}.{sys.version_info[1]}"
    ]
    lock = tomllib.loads(fork.read("upstream/lock.toml"))
    assert [item["version"] for item in lock["release"]] == ["1.2", "1.3", "1.4", "1.5", "1.6"]
    assert (fork.root / "upstream/src/tally.py").read_text() == CODE


def test_fork_carries_its_tools_and_begins_further_forks(fork, tmp_path):
    index = upstream()
    assert init(fork, index).code == 0
    groups = tomllib.loads(fork.read("pyproject.toml"))["dependency-groups"]
    assert set(groups) == {"tools", "wheel"}
    assert [need for need in groups["tools"] if isinstance(need, dict)] == [], "no server"
    with serving(index):
        done = subprocess.run(
            [sys.executable, "-m", "scripts", "init", "made-up-tally", "--repo", tmp_path / "next"],
            cwd=fork.root,
            env=os.environ | {"PIP_INDEX_URL": index.address, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "next/scripts/LICENSE").read_bytes() == (PROJECT / "LICENSE").read_bytes()


def test_every_session_of_the_noxfile_is_a_verb(fork):
    assert init(fork, upstream()).code == 0
    names = {}
    text = fork.read("noxfile.py")
    exec(text[text.index("VERBS = ") : text.index("GROUPS = ")], names)
    for verb in names["VERBS"]:
        assert fork.run(verb, "--help").code == 0
    assert {"status", "lint", "wheel"} <= set(names["VERBS"])
    assert not {"django", "chaos"} & set(names["VERBS"])


def test_tox_lists_the_cells_of_the_fork(fork):
    assert init(fork, upstream()).code == 0
    done = subprocess.run(
        [Path(sys.executable).with_name("tox"), "list"],
        cwd=fork.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cell = fork.run("matrix", "--list").stdout.splitlines()[-1]
    assert f"{cell} -> every probe on {cell.replace('@', ' with ')}" in " ".join(
        done.stdout.split()
    )


def test_files_that_exist_are_named_and_kept(fork):
    (fork.root / "patches").mkdir(parents=True)
    for name in ("README.md", "patches/series"):
        fork.write(name, "mine\n")
    done = init(fork, upstream())
    assert done.code == 2
    assert done.stderr == (
        f"error: {fork.root} has files that a fork needs to write; nothing is overwritten:\n"
        "  - README.md\n"
        "  - patches/series\n"
        "  next: move them away, run this again, then merge them by hand\n"
    )
    assert sorted(path.name for path in fork.root.rglob("*")) == ["README.md", "patches", "series"]


def test_folder_that_is_a_fork_is_refused(fork):
    assert init(fork, upstream()).code == 0
    before = fork.read("fork.toml")
    done = init(fork, upstream())
    assert (done.code, fork.read("fork.toml")) == (2, before)
    assert f"error: {fork.root} is a fork already: it has fork.toml" in done.stderr


def test_repository_keeps_its_history_and_its_other_files(fork):
    fork.root.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=fork.root, check=True)
    (fork.root / "tests").mkdir()
    fork.write("tests/notes.txt", "mine\n")
    assert init(fork, upstream()).code == 0
    assert fork.read("tests/notes.txt") == "mine\n"
    assert (fork.root / "tests/probes/test_control.py").exists()
    status = ["git", "status", "--porcelain", "--ignored", "--untracked-files=normal"]
    shown = subprocess.run(status, cwd=fork.root, capture_output=True, text=True).stdout
    assert "!! .fork/" in shown
    assert "!! upstream/src/" in shown


@pytest.mark.parametrize("existed", [True, False])
def test_index_that_fails_half_way_leaves_nothing(fork, existed):
    if existed:
        fork.root.mkdir()
    index = upstream()
    index.files["made_up_tally-1.3.tar.gz"].status = 404
    done = init(fork, index)
    assert done.code == 3
    assert list(fork.root.iterdir()) == [] if existed else not fork.root.exists()


def test_interrupted_run_leaves_nothing(fork):
    index = upstream()
    index.may_answer.clear()
    with serving(index):
        process = fork.start(
            "init", "made-up-tally", PIP_INDEX_URL=index.address, NO_PROXY="127.0.0.1"
        )
        wait_until(lambda: index.requests, "a request")
        os.killpg(process.pid, signal.SIGINT)
        index.may_answer.set()
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, fork.root.exists()) == (130, False), stderr


def test_unknown_package_is_said_so(fork):
    done = fork.run("init", "not a name")
    assert (done.code, done.stderr) == (
        2,
        "error: not the name of a package: 'not a name'\n  next: nox -s init -- --help\n",
    )
    index = LocalIndex(project="another")
    assert "no such project" in init(fork, index).stderr
    assert not fork.root.exists()


def test_module_that_is_not_clear_is_asked_for(fork):
    index = LocalIndex()
    files = {"PKG-INFO": INFO.format("1.0"), "count/__init__.py": CODE, "sums/__init__.py": CODE}
    index.add("1.0", files)
    done = init(fork, index)
    assert (done.code, done.stderr.splitlines()[-2:]) == (
        2,
        [
            "error: the files of made-up-tally leave open which module it installs: count, sums",
            "  next: nox -s init -- made-up-tally --module NAME",
        ],
    )
    assert "has no module lots; it has count, sums" in init(fork, index, "--module", "lots").stderr
    assert init(fork, index, "--module", "sums").code == 0
    assert (fork.root / "sums_overrides/__main__.py").exists()


def test_python_that_is_nowhere_is_asked_for(fork):
    index = LocalIndex()
    index.add("1.0", {"PKG-INFO": INFO.format("1.0"), "tally.py": CODE}, requires_python=">=3.20")
    done = init(fork, index)
    assert (done.code, fork.root.exists()) == (3, False)
    assert "requires Python >=3.20, and no such Python is here" in done.stderr
    assert "  next: uv python install 3.20\n" in done.stderr


# The wheel of such a fork


def test_equal_licences_do_not_fail_the_wheel_and_python_m_verifies_it(fork):
    assert init(fork, upstream(), "--label", "acme").code == 0
    fork.write("LICENSE", "Made up.\n")
    done = fork.run("wheel")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("made_up_tally-1.6+acme.1-py3-none-any.whl\n")
    python = next((fork.root / ".fork/environments").glob("wheel-*/bin/python"))
    shown = subprocess.run([python, "-m", "tally_overrides"], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, "made-up-tally 1.6+acme.1")
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    (site / "tally.py").write_text("changed\n")
    shown = subprocess.run([python, "-m", "tally_overrides"], capture_output=True, text=True)
    assert (shown.returncode, shown.stderr.splitlines()[0]) == (20, "changed: tally.py")


def test_wheel_without_a_licence_says_which_file_is_missing(fork):
    assert init(fork, upstream()).code == 0
    (fork.root / "LICENSE").unlink()
    done = fork.run("wheel", "--no-verify")
    assert done.code == 2
    assert done.stderr.endswith(
        "error: the wheel ships the fork's licence, and LICENSE cannot be read: "
        "No such file or directory\n"
        "  next: write LICENSE, or name another file in fork.toml: wheel.license\n"
    )


def test_package_of_every_fork_verifies_itself_with_the_same_code(fork):
    own = (PROJECT / "rover_overrides/__main__.py").read_bytes()
    assert init(fork, upstream()).code == 0
    assert (fork.root / "tally_overrides/__main__.py").read_bytes() == own


# The page


def test_commands_of_the_page_work_as_they_are_written(tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("scripts", "rover_overrides"):
        shutil.copytree(PROJECT / name, checkout / name)
    for name in ("LICENSE", "pyproject.toml", "fork.toml"):
        shutil.copy(PROJECT / name, checkout)
    text = (PROJECT / "docs/your-own-fork.md").read_text()
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    assert len(lines) > 5
    programs = tmp_path / "bin"
    programs.mkdir()
    # nox itself would install the tools, which are here already.
    nox = f'#!/bin/sh\nverb=$2; shift 2; [ "$1" = -- ] && shift\nexec {sys.executable} -m scripts "$verb" "$@"\n'
    (programs / "nox").write_text(nox)
    (programs / "nox").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    who = {
        f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["bash", "-euxc", "\n".join(lines)],
        cwd=checkout,
        env=os.environ | who | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to do: this fork has no patch yet" in done.stdout
