"""`fixup!` commits become part of the commits that they mend, or the command for it is given."""

import pytest

from tests.support.imported_series import UNCHANGED, hints, message, paste, patches

pytestmark = pytest.mark.slow


def test_fixup_is_folded_in_and_the_branch_too(fork, work):
    before = patches(fork)
    work.replace("__init__.py", "return b + a", "return sum((a, b))")
    work.commit("", "--fixup=series~4")
    name = work.git("log", "-1", "--format=%h")
    done = fork.run("export")
    assert done.stderr.splitlines() == [
        f"folded in: {name} fixup! Add the other way round",
        "changed: patches/0001-add.patch",
    ]
    assert b"+    return sum((a, b))\n" in patches(fork)["0001-add.patch"]
    assert set(patches(fork)) == set(before)
    assert len(work.titles()) == 5
    assert work.git("status", "--porcelain") == ""
    assert fork.run("export").stderr == UNCHANGED


def test_fixups_of_several_commits_and_of_a_fixup_are_folded_in(fork, work):
    work.replace("__init__.py", "return b + a", "return sum((a, b))")
    work.commit("", "--fixup=series~4")
    work.replace("__init__.py", "sum((a, b))", "sum((b, a))")
    work.commit("", "--fixup=series")
    work.replace("words.py", "good bye", "so long")
    work.commit("", "--fixup=series~2")
    assert fork.run("export").stderr.splitlines()[3:] == [
        "changed: patches/0001-add.patch",
        "changed: patches/0005-bye.patch",
    ]
    assert b"+    return sum((b, a))\n" in patches(fork)["0001-add.patch"]


def test_fixup_without_a_target_is_named_and_nothing_changes(fork, work):
    before, head = patches(fork), work.git("rev-parse", "HEAD")
    work.replace("words.py", "good bye", "so long")
    work.commit("fixup! Say good night")
    name = work.git("log", "-1", "--format=%h")
    done = fork.run("export", ok=2)
    assert f"\n  {name} fixup! Say good night\n" in done.stderr
    assert "no earlier commit of the branch has the subject" in done.stderr
    assert f"git -C {work.place} rebase --interactive --keep-empty 1.1 && nox -s" in hints(done)[0]
    assert patches(fork) == before
    assert work.git("rev-parse", "HEAD~") == head


def test_fixup_that_does_not_apply_to_its_target_is_named_and_nothing_changes(fork, work):
    before = patches(fork)
    work.replace("words.py", "good bye", "so long")
    work.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    work.replace("words.py", "so long", "see you")
    work.commit("", "--fixup=series~4")
    name, head = work.git("log", "-1", "--format=%h"), work.git("rev-parse", "HEAD")
    done = fork.run("export", ok=20)
    assert f"{name} fixup! Add the other way round does not apply to the commit that" in done.stderr
    assert patches(fork) == before
    assert work.git("rev-parse", "HEAD") == head
    assert work.git("status", "--porcelain", "--branch") == "## series"


def test_squash_is_folded_in_by_the_command_that_is_given(fork, work):
    work.replace("__init__.py", "return b + a", "return sum((a, b))")
    work.commit("", "--squash=series~4", "--no-edit")
    done = fork.run("export", ok=2)
    assert "a `squash!` commit needs a message that you write:" in done.stderr
    (command,) = hints(done)
    assert "changed: patches/0001-add.patch" in paste(fork, command).stderr
    assert work.titles()[0] == "Add the other way round"


def test_message_of_a_folded_commit_is_still_checked(fork, work):
    work.commit("Forget it\n\nId: more\n", more__py="MORE = 2\n")
    work.commit(message("Say most", "most"), words__py="BYE = 1\n")
    work.replace("more.py", "2", "3")
    work.commit("", "--fixup=series~1")
    done = fork.run("export", ok=2)
    name = work.git("log", "-1", "--skip=1", "--format=%h")
    assert f"{name} Forget it: the trailer `Origin:` is missing" in done.stderr
    assert hints(done)[0].startswith(f"git -C {work.place} commit --fixup=reword:{name} && ")
