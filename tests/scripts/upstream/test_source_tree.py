"""What `upstream/src/` holds: the locked release, another one, or somebody's edits."""

from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.upstream.source_tree import source_warning

OTHER = "upstream/src/ is 1.1, and 1.0 is locked; nox -s vendor -- --restore"


def warning(fork):
    repo = Repository(fork.root)
    return source_warning(repo, read_lock(repo.lock_file))


def test_locked_release_is_no_matter(vendored):
    assert warning(vendored) is None


def test_other_release_is_named_and_not_called_edited(vendored):
    vendored.run("pin", "1.0")
    assert warning(vendored) == OTHER
    vendored.run("vendor", "--restore")
    assert warning(vendored) is None


def test_release_that_the_lock_no_longer_has_is_named(vendored):
    path = vendored.root / "upstream" / "lock.toml"
    head, first, _ = path.read_text().split("[[release]]")
    path.write_text(f"{head}[[release]]{first}".replace('locked = "1.1"', 'locked = "1.0"'))
    assert warning(vendored) == OTHER
    vendored.run("vendor")
    assert warning(vendored) is None


def test_edit_is_called_one(vendored):
    (vendored.source / "PKG-INFO").write_text("mine")
    assert warning(vendored) == (
        "upstream/src/ was edited and is not used, the pinned 1.1 is: M PKG-INFO; see `nox -s vendor`"
    )
