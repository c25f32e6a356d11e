"""What a rebase leaves besides the fork: the draft of a changelog entry, and what changes in the wheel."""

import pytest

from tests.support.rebasing import rebase

pytestmark = pytest.mark.slow

CHANGELOG = "# Changelog\n\n## Unreleased, on made-up-larder 1.1\n\n- Mine.\n"
ENTRY = """\
### From made-up-larder 1.1 to 2.0

- <what upstream changed from 1.1 to 2.0 that a user sees>
- Retired: `hits` (Count hits): absorbed, the probes pass bare on 2.0 (on 2.0@plain).
- Retired: `long-units` (Write out millilitres): configurable, the probes pass bare on 2.0 with
  MILLILITRE='millilitres' (on 2.0@plain).
- New in the profile: `MILLILITRE = 'millilitres'` (it stands for `long-units`).
"""
DRAFTED = "{} has a draft of the changelog entry; the line in <angle brackets> is yours to write"
DRAFT = ".fork/last-rebase/changelog.md"
WHEEL = ".fork/last-rebase/wheel.txt"


@pytest.fixture
def moving(larder):
    """Return a fork in which one patch will be absorbed and one will be replaced by a setting."""
    for situation in ("absorbed", "configurable"):
        larder.apply_situation(situation)
    return larder


def test_changelog_gets_an_entry_and_the_wheels_are_compared(moving):
    moving.write("CHANGELOG.md", CHANGELOG)
    moving.write("LICENSE", "All of it is made up.\n")
    moving.append("fork.toml", '\n[wheel]\nbackend = ["setuptools==80.9.0"]\n')
    done = rebase(moving)
    assert moving.read("CHANGELOG.md") == (
        f"# Changelog\n\n## Unreleased, on made-up-larder 2.0\n\n{ENTRY}\n- Mine.\n"
    )
    closing = done.stdout[done.stdout.index("the wheel, from") :]
    assert [line.rstrip() for line in closing.splitlines()] == [
        "the wheel, from made-up-larder 1.1+rover.1 to made-up-larder 2.0+rover.1",
        "                added  removed  changed",
        "  files             -        -       11",
        "  metadata          -        -        1",
        "  patches           -        2        1",
        "  features          -        2        -",
        "  public names      1        -        -",
        f"each of them by name: {WHEEL}",
        "",
        DRAFTED.format("CHANGELOG.md"),
        "",
        "next: look at `git diff`, run your tests, then commit",
    ]
    assert "\n  removed  hits: Count hits\n" in moving.read(WHEEL)
    assert not (moving.root / DRAFT).exists()
    assert not (moving.root / "dist").exists()
    assert moving.leftovers() == []


@pytest.mark.parametrize("content", [None, b"\xff\n## Unreleased\n"])
def test_what_has_no_place_stays_aside_and_a_wheel_that_cannot_be_built_stops_nothing(
    moving, content
):
    path = moving.root / "CHANGELOG.md"
    if content:
        path.write_bytes(content)
    done = rebase(moving)
    assert (path.read_bytes() if path.exists() else None) == content
    assert moving.read(DRAFT) == ENTRY.replace("###", "##")
    assert f"\n{DRAFTED.format(DRAFT)}\n" in done.stdout
    why = (
        "the wheel ships the fork's licence, and LICENSE cannot be read: No such file or directory"
    )
    hint = "  next: write LICENSE, or name another file in fork.toml: wheel.license\n"
    assert f"\nthe wheel was not compared with the one before: {why}\n{hint}" in done.stdout
    assert moving.read(WHEEL).startswith(why)


def test_dry_run_and_step_by_hand_leave_neither(moving):
    moving.write("CHANGELOG.md", CHANGELOG)
    dry = moving.run("rebase", "2.0", "--dry-run")
    assert dry.code == 0, dry.stderr
    moving.replace("upstream/lock.toml", 'locked = "1.1"', 'locked = "2.0"')
    assert moving.run("vendor").code == 0
    done = moving.run("retire", "hits")
    assert done.code == 0, done.stderr
    assert "changelog" not in dry.stdout + done.stdout
    assert moving.read("CHANGELOG.md") == CHANGELOG
    assert not (moving.root / ".fork/last-rebase").exists()
