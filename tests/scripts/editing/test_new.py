"""`new` begins a patch whose commands, pasted one after the other, lead to a patch in order."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.support.imported_series import Work, hints, message, paste, patches
from tests.support.local_index import GITCONFIG, contents

pytestmark = pytest.mark.slow

PROBE = "tests/probes/test_fold_names.py"
FILL_IN = "sed -i -e 's/^<what it .*/Fold names/' -e 's/^<why .*/Because./' -e 's/<what up.*/upstream does/'"


def commands(done):
    """Return the commands that `new` prints, in order."""
    return re.findall(r"^  \d\. .*:\n       (.*)$", done.stderr, re.MULTILINE)


def commit_export_and_lint(fork, done):
    """Paste what comes after the trial, with an editor that replaces what is in angle brackets."""
    _, _, commit, export, lint, _ = commands(done)
    paste(fork, commit, editor=FILL_IN)
    exported = paste(fork, export)
    paste(fork, lint)
    return exported


@pytest.fixture
def empty_fork(vendored):
    """Give a fork without any patch."""
    vendored.home.mkdir(exist_ok=True)
    (vendored.home / ".gitconfig").write_text(GITCONFIG)
    return vendored


def test_commands_that_are_printed_lead_to_a_patch_that_is_its_own_record(fork, work):
    done = fork.run("new", "fold-names", "--module", "fold")
    assert done.stderr.splitlines()[:3] == [
        "new: tests/probes/test_fold_names.py",
        "new: tally_overrides/fold.py",
        "next:",
    ]
    work.replace("more.py", "MORE = 1", "MORE = 2")
    exported = commit_export_and_lint(fork, done)
    assert exported.stderr.splitlines() == [
        "new: patches/0006-fold-names.patch",
        "changed: patches/series",
    ]
    text = patches(fork)["0006-fold-names.patch"].decode()
    body = text.partition("\n\n")[2].partition("\ndiff ")[0]
    assert re.sub(r"\d{4}-\d\d-\d\d", "DAY", body) == (
        "Because.\n\nId: fold-names\nBase: 1.1\nOrigin: vendor\nForwarded: no\nLast-Update: DAY\n"
        "Probes: tests/probes/test_fold_names.py\nOverrides: fold\nDrop-When: upstream does\n"
    )


def test_first_patch_of_a_fork_has_its_record_in_the_probe(empty_fork):
    fork = empty_fork
    done = fork.run("new", "fold-names", "--title", 'Fold "names" \\o/ """')
    assert done.stderr.startswith(f"the series is the branch `series` in {Work(fork).place}\n")
    Work(fork).replace("more.py", "MORE = 1", "MORE = 2")
    probe = fork.root / "tests/probes/test_fold_names.py"
    paste(fork, commands(done)[2], editor=FILL_IN)
    paste(fork, commands(done)[3])
    left = paste(fork, commands(done)[4], ok=2).stderr
    assert "test_fold_names.py: `<why it is needed>` is still to be replaced\n" in left
    assert "test_fold_names.py: `<what upstream would have to do>` is still to be" in left
    paste(fork, f"{FILL_IN} {probe}")
    paste(fork, commands(done)[4])
    assert b"\nFeatures: fold-names\n" in patches(fork)["0001-fold-names.patch"]
    assert b"Probes: " not in patches(fork)["0001-fold-names.patch"]


def test_patch_with_several_features_has_a_probe_file_for_each(fork, work):
    done = fork.run("new", "names", "--feature", "fold-names", "--feature", "trim-names")
    assert done.stderr.splitlines()[:2] == [
        "new: tests/probes/test_fold_names.py",
        "new: tests/probes/test_trim_names.py",
    ]
    assert commands(done)[1] == "nox -s probe -- fold-names trim-names"
    text = (work.place / ".git/new-patches/names").read_text()
    assert "\nId: names\nOrigin: vendor\nForwarded: no\nFeatures: fold-names, trim-names\n" in text


def test_probe_that_is_not_written_fails_and_says_so(fork, work):
    fork.run("new", "fold-names")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:cacheprovider", PROBE],
        cwd=fork.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "AssertionError: the probe of fold-names is not written yet" in done.stdout


def test_message_that_nobody_edited_is_no_commit_and_no_patch(fork, work):
    done = fork.run("new", "fold-names")
    work.replace("more.py", "MORE = 1", "MORE = 2")
    paste(fork, commands(done)[2], editor="true", ok=1)
    paste(fork, commands(done)[2], editor="sed -i 's/^<why .*/Because./'")
    refused = fork.run("export", ok=2).stderr
    assert "`<what it does, in one line>` is still to be replaced\n" in refused
    assert "`<what upstream would have to do>` is still to be replaced\n" in refused
    assert "0006" not in "".join(patches(fork))


def test_work_that_is_in_no_commit_gets_the_message_that_was_begun(fork, work):
    fork.run("new", "fold-names")
    work.replace("more.py", "MORE = 1", "MORE = 2")
    (command,) = hints(fork.run("export", ok=2))
    assert "new: patches/0006-fold-names.patch" in paste(fork, command, editor=FILL_IN).stderr


def test_work_after_a_patch_of_ones_own_amends_that_first(fork, work):
    done = fork.run("new", "fold-names")
    work.replace("more.py", "MORE = 1", "MORE = 2")
    paste(fork, commands(done)[2], editor=FILL_IN)
    work.replace("more.py", "MORE = 2", "MORE = 3")
    refused = fork.run("export", ok=2)
    assert "\n  next, if it belongs to `Fold names`:\n" in refused.stderr
    assert "\n    or, if it is a patch of its own:\n" in refused.stderr
    assert "--template" not in refused.stderr, "that one has its commit"
    paste(fork, hints(refused)[0])
    fork.run("new", "more")
    work.replace("more.py", "MORE = 3", "MORE = 4")
    refused = fork.run("export", ok=2)
    assert "\n    or, if it is the patch `more`:\n" in refused.stderr
    assert [" --amend " in line for line in hints(refused)] == [True, False]


def test_work_that_nothing_was_begun_for_may_belong_to_the_last_patch_which_is_named(fork, work):
    work.replace("more.py", "MORE = 1", "MORE = 2")
    refused = fork.run("export", ok=2)
    assert "\n    or, if it belongs to `Say good bye`:\n" in refused.stderr
    assert [" --amend " in line for line in hints(refused)] == [False, True]
    work.git("reset", "--quiet", "--hard", "1.1")
    work.replace("more.py", "MORE = 1", "MORE = 2")
    assert "--amend" not in fork.run("export", ok=2).stderr, "which would amend the release"


def test_imported_patch_that_changed_while_another_is_begun_is_told_and_taken_back(fork, work):
    before = patches(fork)
    fork.run("new", "fold-names")
    work.replace("more.py", "MORE = 1", "MORE = 2")
    work.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    changed, warning, when, command = fork.run("export").stderr.splitlines()
    assert changed == "changed: patches/0005-bye.patch"
    assert warning == (
        "warning: fold-names was begun with `new` and has no commit; 0005-bye.patch changed"
    )
    assert when == "      fix, if the change belongs to fold-names:"
    paste(fork, command.strip(), editor=FILL_IN)
    after = patches(fork)
    assert after["0005-bye.patch"] == before["0005-bye.patch"]
    assert b"+MORE = 2\n" in after["0006-fold-names.patch"]


def test_module_that_a_hunk_imports_and_no_patch_names_is_told_by_export(fork, work):
    done = fork.run("new", "fold-names")
    (fork.root / "tally_overrides/fold.py").write_text("")
    work.replace("more.py", "MORE = 1", "from tally_overrides import fold")
    paste(fork, commands(done)[2], editor=FILL_IN)
    refused = fork.run("export", ok=2)
    assert (
        "Fold names: its hunk for tally/more.py imports tally_overrides.fold,"
        " which neither this patch nor one it depends on names\n"
        "      fix: write `Overrides: fold`\n"
    ) in refused.stderr
    (command,) = hints(refused)
    paste(fork, command, editor="sed -i 's/^Drop-When/Overrides: fold\\n&/'")
    assert b"\nOverrides: fold\n" in patches(fork)["0006-fold-names.patch"]
    fork.run("lint")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("fodl", ["fodl"]),
        ("other.thing", ["other/thing"]),
        ("tally_overrides/other/thing.py", ["other/thing"]),
        ("other.thing, fold", ["other/thing"]),
        ("fold, tally_overrides.other, thing", ["other", "thing"]),
    ],
)
def test_module_that_nobody_has_is_refused_by_export_with_the_one_right_trailer(
    fork, work, given, missing
):
    done = fork.run("new", "fold-names", "--module", "fold")
    work.replace("more.py", "MORE = 1", "from tally_overrides import fold")
    spelled = given.replace("/", r"\/")
    paste(fork, commands(done)[2], editor=f"{FILL_IN} -e 's/: fold$/: {spelled}/'")
    refused = fork.run("export", ok=2)
    found = [text.partition("Fold names: ")[2] for text in refused.stderr.split("\n  - ")[1:]]
    assert [text.partition("\n  next: ")[0] for text in found] == [
        f"Overrides: there is no tally_overrides/{name}.py\n      fix: write `Overrides: fold`"
        for name in missing
    ]
    (command,) = hints(refused)
    paste(fork, command, editor="sed -i 's/^Overrides: .*/Overrides: fold/'")
    fork.run("lint")


def test_module_that_is_imported_and_not_written_yet_is_to_be_written(fork, work):
    done = fork.run("new", "fold-names", "--module", "fold")
    work.replace("more.py", "MORE = 1", "from tally_overrides import fold")
    paste(fork, commands(done)[2], editor=FILL_IN)
    (fork.root / "tally_overrides/fold.py").unlink()
    refused = fork.run("export", ok=2).stderr
    text = "there is no tally_overrides/fold.py\n      fix: write tally_overrides/fold.py\n"
    assert text in refused


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("tally_overrides/names/fold.py", "names.fold"),
        ("tally_overrides.names.fold", "names.fold"),
        ("names/fold.py", "names.fold"),
        ("tally_overrides/names/", "names/"),
        ("names", "names/"),
    ],
)
def test_module_that_is_named_in_another_form_is_refused_with_the_right_one(
    fork, work, given, right
):
    done = fork.run("new", "fold-names", "--module", "names.fold")
    work.replace("more.py", "MORE = 1", "from tally_overrides.names import fold")
    spelled = given.replace("/", r"\/")
    command = commands(done)[2]
    refused = paste(
        fork,
        f"{command} && nox -s export",
        editor=f"{FILL_IN} -e 's/: names.fold$/: {spelled}/'",
        ok=2,
    )
    kind = "folder" if right.endswith("/") else "module"
    (found,) = refused.stderr.split("\n  - ")[1:]
    assert found.partition("\n  next: ")[0].endswith(
        f"Fold names: Overrides: the {kind} is named `{right}` here, not `{given}`\n"
        f"      fix: write `Overrides: {right}`"
    )
    (last,) = hints(refused)
    paste(
        fork,
        last,
        editor=f"sed -i 's/^Overrides: .*/Overrides: {right.replace('/', chr(92) + '/')}/'",
    )
    fork.run("lint")


def test_files_that_are_there_are_kept(fork, work):
    probe = fork.root / "tests/probes/test_fold_names.py"
    module = fork.root / "tally_overrides/fold.py"
    probe.write_text("mine")
    module.write_text("mine, too")
    done = fork.run("new", "fold-names", "--module", "fold")
    assert done.stderr.splitlines()[:2] == [
        "kept, for it was there: tests/probes/test_fold_names.py",
        "kept, for it was there: tally_overrides/fold.py",
    ]
    assert (probe.read_text(), module.read_text()) == ("mine", "mine, too")


def test_module_in_a_new_folder_makes_it_a_package(fork, work):
    fork.run("new", "fold-names", "--module", "names.folding.ascii")
    package = fork.root / "tally_overrides/names"
    assert sorted(str(path.relative_to(package)) for path in package.rglob("*.py")) == [
        "__init__.py",
        "folding/__init__.py",
        "folding/ascii.py",
    ]
    assert (
        "Overrides: names.folding.ascii\n"
        in (work.place / ".git/new-patches/fold-names").read_text()
    )


def test_probes_are_beside_the_control_probe(fork, work):
    text = (fork.root / "fork.toml").read_text()
    (fork.root / "fork.toml").write_text(text.replace("tests/probes/", "checks/"))
    shutil.copytree(fork.root / "tests/probes", fork.root / "checks")
    fork.run("new", "fold-names")
    assert (fork.root / "checks/test_fold_names.py").exists()
    assert "Probes: checks/test_fold" in (work.place / ".git/new-patches/fold-names").read_text()


def test_everything_wrong_with_the_names_is_said_at_once_and_nothing_is_written(fork):
    before = contents(fork.root)
    done = fork.run("new", "Fold Names", "--feature", "bye", "--module", "a/b.py", ok=2)
    assert done.stderr == (
        "error: the patch cannot be begun:\n"
        "  - 'Fold Names' is no id: use small letters, digits and hyphens, as in `fold-names`\n"
        "  - 'a/b.py' is no module: use its dotted name in the package, as in `cache.locks`\n"
        "  - the id bye is that of patches/0005-bye.patch\n"
        "  next: run this again with other names\n"
    )
    assert not (fork.root / ".fork/series").exists()
    assert {name for name in contents(fork.root) if not name.startswith(".fork")} == {
        name for name in before if not name.startswith(".fork")
    }


def test_id_of_a_commit_that_is_not_exported_yet_is_taken(fork, work):
    work.commit(message("Say more", "more"), more__py="MORE = 2\n")
    done = fork.run("new", "more", ok=2)
    assert re.search(r"the id more is that of the commit [0-9a-f]+ Say more\n", done.stderr)


def test_outdated_import_is_refused_before_there_is_work_to_lose(fork, work):
    path = fork.root / "patches/0005-bye.patch"
    path.write_text(path.read_text().replace("+BYE = 'good bye'", "+BYE = 'so long'"))
    done = fork.run("new", "fold-names", ok=20)
    assert "these changed since the import" in done.stderr
    assert not (fork.root / "tests/probes/test_fold_names.py").exists()
    paste(fork, hints(done)[0].replace("nox -s export", "true"))
    fork.run("new", "fold-names")


def test_series_is_imported_again_though_a_new_module_has_no_patch_yet(fork, work):
    fork.run("new", "fold-names", "--module", "fold")
    shutil.rmtree(work.place)
    assert "tally_overrides/fold.py: no live patch names it" in fork.run("lint", ok=2).stderr
    fork.run("import")


def test_another_imported_tree_is_named_in_the_commands(fork, tmp_path):
    place = tmp_path / "else where"
    done = fork.run("new", "fold-names", "--tree", str(place))
    assert commands(done)[1] == f"nox -s probe -- fold-names --tree '{place}'"
    path = place / "tally" / "more.py"
    path.write_text("MORE = 2\n")
    assert "new: patches/0006-fold" in commit_export_and_lint(fork, done).stderr


@pytest.mark.parametrize(
    ("event", "text", "written"),
    [("os.rename", "transaction'", False), ("open", "new-patches", True)],
)
def test_new_that_is_killed_leaves_all_files_or_none_and_can_be_run_again(
    fork, work, event, text, written
):
    fork.run_killed_at(event, text, "new", "fold-names", "--module", "fold")
    there = [
        (fork.root / name).exists()
        for name in ("tests/probes/test_fold_names.py", "tally_overrides/fold.py")
    ]
    assert there == [written, written]
    fork.run("new", "fold-names", "--module", "fold")
    assert (work.place / ".git/new-patches/fold-names").exists()
