"""What `pin` writes, and what it refuses of an index that changed its mind."""

import tomllib

import pytest

from tests.support.local_index import FILES_1_0, FILES_1_1, sdist, sdist_name

pytestmark = pytest.mark.slow


def pins(fork):
    return tomllib.loads(fork.lock.read_text())


def test_first_pin_locks_the_newest_release(fork):
    done = fork.run("pin")
    assert "pinned 2 releases of made-up-tally, 1.0 to 1.1; locked: 1.1" in done.stderr
    assert [release["version"] for release in pins(fork)["release"]] == ["1.0", "1.1"]


def test_pin_again_changes_no_byte(pinned, index):
    before = pinned.lock.read_bytes()
    pinned.run("pin")
    assert pinned.lock.read_bytes() == before
    assert index.downloads == []


@pytest.mark.parametrize("word", ["1.0", "1.0.0", "v1.0"])
def test_pin_of_a_version_locks_it_however_it_is_spelt(pinned, word):
    pinned.run("pin", word)
    assert pins(pinned)["locked"] == "1.0"


def test_locked_release_stays_where_a_newer_one_appears(pinned, index):
    index.add("2.0", FILES_1_1)
    pinned.run("pin")
    assert pins(pinned)["locked"] == "1.1"
    assert [release["version"] for release in pins(pinned)["release"]] == ["1.0", "1.1", "2.0"]


def test_version_outside_track_is_pinned_when_asked_for_and_stays(fork, index):
    index.add("0.9", FILES_1_0)
    fork.run("pin", "0.9")
    fork.run("pin")
    assert pins(fork)["locked"] == "0.9"
    assert [release["version"] for release in pins(fork)["release"]] == ["0.9", "1.0", "1.1"]


@pytest.mark.parametrize("word", ["path:.", "newest"])
def test_what_is_no_release_is_never_pinned(pinned, word):
    assert f"not a release: {word!r}" in pinned.run("pin", word, ok=2).stderr


def test_version_that_the_index_lacks_is_named_with_what_it_has(pinned, index):
    before = pinned.lock.read_bytes()
    assert (
        f"the index {index.address} has no made-up-tally 3.0; it has 1.0, 1.1"
        in pinned.run("pin", "3.0", ok=2).stderr
    )
    assert pinned.lock.read_bytes() == before


@pytest.mark.parametrize("kept", [True, False], ids=["with the file kept", "in a new clone"])
@pytest.mark.parametrize("stated", [True, False], ids=["stated", "not stated"])
def test_pinned_release_with_other_bytes_is_refused_and_forgotten(pinned, index, kept, stated):
    before = pinned.lock.read_bytes()
    right = index.files[sdist_name("1.1")]
    other = index.add("1.1", FILES_1_0, stated=stated)
    if not kept:
        pinned.reset_clone()
    if kept and not stated:
        pinned.run("pin")  # the file that is here is the pinned one, and nothing says otherwise
        return
    done = pinned.run("pin", ok=3)
    assert "is not what is pinned: sha256" in done.stderr
    assert sdist("1.1", FILES_1_0) == other.content
    assert pinned.lock.read_bytes() == before
    index.files[sdist_name("1.1")] = right
    pinned.run("pin")
    assert pinned.lock.read_bytes() == before


def test_damaged_kept_file_is_downloaded_again(pinned, index):
    before = pinned.lock.read_bytes()
    (pinned.root / ".fork" / "sdists" / sdist_name("1.0")).write_bytes(b"half")
    pinned.run("pin")
    assert index.downloads == [sdist_name("1.0")]
    assert pinned.lock.read_bytes() == before


def test_vanished_release_is_refused(pinned, index):
    before = pinned.lock.read_bytes()
    del index.files[sdist_name("1.0")]
    assert f"the index {index.address} no longer has 1.0" in pinned.run("pin", ok=3).stderr
    assert pinned.lock.read_bytes() == before


def test_vanished_release_that_is_excluded_on_purpose_is_forgotten(pinned, index):
    del index.files[sdist_name("1.0")]
    config = pinned.root / "fork.toml"
    config.write_text(config.read_text().replace('track = ">=1"', 'track = ">=1,!=1.0"'))
    pinned.run("pin")
    assert [release["version"] for release in pins(pinned)["release"]] == ["1.1"]


def test_yanked_release_is_left_out_unless_asked_for(fork, index):
    index.files[sdist_name("1.1")].yanked = "deletes files"
    done = fork.run("pin")
    assert "warning: made_up_tally-1.1.tar.gz was yanked (deletes files); left out" in done.stderr
    assert pins(fork)["locked"] == "1.0"
    fork.run("pin", "1.1")
    assert pins(fork)["locked"] == "1.1"


def test_release_that_was_yanked_after_it_was_pinned_stays_and_is_vendored(pinned, index):
    for file in index.files.values():
        file.yanked = True
    before = pinned.lock.read_bytes()
    assert pinned.run("pin").stderr.count("was yanked (no reason given); stays pinned") == 2
    assert pinned.lock.read_bytes() == before
    pinned.reset_clone()
    pinned.run("vendor")
    assert pinned.files()["tally/more.py"] == FILES_1_1["tally/more.py"].encode()


def test_index_with_less_to_say_does_not_change_what_is_pinned(pinned, index):
    before = pinned.lock.read_bytes()
    index.html = True
    pinned.reset_clone()
    pinned.run("pin")
    assert pinned.lock.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('locked = "1.1"', 'locked = "1.2"', "locks 1.2, which it does not pin"),
        ("+00:00", "", "uploaded: Input should have timezone info"),
        ('version = "1.0"', 'version = "1.1"', "pins a version twice"),
        ('file = "made_up_tally-1.0.tar.gz"', 'file = ".."', "release.0.file"),
        ("size", "<<<<<<<", "is not TOML"),
    ],
)
def test_damaged_lock_is_named_with_a_way_out(pinned, old, new, words):
    pinned.lock.write_text(pinned.lock.read_text().replace(old, new))
    for verb in ("vendor", "pin"):
        done = pinned.run(verb, ok=2)
        assert words in done.stderr
        ways = "next: git restore upstream/lock.toml\n    or: rm upstream/lock.toml && nox -s pin\n"
        assert ways in done.stderr
