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
        "      fix: add `Features: say-most`",
        f"  - {second} Say most: the trailer `Forwarded:` is missing",
        "      fix: add `Forwarded: no`",
        f"  - {second} Say most: Origin: 'me' is not of the form ^(vendor|backport, .+)$",
        "      fix: write `Origin: vendor`",
    ]
    assert " && ".join(hints(done)).split(" && ") == [
        f"git -C {work.place} commit --fixup=reword:{first}",
        f"git -C {work.place} commit --fixup=reword:{second}",
        f"nox -s export -- {work.place}",
    ]


def test_last_commit_is_reworded_by_the_command_that_is_given(fork, work):
    work.commit(BARE, more__py="MORE = 2\n")
    first, _ = hints(fork.run("export", ok=2))
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
    work.replace("words.py", "good bye", "so long")
    work.commit("Forget --amend")
    _, second = hints(fork.run("export", ok=2))
    done = paste(fork, second)
    assert "changed: patches/0005-bye.patch\n" in done.stderr
    assert work.titles()[-1] == "Say good bye"


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
