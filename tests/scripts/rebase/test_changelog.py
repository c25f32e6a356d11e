"""The changelog entry that a rebase drafts: what it says, and where it goes."""

from pathlib import Path

import pytest

from scripts.core.model import Feature, Patch, State
from scripts.rebase.changelog import Draft, ForkState

HEAD = "## From made-up-larder 1.1 to 2.0\n\n"
LEFT = "- <what upstream changed from 1.1 to 2.0 that a user sees>\n"


def feature(name, applied="", state=State.ACTIVE):
    patch = Patch(Path(f"{name}.patch"), state, name, "Its patch", "1.1", "")
    return Feature(name, patch, Path(name), f"What {name} does", applied_upstream=applied)


def draft(old=None, new=None, **more):
    return Draft("made-up-larder", old or ForkState("1.1"), new or ForkState("2.0"), **more)


def lines(*features, **before):
    """Return what an entry says about features that are after as given, and were live before."""
    old = ForkState("1.1", [feature(name) for name in before["live"]])
    text = draft(old, ForkState("2.0", features)).text()
    return text.removeprefix(HEAD + LEFT)


def test_entry_leaves_what_upstream_changed_to_a_person():
    assert draft().text() == HEAD + LEFT


def test_retired_feature_is_named_with_its_proof():
    now = feature("hits", "2.0; absorbed, the probes pass bare on 2.0; 2.0@plain")
    assert lines(now, live=["hits"]) == (
        "- Retired: `hits` (What hits does): absorbed, the probes pass bare on 2.0 (on 2.0@plain).\n"
    )


def test_proof_names_the_release_that_brought_it_and_counts_many_cells():
    now = feature("hits", "1.5; absorbed, the probes pass bare on 2.0; a, b, c, d")
    assert lines(now, live=["hits"]) == (
        "- Retired: `hits` (What hits does): absorbed, the probes pass bare on 2.0 (since 1.5, on 4 cells).\n"
    )


def test_long_line_is_wrapped_as_the_changelog_is():
    text = draft(waived={"hits": "one word " * 20}).text()
    assert max(map(len, text.splitlines())) <= 100
    assert "\n  word one" in text or "\n  one word" in text


def test_proof_that_a_person_wrote_is_kept_as_it_is():
    assert lines(feature("hits", "2.0; see issue 4"), live=["hits"]).endswith("): see issue 4.\n")


def test_dropped_feature_is_named_and_a_live_one_is_not():
    assert lines(feature("kept"), live=["kept", "gone"]) == (
        "- Dropped without proof: `gone` (What gone does).\n"
    )


def test_feature_that_is_needed_again_is_named():
    old = ForkState("1.1", [feature("hits", "1.1; absorbed; a")])
    assert draft(old, ForkState("2.0", [feature("hits")])).text() == HEAD + LEFT + (
        "- Brought back: `hits` (What hits does), which made-up-larder 2.0 does not do by itself.\n"
    )


def test_settings_and_modules_that_come_and_go_are_named():
    old = ForkState("1.1", (), {"a": {"FOLD": True, "SIZE": 1}}, ["over/a.py", "over/b.py"])
    new = ForkState("2.0", (), {"b": {"FOLD": True}, "c": {"SIZE": 2}}, ["over/b.py", "over/c.py"])
    assert draft(old, new).text() == HEAD + LEFT + (
        "- Left the profile: `SIZE = 1` (it stood for `a`).\n"
        "- New in the profile: `SIZE = 2` (it stands for `c`).\n"
        "- Gone: the module `over/a.py`.\n"
        "- Back: the module `over/c.py`.\n"
    )


def test_waived_feature_is_named_with_its_reason():
    text = draft(waived={"hits": "see issue 4"}).text()
    assert text == HEAD + LEFT + "- Not proven: `hits` (see issue 4).\n"


# Where it goes


@pytest.mark.parametrize(
    "heading",
    [
        "## Unreleased",
        "## [Unreleased]",
        "# Not yet released",
        "## Upcoming (1.2)",
        "### UNRELEASED",
    ],
)
def test_entry_goes_first_under_the_heading_for_what_is_not_released(heading):
    level = len(heading.split()[0])
    found = draft().put_into(f"# Changelog\n\n{heading}\n\n- One.\n\n## 1.0\n\n- Two.\n")
    assert found == (
        f"# Changelog\n\n{heading}\n\n{draft().text(level + 1)}\n- One.\n\n## 1.0\n\n- Two.\n"
    )


def test_heading_that_names_the_old_release_names_the_new_one():
    found = draft().put_into("## Unreleased, on made-up-larder 1.1: since 1.1+rover.1\n")
    assert found.splitlines()[0] == "## Unreleased, on made-up-larder 2.0: since 1.1+rover.1"
    assert (
        draft()
        .put_into("## Unreleased, on made-up-larder 1.1.5\n")
        .startswith("## Unreleased, on made-up-larder 1.1.5\n")
    )


@pytest.mark.parametrize(
    "text", ["", "# Changelog\n\n## 1.0\n\nUnreleased.\n", "```\n## Unreleased\n```\n"]
)
def test_changelog_without_such_a_heading_is_left_alone(text):
    assert draft().put_into(text) is None


def test_line_endings_of_the_changelog_are_kept():
    found = draft().put_into("## Unreleased\r\nOne.\r\n")
    assert found.replace("\r\n", "").count("\n") == 0
    assert found.endswith("sees>\r\n\r\nOne.\r\n")
