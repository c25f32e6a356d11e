"""A patch file taken apart, and everything that can be wrong with one."""

from pathlib import Path

import pytest

from scripts.core.model import Hunk, Settings, State
from scripts.series.feature_record import feature_from_patch
from scripts.series.patch_file import read_mail, read_patch

MAIL = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Maintainer <maintainer@example.invalid>
Date: Tue, 1 Feb 2022 00:00:00 +0000
Subject: [PATCH] Add in the right order

Sums differ by the order of what is added.

Found by chance.

Id: right-order
Base: 1.0
Origin: vendor
Bug: https://bugs.example/1
Bug: https://bugs.example/2
Forwarded: no
Last-Update: 2022-02-01
Probes: tests/probes/test_order.py, tests/probes/test_sums.py::test_sum
Overrides: order, sums
Depends: other-patch
Needs: Django>=6
Needs: six
Replaced-By: ORDER=True; PLACES=2
Replaced-By: ORDER='right'
Drop-When: upstream adds in the right order,
 or not at all

diff --git a/tally/__init__.py b/tally/__init__.py
index 1111111111111111111111111111111111111111..2222222222222222222222222222222222222222 100644
--- a/tally/__init__.py
+++ b/tally/__init__.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a + b
+    return b + a
@@ -9,2 +9,3 @@ def mul(a, b):
     return a * b
+    # the end
 x = 1
diff --git a/tally/new.py b/tally/new.py
new file mode 100644
index 0000000000000000000000000000000000000000..3333333333333333333333333333333333333333
--- /dev/null
+++ b/tally/new.py
@@ -0,0 +1 @@
+NEW = 1
"""
HEAD, BODY = MAIL.split("\n\n", 1)


@pytest.fixture
def look(tmp_path):
    """Return a function that reads a patch file: the patch, and what is wrong with it."""

    def read(text=MAIL, state=State.ACTIVE):
        path = tmp_path / "0001-right-order.patch"
        path.write_bytes(text.encode())
        patch, wrong = read_patch(path, state)
        return patch, [str(problem) for problem in (*wrong, *feature_from_patch(patch)[1])]

    return read


@pytest.fixture
def problems(look):
    """Return a function that changes the mail in one place and lists what is then wrong with it."""

    def find(old, new, state=State.ACTIVE):
        assert MAIL.count(old) == 1, old
        return look(MAIL.replace(old, new), state)[1]

    return find


def test_patch_is_read(look):
    patch, wrong = look()
    assert wrong == []
    assert (patch.id, patch.title, patch.base) == ("right-order", "Add in the right order", "1.0")
    assert patch.why == "Sums differ by the order of what is added.\n\nFound by chance."
    assert (patch.overrides, patch.depends) == (("order", "sums"), ("other-patch",))


def test_patch_that_names_no_features_is_the_record_of_its_own(look):
    patch, _ = look()
    feature, wrong = feature_from_patch(patch)
    assert (wrong, feature.id, feature.title, feature.why) == ([], patch.id, patch.title, patch.why)
    assert feature.probes == ("tests/probes/test_order.py", "tests/probes/test_sums.py::test_sum")
    assert feature.needs == ("Django>=6", "six")
    assert feature.replaced_by == (
        Settings.of({"ORDER": True, "PLACES": 2}),
        Settings.of({"ORDER": "right"}),
    )
    assert feature.drop_when == "upstream adds in the right order, or not at all"


def test_hunks_are_read_with_their_places(look):
    patch, _ = look()
    init = "tally/__init__.py"
    assert patch.hunks == (
        Hunk(init, (1, 2), (1, 2)),
        Hunk(init, (9, 2), (9, 3)),
        Hunk("tally/new.py", (0, 0), (1, 1)),
    )
    assert patch.lines == 4


def test_trailer_above_an_empty_line_is_read_as_it_is_meant_and_named(look):
    patch, wrong = look(MAIL.replace("\nOverrides: ", "\n\nOverrides: "))
    assert (patch.id, patch.overrides, patch.why.count("\n")) == (
        "right-order",
        ("order", "sums"),
        2,
    )
    assert wrong == [
        (
            "`Id:`, `Base:`, `Origin:`, `Bug:`, `Forwarded:`, `Last-Update:` and `Probes:` stand"
            " outside the last paragraph"
        )
    ]


def test_text_that_begins_like_a_trailer_is_text(look):
    text = "Found: by chance.\n\nBug: none is known\nof anybody.\n\nId: r"
    patch, wrong = look(MAIL.replace("Found by chance.\n\nId: r", text))
    assert (wrong, patch.why.count("\n\n")) == ([], 2)


def test_patch_without_a_hunk_is_read(look):
    patch, wrong = look(MAIL[: MAIL.index("\ndiff --git")])
    assert (wrong, patch.hunks, patch.id) == ([], (), "right-order")


def test_subject_over_several_lines_and_in_an_encoding_is_one_title(look):
    folded = MAIL.replace(
        "Add in the right order", "=?UTF-8?q?Add_=C3=A4pfel?=\n in the right order"
    )
    assert look(folded)[0].title == "Add äpfel in the right order"


def test_windows_line_ends_are_read_too(look):
    patch, wrong = look(MAIL.replace("\n", "\r\n"))
    assert (wrong, patch.id, len(patch.hunks)) == ([], "right-order", 3)


@pytest.mark.parametrize("name", ["Id", "Base", "Origin", "Forwarded", "Last-Update", "Probes"])
def test_missing_field_is_named(look, name):
    lines = [line for line in MAIL.splitlines(keepends=True) if not line.startswith(f"{name}: ")]
    assert look("".join(lines))[1] == [f"the trailer `{name}:` is missing"]


def test_missing_last_field_is_named(problems):
    assert problems("Drop-When: upstream adds in the right order,\n or not at all\n", "") == [
        "the trailer `Drop-When:` is missing"
    ]


def test_retired_patch_says_which_release_took_it(problems, look):
    assert look(state=State.RETIRED)[1] == ["the trailer `Applied-Upstream:` is missing"]
    assert (
        problems("Drop-When:", "Applied-Upstream: 2.0; by itself\nDrop-When:", State.RETIRED) == []
    )


@pytest.mark.parametrize("name", ["Id", "Base", "Probes", "Overrides", "Depends"])
def test_field_that_may_be_there_once_is_there_twice(look, name):
    line = next(line for line in MAIL.splitlines(keepends=True) if line.startswith(f"{name}: "))
    assert look(MAIL.replace(line, line * 2))[1] == [f"the field {name}: is there twice"]


def test_unknown_field_gets_its_near_miss(problems):
    assert problems("Overrides:", "Override:") == [
        "unknown field Override:; did you mean Overrides?"
    ]
    assert problems("Forwarded:", "Forwaded:") == [
        "the trailer `Forwarded:` is missing",
        "unknown field Forwaded:; did you mean Forwarded?",
    ]


@pytest.mark.parametrize("line", ["Forwarded no", "Forwarded:", ": no", "Forwarded:no"])
def test_line_among_the_trailers_that_is_none_is_shown(problems, line):
    assert problems("Forwarded: no", line) == [
        f"the last paragraph must be trailers (`Name: value`), this line is none: {line!r}",
        "the trailer `Forwarded:` is missing",
    ]


def test_words_after_the_trailers_hide_them(look):
    _, wrong = look(MAIL.replace("\n\ndiff --git", "\n\nAnd so on.\n\ndiff --git", 1))
    assert (
        wrong[0]
        == "the last paragraph must be trailers (`Name: value`), this line is none: 'And so on.'"
    )
    names = "`Id:`, `Base:`, `Origin:`"
    assert wrong[1].startswith(names)
    assert wrong[1].endswith("stand outside the last paragraph")


@pytest.mark.parametrize("line", ["---", "--- a/tally.py", "diff -u a b", "Index: tally.py"])
def test_body_line_that_looks_like_a_patch_is_shown(problems, line):
    assert problems("Found by chance.", f"Found by chance.\n{line}") == [
        f"the body line {line!r} would be taken for a patch"
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "Origin: vendor",
            "Origin: me",
            r"Origin: 'me' is not of the form ^(vendor|backport, .+)$",
        ),
        (
            "Forwarded: no",
            "Forwarded: perhaps",
            r"Forwarded: 'perhaps' is not of the form ^(no|not-needed|https?://\S+)$",
        ),
        (
            "2022-02-01\nProbes",
            "1.2.2022\nProbes",
            r"Last-Update: '1.2.2022' is not of the form ^\d{4}-\d\d-\d\d$",
        ),
        (
            "Id: right-order",
            "Id: Right Order",
            r"Id: 'Right Order' is not of the form ^[a-z0-9][a-z0-9-]*$",
        ),
    ],
)
def test_malformed_value_is_shown(problems, old, new, problem):
    assert problems(old, new) == [problem]


@pytest.mark.parametrize(
    "value",
    [
        "ORDER",
        "ORDER=order()",
        "ORDER=",
        "ORDER == 1",
        "import os",
        "ORDER=__import__('os')",
        "a.b=1",
        "A=B=1",
    ],
)
def test_replacement_that_is_no_literal_is_shown(problems, value):
    (problem,) = problems("ORDER='right'", value)
    assert problem.startswith(f"Replaced-By: {value!r} is not NAME=literal: ")


def test_empty_subject(problems):
    assert problems("Subject: [PATCH] Add in the right order", "Subject: [PATCH]") == [
        "the subject is empty"
    ]


def test_file_that_is_no_mail(problems):
    words = (
        "not a mail as `git format-patch` writes it: the first line is not `From <commit> <date>`"
    )
    assert problems(HEAD.splitlines()[0] + "\n", "") == [words]


def test_last_hunk_that_lacks_a_line_is_unreadable(problems):
    assert problems("+NEW = 1\n", "") == ["its diff is unreadable: Hunk is shorter than expected"]


def test_hunk_that_lacks_a_line_is_unreadable(problems):
    words = "its diff is unreadable: Hunk diff line expected: @@ -9,2 +9,3 @@ def mul(a, b):\n"
    assert problems("-    return a + b\n", "") == [words]


def test_line_that_no_hunk_counts_is_shown(problems):
    assert problems("+NEW = 1\n", "+NEW = 1\n+NEWER = 2\n") == [
        "the line '+NEWER = 2' is in no hunk, git would drop it"
    ]
    assert problems(" x = 1\n", " x = 1\n y = 2\n") == [
        "the line ' y = 2' is in no hunk, git would drop it"
    ]


@pytest.mark.parametrize("end", ["\\ No newline at end of file\n", "-- \n2.39.5\n\n", "\n"])
def test_what_git_writes_after_a_hunk_is_no_stray_line(look, end):
    assert look(MAIL + end)[1] == []


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xfe", b"From x\n\n", b"Subject: a\n\ndiff --git a/a b/a\n"]
)
def test_any_bytes_are_read_or_complained_about(tmp_path, content):
    path = tmp_path / "0001-a.patch"
    path.write_bytes(content)
    patch, wrong = read_patch(path, State.ACTIVE)
    assert (patch.id, wrong != []) == ("0001-a", True)


def test_trailers_of_the_real_patches_survive_being_read():
    folder = Path(__file__).parents[3] / "patches"
    for path in [*folder.glob("*.patch"), *folder.glob("retired/*.patch")]:
        mail = read_mail(path.read_bytes())
        assert mail.problems == ()
        assert all(f"\n{name}: " in path.read_text() for name, _ in mail.trailers)
