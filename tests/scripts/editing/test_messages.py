"""What a commit's message lacks is said in the words of its trailers, and the command to reword it works."""

import shutil
from datetime import datetime

import pytest

from tests.support.imported_series import hints, message, paste, patches

pytestmark = pytest.mark.slow

BARE = "Say more\n\nBecause.\n"
WHOLE = "Id: more\nOrigin: vendor\nForwarded: no\nFeatures: more\n"


def today():
    return datetime.now().astimezone().date().isoformat()


def field(content, name):
    return [
        line.partition(b": ")[2].decode()
        for line in content.splitlines()
        if line.startswith(f"{name}: ".encode())
    ]


def append(text):
    """Return an editor that appends a paragraph to what git opens."""
    return f'sh -c \'printf "\\n%s" "{text}" >> "$1"\' -'


def test_everything_that_messages_lack_is_said_at_once_by_trailer(fork, work):
    work.commit(BARE, more__py="MORE = 2\n")
    work.commit("Say most\n\nId: most\nOrigin: me\n", more__py="MORE = 3\n")
    first, second = work.git("log", "--reverse", "--format=%h", "-2").split()
    done = fork.run("export", ok=2)
    assert done.stderr.splitlines()[:-1] == [
        "error: these commits cannot become patches yet:",
        f"  - {first} Say more: the trailer `Features:` is missing (or `Probes:` and `Drop-When:`, if the patch is its own feature's record)",
        "      fix: add `Features: say-more`",
        f"  - {first} Say more: the trailer `Id:` is missing",
        "      fix: add `Id: say-more`",
        f"  - {first} Say more: the trailer `Origin:` is missing",
        "      fix: add `Origin: vendor`",
        f"  - {first} Say more: the trailer `Forwarded:` is missing",
        "      fix: add `Forwarded: no`",
        f"  - {second} Say most: the trailer `Features:` is missing (or `Probes:` and `Drop-When:`, if the patch is its own feature's record)",
        "      fix: add `Features: most`",
        f"  - {second} Say most: the trailer `Forwarded:` is missing",
        "      fix: add `Forwarded: no`",
        f"  - {second} Say most: Origin: 'me' is not of the form ^(vendor|backport, .+)$",
        "      fix: write `Origin: vendor`",
        f"  - {second} Say most: the reason is missing, the text between the title and the trailers",
        "      fix: write why it is needed",
    ]
    assert " && ".join(hints(done)).split(" && ") == [
        f"git -C {work.place} commit --fixup=reword:{first}",
        f"git -C {work.place} commit --fixup=reword:{second}",
        "nox -s export",
    ]


def test_last_commit_is_reworded_by_the_command_that_is_given(fork, work):
    work.commit(BARE, more__py="MORE = 2\n")
    (first,) = hints(fork.run("export", ok=2))
    done = paste(fork, first, editor=append(WHOLE))
    assert "new: patches/0006-more.patch\n" in done.stderr
    assert work.titles()[-1] == "Say more"


def test_earlier_commit_is_reworded_by_the_command_that_is_given(fork, work):
    work.commit(BARE, more__py="MORE = 2\n")
    work.commit(message("Say most", "most"), words__py="BYE = 1\n")
    (command,) = hints(fork.run("export", ok=2))
    done = paste(fork, command, editor=append(WHOLE))
    assert "new: patches/0006-more.patch\nnew: patches/0007-most.patch\n" in done.stderr
    assert work.titles()[-2:] == ["Say more", "Say most"]


def test_commit_that_belongs_to_the_one_before_is_joined_by_the_second_command(fork, work):
    work.commit(message("Say more", "more"), more__py="MORE = 2\n")
    fork.run("export")
    work.replace("more.py", "2", "3")
    work.commit("Forget --amend")
    done = fork.run("export", ok=2)
    assert "\n    or, if it belongs to `Say more`:\n" in done.stderr
    _, second = hints(done)
    assert "changed: patches/0006-more.patch\n" in paste(fork, second).stderr
    assert work.titles()[-1] == "Say more"


def test_commit_is_not_to_be_joined_with_a_patch_that_was_imported(fork, work):
    work.replace("words.py", "good bye", "so long")
    work.commit("Forget --amend")
    (command,) = hints(fork.run("export", ok=2))
    assert "reset" not in command


def test_commit_without_trailers_is_what_was_begun_with_its_title_or_alone(fork, work):
    fork.run("new", "names", "--feature", "fold-names", "--title", "Fold them")
    fork.run("new", "other")
    work.commit("Fold them\n\nBecause.\n", more__py="MORE = 2\n")
    work.commit("Do something\n\nBecause.\n", more__py="MORE = 3\n")
    said = fork.run("export", ok=2).stderr
    assert "fix: add `Id: names`" in said
    assert "fix: add `Features: fold-names`" in said
    assert "fix: add `Id: other`" in said
    assert (
        "add `Probes: tests/probes/test_other.py` and `Drop-When: what upstream has to do`" in said
    )


def test_patch_that_is_as_before_its_change_is_to_the_byte_what_git_has(fork, work):
    git = lambda *words: fork.git(*words, cwd=fork.root)
    mend(work, "return b + a", "return sum((a, b))", "series~4")
    fork.run("export")  # the blob ids in the next patch become old ones
    git("init", "--quiet")
    git("add", "--force", "patches")
    git("commit", "--quiet", "-m", "All")
    mend(work, "return b * a", "return (b * a)", "series~3")
    assert fork.run("export").stderr.endswith("changed: patches/0002-multiply.patch\n")
    assert git("status", "--porcelain", "patches") != ""
    mend(work, "return (b * a)", "return b * a", "series~3")
    fork.run("export")
    assert git("status", "--porcelain", "patches") == ""
    assert fork.run("export").stderr == "nothing changed: patches/ is the same to the byte\n"


def mend(work, old, new, commit):
    work.replace("__init__.py", old, new)
    work.commit("", f"--fixup={commit}")


def test_retired_id_is_refused_with_both_ways_out(fork, work):
    (fork.root / "patches" / "retired").mkdir()
    text = patches(fork)["0005-bye.patch"].replace(
        b"Id: bye", b"Id: more\nApplied-Upstream: 1.1; so"
    )
    (fork.root / "patches" / "retired" / "0001-more.patch").write_bytes(text)
    work.commit(message("Say more", "more"), more__py="MORE = 4\n")
    done = fork.run("export", ok=2)
    assert "Say more: Id: more is that of 0001-more.patch, which is retired\n" in done.stderr
    assert [line.split(" && ")[0] for line in hints(done)] == [
        f"git -C {work.place} commit --amend",
        "nox -s unretire -- more",
    ]


# Trailers that export fills in


def test_new_patch_gets_its_base_and_the_day(fork, work):
    work.commit(f"{BARE}\n{WHOLE}", more__py="MORE = 2\n")
    days = [today()]
    fork.run("export")
    days.append(today())
    text = patches(fork)["0006-more.patch"]
    assert field(text, "Base") == ["1.1"]
    assert field(text, "Last-Update")[0] in days
    assert b"\nId: more\nBase: 1.1\nOrigin: vendor\nForwarded: no\nLast-Update: " in text


def test_export_after_the_export_changes_nothing(fork, work):
    work.commit(f"{BARE}\n{WHOLE}", more__py="MORE = 2\n")
    fork.run("export")
    # As if it had been another day.
    path = fork.root / "patches" / "0006-more.patch"
    path.write_text(path.read_text().replace(f"Last-Update: {today()}", "Last-Update: 2021-01-01"))
    before = patches(fork)
    assert fork.run("export").stderr == "nothing changed: patches/ is the same to the byte\n"
    assert patches(fork) == before


def test_changed_patch_gets_the_day_and_the_others_keep_every_byte(fork, work):
    old_days(fork)
    again(fork, work)
    before = patches(fork)
    work.replace("words.py", "good bye", "so long")
    work.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    days = [today()]
    assert fork.run("export").stderr == "changed: patches/0005-bye.patch\n"
    days.append(today())
    after = patches(fork)
    assert field(after.pop("0005-bye.patch"), "Last-Update")[0] in days
    before.pop("0005-bye.patch")
    assert after == before


def test_patch_that_only_moves_in_its_file_keeps_its_day(fork, work):
    old_days(fork)
    again(fork, work)
    work.git("reset", "--quiet", "--hard", "series~4")
    work.replace("__init__.py", "return b + a", "c = b + a\n    return c")
    work.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    work.git("cherry-pick", "--allow-empty", "ORIG_HEAD~4..ORIG_HEAD")
    assert "changed: patches/0002-multiply.patch" in fork.run("export").stderr
    assert field(patches(fork)["0002-multiply.patch"], "Last-Update") == ["2020-02-02"]
    assert field(patches(fork)["0001-add.patch"], "Last-Update") != ["2020-02-02"]


def old_days(fork):
    for path in (fork.root / "patches").glob("*.patch"):
        text = path.read_bytes()
        (day,) = field(text, "Last-Update")
        path.write_bytes(text.replace(day.encode(), b"2020-02-02"))


def again(fork, work):
    shutil.rmtree(work.place)
    fork.run("import")
