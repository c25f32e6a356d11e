"""`export` overwrites nothing in `patches/` that changed since the import, and says how to keep both."""

import shlex

import pytest

from tests.support.imported_series import UNCHANGED, hints, message, paste, patches

pytestmark = pytest.mark.slow


def edit_bye(fork):
    path = fork.root / "patches" / "0005-bye.patch"
    path.write_text(path.read_text().replace("+BYE = 'good bye'", "+BYE = 'so long'"))


def test_file_that_changed_is_named_and_nothing_is_written(fork, work):
    work.commit(message("Say more", "more"), more__py="MORE = 4\n")
    edit_bye(fork)
    before = patches(fork)
    done = fork.run("export", ok=20)
    assert done.stderr.startswith(
        "error: refused: these changed since the import, and the export would overwrite them:\n"
        "  patches/0005-bye.patch\n"
    )
    assert patches(fork) == before


def test_both_are_kept_by_the_command_that_is_given(fork, work):
    work.commit(message("Say more", "more"), more__py="MORE = 4\n")
    edit_bye(fork)
    (command,) = hints(fork.run("export", ok=20))
    done = paste(fork, command)
    assert "new: patches/0006-more.patch\nchanged: patches/series\n" in done.stderr
    assert b"+BYE = 'so long'\n" in patches(fork)["0005-bye.patch"]
    assert b"+MORE = 4\n" in patches(fork)["0006-more.patch"]
    fork.run("lint")


def amend_add(work, old="", new=""):
    """Amend the first patch: its hunk, and perhaps words of its message."""
    work.replace("__init__.py", "return b + a", "return sum((a, b))")
    work.commit("", "--fixup=series~4")
    work.git("-c", "sequence.editor=true", "rebase", "-i", "--autosquash", "1.1")
    if old:
        text = work.git("log", "-1", "--format=%B", "series~4").replace(old, new)
        (work.place / ".git" / "text").write_text(text)
        edit = ("-c", "sequence.editor=sed -i 1s/pick/reword/", "-c", "core.editor=cp .git/text")
        work.git(*edit, "rebase", "-i", "--keep-empty", "1.1")


def edit_add(fork, old, new):
    path = fork.root / "patches" / "0001-add.patch"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("word", "in_file", "in_commit"),
    [
        ("fixup", "", ""),
        ("fixup", "By hand it is needed.", ""),
        ("fixup -C", "", "In git it is needed."),
        ("squash", "By hand it is needed.", "In git it is needed."),
    ],
)
def test_amended_patch_is_kept_beside_changed_ones_by_the_command_that_is_given(
    fork, work, word, in_file, in_commit
):
    why = "Because it is needed."
    amend_add(work, *((why, in_commit) if in_commit else ()))
    if in_file:
        edit_add(fork, why, in_file)
    edit_bye(fork)
    done = fork.run("export", ok=20)
    assert f"\n  `{word}`: Add the other way round\n" in done.stderr
    (command,) = hints(done)
    editor = f'sh -c \'sed -n 6p "$1" | sed s/^pick/"{word}"/ > "$1.1"; sed -i -e 6d -e "1r $1.1" "$1"\' -'
    paste(fork, f"export GIT_SEQUENCE_EDITOR={shlex.quote(editor)}\n{command}")
    text = patches(fork)["0001-add.patch"]
    assert b"+    return sum((a, b))\n" in text
    for words in filter(None, (in_file, in_commit)):
        assert f"\n{words}\n".encode() in text
    assert b"+BYE = 'so long'\n" in patches(fork)["0005-bye.patch"]
    assert len(patches(fork)) == 6


@pytest.mark.parametrize("verb", [["export"], ["new", "more"]])
@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("-BYE = 'bye'\n", "", 2, "its diff is unreadable: "),
        ("Forwarded: no", "Forwarded no", 2, "'Forwarded no'"),
        ("-BYE = 'bye'", "-BYE = 'bey'", 20, "does not apply"),
    ],
)
def test_patch_that_cannot_be_imported_again_is_named_before_the_branch_is_removed(
    fork, work, old, new, code, words, verb
):
    path = fork.root / "patches" / "0005-bye.patch"
    path.write_text(path.read_text().replace(old, new))
    said = fork.run(*verb, ok=code).stderr
    assert words in said
    assert "rm -rf" not in said
    assert "nox -s import" not in said


def test_branch_without_a_change_of_its_own_is_made_anew_by_the_command_that_is_given(fork, work):
    edit_bye(fork)
    before = patches(fork)
    done = fork.run("export", ok=20)
    assert "The branch holds nothing that is not exported" in done.stderr
    (command,) = hints(done)
    paste(fork, command)
    assert "so long" in (work.place / "tally" / "words.py").read_text()
    assert patches(fork) == before


def test_patch_that_somebody_added_or_removed_is_not_undone(fork, work):
    new = fork.root / "patches" / "0006-more.patch"
    text = (fork.root / "patches" / "0003-empty.patch").read_text()
    new.write_text(text.replace("Id: empty", "Id: more"))
    listing = fork.root / "patches" / "series"
    listing.write_text(listing.read_text() + "0006-more.patch\n")
    done = fork.run("export", ok=20)
    assert "\n  patches/0006-more.patch\n  patches/series\n" in done.stderr
    assert new.exists()


def test_change_that_the_export_would_make_anyway_is_no_reason_to_refuse(fork, work):
    work.replace("words.py", "good bye", "so long")
    work.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    record = work.place / ".git" / "fork-import.json"
    before = record.read_bytes()
    fork.run("export")
    record.write_bytes(before)  # as if the export had been killed before its last step
    assert fork.run("export").stderr == UNCHANGED


def test_second_export_of_one_import_is_not_refused(fork, work):
    work.commit(message("Say more", "more"), more__py="MORE = 4\n")
    fork.run("export")
    work.commit(message("Say most", "most"), more__py="MORE = 5\n")
    assert "new: patches/0007-most.patch" in fork.run("export").stderr


def test_branch_without_a_record_overwrites_nothing(fork, work):
    (work.place / ".git" / "fork-import.json").unlink()
    assert "nothing changed" in fork.run("export").stderr, "which records it"
    (work.place / ".git" / "fork-import.json").unlink()
    edit_bye(fork)
    done = fork.run("export", ok=20)
    assert "these may have changed since the import" in done.stderr
