"""What lint finds by reading alone, through the command line: each finding with what mends it."""

import shutil
import subprocess

import pytest

from tests.support.imported_series import paste
from tests.support.local_index import GITCONFIG, copy_stage, index_of_two_releases

pytestmark = pytest.mark.slow

ADD, BYE = "patches/0001-add.patch", "patches/0002-bye.patch"
IMPORT = "+from tally_overrides.sums import total\n"
MESSAGE = """{id}

Because it is needed.

Id: {id}
Base: 1.1
Origin: vendor
Forwarded: no
Last-Update: 2020-02-02
Probes: tests/probes/test_a.py
{more}Drop-When: upstream does it
"""
OK = "2 live and 0 retired patches are in order; the live ones touch 5 upstream lines\n"


class Linted:
    """A fork with two patches and a module, and the work tree of its import."""

    def __init__(self, fork):
        self.fork = fork
        self.root = fork.root
        self.tree = fork.root / ".fork" / "series"

    def read(self, name):
        return (self.root / name).read_text()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name, old, new):
        text = self.read(name)
        assert text.count(old) == 1, text
        self.write(name, text.replace(old, new))

    def git(self, *words):
        return self.fork.git(*words, cwd=self.tree)

    def commit(self, name, file, text, more=""):
        self.write(f".fork/series/{file}", text)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "-m", MESSAGE.format(id=name, more=more))

    def lint(self, code=2, *words):
        return self.fork.run("lint", *words, ok=code).stderr

    def paste(self, *lines):
        """Run advice as a shell does, without verbs of nox."""
        for line in lines:
            subprocess.run(line, shell=True, cwd=self.root, env=self.fork.env, check=True)


@pytest.fixture(scope="module")
def patched(stages, tmp_path_factory):
    """Make a fork in order, with two patches, of which the first imports a module."""
    folder = tmp_path_factory.mktemp("linted")
    fork = copy_stage(stages / "vendored", folder, index_of_two_releases())
    (fork.home / ".gitconfig").write_text(GITCONFIG)
    made = Linted(fork)
    fork.run("import")
    text = made.read(".fork/series/tally/words.py")
    made.commit("add", "tally/words.py", f"{IMPORT[1:]}{text}", "Overrides: sums\n")
    text = made.read(".fork/series/tally/__init__.py")
    made.commit(
        "bye", "tally/__init__.py", text.replace("a * b", "b * a").replace("a - b", "a + -b")
    )
    made.write("tally_overrides/sums.py", "def total(*numbers):\n    return sum(numbers)\n")
    fork.run("export")
    return folder


@pytest.fixture
def linted(patched, tmp_path, index):
    """Give a fork in order, with its imported tree."""
    shutil.copytree(patched / "home", tmp_path / "home", dirs_exist_ok=True)
    return Linted(copy_stage(patched / "fork", tmp_path, index))


def findings(text):
    """Return the findings of a run of lint, each with its advice."""
    head, *found = text.split("\n  - ")
    assert head.endswith(" not in order:"), text
    last, _, hint = found.pop().partition("\n  next: ")
    assert hint == "do what stands below each of them, then `nox -s lint`\n"
    return [*found, last]


def test_fork_in_order_has_no_finding(linted):
    assert linted.lint(0) == OK


# Imports


def test_imported_module_that_nobody_has(linted):
    linted.replace(ADD, IMPORT, IMPORT.replace("sums", "sms"))
    assert findings(linted.lint()) == [
        (
            f"{ADD}: its hunk for tally/words.py imports tally_overrides.sms, and there is no tally_overrides/sms.py\n"
            "      fix: write `tally_overrides.sums` in the hunk\n"
            "       or: write tally_overrides/sms.py, and name it: `Overrides: sums, sms`"
        )
    ]


@pytest.mark.parametrize(
    "line",
    [
        "+import tally_overrides.other\n",
        "+from tally_overrides import other\n",
        "+    from tally_overrides.other import a, b as c\n",
        "+from tally_overrides import (other as mine)\n",
    ],
)
def test_every_form_of_import_is_read(linted, line):
    linted.replace(ADD, IMPORT, line)
    assert "there is no tally_overrides/other.py" in linted.lint()


@pytest.mark.parametrize(
    "line",
    [
        "+from tally_overrides import sums, VERSION\n",
        "+from tally_overrides._series import SERIES\n",
        "+# from tally_overrides.other import that\n",
        "+from tally_overrides_of_others import sums\n",
    ],
)
def test_what_is_no_import_of_a_missing_module_is_no_finding(linted, line):
    linted.write("tally_overrides/__init__.py", "VERSION = 1\n")
    linted.replace(ADD, IMPORT, line)
    linted.lint(0)


def test_import_over_several_lines_is_read(linted):
    linted.replace(ADD, IMPORT, "+from tally_overrides.other import (\n+    it,\n+)\n")
    linted.replace(ADD, "@@ -1 +1,2 @@", "@@ -1 +1,4 @@")
    assert "there is no tally_overrides/other.py" in linted.lint()


def test_imported_module_of_a_patch_that_may_be_left_out(linted):
    linted.replace(BYE, "+    return b * a\n", "+    import tally_overrides.sums\n")
    (found,) = findings(linted.lint())
    assert found == (
        f"{BYE}: its hunk for tally/__init__.py imports tally_overrides.sums,"
        " which neither this patch nor one it depends on names\n"
        "      fix: write `Depends: add` in the patch file"
    )
    linted.replace(BYE, "Probes:", "Depends: add\nProbes:")
    assert "is not in order" not in linted.lint(0)


def test_trailer_is_written_into_the_message_where_the_series_is_imported(linted):
    linted.write("tally_overrides/sums.py", "import tally_overrides.others\n")
    linted.write("tally_overrides/others.py", "")
    found = linted.lint().split("\n  - ")[1]
    first, command, _ = found.split("\n      fix: ")[1].split("\n", 2)
    assert first == "write `Overrides: sums, others` in the message of `add`:"
    paste(linted.fork, command.strip(), editor="sed -i 's/^Overrides: sums$/&, others/'")
    linted.lint(0)


def test_misspelled_module_is_one_finding_with_the_right_name(linted):
    linted.replace(ADD, "Overrides: sums\n", "Overrides: smus\n")
    assert findings(linted.lint()) == [
        (
            f"{ADD}: Overrides: there is no tally_overrides/smus.py\n"
            "      fix: write `Overrides: sums` in the patch file"
        )
    ]


@pytest.mark.parametrize("given", ["tally_overrides/sums.py", "tally_overrides.sums", "sums.py"])
def test_module_that_is_named_in_another_form(linted, given):
    linted.replace(ADD, "Overrides: sums\n", f"Overrides: {given}\n")
    assert findings(linted.lint()) == [
        (
            f"{ADD}: Overrides: the module is named `sums` here, not `{given}`\n"
            "      fix: write `Overrides: sums` in the patch file"
        )
    ]


def test_module_that_only_a_hunk_names_is_one_finding_and_not_to_be_removed(linted):
    linted.replace(ADD, "Overrides: sums\n", "")
    (found,) = findings(linted.lint())
    assert found.endswith("\n      fix: write `Overrides: sums` in the patch file")
    said = linted.fork.run("status", ok=2).stderr
    assert f"fix: write `Overrides: sums` in {ADD}, whose hunk imports it\n" in said
    assert "rm " not in said


def test_module_that_nobody_needs_is_removed_only_if_git_has_it(linted):
    linted.write("tally_overrides/stray.py", "")
    (found,) = findings(linted.lint())
    assert found.endswith(
        "\n       or: move tally_overrides/stray.py away; git does not have it yet"
    )
    linted.fork.git("init", "--quiet", cwd=linted.root)
    linted.fork.git("add", "tally_overrides/stray.py", cwd=linted.root)
    (found,) = findings(linted.lint())
    assert found.endswith("\n       or: rm tally_overrides/stray.py")


def test_feature_without_a_probe_file_is_probably_one_whose_file_has_no_feature(linted):
    linted.replace(ADD, "Probes: tests/probes/test_a.py\n", "Features: key\n")
    linted.replace(ADD, "Drop-When: upstream does it\n", "")
    linted.write("tests/probes/test_fold_names.py", "")
    assert findings(linted.lint()) == [
        (
            f"{ADD}: the feature key has no probe file; did you mean fold-names?\n"
            "      fix: write `Features: fold-names` in the patch file\n"
            "       or: write tests/probes/test_key.py"
        )
    ]


# Base


def test_base_that_is_not_pinned(linted):
    linted.replace(ADD, "Base: 1.1", "Base: 1.2")
    (found,) = findings(linted.lint())
    assert found == (
        f"{ADD}: Base: 1.2 is not pinned in upstream/lock.toml\n"
        "      fix: write `Base: 1.1`\n       or: nox -s pin"
    )


def test_base_that_is_not_the_others_on_which_the_patch_fits(linted):
    linted.write("patches/0003-third.patch", linted.read(BYE).replace("bye", "third"))
    linted.write("patches/series", "0001-add.patch\n0003-third.patch\n")
    (linted.root / BYE).unlink()
    linted.replace(ADD, "Base: 1.1", "Base: 1.0")
    assert findings(linted.lint()) == [
        (
            f"{ADD}: Base: 1.0, but the series is based on 1.1\n"
            "      fix: write `Base: 1.1`: it applies exactly there"
        )
    ]


def test_patch_that_fits_another_release_than_its_base(linted):
    for name in (ADD, BYE):
        linted.replace(name, "Base: 1.1", "Base: 1.0")
    assert findings(linted.lint()) == [
        (
            f"{ADD}: Base: the patch does not apply exactly on 1.0: error: patch failed: tally/words.py:1;"
            " error: tally/words.py: patch does not apply\n"
            "      fix: write `Base: 1.1` in every patch: all apply exactly there"
        )
    ]


def test_patch_that_fits_no_release(linted):
    linted.replace(ADD, " HELLO = 'good day'\n", " HELLO = 'good night'\n")
    (found,) = findings(linted.lint())
    words, _, advice = found.partition("\n      fix: ")
    assert words.startswith(
        f"{ADD}: Base: the patch does not apply exactly on 1.1: error: patch failed"
    )
    assert advice.startswith("git --git-dir=.fork/upstream.git show ")
    linted.paste(f"{advice} > shown")
    assert linted.read("shown") == linted.read("upstream/src/tally/words.py")


def test_patch_that_fits_at_other_lines(linted):
    linted.replace(BYE, "@@ -5,3 +5,3 @@", "@@ -4,3 +4,3 @@")
    (found,) = findings(linted.lint())
    assert found == (
        f"{BYE}: Base: the patch does not apply exactly on 1.1: Hunk #1 succeeded at 5 (offset 1 line).\n"
        "      fix: add the offset to both numbers after the `@@` of each hunk named"
    )


def test_patches_that_depend_on_one_that_does_not_fit_are_not_blamed(linted):
    linted.replace(ADD, " HELLO = 'good day'\n", " HELLO = 'good night'\n")
    linted.replace(BYE, "Probes:", "Depends: add\nProbes:")
    assert len(findings(linted.lint())) == 1


def test_without_upstreams_files_it_says_what_is_not_checked(linted):
    shutil.rmtree(linted.root / ".fork")
    linted.replace(ADD, " HELLO = 'good day'\n", " HELLO = 'good night'\n")
    assert linted.lint(0).splitlines()[:2] == [
        "not checked: whether each patch applies to its Base:, and to upstream's package alone",
        "  next: nox -s vendor && nox -s lint",
    ]
    assert not (linted.root / ".fork").exists()


# What is left out


def beside_add(linted, old, new, more=""):
    """Export a patch that changes the file of `add`, and return what lint says of it."""
    text = linted.read(".fork/series/tally/words.py")
    assert old in text
    linted.commit("more", "tally/words.py", text.replace(old, new), more)
    linted.fork.run("export")


def test_lines_side_by_side_with_those_of_another_patch(linted):
    beside_add(linted, IMPORT[1:], f"{IMPORT[1:]}MORE = 2\n")
    (found,) = findings(linted.lint())
    text, *ways = found.splitlines()
    assert text == (
        "patches/0003-more.patch: it does not apply without add, on which it does not depend:"
        " their lines in tally/words.py are side by side"
    )
    assert ways[:2] == [
        "      fix: move its lines so that an unchanged line is between them and those of add",
        "       or: write `Depends: add` in the message of `more`:",
    ]
    paste(linted.fork, ways[2].strip(), editor="sed -i 's/^Forwarded/Depends: add\\n&/'")
    linted.lint(0)


def test_lines_with_an_unchanged_one_between_are_no_finding(linted):
    beside_add(linted, "HELLO = 'good day'\n", "HELLO = 'good day'\nMORE = 2\n")
    linted.lint(0)


def test_lines_that_another_patch_added_are_a_dependency(linted):
    beside_add(linted, IMPORT[1:], "HELLO = 'good night'\n")
    assert "it does not apply without add, on which it does not depend" in linted.lint()


def test_what_the_other_patch_depends_on_is_not_named_besides(linted):
    linted.replace(BYE, "Probes:", "Depends: add\nProbes:")
    linted.tree.rename(linted.root / "old")
    linted.fork.run("import")
    text = linted.read(".fork/series/tally/__init__.py")
    new = text.replace("return b * a", "return b * a * 1")
    linted.commit("more", "tally/__init__.py", new)
    linted.fork.run("export")
    (found,) = findings(linted.lint())
    assert "does not apply without bye, on which" in found


# Places


def test_hunk_for_a_file_that_upstream_does_not_ship(linted):
    linted.commit("meta", "PKG-INFO", "Metadata-Version: 2.1\nName: tally\n")
    linted.fork.run("export")
    lines = linted.read("patches/0003-meta.patch").splitlines()
    first = lines.index("diff --git a/PKG-INFO b/PKG-INFO") + 1
    assert findings(linted.lint()) == [
        (
            "patches/0003-meta.patch: a hunk for PKG-INFO, outside of what upstream ships (tally/): no probe imports it\n"
            f"      fix: delete lines {first} to {len(lines)} of patches/0003-meta.patch"
        )
    ]
    linted.write("patches/0003-meta.patch", "\n".join(lines[: first - 1]) + "\n")
    linted.lint(0)


def test_hunk_for_a_test_of_upstream_names_where_it_is_excused(linted):
    suite = '[suite]\nfiles = ["tests"]\ntests = ["tests"]\ncommand = ["true"]\n'
    linted.write("fork.toml", linted.read("fork.toml") + suite)
    linted.commit("test", "tests/test_it.py", "")
    linted.write(".fork/series/tally/new.py", "")
    linted.git("add", "--all")
    linted.git("commit", "--quiet", "--amend", "--no-edit")
    linted.fork.run("export")
    (found,) = findings(linted.lint())
    assert (
        "a hunk for tests/test_it.py, outside of what upstream ships (tally/): upstream's tests run as upstream wrote them"
        in found
    )
    assert found.endswith("; a test that may fail goes into [suite.excused] of fork.toml")
    assert "tally/new.py" not in found


def test_hunk_for_an_override_module(linted):
    linted.write("tally_overrides/mine.py", "MINE = 1\n")
    linted.commit("mine", "tally_overrides/mine.py", "MINE = 1\n")
    linted.fork.run("export")
    found = findings(linted.lint())
    assert found[0].startswith(
        "patches/0003-mine.patch: a hunk for tally_overrides/mine.py: override modules are files of this repository"
    )


# The imported tree


def test_override_module_of_which_the_imported_tree_has_another_version(linted):
    linted.write(".fork/series/tally_overrides/sums.py", linted.read("tally_overrides/sums.py"))
    linted.lint(0)
    linted.write("tally_overrides/sums.py", "def total(*numbers):\n    return 0\n")
    (found,) = findings(linted.lint())
    there = ".fork/series/tally_overrides/sums.py"
    assert found == (
        f"tally_overrides/sums.py: {there} differs from it, and every tree is built with tally_overrides/sums.py\n"
        f"      fix: mv {there} tally_overrides/sums.py\n       or: rm {there}"
    )
    linted.paste(f"mv {there} tally_overrides/sums.py")
    assert "sum(numbers)" in linted.read("tally_overrides/sums.py")
    linted.lint(0)


def test_override_module_that_only_the_imported_tree_has(linted):
    linted.write(".fork/series/tally_overrides/mine.py", "")
    assert (
        "tally_overrides/mine.py: it is only in .fork/series/tally_overrides/mine.py"
        in linted.lint()
    )


def warnings(text):
    return [line for line in text.splitlines() if line.startswith(("warning: ", "      fix: "))]


def test_commits_that_are_not_exported_are_a_warning(linted):
    linted.commit("more", "tally/more.py", "MORE = 2\n")
    assert warnings(linted.lint(0)) == [
        "warning: .fork/series: has commits that are not in patches/",
        "      fix: nox -s export",
    ]
    linted.fork.run("export")
    assert warnings(linted.lint(0)) == []
    linted.git("commit", "--quiet", "--amend", "-m", MESSAGE.format(id="more", more="Bug: x\n"))
    assert warnings(linted.lint(0))[1:] == ["      fix: nox -s export"]


def test_message_that_is_mended_and_not_exported_is_to_be_exported(linted):
    linted.commit("more", "tally/more.py", "from tally_overrides import others\n")
    linted.write("tally_overrides/others.py", "")
    linted.fork.run("export", ok=2)
    text = MESSAGE.format(id="more", more="Overrides: others\n")
    linted.git("commit", "--quiet", "--amend", "-m", text)
    export = "      fix: the commit `more` names it, and is not exported:\n           nox -s export"
    (found,) = findings(linted.lint())
    assert (
        found == f"tally_overrides/others.py: no live patch names it (Overrides: others)\n{export}"
    )
    linted.replace(BYE, "Because it is needed", "Because it is needed here")
    assert findings(linted.lint()) == [found], "also if a patch file was edited"
    assert export in linted.fork.run("status", "--patch", "mroe", ok=2).stderr
    linted.replace(BYE, "Because it is needed here", "Because it is needed")
    linted.fork.run("export")
    linted.lint(0)


@pytest.mark.parametrize("verb", ["lint", "status"])
def test_trailer_that_is_mended_in_the_message_is_to_be_exported(linted, verb):
    linted.write("tally_overrides/sums.py", "import tally_overrides.others\n")
    linted.write("tally_overrides/others.py", "")
    said = linted.fork.run(verb, ok=2).stderr
    assert "fix: write `Overrides: sums, others` in the message of `add`:\n" in said
    text = MESSAGE.format(id="add", more="Overrides: sums, others\n")
    linted.git("checkout", "--quiet", "HEAD^")
    linted.git("commit", "--quiet", "--amend", "-m", text)
    linted.git("cherry-pick", "series")
    linted.git("checkout", "--quiet", "-B", "series")
    said = linted.fork.run(verb, ok=2).stderr
    assert "in the message of" not in said
    assert (
        "fix: `add` has another message, which is not exported:\n           nox -s export\n" in said
    )
    linted.fork.run("export")
    linted.lint(0)


def test_trailers_that_export_filled_in_are_no_difference(linted):
    linted.write(".fork/series/tally/more.py", "MORE = 2\n")
    linted.git("add", "--all")
    text = MESSAGE.replace("Base: 1.1\n", "").replace("Last-Update: 2020-02-02\n", "")
    linted.git("commit", "--quiet", "-m", text.format(id="more", more=""))
    linted.fork.run("export")
    assert "\nBase: 1.1\n" in linted.read("patches/0003-more.patch")
    assert warnings(linted.lint(0)) == []


def test_changes_in_no_commit_are_a_warning(linted):
    linted.write(".fork/series/tally/more.py", "MORE = 2\n")
    git = f"git -C {linted.tree}"
    assert warnings(linted.lint(0)) == [
        "warning: .fork/series: has changes that are in no commit",
    ]
    said = linted.lint(0)
    for when, words in (
        ("      fix, if it belongs to `bye`", "commit --amend"),
        ("       or, if it is a patch of its own", "commit"),
    ):
        assert f"{when}:\n           {git} add --all && {git} {words} && nox -s export\n" in said


def test_import_that_is_older_than_the_patches_is_not_to_be_exported(linted):
    linted.replace(BYE, "+    return b * a\n", "+    return a * b * 1\n")
    assert warnings(linted.lint(0)) == [
        "warning: .fork/series: patches/ changed since it was imported, so an export would be refused",
        "      fix: rm -rf .fork/series && nox -s import",
    ]


def test_import_with_changes_in_no_commit_is_not_to_be_removed(linted):
    linted.replace(BYE, "+    return b * a\n", "+    return a * b * 1\n")
    linted.write(".fork/series/tally/more.py", "MORE = 2\n")
    found = linted.lint(0)
    assert "warning: .fork/series: has changes that are in no commit\n" in found
    assert "both changed since the import" in found
    assert "rm -rf" not in found


def test_import_and_patches_that_both_changed(linted):
    linted.replace(BYE, "+    return b * a\n", "+    return a * b * 1\n")
    linted.commit("more", "tally/more.py", "MORE = 2\n")
    found = warnings(linted.lint(0))
    assert "both changed since the import; an export is refused, and says how to" in found[0]
    assert found[1] == "      fix: nox -s export"
    assert "To keep both, " in linted.fork.run("export", ok=20).stderr


# Files for upstream


def test_files_for_upstream_of_no_live_patch(linted):
    for name in ("add", "byes", "gone"):
        linted.write(f"tests/forward/{name}/tests/test_{name}.py", "")
    (linted.root / "tests/forward/empty").mkdir()
    (linted.root / "patches/retired").mkdir()
    text = linted.read(BYE).replace("Id: bye", "Id: gone\nApplied-Upstream: 1.1; so")
    linted.write("patches/retired/0003-gone.patch", text)
    assert findings(linted.lint()) == [
        (
            "tests/forward/byes: there is no patch byes, so `forward` never reads it\n"
            "      fix: mv tests/forward/byes tests/forward/bye\n"
            "       or: rm -r tests/forward/byes"
        ),
        (
            "tests/forward/gone: the patch gone has retired, so `forward` never reads it\n"
            "      fix: rm -r tests/forward/gone"
        ),
    ]
    linted.paste("mv tests/forward/byes tests/forward/bye", "rm -r tests/forward/gone")
    assert "1 retired patches are in order" in linted.lint(0)


# All of them


def test_all_findings_come_at_once_in_the_order_of_the_files(linted):
    linted.write("README.md", "# Tally\n\n<!-- patches -->\n<!-- /patches -->\n")
    linted.write("tally_overrides/stray.py", "")
    linted.replace(ADD, IMPORT, IMPORT.replace("sums", "sms"))
    linted.replace(BYE, "Forwarded: no", "Forwarded: perhaps")
    found = findings(linted.lint())
    assert [item.partition(":")[0] for item in found] == [
        "README.md",
        ADD,
        BYE,
        "tally_overrides/stray.py",
    ]
    assert all("\n      fix: " in item for item in found)
    mended = linted.lint(2, "--write")
    assert mended.startswith("written: README.md, its table of patches\n")
    assert [item.partition(":")[0] for item in findings(mended)] == [
        ADD,
        BYE,
        "tally_overrides/stray.py",
    ]
