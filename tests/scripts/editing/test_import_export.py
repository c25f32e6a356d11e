"""`import` and `export`: what was not touched keeps every byte, and what would be lost is refused."""

import shutil
import subprocess
import sys

import pytest

from tests.support.imported_series import (
    BINARY,
    CRLF,
    UNCHANGED,
    Work,
    message,
    patches,
)
from tests.support.local_index import GITCONFIG, ROOT, contents

pytestmark = pytest.mark.slow


def test_import_then_export_changes_no_byte(fork, work):
    before = patches(fork)
    assert fork.run("export").stderr == UNCHANGED
    assert patches(fork) == before
    fork.run("lint")


def test_imported_branch_is_the_release_with_a_commit_a_patch(work):
    assert work.git("log", "--format=%s", "1.1..").splitlines() == [
        "Say good bye",
        "Bring odd files",
        "[tag] Say nothing at all but do it in a subject that is so long that git folds it in a mail",
        "Größe: 日本, multiply",
        "Add the other way round",
    ]
    assert (work.place / "tally" / "crlf.py").read_bytes() == CRLF
    assert (work.place / "tally" / "binary.bin").read_bytes() == BINARY
    assert "\n\n  indented\n> quoted\n\nId: multiply\n" in work.git(
        "log", "-1", "--format=%B", "series~3"
    )
    assert work.git("status", "--porcelain") == ""


def test_import_and_export_of_the_real_series_changes_no_byte(tmp_path):
    root = tmp_path / "real"
    root.mkdir()
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    private = ROOT / ".fork" / "upstream.git"
    if not private.exists():
        pytest.skip("nothing is vendored here: nox -s vendor")
    shutil.copytree(
        private,
        root / ".fork" / "upstream.git",
        ignore=shutil.ignore_patterns("worktrees", "*.lock"),
    )
    command = [sys.executable, "-m", "scripts", "--repo", str(root)]
    before = contents(root / "patches")
    for verb in ("import", "export"):
        done = subprocess.run(
            [*command, verb], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert UNCHANGED in done.stderr
    assert contents(root / "patches") == before


def test_only_the_amended_patch_changes(fork, work):
    before = patches(fork)
    work.git("reset", "--quiet", "--hard", "series~4")
    work.replace("__init__.py", "return b + a", "return sum((a, b))")
    work.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    work.git("cherry-pick", "--allow-empty", "ORIG_HEAD~4..ORIG_HEAD")
    assert fork.run("export").stderr == "changed: patches/0001-add.patch\n"
    after = patches(fork)
    assert b"+    return sum((a, b))\n" in after.pop("0001-add.patch")
    before.pop("0001-add.patch")
    assert after == before
    shutil.rmtree(work.place)
    fork.run("import")
    assert fork.run("export").stderr == UNCHANGED


def test_patch_whose_place_moves_is_written_anew(fork, work):
    work.git("reset", "--quiet", "--hard", "series~4")
    work.replace("__init__.py", "return b + a", "c = b + a\n    return c")
    work.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    work.git("cherry-pick", "--allow-empty", "ORIG_HEAD~4..ORIG_HEAD")
    assert fork.run("export").stderr.splitlines() == [
        "changed: patches/0001-add.patch",
        "changed: patches/0002-multiply.patch",
    ]
    assert b"\n@@ -10,2 +10,2 @@ " in patches(fork)["0002-multiply.patch"]


def test_hand_written_form_of_an_untouched_patch_is_kept(fork):
    path = fork.root / "patches" / "0002-multiply.patch"
    path.write_text(
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
        "From: A Maintainer <maintainer@example.invalid>\nDate: Sun, 2 Feb 2020 02:02:02 +0200\n"
        "Subject: [PATCH] Größe: 日本, multiply\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n"
        + path.read_text(encoding="utf-8").partition("\n\n")[2],
        encoding="utf-8",
    )
    before = patches(fork)
    fork.run("import")
    assert fork.run("export").stderr == UNCHANGED
    assert patches(fork) == before


def test_new_commit_becomes_a_file_with_the_next_number_and_is_listed(fork, work):
    work.replace("more.py", "MORE = 1", "MORE = 2")
    work.commit(message("Say more", "more"))
    assert fork.run("export").stderr.splitlines() == [
        "new: patches/0006-more.patch",
        "changed: patches/series",
    ]
    assert (fork.root / "patches" / "series").read_text().splitlines()[-1] == "0006-more.patch"
    fork.run("lint")


def test_dropped_commit_leaves(fork, work):
    before = patches(fork)
    work.git("rebase", "--quiet", "--onto", "series~2", "series~1", "series")
    assert fork.run("export").stderr.splitlines() == [
        "gone: patches/0004-odd.patch",
        "changed: patches/series",
    ]
    assert set(before) - set(patches(fork)) == {"0004-odd.patch"}
    fork.run("lint")


def test_series_without_any_patch_is_exported_and_imported(fork, work):
    work.git("reset", "--quiet", "--hard", "1.1")
    fork.run("export")
    assert patches(fork) == {"series": b""}
    shutil.rmtree(work.place)
    fork.run("import")
    assert work.git("rev-parse", "HEAD") == work.git("rev-parse", "1.1")


def test_reordered_commits_are_listed_in_their_new_order_under_their_old_names(fork, work):
    before = patches(fork)
    work.git("reset", "--quiet", "--hard", "series~2")
    work.git("cherry-pick", "ORIG_HEAD", "ORIG_HEAD~1")
    assert fork.run("export").stderr == "changed: patches/series\n"
    assert (fork.root / "patches" / "series").read_text().splitlines()[-2:] == [
        "0005-bye.patch",
        "0004-odd.patch",
    ]
    before.pop("series")
    after = patches(fork)
    after.pop("series")
    assert after == before


def test_comments_in_series_stay(fork):
    listing = fork.root / "patches" / "series"
    listing.write_text(
        "# The head.\n\n0001-add.patch   # behind a name\n# above multiply\n0002-multiply.patch\n"
        "\n# above empty\n0003-empty.patch\n# above odd\n0004-odd.patch\n# above bye\n0005-bye.patch\n# The end.\n"
    )
    fork.run("import")
    work = Work(fork)
    assert fork.run("export").stderr == UNCHANGED
    work.git("reset", "--quiet", "--hard", "series~3")
    work.git("cherry-pick", "--allow-empty", "ORIG_HEAD", "ORIG_HEAD~2")
    work.commit(message("Say more", "more"), more__py="MORE = 3\n")
    fork.run("export")
    assert listing.read_text() == (
        "# The head.\n\n0001-add.patch   # behind a name\n# above multiply\n0002-multiply.patch\n"
        "# above odd\n# above bye\n0005-bye.patch\n\n# above empty\n0003-empty.patch\n0006-more.patch\n# The end.\n"
    )


def test_series_rebased_by_hand_onto_another_release_gets_that_base(fork, work):
    work.git("rebase", "--quiet", "--empty=keep", "--onto", "1.0", "1.1", "series")
    fork.run("export")
    written = patches(fork)
    assert all(b"\nBase: 1.0\n" in content for name, content in written.items() if name != "series")
    fork.run("lint")


def test_series_on_several_bases_is_given_one_by_import_and_export(fork):
    path = fork.root / "patches" / "0001-add.patch"
    path.write_bytes(path.read_bytes().replace(b"\nBase: 1.1\n", b"\nBase: 1.0\n"))
    assert (
        "patches/0001-add.patch: Base: 1.0, but the series is based on 1.1"
        in fork.run("lint", ok=2).stderr
    )
    fork.run("import")
    assert "changed: patches/0001-add.patch" in fork.run("export").stderr
    fork.run("lint")


def test_body_line_that_looks_like_the_trailer_is_left_alone(fork, work):
    work.commit(
        message("Say more", "more", body="Base: jumps are not meant.", base="1.0"),
        more__py="MORE = 3\n",
    )
    fork.run("export")
    assert (
        b"\nBase: jumps are not meant.\n\nId: more\nBase: 1.1\n" in patches(fork)["0006-more.patch"]
    )


# Refusals


def edit(work):
    work.replace("more.py", "MORE = 1", "MORE = 2")


def stray(work):
    (work.place / "tally" / "stray.py").write_text("")


def rebasing(work):
    work.git(
        "-c",
        "sequence.editor=sed -i 1s/pick/edit/",
        "rebase",
        "--quiet",
        "--interactive",
        "--keep-empty",
        "1.1",
    )


def other_branch(work):
    work.git("checkout", "--quiet", "-b", "other")


def merge(work):
    work.git("checkout", "--quiet", "-b", "side", "1.1")
    work.commit(message("Side", "side"), side__py="")
    work.git("checkout", "--quiet", "series")
    work.git("merge", "--quiet", "--no-edit", "side")


def nameless(work):
    work.commit("Forget the id\n\nWhy: who knows\n", more__py="MORE = 4\n")
    work.commit("Forget it again", more__py="MORE = 5\n")


def same_name(work):
    work.commit(message("Twice", "bye"), more__py="MORE = 4\n")


def path_as_name(work):
    work.commit(message("Out", "../out"), more__py="MORE = 4\n")


def no_base(work):
    work.git("checkout", "--quiet", "--orphan", "new")
    work.git("commit", "--quiet", "-m", "Alone")
    work.git("branch", "--quiet", "--force", "series")
    work.git("checkout", "--quiet", "series")


def no_work_tree(work):
    shutil.rmtree(work.place / ".git")


def changed_on_the_way(work):
    work.commit(
        message(
            "Fool git",
            "fool",
            body="diff --git a/tally/more.py b/tally/more.py\nis what it begins with",
        ),
        more__py="MORE = 4\n",
    )


def no_other_trailer(work):
    work.commit("Forget the rest\n\nId: more\n", more__py="MORE = 4\n")


def loses_a_line(work):
    work.commit(
        message(
            "Lose a line", "lose", body="From: Somebody Else <else@example.invalid>\n\nand more"
        ),
        more__py="MORE = 4\n",
    )


def ends_early(work):
    work.commit(message("End early", "early", body="one\n---\ntwo"), more__py="MORE = 4\n")


def splits_the_mail(work):
    work.commit(
        message(
            "Split the mail", "split", body="one\n\nFrom a@b.c Mon Sep 17 00:00:00 2001\n\nand more"
        ),
        more__py="MORE = 4\n",
    )


REFUSED = [
    (
        edit,
        2,
        "has changes that are in no commit:\n M tally/more.py",
        "commit && nox -s export\n",
    ),
    (
        stray,
        2,
        "has changes that are in no commit:\n?? tally/stray.py",
        "add --all && ",
    ),
    (rebasing, 2, "is in the middle of a rebase", "rebase --continue"),
    (other_branch, 2, "is on other, not on `series`", "checkout series"),
    (merge, 2, "the branch holds a merge", "rebase 1.1 && nox -s export\n"),
    (nameless, 2, "Forget the id: the trailer `Id:` is missing", "commit --fixup=reword:"),
    (same_name, 2, "Twice: another commit has Id: bye too", "commit --amend && "),
    (path_as_name, 2, "Out: Id: '../out' is not of the form", "commit --amend && "),
    (no_base, 2, "/.fork/series is on no pinned release", "nox -s import"),
    (no_work_tree, 2, "there is no imported tree in ", "nox -s import"),
    (
        changed_on_the_way,
        2,
        "Fool git: the body line 'diff --git a/tally/more.py b/tally/more.py' would be taken for a patch",
        "commit --amend && ",
    ),
    (
        no_other_trailer,
        2,
        "Forget the rest: the trailer `Origin:` is missing",
        "commit --amend && ",
    ),
    (
        loses_a_line,
        2,
        "Lose a line: the body line 'From: Somebody Else <else@example.invalid>' would be taken for the mail's header",
        "commit --amend && ",
    ),
    (ends_early, 2, "End early: the body line '---' would be taken for a patch", "commit --amend"),
    (
        splits_the_mail,
        20,
        "would not give the branch again:\n  ",
        "commit --amend && ",
    ),
]


@pytest.mark.parametrize(
    ("change", "code", "words", "hint"), REFUSED, ids=[row[0].__name__ for row in REFUSED]
)
def test_export_that_would_lose_something_is_refused_with_the_next_command(
    fork, work, change, code, words, hint
):
    before = patches(fork)
    change(work)
    done = fork.run("export", ok=code)
    assert words in done.stderr
    assert hint in done.stderr.partition("\n  next")[2]
    assert patches(fork) == before


def test_every_commit_without_an_id_is_named_at_once(fork, work):
    nameless(work)
    done = fork.run("export", ok=2)
    assert done.stderr.count("the trailer `Id:` is missing") == 2


def test_id_of_a_retired_patch_is_refused(fork, work):
    retired = fork.root / "patches" / "retired"
    retired.mkdir()
    old = (
        (fork.root / "patches" / "0005-bye.patch")
        .read_text()
        .replace("Id: bye", "Id: more\nApplied-Upstream: 1.1; so; all")
    )
    (retired / "0001-more.patch").write_text(old)
    work.commit(message("Say more", "more"), more__py="MORE = 4\n")
    assert "Id: more is that of 0001-more.patch" in fork.run("export", ok=2).stderr


def test_override_module_is_moved_before_it_is_committed(fork, work):
    before = patches(fork)
    (work.place / "tally_overrides").mkdir()
    (work.place / "tally_overrides" / "mine.py").write_text("")
    refused = fork.run("export", ok=2).stderr
    assert "not in " in refused
    assert "      fix: mv .fork/series/tally_overrides/mine.py tally_overrides/mine.py\n" in refused
    assert "git" not in refused.replace(str(fork.root), "")
    assert patches(fork) == before


def test_import_into_a_folder_that_is_taken_is_refused(fork, work):
    (work.place / "tally" / "words.py").write_text("my work")
    assert (
        f"{work.place} is not empty\n  next: export what is in it"
        in fork.run("import", ok=2).stderr
    )
    assert (work.place / "tally" / "words.py").read_text() == "my work"


def test_import_and_export_in_another_folder(fork, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    fork.run("import", str(tmp_path / "elsewhere"))
    assert fork.run("export", str(tmp_path / "elsewhere")).stderr == UNCHANGED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "fork", "home"]
    assert (tmp_path / "elsewhere" / "tally" / "crlf.py").read_bytes() == CRLF


def test_patch_that_does_not_apply_is_named_and_nothing_is_imported(fork):
    path = fork.root / "patches" / "0005-bye.patch"
    path.write_bytes(path.read_bytes().replace(b"-BYE = 'bye'", b"-BYE = 'adieu'"))
    assert (
        "bye does not apply exactly on its own base 1.1: error: "
        in fork.run("import", ok=20).stderr
    )
    assert not (fork.root / ".fork" / "series").exists()


# Kills and settings


@pytest.mark.parametrize(
    ("event", "text", "changed"),
    [
        ("shutil.copytree", "patches", False),
        ("os.rename", "transaction/0.old", True),
        ("os.rename", "transaction/0.new", True),
    ],
)
def test_export_that_is_killed_leaves_the_old_series_or_the_new_one(
    fork, work, event, text, changed
):
    before = patches(fork)
    edit(work)
    work.commit(message("Say more", "more"))
    fork.run_killed_at(event, text, "export")
    done = fork.run("vendor")  # any verb that works alone finishes what was decided
    assert ("killed while it replaced patches; finished now" in done.stderr) is changed
    assert (patches(fork) != before) is changed
    assert fork.run("export").stderr.startswith(
        "nothing changed" if changed else "new: patches/0006-more.patch"
    )
    assert set(patches(fork)) == {*before, "0006-more.patch"}


@pytest.mark.parametrize("text", ["'fetch'", "'reset'"])
def test_import_that_is_killed_leaves_no_work_tree_that_looks_ready(fork, text):
    fork.run_killed_at("subprocess.Popen", text, "import")
    fork.run("import")
    assert sorted(
        path.name
        for path in (fork.root / ".fork").iterdir()
        if path.name.startswith(("tmp", "series"))
    ) == ["series"]
    assert not list(fork.root.glob("tmp-*"))


def test_export_does_not_depend_on_the_users_settings(fork, work):
    before = patches(fork)
    (fork.home / ".gitconfig").write_text(
        GITCONFIG
        + "[format]\nsignature = mine\nattach = true\nsubjectPrefix = MINE\nnumbered = true\n"
        "[diff]\nnoprefix = true\nmnemonicPrefix = true\n"
        "context = 9\nalgorithm = patience\nrenames = false\n[core]\nautocrlf = true\nabbrev = 5\n"
        "[status]\nshowUntrackedFiles = no\n"
        "[i18n]\nlogOutputEncoding = ISO-8859-1\n"
    )
    work.commit(message("Say more", "more"), more__py="MORE = 4\n")
    hostile = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert fork.run("export", env=hostile).stderr.splitlines() == [
        "new: patches/0006-more.patch",
        "changed: patches/series",
    ]
    after = patches(fork)
    more = after.pop("0006-more.patch")
    assert {**after, "series": before["series"]} == before
    assert b"\nSubject: [PATCH] Say more\n" in more
    assert more.endswith(
        b"\n--- a/tally/more.py\n+++ b/tally/more.py\n@@ -1 +1 @@\n-MORE = 1\n+MORE = 4\n"
    )
    stray(work)
    assert "?? tally/stray.py" in fork.run("export", ok=2).stderr
