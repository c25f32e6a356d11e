"""A patch whose file upstream moved and rewrote, and one whose file got other line endings: cherry-picks in a real repository."""

from pathlib import Path

import pytest

from scripts.core.git import Git
from scripts.core.model import Applies, Hunk, Patch, State
from scripts.series.cherry_pick import cherry_pick
from tests.support.commits import commit

OLD = "larder/prices.py"
NEW = "larder/money.py"
ITEMS = [f"def item_{number}():\n    return {number}\n\n\n" for number in range(6)]
PRICE = 'def price(cents):\n    """Return a price."""\n    euros = cents / 100\n    return f"{euros} EUR"\n\n\n'
REWRITTEN = "".join(
    f"class Thing{number}:\n    kind = 'thing {number}'\n    size = {number}\n\n\n"
    for number in range(9)
)
BASE = "".join((*ITEMS[:3], PRICE, *ITEMS[3:]))
TARGET = "".join((REWRITTEN, ITEMS[2], PRICE, ITEMS[3]))
PATCHED = BASE.replace("{euros} EUR", "{euros:.2f} EUR")


class Upstream:
    """A repository with a base, a patch on it and a target."""

    def __init__(self, folder):
        self.git = Git.create(folder / "upstream.git")

    def pick(self, base, patched, target):
        """Return how a patch goes from its base onto a target, and the files after it."""
        on = commit(self.git, base)
        change = commit(self.git, {**base, **patched}, on)
        patch = Patch(
            Path("p"),
            State.ACTIVE,
            "p",
            "p",
            "1",
            "",
            hunks=tuple(Hunk(path, (1, 2), (1, 2)) for path in patched),
        )
        with self.git.temporary_worktree(commit(self.git, target)) as work:
            step = cherry_pick(work, change, patch)
            files = {
                str(path.relative_to(work.work_tree)): path.read_bytes()
                for path in work.work_tree.rglob("*.py")
            }
        return step, files


@pytest.fixture
def upstream(tmp_path):
    """Give a repository."""
    return Upstream(tmp_path)


def moved(upstream, target):
    return upstream.pick({OLD: BASE}, {OLD: PATCHED}, target)


# Moved files


def test_patch_follows_a_file_that_moved_and_was_rewritten(upstream):
    step, files = moved(upstream, {NEW: TARGET})
    assert (step.applies, files) == (
        Applies.THREE_WAY,
        {NEW: TARGET.replace("{euros} EUR", "{euros:.2f} EUR").encode()},
    )
    assert step.detail.startswith(f"{OLD} moved to {NEW} (")


def test_file_is_found_though_the_changed_lines_are_gone(upstream):
    step, _ = moved(
        upstream,
        {
            NEW: TARGET.replace("{euros} EUR", "EUR {euros}").replace(
                "euros = cents / 100", "euros = euro(cents)"
            )
        },
    )
    assert step.applies is Applies.CONFLICT
    assert step.detail.startswith(f"{OLD} moved to {NEW} (")


def test_place_that_is_there_twice_is_ambiguous(upstream):
    step, _ = moved(upstream, {NEW: TARGET + PRICE.replace("price", "total")})
    assert step.applies is Applies.CONFLICT
    assert step.detail.startswith(f"ambiguous: {OLD} moved to {NEW} (")
    assert step.detail.endswith(f"; its hunks fit in more than one place of {NEW}")


def test_place_that_another_new_file_has_too_is_ambiguous(upstream):
    step, _ = moved(upstream, {NEW: TARGET, "larder/sums.py": "SUMS = 1\n\n\n" + PRICE})
    assert step.applies is Applies.CONFLICT
    assert step.detail.endswith(f"; its hunks fit in more than one place of {NEW}, larder/sums.py")


def test_conflict_is_named_where_the_file_went(upstream):
    step, files = moved(upstream, {NEW: TARGET.replace('f"{euros} EUR"', 'f"EUR {euros}"')})
    assert step.applies is Applies.CONFLICT
    assert step.detail.startswith(f"{OLD} moved to {NEW} (")
    assert f"; {NEW}: line " in step.detail
    assert b"<<<<<<< " in files[NEW]
    assert OLD not in files


@pytest.mark.parametrize("other", ["OTHER = 1\n", "".join(ITEMS) + REWRITTEN])
def test_file_that_is_gone_is_named_as_that(upstream, other):
    step, _ = moved(upstream, {"larder/other.py": other})
    assert step.applies is Applies.CONFLICT
    assert step.detail == f"{OLD}: the file is gone or binary (hunks @@ -1,2 +1,2 @@)"


def test_other_patch_is_picked_as_before(upstream):
    step, files = upstream.pick({OLD: BASE}, {OLD: PATCHED}, {OLD: "NEW = 1\n" + BASE})
    assert (step.applies, step.detail, files) == (
        Applies.OFFSET,
        "",
        {OLD: ("NEW = 1\n" + PATCHED).encode()},
    )


# Line endings


def crlf(text):
    return text.replace("\n", "\r\n").encode()


def test_release_that_only_changed_line_endings_is_no_conflict_and_keeps_them(upstream):
    step, files = upstream.pick({OLD: BASE}, {OLD: PATCHED}, {OLD: crlf(BASE)})
    assert (step.applies, files) == (Applies.THREE_WAY, {OLD: crlf(PATCHED)})


def test_release_that_took_line_endings_back_is_no_conflict(upstream):
    step, files = upstream.pick({OLD: crlf(BASE)}, {OLD: crlf(PATCHED)}, {OLD: BASE})
    assert (step.applies, files) == (Applies.THREE_WAY, {OLD: PATCHED.encode()})


def test_mixed_line_endings_stay_where_they_are(upstream):
    mixed = BASE.replace("return 1\n", "return 1\r\n").replace('EUR"\n', 'EUR"\r\n').encode()
    step, files = upstream.pick({OLD: BASE}, {OLD: PATCHED}, {OLD: mixed})
    assert step.applies is Applies.THREE_WAY
    assert files == {OLD: PATCHED.replace("return 1\n", "return 1\r\n").encode()}


def test_moved_file_with_other_line_endings_is_followed(upstream):
    step, files = moved(upstream, {NEW: crlf(TARGET)})
    assert step.applies is Applies.THREE_WAY
    assert files == {NEW: crlf(TARGET.replace("{euros} EUR", "{euros:.2f} EUR"))}


def test_real_conflict_beside_other_line_endings_stays_one(upstream):
    step, files = upstream.pick(
        {OLD: BASE}, {OLD: PATCHED}, {OLD: crlf(BASE.replace("{euros} EUR", "EUR {euros}"))}
    )
    assert step.applies is Applies.CONFLICT
    assert files[OLD].count(b"<<<<<<< ") == 1
    assert files[OLD].startswith(crlf("".join(ITEMS[:3])))


def test_place_that_is_ambiguous_stays_so_under_other_line_endings(upstream):
    twins = "".join(
        f'def {name}():\n    """{name}."""\n    jar = 1\n    return jar\n\n\n'
        for name in ("left", "right")
    )
    patched = twins.replace("return jar\n\n\ndef right", "return jar + 1\n\n\ndef right")
    target = crlf(
        twins.replace('def left():\n    """left."""\n    jar = 1\n', "def left():\n    jar = 2\n")
        + twins
    )
    step, _ = upstream.pick({OLD: twins}, {OLD: patched}, {OLD: target})
    assert step.applies is Applies.CONFLICT


def test_patch_that_changes_line_endings_itself_does_so(upstream):
    step, files = upstream.pick({OLD: BASE}, {OLD: crlf(BASE)}, {OLD: BASE, NEW: "MORE = 1\n"})
    assert (step.applies, files[OLD]) == (Applies.CLEAN, crlf(BASE))
