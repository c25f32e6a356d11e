"""A patch on its way to upstream: the branch, its test, upstream's own tests, and what comes of it."""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass

import pytest

from tests.support.harness import Fork, copy_fork, make_once, wait_until
from tests.support.upstream_history import CAPITALIZED_LINE, STRIPPED_LINE, UpstreamHistory

ID = "trim-headings"
PATCH = "patches/0001-trim-headings.patch"
TEST = f"tests/forward/{ID}/tests/test_spaces.py"
ADDRESS = "https://example.org/larder/pull/7"
SUITE = """
[suite]
files = ["tests"]
tests = ["tests"]
command = [
    "{python}", "-m", "pytest", "-c", "/dev/null", "--rootdir", "{folder}", "-p", "no:cacheprovider",
    "--report-log", "{log}",
]
"""
OWN_TESTS = """\
from larder.labels import heading


def test_heading():
    assert heading("rye bread") == "Rye bread"


def test_fails_everywhere():
    assert not "upstream's own bug"
"""
NEW_TEST = """\
from larder.labels import heading


def test_space_around_a_heading():
    assert heading(" bread ") == "Bread"
"""
ANN = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ann Other"), ("EMAIL", "ann@example.org"))
}


@dataclass(frozen=True)
class ForwardingFork(Fork):
    """A fork that knows how upstream's tests run, and watches upstream's repository."""

    @property
    def place(self):
        return self.root / ".fork/forward" / ID

    def forward(self, *words, **env):
        return self.run("forward", *(words or [ID]), **ANN | env)

    def git(self, *words):
        done = subprocess.run(
            ["git", "-C", self.place, *words],
            check=True,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", **ANN},
        )
        return done.stdout.strip()

    def leftovers(self):
        """Return what is in .fork of a work tree, or half done."""
        work = self.root / ".fork"
        found = [
            *work.glob("tmp-*"),
            *work.glob("forward/*"),
            *work.glob("upstream.git/worktrees/*"),
        ]
        return sorted(str(path.relative_to(work)) for path in found)

    def write_test(self, text=NEW_TEST, name=TEST):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        self.write(name, text)


def make_forwarding(folder, template):
    """Make a fork, and upstream's repository with tests; forward once, so that little is left to run."""
    fork = ForwardingFork(copy_fork(template, folder / "fork").root)
    history = UpstreamHistory(
        folder / "upstream", fork.root / ".fork/sdists", ["1.0", "1.1", "2.0"]
    )
    (history.root / "tests").mkdir()
    (history.root / "tests/test_labels.py").write_text(OWN_TESTS)
    history.commit("Add tests")
    fork.append("fork.toml", SUITE)
    fork.write_test()
    done = fork.forward(ID, f"git:{history.root}@main")
    assert done.code == 0, done.stderr
    shutil.rmtree(fork.root / ".fork/forward")


@pytest.fixture(scope="session")
def forwarding(template, tmp_path_factory, worker_id):
    """Return the folder of a fork that has forwarded once, and of upstream's repository."""
    return make_once(
        tmp_path_factory, worker_id, "forwarding", lambda folder: make_forwarding(folder, template)
    )


@pytest.fixture
def history(forwarding, tmp_path):
    """Return upstream's repository, in which a test may commit."""
    shutil.copytree(forwarding / "upstream", tmp_path / "upstream")
    made = object.__new__(UpstreamHistory)
    made.root = tmp_path / "upstream"
    return made


@pytest.fixture
def fork(forwarding, history, tmp_path):
    """Return the fork, with the test of its patch, watching the repository."""
    made = ForwardingFork(copy_fork(Fork(forwarding / "fork"), tmp_path / "fork").root)
    made.replace(
        "fork.toml", 'track = ">=1"', f'track = ">=1"\nwatch = ["git:{history.root}@main"]'
    )
    return made


# The branch and the text


def test_patch_becomes_one_commit_of_the_user_on_the_newest_commit(fork, history):
    newest = history.unrelated("Something else")
    done = fork.forward()
    assert done.code == 0, done.stderr
    assert fork.git("rev-parse", f"{ID}^") == newest
    assert fork.git("log", "-1", "--format=%an <%ae>, %cn <%ce>%n%B") == (
        "Ann Other <ann@example.org>, Ann Other <ann@example.org>\n"
        "Trim headings\n\n"
        "A heading with white space around it sorts before all others."
    )
    assert fork.git("status", "--porcelain", "--branch") == f"## {ID}"
    assert fork.git("show", "--name-status", "--format=").splitlines() == [
        "M\tlarder/labels.py",
        "A\tlarder/trim.py",
        "A\ttests/test_spaces.py",
    ]
    assert (
        fork.git("grep", "-c", "from larder.trim import trim")
        == f"{ID}:larder/labels.py:1"[len(ID) + 1 :]
    )
    assert fork.git("remote", "get-url", "upstream") == str(history.root)
    assert fork.leftovers() == [f"forward/{ID}", f"forward/{ID}.md"]


def test_text_has_the_evidence_and_the_output_says_where_it_is(fork, history):
    newest = history.git("rev-parse", "HEAD")
    done = fork.forward()
    assert done.stdout.splitlines() == [
        f"branch {ID} in {fork.place}",
        f"text {fork.place}.md",
    ]
    assert f"  then: nox -s forward -- {ID} --sent ADDRESS\n" in done.stderr
    assert fork.read(f".fork/forward/{ID}.md") == (
        "# Trim headings\n\n"
        "A heading with white space around it sorts before all others.\n\n"
        "## What changes\n\n"
        "- `larder/labels.py`: 4 added, 1 removed\n"
        "- `larder/trim.py`: new, 6 lines\n"
        "- `tests/test_spaces.py`: new, 4 lines, the test\n\n"
        "## Tests\n\n"
        f"- On made-up-larder, commit {newest[:10]} (main of {history.root}).\n"
        "- `tests/test_spaces.py`: 1 of 1 tests fail without the change, and all pass with it: plain.\n"
        "- The existing tests: 1 pass without the change, and 1 of these with it: plain.\n"
    ).replace("new, 4 lines", "new, 5 lines")


def test_release_gives_a_branch_on_one_commit(fork):
    done = fork.forward(ID, "2.0")
    assert done.code == 0, done.stderr
    assert fork.git("log", "--format=%s").splitlines() == ["Trim headings", "made-up-larder 2.0"]
    assert "The source brings no tests of its own.\n" in fork.read(f".fork/forward/{ID}.md")
    assert "made-up-larder 2.0 brings no tests of its own" in done.stderr
    assert "git cherry-pick FETCH_HEAD" in done.stderr


def test_without_a_watched_repository_it_is_the_locked_release(fork, history):
    fork.replace("fork.toml", f'watch = ["git:{history.root}@main"]', "")
    assert fork.forward().code == 0
    assert fork.git("log", "-1", "--format=%s", "HEAD^") == "made-up-larder 2.0"


def test_checkout_is_taken_as_it_stands(fork, history):
    (history.root / "new.txt").write_text("not committed")
    assert fork.forward(ID, f"path:{history.root}").code == 0
    assert fork.git("cat-file", "-p", "HEAD^:new.txt") == "not committed"
    assert fork.git("rev-list", "--count", "HEAD") == "2"


def test_it_starts_anew_where_nobody_worked(fork, history):
    assert fork.forward().code == 0
    newest = history.unrelated("More")
    assert fork.forward().code == 0
    assert fork.git("rev-parse", "HEAD^") == newest


# The test


def test_without_a_test_it_writes_a_template_and_stops(fork):
    shutil.rmtree(fork.root / "tests/forward")
    done = fork.forward()
    template = f"tests/forward/{ID}/tests/test_trim_headings.py"
    assert (done.code, done.stdout, fork.leftovers()) == (20, "", [])
    assert f"    {template}\n" in done.stderr
    assert "# A heading with white space around it sorts before all others." in fork.read(template)
    again = fork.forward()
    assert (again.code, fork.leftovers()) == (20, [])
    assert f"  - {template}: it is still the template\n" in again.stderr


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            '" bread "',
            '"bread"',
            "  - it passes without the change, too, so it proves nothing (tried in plain)\n",
        ),
        (
            '"Bread"',
            '"Loaf"',
            "  - tests/test_spaces.py::test_space_around_a_heading fails with the change (default, plain): ",
        ),
    ],
)
def test_test_that_does_not_show_the_change_stops_it(fork, old, new, complaint):
    fork.replace(TEST, old, new)
    done = fork.forward()
    assert (done.code, done.stdout, fork.leftovers()) == (20, "", [])
    assert complaint in done.stderr
    assert done.stderr.endswith(f"  next: mend the test, then `nox -s forward -- {ID}`\n")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("tests/test_labels.py", "upstream has a file of that name"),
        ("larder/test_it.py", "upstream's tests are in tests, and it is outside of that"),
    ],
)
def test_file_in_the_wrong_place_stops_it(fork, name, complaint):
    fork.write_test(name=f"tests/forward/{ID}/{name}")
    done = fork.forward()
    assert (done.code, fork.leftovers()) == (20, [])
    assert f"  - tests/forward/{ID}/{name}: {complaint}\n" in done.stderr


def test_new_failure_of_upstreams_own_tests_stops_it(fork, history):
    tests = history.root / "tests/test_labels.py"
    tests.write_text(f'{OWN_TESTS}\n\ndef test_space():\n    assert heading(" jam ") == " jam "\n')
    history.commit("Keep spaces")
    done = fork.forward()
    assert (done.code, done.stdout, fork.leftovers()) == (20, "", [])
    assert "error: upstream's own tests fail with the change, and pass without:\n" in done.stderr
    assert "  - tests/test_labels.py::test_space (default, plain): " in done.stderr
    assert "test_fails_everywhere" not in done.stderr


def test_fork_that_does_not_say_how_upstreams_tests_run_is_told(fork):
    fork.write("fork.toml", fork.read("fork.toml").replace(SUITE, ""))
    done = fork.forward()
    assert (done.code, fork.leftovers()) == (2, [])
    assert "error: fork.toml has no [suite]" in done.stderr


def test_ctrl_c_leaves_nothing(fork, tmp_path):
    started = tmp_path / "started"
    wait = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(600)"
    fork.write_test(f"{NEW_TEST}\n\ndef test_waits():\n    {wait}\n")
    process = fork.start("forward", ID, **ANN)
    wait_until(started.exists, "the test that waits")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert (process.returncode, fork.leftovers()) == (130, [])


# What stands in the way


def add_other_module(fork):
    """Let the patch's module import one that every tree has."""
    fork.write(
        "larder_overrides/trim.py",
        "from larder_overrides.profile import SETTINGS\n" + fork.read("larder_overrides/trim.py"),
    )


def test_module_that_cannot_go_along_is_named_and_nothing_is_left(fork):
    add_other_module(fork)
    done = fork.forward()
    assert (done.code, done.stdout, fork.leftovers()) == (20, "", [])
    assert done.stderr.split("\n", 1)[1] == (
        f"error: {ID} cannot be forwarded as it is:\n"
        "  - larder_overrides/trim.py:1: imports SETTINGS from larder_overrides.profile, which is in every tree\n"
        "      fix: write what it needs of it into larder_overrides/trim.py\n"
        f"       or: write the module for upstream as tests/forward/{ID}/larder/trim.py, which then counts instead\n"
        f"  next: do what stands below each of them, then `nox -s forward -- {ID}`\n"
    )


def test_module_written_by_hand_takes_the_place_of_the_overrides(fork):
    add_other_module(fork)
    fork.write_test(
        "def trim(text):\n    return text.strip()\n", f"tests/forward/{ID}/larder/trim.py"
    )
    done = fork.forward()
    assert done.code == 0, done.stderr
    assert fork.git("show", "HEAD:larder/trim.py") == "def trim(text):\n    return text.strip()"


@pytest.mark.parametrize(
    ("name", "line", "where"),
    [
        ("larder_overrides/trim.py", "_rover_trims = True", "larder/trim.py:7"),
        (TEST, "# made for trim-headings", "tests/test_spaces.py:6"),
    ],
)
def test_line_with_a_word_of_the_fork_is_named(fork, name, line, where):
    fork.append(name, f"{line}\n")
    done = fork.forward()
    assert (done.code, fork.leftovers()) == (20, [])
    assert f"  - {where}: names what upstream does not know (`" in done.stderr
    assert f"`): {line}\n" in done.stderr


def test_message_with_a_word_of_the_fork_is_named(fork):
    fork.replace(PATCH, "sorts before all others.", "sorts before all others in Rover.")
    done = fork.forward()
    assert done.code == 20
    assert f"  - {PATCH}: names what upstream does not know (`Rover`): " in done.stderr


def test_source_that_has_the_text_already_needs_nothing(fork, history):
    labels = history.root / "larder/labels.py"
    trimmed = labels.read_text().replace(CAPITALIZED_LINE, "    return trim(line).capitalize()\n")
    labels.write_text(f"from larder_overrides.trim import trim\n\n\n{trimmed}")
    newest = history.commit("Trim")
    done = fork.forward()
    assert (done.code, fork.leftovers()) == (20, [])
    assert (
        f"commit {newest[:10]} (main of {history.root}), has the text of {ID} already\n"
        in done.stderr
    )
    assert done.stderr.endswith(f"  next: nox -s status -- --patch {ID} --why\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["trim-heading"], "error: there is no patch trim-heading; did you mean trim-headings?\n"),
        (["count-hits"], "error: count-hits is retired: upstream does it (2.0)\n"),
        ([ID, "3.0"], "error: there is no pinned release 3.0; "),
        ([ID, "git:/x@a..b"], "error: git:/x@a..b is a range, and a branch begins at one commit\n"),
        ([ID, "--continue"], "error: there is nothing to go on with in "),
        ([ID, "2.0", "--continue"], "Error: --continue goes on from the SOURCE"),
        ([ID, "2.0", "--sent", ADDRESS], "Error: --sent takes only the ID"),
    ],
)
def test_wrong_use_says_what_is_wrong(fork, words, complaint):
    done = fork.forward(*words)
    assert (done.code, done.stdout, fork.leftovers()) == (2, "", [])
    assert complaint in done.stderr


def test_feature_of_a_patch_is_told_the_patch(fork):
    fork.apply_situation("features_together")
    done = fork.forward("number-of-hits")
    assert done.code == 2
    assert done.stderr == (
        "error: number-of-hits is a feature, and a patch is forwarded as a whole\n"
        "  next: nox -s forward -- plain-figures\n"
    )


def test_person_whom_git_does_not_know_is_told_first(fork, monkeypatch):
    for name in ANN:
        monkeypatch.delenv(name, raising=False)
    # git would commit in the name of the system's user at this address.
    guessed = {"EMAIL": "root@localhost", "GIT_CONFIG_GLOBAL": os.devnull}
    done = fork.run("forward", ID, GIT_CONFIG_NOSYSTEM="1", **guessed)
    assert (done.code, fork.leftovers()) == (3, [])
    assert "error: git does not know who you are" in done.stderr


def test_repository_that_cannot_be_reached_is_told_the_release(fork, history):
    shutil.rmtree(history.root)
    done = fork.forward()
    assert (done.code, done.stderr.splitlines()[-1]) == (3, f"  next: nox -s forward -- {ID} 2.0")


# A conflict, and work in the tree


@pytest.fixture
def conflicting(fork, history):
    """Give the fork after a forward that conflicted."""
    history.change("Be loud", "larder/labels.py", CAPITALIZED_LINE, "    return line.title()\n")
    done = fork.forward()
    assert (done.code, done.stdout) == (20, "")
    assert re.search(
        r"error: trim-headings conflicts on .*:\n    larder/labels.py: line \d+ \(hunks @@",
        done.stderr,
    )
    assert f"&& nox -s forward -- {ID} --continue`\n" in done.stderr
    return fork


def test_conflict_is_resolved_in_the_work_tree_and_goes_on(conflicting):
    fork = conflicting
    assert fork.leftovers() == [f"forward/{ID}"]
    labels = fork.place / "larder/labels.py"
    head, _, rest = labels.read_text().partition("<<<<<<< ")
    labels.write_text(
        head + "    return trim(line).title()\n" + rest.partition(">>>>>>> ")[2].partition("\n")[2]
    )
    early = fork.forward(ID, "--continue")
    assert (early.code, "has changes that are in no commit" in early.stderr) == (2, True)
    fork.git("add", "--all")
    fork.git("commit", "--quiet", "--no-edit")
    done = fork.forward(ID, "--continue")
    assert done.code == 0, done.stderr
    assert "return trim(line).title()" in fork.git("show", "HEAD:larder/labels.py")
    assert fork.git("log", "-1", "--format=%an %s") == "Ann Other Trim headings"
    assert "Id:" not in fork.git("log", "-1", "--format=%B")


def test_unresolved_conflict_is_not_overwritten(conflicting):
    done = conflicting.forward()
    assert (done.code, done.stderr.splitlines()[-2:]) == (
        20,
        [
            f"  next: nox -s forward -- {ID} --continue",
            f"    or: rm -r {conflicting.place} && nox -s forward -- {ID}",
        ],
    )


def test_edit_after_a_review_is_proven_again(fork):
    assert fork.forward().code == 0
    trim = fork.place / "larder/trim.py"
    trim.write_text("def trim(text):\n    return text.strip(' ')\n")
    assert fork.forward().code == 20
    fork.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    assert fork.forward().code == 20
    done = fork.forward(ID, "--continue")
    assert done.code == 0, done.stderr
    assert "strip(' ')" in fork.git("show", "HEAD:larder/trim.py")
    trim.write_text("def trim(text):\n    return text\n")
    fork.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    assert fork.forward(ID, "--continue").code == 20
    assert "return text\n" in trim.read_text(), "a person's work stays"


def test_branch_of_several_commits_is_refused(fork):
    assert fork.forward().code == 0
    (fork.place / "more.txt").write_text("more")
    fork.git("add", "--all")
    fork.git("commit", "--quiet", "-m", "More")
    done = fork.forward(ID, "--continue")
    assert done.code == 2
    assert "has 2 commits of its own, not one\n" in done.stderr


# The address, and what upstream has taken


def sent(fork, address=ADDRESS):
    return fork.run("forward", ID, "--sent", address)


def test_address_is_recorded_and_every_other_byte_stays(fork):
    before = fork.read(PATCH).splitlines()
    assert sent(fork).code == 0
    after = fork.read(PATCH).splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [old for old, _ in changed] == ["Forwarded: no", "Last-Update: 2026-11-24"]
    assert changed[0][1] == f"Forwarded: {ADDRESS}"
    assert re.fullmatch(r"Last-Update: \d{4}-\d\d-\d\d", changed[1][1])
    text = fork.read(PATCH)
    done = sent(fork)
    assert (done.code, fork.read(PATCH)) == (0, text)
    assert "nothing changed" in done.stderr


@pytest.mark.parametrize("address", ["no", "not-needed", "example.org/1", "https://a b"])
def test_what_is_no_address_is_refused(fork, address):
    before = fork.read(PATCH)
    done = sent(fork, address)
    assert (done.code, fork.read(PATCH)) == (2, before)
    assert f"error: {address!r} is no address\n" in done.stderr


def test_export_does_not_overwrite_the_address(fork):
    assert fork.run("import").code == 0
    assert sent(fork).code == 0
    done = fork.run("export")
    assert done.code == 20
    assert f"  {PATCH}\n" in done.stderr
    assert f"Forwarded: {ADDRESS}\n" in fork.read(PATCH)


def test_status_says_whether_upstream_has_taken_it(fork, history):
    assert sent(fork).code == 0
    (patch, *_) = fork.status().report["patches"]
    assert patch["forwarded"] == {"address": ADDRESS, "taken_in": None}
    assert f"forwarded: {ID} ({ADDRESS}): not taken yet\n" in fork.run("status").stdout
    history.change("Trim", "larder/labels.py", CAPITALIZED_LINE, STRIPPED_LINE)
    source = ("--upstream", f"git:{history.root}@main")
    (patch, *_) = fork.status(*source).report["patches"]
    assert re.fullmatch(r"2\.0\+git\.main\.\w{10}", patch["forwarded"]["taken_in"])
    lines = fork.run("status", *source).stdout.splitlines()
    assert f"forwarded: {ID} ({ADDRESS}): taken in {patch['forwarded']['taken_in']}" in lines
