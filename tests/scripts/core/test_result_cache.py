"""Results are kept by content: the same content is found again, any other is not."""

import pytest

from scripts.core.result_cache import ResultCache, digest, file_digest


@pytest.fixture
def store(tmp_path):
    """Give an empty store."""
    return ResultCache(tmp_path / "results")


def test_value_is_found_again_by_another_run(store):
    store.put("abcdef", {"tests": [1, None, "ä"]})
    assert ResultCache(store.folder).get("abcdef") == {"tests": [1, None, "ä"]}


def test_nothing_is_kept_under_another_key(store):
    store.put("abcdef", 1)
    assert store.get("abcdee") is None


@pytest.mark.parametrize("left", [b"", b'{"tests": ', b"\xff"])
def test_record_that_was_cut_off_is_not_believed(store, left):
    store.put("abcdef", {"tests": {}})
    (path,) = store.folder.rglob("*.json")
    path.write_bytes(left)
    assert store.get("abcdef") is None


def test_fresh_store_sees_only_what_it_wrote_itself(store):
    store.put("abcdef", 1)
    fresh = ResultCache(store.folder, fresh=True)
    assert fresh.get("abcdef") is None
    fresh.put("abcdef", 2)
    assert fresh.get("abcdef") == 2
    assert store.get("abcdef") == 2


def test_record_is_written_whole(store, monkeypatch):
    store.put("abcdef", 1)
    monkeypatch.setattr(
        "scripts.core.repository.Path.chmod", lambda *_: pytest.fail("the disk is gone")
    )
    with pytest.raises(pytest.fail.Exception):
        store.put("abcdef", 2)
    assert store.get("abcdef") == 1


def test_digest_tells_parts_apart():
    values = [("a", "b"), ("ab",), ("a", "b", None), (["a", "b"],), ("a,b",), (1,), ("1",), (True,)]
    assert len({digest(*value) for value in values}) == len(values)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.fixture
def folder(tmp_path):
    """Give a folder with files in it."""
    for name in ("a.py", "inner/b.py", "inner/__pycache__/b.pyc"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "folder"


def test_digest_of_files_does_not_depend_on_where_they_are(folder, tmp_path):
    before = file_digest(folder, folder / "a.py")
    folder.rename(tmp_path / "elsewhere")
    other = tmp_path / "deep/folder"
    other.parent.mkdir()
    (tmp_path / "elsewhere").rename(other)
    assert file_digest(other, other / "a.py") == before


def test_digest_of_files_sees_each_of_one_name(folder):
    (folder / "inner/a.py").write_text("1")
    before = file_digest(folder / "a.py", folder / "inner/a.py")
    (folder / "a.py").write_text("2")
    assert file_digest(folder / "a.py", folder / "inner/a.py") != before


def test_digest_of_files_ignores_bytecode(folder):
    before = file_digest(folder)
    (folder / "inner/__pycache__/b.pyc").write_text("other")
    assert file_digest(folder) == before


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "inner/b.py").write_text("other"),
        lambda folder: (folder / "inner/b.py").rename(folder / "inner/c.py"),
        lambda folder: (folder / "inner/b.py").rename(folder / "b.py"),
        lambda folder: (folder / "inner/b.py").unlink(),
        lambda folder: (folder / "c.txt").write_text(""),
    ],
    ids=["edited", "renamed", "moved", "removed", "added"],
)
def test_digest_of_files_sees_every_change(folder, edit):
    before = file_digest(folder)
    edit(folder)
    assert file_digest(folder) != before
