"""What a commit's message lacks is said in the words of its trailers, and the command to reword it works."""

import shutil
from datetime import datetime

import pytest

from tests.support.imported_series import UNCHANGED, hints, message, paste, patches

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
        f"  - {first} Say more: the trailer `Id:` is missing",
        "      fix: add `Id: say-more`",
        f"  - {first} Say more: the trailer `Origin:` is missing",
        "      fix: add `Origin: vendor`",
        f"  - {first} Say more: the trailer `Forwarded:` is missing",
        "      fix: add `Forwarded: no`",
        f"  - {first} Say more: the trailer `Features:` is missing",
        "      fix: add `Features: say-more`",
        f"  - {second} Say most: the trailer `Forwarded:` is missing",
        "      fix: add `Forwarded: no`",
        f"  - {second} Say most: the trailer `Features:` is missing",
        "      fix: add `Features: most`",
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


def test_commits_that_belong_to_the_one_before_are_all_joined_by_the_second_command(fork, work):
    work.commit(message("Say more", "more"), more__py="MORE = 2\n")
    fork.run("export")
    for number in "34":
        work.commit("wip", more__py=f"MORE = {number}\n")
    _, second = hints(fork.run("export", ok=2))
    assert second.startswith(f"git -C {work.place} reset --soft HEAD~2 && ")
    assert paste(fork, second).stderr == "changed: patches/0006-more.patch\n"
    assert b"+MORE = 4\n" in patches(fork)["0006-more.patch"]


def test_commits_of_one_title_are_reworded_each_by_the_first_command(fork, work):
    work.commit(message("Say more", "more"), more__py="MORE = 2\n")
    for number in "34":
        work.commit("wip", more__py=f"MORE = {number}\n")
    first, _ = hints(fork.run("export", ok=2))
    text = WHOLE.replace("more", "wip$(cat tally/more.py | tr -dc 0-9)")
    editor = f'sh -c \'printf "wip\\n\\nBecause.\\n\\n%s" "{text}" > "$1"\' -'
    done = paste(fork, first, editor=editor)
    assert "new: patches/0007-wip3.patch\nnew: patches/0008-wip4.patch\n" in done.stderr


def test_commit_is_not_to_be_joined_with_a_patch_that_was_imported(fork, work):
    work.replace("words.py", "good bye", "so long")
    work.commit("Forget --amend")
    (command,) = hints(fork.run("export", ok=2))
    assert "reset" not in command


def test_message_of_what_was_begun_is_opened_with_the_trailers_that_it_lacks(fork, work):
    fork.run("new", "fold-names", "--feature", "fold-names")
    work.commit("Fold them\n\nBecause.\n\nOrigin: vendor\n", more__py="MORE = 2\n")
    (command,) = hints(fork.run("export", ok=2))
    assert "Origin" not in command
    assert "new: patches/0006-fold-names.patch\n" in paste(fork, command).stderr
    fork.run("new", "other", "--feature", "other")
    work.commit("Do something\n\nBecause.\n", more__py="MORE = 3\n")
    work.commit(message("Say most", "most"), words__py="BYE = 1\n")
    (command,) = hints(fork.run("export", ok=2))
    assert "new: patches/0007-other.patch\n" in paste(fork, command).stderr
    assert field(patches(fork)["0007-other.patch"], "Features") == ["other"]


def test_uncommitted_change_of_what_was_begun_is_amended_with_its_trailers(fork, work):
    fork.run("new", "fold-names", "--feature", "fold-names")
    work.commit("Fold them\n\nBecause.\n", more__py="MORE = 2\n")
    work.replace("more.py", "2", "3")
    first, _ = hints(fork.run("export", ok=2))
    assert "new: patches/0006-fold-names.patch\n" in paste(fork, first).stderr


# Trailers above the last paragraph


@pytest.mark.parametrize(
    ("below", "above", "line"),
    [
        ("Origin", "`Id:` stands", "Id: more"),
        ("Features", "`Id:`, `Origin:` and `Forwarded:` stand", "Forwarded: no"),
    ],
)
def test_trailers_above_an_empty_line_are_misplaced_and_not_missing(fork, work, below, above, line):
    trailers = WHOLE.replace(f"\n{below}: ", f"\n\n{below}: ")
    work.commit(f"{BARE}\n{trailers}", more__py="MORE = 2\n")
    name = work.git("log", "-1", "--format=%h %s").strip()
    assert fork.run("export", ok=2).stderr.splitlines()[1:-1] == [
        f"  - {name}: {above} outside the last paragraph",
        f"      fix: remove the empty line below `{line}`, so that all trailers are one paragraph",
    ]


def test_trailers_that_are_each_a_paragraph_are_misplaced(fork, work):
    words = [
        word for part in ("Say more", "Because.", *WHOLE.splitlines()) for word in ("-m", part)
    ]
    work.commit("", *words, more__py="MORE = 2\n")
    done = fork.run("export", ok=2)
    assert [line.partition("Say more: ")[2] for line in done.stderr.splitlines()[1:-1:2]] == [
        "`Id:`, `Origin:` and `Forwarded:` stand outside the last paragraph"
    ]
    (command,) = hints(done)
    paste(fork, command, editor="sed -i -e '/^Id/,$ { /^$/d }'")
    assert field(patches(fork)["0006-more.patch"], "Origin") == ["vendor"]


def test_trailers_above_the_text_are_to_be_moved(fork, work):
    work.commit(f"Say more\n\n{WHOLE}\nBecause.\n", more__py="MORE = 2\n")
    said = fork.run("export", ok=2).stderr
    assert said.count(" stand outside the last paragraph\n      fix: move them to the end") == 1
    assert "missing" not in said


@pytest.mark.parametrize("text", ["Base: jumps are not meant.", "Forwarded: it was not."])
def test_text_that_looks_like_a_trailer_that_is_there_or_is_added_is_text(fork, work, text):
    work.commit(f"Say more\n\n{text}\n\n{WHOLE}", more__py="MORE = 2\n")
    fork.run("export")
    assert f"\n\n{text}\n\nId: more\n".encode() in patches(fork)["0006-more.patch"]


def test_message_of_trailers_alone_lacks_the_reason(fork, work):
    first, _, rest = WHOLE.partition("\n")
    work.commit(f"Say more\n\n{first}\n\n{rest}", more__py="MORE = 2\n")
    assert "the reason is missing" in fork.run("export", ok=2).stderr


def test_commit_without_trailers_is_what_was_begun_with_its_title_or_alone(fork, work):
    fork.run("new", "names", "--feature", "fold-names", "--title", "Fold them")
    fork.run("new", "other")
    work.commit("Fold them\n\nBecause.\n", more__py="MORE = 2\n")
    work.commit("Do something\n\nBecause.\n", more__py="MORE = 3\n")
    said = fork.run("export", ok=2).stderr
    assert "fix: add `Id: names`" in said
    assert "fix: add `Features: fold-names`" in said
    assert "fix: add `Id: other`" in said
    assert "fix: add `Probes: tests/probes/test_other.py`" in said
    assert "fix: add `Drop-When: what upstream has to do`" in said


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
    assert fork.run("export").stderr == UNCHANGED


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
    assert fork.run("export").stderr == UNCHANGED
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
