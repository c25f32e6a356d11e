"""Patches are reordered and dropped in the imported branch, as docs/patches.md says."""

import pytest

from tests.support.imported_series import paste, patches

pytestmark = pytest.mark.slow


def test_reordered_patches_keep_their_bytes_and_are_listed_anew(fork, work):
    before = patches(fork)
    swap = "sed -i -e '4{h;d}' -e '5G'"
    paste(
        fork,
        f'GIT_SEQUENCE_EDITOR="{swap}" git -C .fork/series rebase --interactive --keep-empty 1.1',
    )
    assert work.titles()[3:] == ["Say good bye", "Bring odd files"]
    assert fork.run("export").stderr == "changed: patches/series\n"
    after = patches(fork)
    assert after.pop("series").split()[3:] == [b"0005-bye.patch", b"0004-odd.patch"]
    before.pop("series")
    assert after == before
    fork.run("lint")


def test_reordered_patches_of_one_file_are_listed_anew(fork, work):
    swap = "sed -i -e '1{h;d}' -e '2G'"
    paste(
        fork,
        f'GIT_SEQUENCE_EDITOR="{swap}" git -C .fork/series rebase --interactive --keep-empty 1.1',
    )
    before = patches(fork)
    assert fork.run("export").stderr == "changed: patches/series\n"
    assert patches(fork)["0001-add.patch"] == before["0001-add.patch"]
    fork.run("lint")


def test_dropped_patch_leaves_and_the_others_keep_their_bytes(fork, work):
    before = patches(fork)
    paste(fork, "git -C .fork/series rebase --keep-empty --onto series~2 series~1 series")
    assert fork.run("export").stderr.splitlines() == [
        "gone: patches/0004-odd.patch",
        "changed: patches/series",
    ]
    after = patches(fork)
    assert b"0004-odd.patch" not in after.pop("series")
    assert after == {
        name: text for name, text in before.items() if name not in {"series", "0004-odd.patch"}
    }
    fork.run("lint")


def test_dropped_last_patch_leaves(fork, work):
    paste(fork, "git -C .fork/series reset --hard --quiet series~1")
    assert fork.run("export").stderr.splitlines() == [
        "gone: patches/0005-bye.patch",
        "changed: patches/series",
    ]
