"""`probe`: a feature is tried on the imported tree as it stands, before anything is exported."""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress

import pytest

from tests.support.harness import (
    PATIENCE_SECONDS,
    PROJECT,
    TRIM_PROBE,
    WAITING_PROBE,
    command,
    copy_fork,
    wait_until,
)
from tests.support.rebasing import content_of

pytestmark = pytest.mark.slow

TRIMMED = "return trim(line).capitalize()"
DROP_ALL_PROBE = "tests/probes/test_drop_all.py"
DROP_ALL = """from larder.shelf import Shelf


def test_all_is_dropped():
    assert hasattr(Shelf(), "drop_all"), "nothing can be dropped at once"
"""
NEEDS_FAR_FUTURE = '"""Drop all.\n\nA shelf is cleared often.\n\nNeeds: pytest>=1000\n"""\n\n'


@pytest.fixture(scope="module")
def imported_once(template, tmp_path_factory):
    """Return a fork whose imported tree stands on the locked release."""
    fork = copy_fork(template, tmp_path_factory.mktemp("imported") / "fork")
    assert fork.run("import").code == 0
    git(fork, "rebase", "--quiet", "2.0")
    return fork


@pytest.fixture
def imported(imported_once, tmp_path):
    """Return a copy of that fork to edit."""
    return copy_fork(imported_once, tmp_path / "fork")


def git(fork, *words):
    identity = {
        f"GIT_{who}_{what}": "rover@rover"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    subprocess.run(
        ["git", *words], cwd=fork.root / ".fork/series", env=os.environ | identity, check=True
    )


def edit(fork, file, old, new):
    fork.replace(f".fork/series/{file}", old, new)


def leftovers(fork):
    """List what a run must not leave: temporary folders, and interpreters that belong to it."""
    found = [path.name for path in (fork.root / ".fork").glob("tmp-*")]
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return found + [line for line in processes.stdout.splitlines() if str(fork.root) in line]


# The tree


def test_feature_passes_on_the_imported_tree_and_fails_bare(imported):
    done = imported.run("probe", "trim-headings")
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "trim-headings: passes on your tree, and fails on bare 2.0, as it must",
        "  tests/probes/test_trim_headings.py in 2.0@plain",
        "    .fork/series  passes (2 passed)",
        "    bare 2.0      fails (1 failed, 1 left out after it)",
        "      test_heading_has_no_space_around_it: AssertionError: assert ' bread ' == 'Bread'",
    ]
    assert done.stderr.endswith("\nnext: nox -s export\n")
    imported.run("export")
    done = imported.run("probe", "trim-headings")
    assert done.stderr.endswith("\nnext: nox -s status -- --patch trim-headings\n")


def test_what_is_in_no_commit_counts_and_its_failure_is_shown_as_pytest_does(imported):
    edit(imported, "larder/labels.py", TRIMMED, "return line.capitalize()")
    before = content_of(imported.root)
    done = imported.run("probe", "trim-headings")
    assert done.code == 20, done.stderr
    assert done.stdout.splitlines()[:9] == [
        "trim-headings: fails on your tree",
        "  tests/probes/test_trim_headings.py in 2.0@plain",
        "    .fork/series  fails (1 failed, 1 left out after it)",
        "      tests/probes/test_trim_headings.py:5: in test_heading_has_no_space_around_it",
        '          assert heading(" bread ") == "Bread"',
        "      E   AssertionError: assert ' bread ' == 'Bread'",
        "      E",
        "      E     - Bread",
        "      E     +  bread",
    ]
    assert content_of(imported.root) == before
    assert leftovers(imported) == []


def test_failure_is_shown_again_without_another_run(imported):
    edit(imported, "larder/labels.py", TRIMMED, "return line.capitalize()")
    first, second = (imported.run("probe", "trim-headings") for _ in range(2))
    assert ("probing" in first.stderr, "probing" in second.stderr) == (True, False)
    assert first.stdout == second.stdout


def test_file_that_git_does_not_know_yet_is_in_the_tree_and_a_removed_one_is_not(imported):
    (imported.root / ".fork/series/larder/cut.py").write_text("cut = str.strip\n")
    (imported.root / ".fork/series/larder/prices.py").unlink()
    edit(
        imported,
        "larder/labels.py",
        "from larder_overrides.trim import trim",
        "from larder.cut import cut as trim",
    )
    imported.write(
        DROP_ALL_PROBE,
        "import pytest\n\n\ndef test_no_prices():\n    with pytest.raises(ImportError):\n        import larder.prices\n",
    )
    done = imported.run("probe", "trim-headings", "drop-all")
    assert done.code == 0, done.stdout + done.stderr


def test_override_modules_of_the_work_tree_are_beside_it_also_without_a_patch(imported):
    imported.write("larder_overrides/new_trim.py", "trim = str.strip\n")
    edit(imported, "larder/labels.py", "larder_overrides.trim", "larder_overrides.new_trim")
    assert imported.run("probe", "trim-headings").code == 0
    imported.write("larder_overrides/new_trim.py", "trim = str.lower\n")
    assert imported.run("probe", "trim-headings").code == 20


def test_override_module_in_the_imported_tree_is_refused_with_its_place(imported):
    (imported.root / ".fork/series/larder_overrides").mkdir()
    imported.write(".fork/series/larder_overrides/new_trim.py", "trim = str.strip\n")
    there = ".fork/series/larder_overrides/new_trim.py"
    done = imported.run("probe", "trim-headings")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: override modules are files of larder_overrides/ in the repository, not in {imported.root / '.fork/series'}:\n"
        f"  - larder_overrides/new_trim.py: it is only in {there}, and no tree is built with it\n"
        f"      fix: mv {there} larder_overrides/new_trim.py\n"
        f"       or: rm {there}\n"
        "  next: do what stands below each, then run this again\n"
    )


def test_module_that_cannot_be_imported_is_named_with_its_place(imported):
    edit(imported, "larder/labels.py", "import trim", "import trimm")
    done = imported.run("probe", "trim-headings", "--no-bare")
    assert done.code == 20
    assert done.stdout.splitlines()[:4] == [
        "trim-headings: ends with an error on your tree",
        "  tests/probes/test_trim_headings.py in 2.0@plain",
        "    .fork/series  ends with an error",
        "      tests/probes/test_trim_headings.py:1: in <module>",
    ]
    assert "      larder/labels.py:1: in <module>" in done.stdout.splitlines()
    assert (
        "E   ImportError: cannot import name 'trimm' from 'larder_overrides.trim' (larder_overrides/trim.py)"
        in done.stdout
    )
    assert "tmp-" not in done.stdout


def test_tree_that_breaks_the_control_probe_says_so_and_nothing_else(imported):
    edit(imported, "larder/__init__.py", "SETTINGS = {", "SETTINGS = ({")
    done = imported.run("probe", "trim-headings", "--no-bare")
    assert done.code == 20
    assert done.stdout.splitlines()[:3] == [
        "trim-headings: the control probe does not pass on your tree, so nothing else counts",
        "  tests/probes/test_control.py in 2.0@plain",
        "    .fork/series  ends with an error",
    ]
    assert "SyntaxError: '(' was never closed" in done.stdout


def test_tree_elsewhere_is_tried(imported):
    (imported.root / ".fork/series").rename(imported.root / "elsewhere")
    place = imported.root / "elsewhere"
    done = imported.run("probe", "trim-headings", "--tree", str(place))
    assert done.code == 0, done.stderr
    assert "    elsewhere  passes (2 passed)" in done.stdout.splitlines()
    assert done.stderr.endswith(f"\nnext: nox -s export -- {place}\n")


def test_tree_of_an_older_release_is_tried_on_that_one(fork):
    fork.run("import")
    done = fork.run("probe", "trim-headings", "count-hits")
    place = fork.root / ".fork/series"
    assert done.stderr.startswith(
        f"{place} is based on 1.1, so it is tried there; 2.0 is locked\n"
        f"  next: git -C {place} rebase 2.0\n"
    )
    assert (
        "trim-headings: passes on your tree, and fails on bare 1.1, as it must"
        in done.stdout.splitlines()
    )
    assert (
        "count-hits: fails on your tree; upstream has it since 2.0, and your tree is based on 1.1"
        in done.stdout.splitlines()
    )


# What is tried


def test_probe_file_is_tried_before_its_patch_is_there(imported):
    imported.write(DROP_ALL_PROBE, DROP_ALL)
    done = imported.run("probe", "drop-all")
    assert done.code == 20
    assert "E   AssertionError: nothing can be dropped at once" in done.stdout
    path = ".fork/series/larder/shelf.py"
    imported.append(path, "\n    def drop_all(self):\n        self.jars = {}\n")
    done = imported.run("probe", "drop-all")
    assert done.code == 0, done.stdout
    assert (
        done.stdout.splitlines()[0]
        == "drop-all: passes on your tree, and fails on bare 2.0, as it must"
    )
    git = f"git -C {imported.root / '.fork/series'}"
    assert done.stderr.endswith(
        "\nnext, if it is a patch of its own:\n"
        f"      {git} add --all && {git} commit && nox -s export\n"
        "  or, if it belongs to `Trim headings`:\n"
        f"      {git} add --all && {git} commit --amend && nox -s export\n"
    )


def test_probe_that_passes_bare_proves_nothing(imported):
    imported.write(DROP_ALL_PROBE, DROP_ALL.replace("drop_all", "drop"))
    done = imported.run("probe", "drop-all")
    assert done.code == 20
    assert done.stdout.splitlines() == [
        "drop-all: passes on your tree, but it proves nothing: bare 2.0 passes it too",
        "  tests/probes/test_drop_all.py in 2.0@plain",
        "    .fork/series  passes (1 passed)",
        "    bare 2.0      passes (1 passed)",
    ]
    next_step = f"\nnext: assert in {DROP_ALL_PROBE} what upstream lacks, then try again:\n"
    assert next_step in done.stderr
    assert done.stderr.rstrip().endswith("probe drop-all")


def test_status_of_a_probe_without_an_exported_patch_says_what_comes_next(imported):
    imported.write(DROP_ALL_PROBE, DROP_ALL)
    ask = lambda: imported.run("status", "--patch", "drop-all").stderr
    missing = "error: drop-all has a probe file but no patch yet\n  next: "
    assert ask() == f"{missing}nox -s new -- drop-all\n"
    imported.run("new", "drop-all", "--module", "drop_all")
    assert ask() == f"{missing}nox -s probe -- drop-all\n"
    imported.append(".fork/series/larder/shelf.py", "\n    def drop_all(self):\n        pass\n")
    assert "commit --template=.git/new-patches/drop-all && nox -s export\n" in ask()
    message = "Drop all\n\nIt is needed.\n\nId: drop-all\nFeatures: drop-all\n"
    git(imported, "commit", "--quiet", "--all", "-m", message)
    assert ask() == f"{missing}nox -s export\n"
    git(imported, "commit", "--quiet", "--amend", "-m", "Drop everything")
    assert ask() == f"{missing}nox -s export\n", "which says what the message lacks"


def test_status_of_a_commit_that_is_not_exported_names_it(imported):
    message = "Drop all\n\nIt is needed.\n\nId: drop-all\n\nFeatures: hits-only\n"
    git(imported, "commit", "--quiet", "--allow-empty", "-m", message)
    for name in ("drop-all", "hits-only"):
        done = imported.run("status", "--patch", name)
        assert re.fullmatch(
            rf"error: {name} is in the commit [0-9a-f]+ Drop all, which is not exported\n"
            "  next: nox -s export\n",
            done.stderr,
        )


def test_report_says_what_the_imported_tree_has_besides(fork):
    assert fork.run("import").code == 0
    ask = lambda *words: fork.run("status", "--format", "json", *words)
    done = ask()
    assert (done.code, "warning" in done.stderr) == (0, False)
    told = lambda work: (
        f"\nwarning: .fork/series has {work}, and this report is about patches/\n"
        "  next: nox -s export\n"
    )
    fork.append(".fork/series/larder/labels.py", "\nMORE = 1\n")
    done = ask()
    assert done.stderr.endswith(told("changes that are in no commit"))
    assert (done.code, done.verdicts["trim-headings"]) == (0, "needed")
    git(fork, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert ask().stderr.endswith(told("commits that are not exported"))
    fork.append(".fork/series/larder/labels.py", "\nMORE = 2\n")
    both = "commits that are not exported and changes that are in no commit"
    assert ask("--patch", "trim-headings").stderr.endswith(told(both))
    assert fork.run("cell", "2.0@plain").stderr.endswith(told(both))
    git(fork, "checkout", "--quiet", "--", ".")
    assert fork.run("export").code == 0
    assert "warning" not in ask().stderr


def test_needed_feature_that_is_in_no_commit_here_is_to_be_committed(fork):
    run = lambda *words: subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@b", *words], cwd=fork.root, check=True
    )
    ask = lambda *words: fork.run("status", *words).stderr
    words = ("--patch", "trim-headings")
    assert "git commit" not in ask(*words)
    run("init", "--quiet")
    patch = "patches/0001-trim-headings.patch"
    commit = "next: git add --all && git commit"
    shown = lambda *names: f"\nnot committed here yet: {', '.join(names)}\n  {commit}\n"
    fork.write("README.md", "A fork.\n")
    run("add", "README.md")
    run("commit", "--quiet", "--message", "Begin")
    module = "larder_overrides/trim.py"
    assert ask(*words).endswith(shown(module, patch, "patches/series"))
    assert "git commit" not in ask()
    fork.append("README.md", "More.\n")
    assert ask(*words).endswith(shown("README.md", module, patch, "patches/series"))
    run("add", "README.md", "larder_overrides", "patches", "tests")
    run("commit", "--quiet", "--message", "All")
    assert "git commit" not in ask(*words)


def test_probe_that_fails_on_the_tree_says_what_comes_next(imported):
    edit(imported, "larder/labels.py", TRIMMED, "return line.capitalize()")
    said = imported.run("probe", "trim-headings").stderr
    assert f"\nnext: edit the tree or {TRIM_PROBE} until it passes, then try again:\n" in said


def test_error_on_bare_is_no_proof_either(imported):
    imported.write(DROP_ALL_PROBE, "import larder_overrides\n\n\ndef test_it():\n    pass\n")
    done = imported.run("probe", "drop-all")
    assert done.code == 20
    assert (
        done.stdout.splitlines()[0]
        == "drop-all: passes on your tree, but ends with an error on bare 2.0 instead of a failed assertion"
    )
    assert "E   ModuleNotFoundError: No module named 'larder_overrides'" in done.stdout


def test_new_feature_is_in_the_list_of_the_tree_with_those_of_the_branch(imported):
    imported.write(
        DROP_ALL_PROBE,
        "def test_listed():\n"
        "    try:\n"
        "        from larder_overrides._series import FEATURES\n"
        "    except ImportError:\n"
        "        FEATURES = ()\n"
        '    assert FEATURES == ("trim-headings", "drop-all")\n',
    )
    assert imported.run("probe", "drop-all").code == 0


def test_bare_is_left_out(imported):
    done = imported.run("probe", "trim-headings", "--no-bare")
    assert done.code == 0
    assert done.stdout.splitlines() == [
        "trim-headings: passes on your tree (bare 2.0 was not tried)",
        "  tests/probes/test_trim_headings.py in 2.0@plain",
        "    .fork/series  passes (2 passed)",
    ]


def test_retired_feature_must_pass_on_both(imported):
    done = imported.run("probe", "count-hits", "fold-names")
    assert done.code == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line[:1].strip()] == [
        f"{name}: passes on your tree, and on bare 2.0, as it must: it is retired"
        for name in ("count-hits", "fold-names")
    ]


def test_patch_stands_for_all_of_its_features(fork):
    fork.apply_situation("features_together")
    assert fork.run("import").code == 0
    done = fork.run("probe", "plain-figures")
    assert done.code == 0, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if line[:1].strip()] == [
        "number-of-hits",
        "whole-unit-names",
    ]


# What is stored


def test_tree_as_exported_is_known_from_status_under_the_same_settings(imported):
    done = imported.run("probe", "trim-headings")
    assert (done.code, "probing" in done.stderr) == (0, False)


def test_status_knows_nothing_of_a_tree_that_is_not_exported(imported):
    edit(imported, "larder/labels.py", TRIMMED, "return line.capitalize()")
    assert imported.run("probe", "trim-headings").code == 20
    done = imported.status()
    assert (done.code, done.verdicts["trim-headings"], done.probe_processes_run) == (0, "needed", 0)


# Wrong use


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["trim-heading"],
            (
                "error: there is no feature, patch or new probe file trim-heading; did you mean trim-headings?\n"
                "  next: nox -s probe -- trim-headings\n"
            ),
        ),
        (
            ["drop-al"],
            (
                "error: there is no feature, patch or new probe file drop-al; did you mean drop-all?\n"
                "  next: nox -s probe -- drop-all\n"
            ),
        ),
        (
            ["control"],
            (
                "error: there is no feature, patch or new probe file control; known: count-hits, drop-all, fold-names, trim-headings\n"
                "  next: nox -s status\n"
            ),
        ),
        (
            ["2.0@plain"],
            (
                "error: there is no feature, patch or new probe file 2.0@plain; known: trim-headings, drop-all, fold-names, count-hits\n"
                "  next: nox -s cell -- 2.0@plain\n"
            ),
        ),
        (
            ["drop-all", "--cell", "2.0@plane"],
            (
                "error: there is no cell 2.0@plane; did you mean 2.0@plain?\n"
                "  next: nox -s matrix -- --list\n"
            ),
        ),
        (
            ["drop-all", "--cell", "1.1@plain"],
            (
                "error: 1.1@plain is a cell of 1.1, and the imported tree is based on 2.0\n"
                "  next: nox -s matrix -- --list\n"
            ),
        ),
    ],
)
def test_unknown_name_gets_its_near_miss(imported, words, complaint):
    imported.write(DROP_ALL_PROBE, DROP_ALL)
    done = imported.run("probe", *words)
    assert (done.code, done.stdout, done.stderr) == (2, "", complaint)


@pytest.mark.parametrize("folder", ["", "elsewhere"])
def test_fork_without_an_imported_tree_is_told_to_import(fork, folder):
    done = fork.run("probe", "trim-headings", *(["--tree", folder] if folder else []))
    hint = f"nox -s import{' -- elsewhere' if folder else ''}"
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.endswith(f"\n  next: {hint}\n")
    assert done.stderr.startswith("error: there is no imported tree in ")


def test_feature_that_no_cell_here_runs_says_why(imported):
    imported.write(DROP_ALL_PROBE, NEEDS_FAR_FUTURE + DROP_ALL)
    done = imported.run("probe", "drop-all")
    assert done.code == 3
    assert done.stderr == (
        "error: drop-all cannot be tried here:\n"
        "  - 2.0@plain: the feature needs pytest>=1000\n"
        "  next: provide what is missing, or give another cell with --cell NAME\n"
    )


# At each save, and Ctrl-C


class Watch:
    """A running `probe --watch`, which is killed if it says nothing for too long."""

    def __init__(self, process):
        self.process = process
        self.timer = threading.Timer(PATIENCE_SECONDS, process.kill)
        self.timer.daemon = True  # pytest need not wait for it
        self.timer.start()

    def says(self, text):
        for line in self.process.stdout:
            if text in line:
                return
        pytest.fail(f"it ended without saying {text!r}")

    def interrupt(self):
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.communicate()
        return self.process.returncode

    def close(self):
        self.timer.cancel()
        with suppress(ProcessLookupError):  # as a test left it that failed or was interrupted
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def watching():
    """Return what starts `probe trim-headings --watch` in a fork; the test's end kills it."""
    with ExitStack() as stack:

        def start(fork, **env):
            watch = Watch(fork.start("probe", "trim-headings", "--watch", **env))
            stack.callback(watch.close)
            return watch

        yield start


def test_saves_of_the_tree_an_override_and_a_probe_are_each_followed_by_a_run(imported, watching):
    watch = watching(imported)
    watch.says("trim-headings: passes on your tree")
    edit(imported, "larder/labels.py", TRIMMED, "return line.capitalize()")
    watch.says("trim-headings: fails on your tree")
    edit(imported, "larder/labels.py", "return line.capitalize()", TRIMMED)
    watch.says("trim-headings: passes on your tree")
    imported.replace("larder_overrides/trim.py", "text.strip()", "text")
    watch.says("trim-headings: fails on your tree")
    imported.replace(TRIM_PROBE, '== "Bread"', '!= "Bread"')
    watch.says("trim-headings: passes on your tree, but it proves nothing")
    assert watch.interrupt() == 130
    assert leftovers(imported) == []


def test_mistake_between_two_saves_does_not_end_the_watch(imported, watching):
    watch = watching(imported)
    watch.says("trim-headings: passes on your tree")
    probe = imported.read(TRIM_PROBE)
    (imported.root / TRIM_PROBE).unlink()
    for line in watch.process.stderr:
        if "trim-headings has no probe" in line:
            break
    imported.write(TRIM_PROBE, probe)
    watch.says("trim-headings: passes on your tree")
    assert watch.interrupt() == 130


def test_wrong_use_ends_the_watch_at_once(imported):
    assert imported.run("probe", "trim-heading", "--watch").code == 2


def test_other_commands_work_while_it_waits(imported, watching):
    watch = watching(imported)
    watch.says("trim-headings: passes on your tree")
    for line in watch.process.stderr:
        if "waiting for a save" in line:
            break
    done = imported.run("export")
    assert (done.code, "another run" in done.stderr) == (0, False)
    assert watch.interrupt() == 130


def test_ctrl_c_in_the_middle_of_a_run_leaves_nothing(imported, watching, tmp_path):
    imported.append(TRIM_PROBE, WAITING_PROBE)
    started = tmp_path / "started"
    watch = watching(imported, LARDER_STARTED=str(started))
    wait_until(started.exists, "the probe that waits")
    assert watch.interrupt() == 130
    assert leftovers(imported) == []


def test_sigterm_in_the_middle_of_a_run_leaves_nothing(imported, watching, tmp_path):
    imported.append(TRIM_PROBE, WAITING_PROBE)
    started = tmp_path / "started"
    watch = watching(imported, LARDER_STARTED=str(started))
    wait_until(started.exists, "the probe that waits")
    watch.process.terminate()
    watch.process.communicate()
    assert watch.process.returncode == 130
    assert leftovers(imported) == []


STARTER = "import subprocess, sys; subprocess.run(sys.argv[1:], start_new_session=True)"
"""A program that starts another one, which a signal to the first does not reach."""


@pytest.mark.parametrize("in_a_run", [True, False])
def test_death_of_what_started_it_leaves_nothing(imported, tmp_path, in_a_run):
    started = tmp_path / "started"
    if in_a_run:
        imported.append(TRIM_PROBE, WAITING_PROBE)
    words = command(imported.root, ["probe", "trim-headings", "--watch"])
    env = os.environ | {"LARDER_STARTED": str(started)}
    with (tmp_path / "said").open("w") as said:
        parent = subprocess.Popen(
            [sys.executable, "-c", STARTER, *map(str, words)], cwd=PROJECT, env=env, stderr=said
        )
    wait_until(
        lambda: started.exists() or "waiting for a save" in (tmp_path / "said").read_text(),
        "the probe that waits, or the wait for a save",
    )
    assert started.exists() is in_a_run
    parent.kill()
    parent.wait()
    wait_until(lambda: "stopped; " in (tmp_path / "said").read_text(), "its last words")
    wait_until(lambda: leftovers(imported) == [], "the end of every process")
