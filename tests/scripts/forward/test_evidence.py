"""What a new test must show, from made-up runs, and how the text of a pull request tells it."""

from pathlib import Path

from scripts.core.model import Feature, Patch, State
from scripts.forward.evidence import Evidence, new_test_faults
from scripts.forward.request import Request, commit_message, request_text
from scripts.probes.upstream_suite import NO_TEST, WHOLE_RUN, Comparison, SuiteRun

PATCH = Patch(
    Path("x.patch"),
    State.ACTIVE,
    "trim",
    "Trim headings",
    "1",
    "",
    features=("trim-headings",),
    why="Spaces sort\nfirst.\n\nAnd last.",
    trailers=(("Bug", "https://example.org/7"),),
)
FEATURE = Feature(
    "trim-headings", PATCH, Path("t.py"), "A heading is trimmed", "It was not.", needs=("x>2",)
)
GOOD, BAD = (
    SuiteRun({}, frozenset({"a", "b"})),
    SuiteRun({"a": "AssertionError: 1"}, frozenset({"b"})),
)
NONE = SuiteRun({WHOLE_RUN: NO_TEST})
DIFF = """\
diff --git a/larder/labels.py b/larder/labels.py
--- a/larder/labels.py
+++ b/larder/labels.py
@@ -1 +1 @@
-x
+y
diff --git a/tests/test_trim.py b/tests/test_trim.py
new file mode 100644
--- /dev/null
+++ b/tests/test_trim.py
@@ -0,0 +1,2 @@
+a
+b
"""


def run(bare, changed, place="plain", mode="default"):
    return Comparison(mode, place, "valkey", bare, changed)


def faults(*runs):
    return list(new_test_faults(runs, [FEATURE]))


def test_test_that_fails_bare_somewhere_and_passes_everywhere_is_good():
    assert faults(run(GOOD, GOOD, "old"), run(BAD, GOOD)) == []


def test_test_that_passes_bare_everywhere_proves_nothing():
    assert faults(run(GOOD, GOOD), run(GOOD, GOOD, "old")) == [
        "it passes without the change, too, so it proves nothing (tried in plain, old; it matters with x>2)"
    ]


def test_test_that_fails_with_the_change_is_named_with_its_place():
    assert faults(run(BAD, BAD, mode="fast")) == [
        "a fails with the change (fast, plain): AssertionError: 1"
    ]


def test_bare_run_that_broke_off_proves_nothing():
    assert "proves nothing" in faults(run(SuiteRun({WHOLE_RUN: "ended with 3"}), GOOD))[0]


def test_place_in_which_the_test_is_skipped_does_not_count():
    assert faults(run(NONE, NONE, "old"), run(BAD, GOOD)) == []
    assert faults(run(NONE, NONE)) == [
        "no test was collected, or all are skipped (tried in plain; it matters with x>2)"
    ]


def test_text_tells_why_what_and_the_evidence_once():
    runs = (run(BAD, GOOD), run(BAD, GOOD, mode="fast"), run(GOOD, GOOD, "old"))
    suite = (run(GOOD, GOOD), run(GOOD, GOOD, "old"))
    request = Request(
        PATCH,
        (FEATURE,),
        "larder, commit abc",
        DIFF,
        ("tests/test_trim.py",),
        Evidence(runs, suite),
    )
    assert request_text(request) == (
        "# Trim headings\n\n"
        "Spaces sort first.\n\n"
        "And last.\n\n"
        "A heading is trimmed.\n\n"
        "It was not.\n\n"
        "See https://example.org/7.\n\n"
        "## What changes\n\n"
        "- `larder/labels.py`: 1 added, 1 removed\n"
        "- `tests/test_trim.py`: new, 2 lines, the test\n\n"
        "## Tests\n\n"
        "- On larder, commit abc.\n"
        "- `tests/test_trim.py`: 1 of 2 tests fail without the change, and all pass with it: plain with valkey (default, fast).\n"
        "- `tests/test_trim.py`: it passes without the change, and all pass with it: old with valkey.\n"
        "- The existing tests: 2 pass without the change, and 2 of these with it: plain with valkey; old with valkey.\n"
    )


def test_message_of_the_commit_has_no_trailers():
    assert commit_message(PATCH) == "Trim headings\n\nSpaces sort\nfirst.\n\nAnd last.\n"
