"""What an index can do wrong, and forms of index that must do."""

import tomllib

import pytest

from tests.support.local_index import FILES_1_0, FILES_1_1, MTIME, sdist, sdist_name

pytestmark = pytest.mark.slow


def assert_nothing_pinned(fork):
    assert not fork.lock.exists()
    assert not list((fork.root / ".fork" / "sdists").glob("*"))


def test_index_that_is_down_is_named_with_the_reason(fork, index):
    fork.env["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple/"
    done = fork.run("pin", ok=3)
    assert (
        "http://127.0.0.1:9/simple/ did not give the list of made-up-tally's files: Connection refused"
        in done.stderr
    )
    assert "next: check the network and the index" in done.stderr
    fork.env["PIP_INDEX_URL"] = index.address
    fork.run("pin")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("status", 404, "has no such project"),
        ("status", 500, "500 Server Error"),
        ("page", b"{", "did not give the list of made-up-tally's files"),
        ("page", b"{}", "did not give the list of made-up-tally's files"),
        (
            "page",
            b'{"meta": {"api-version": "2.0"}, "name": "x", "files": []}',
            "did not give the list of made-up-tally's files",
        ),
        ("files", {}, "has no release of made-up-tally that is >=1"),
    ],
)
def test_listing_that_cannot_be_used_is_an_error_and_the_next_run_works(
    fork, index, field, value, words
):
    right = getattr(index, field)
    setattr(index, field, value)
    assert words in fork.run("pin", ok=2 if field == "files" else 3).stderr
    assert_nothing_pinned(fork)
    setattr(index, field, right)
    fork.run("pin")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 404}, "did not give made_up_tally-1.1.tar.gz: 404"),
        ({"status": 500}, "did not give made_up_tally-1.1.tar.gz: 500"),
        ({"cut_at": 50}, "did not give made_up_tally-1.1.tar.gz"),
        ({"served": sdist("1.1", FILES_1_1)[:80]}, "other bytes than its own digest says"),
        ({"served": sdist("1.1", FILES_1_0)}, "other bytes than its own digest says"),
    ],
)
def test_file_that_does_not_come_as_stated_is_refused_and_the_next_run_works(
    fork, index, fault, words
):
    file = index.files[sdist_name("1.1")]
    for name, value in fault.items():
        setattr(file, name, value)
    assert words in fork.run("pin", ok=3).stderr
    assert [path.name for path in (fork.root / ".fork" / "sdists").iterdir()] == [sdist_name("1.0")]
    assert not fork.lock.exists()
    file.status, file.cut_at, file.served = 200, None, None
    fork.run("pin")


@pytest.mark.parametrize("fault", [{"status": 404}, {"cut_at": 50}])
def test_pinned_file_that_does_not_come_is_an_error_and_the_next_run_works(pinned, index, fault):
    pinned.reset_clone()
    file = index.files[sdist_name("1.1")]
    for name, value in fault.items():
        setattr(file, name, value)
    assert "did not give made_up_tally-1.1.tar.gz" in pinned.run("vendor", ok=3).stderr
    assert [path.name for path in (pinned.root / ".fork" / "sdists").iterdir()] == [
        sdist_name("1.0")
    ]
    assert not pinned.source.exists()
    file.status, file.cut_at = 200, None
    pinned.run("vendor")


def test_index_without_upload_times_is_pinned_with_the_newest_time_in_the_archive(fork, index):
    for file in index.files.values():
        file.upload_time = None
    fork.run("pin")
    releases = tomllib.loads(fork.lock.read_text())["release"]
    assert [release["uploaded"].timestamp() for release in releases] == [MTIME, MTIME]


def test_upload_time_is_pinned_in_whole_seconds_of_utc(fork):
    fork.run("pin")
    assert "uploaded = 2020-02-02 02:02:02+00:00" in fork.lock.read_text()


@pytest.mark.parametrize("stated", [True, False], ids=["with digests", "without digests"])
def test_html_only_index_pins_and_vendors(fork, index, stated):
    index.html = True
    for file in index.files.values():
        file.stated = stated
    fork.run("pin")
    fork.reset_clone()
    fork.run("vendor")
    assert fork.files() == {name: text.encode() for name, text in FILES_1_1.items()}


def test_index_without_digests_that_cuts_a_file_off_leaves_nothing_behind(fork, index):
    for file in index.files.values():
        file.stated = False
    file = index.files[sdist_name("1.1")]
    file.served = file.content[:-40]
    assert "made_up_tally-1.1.tar.gz is not a readable archive" in fork.run("pin", ok=3).stderr
    assert not fork.lock.exists()
    file.served = None
    fork.run("pin")


def test_files_that_are_no_sdists_of_the_project_are_passed_over(fork, index):
    content = sdist("9", FILES_1_0)
    for name in (
        "made_up_tally-9-py3-none-any.whl",
        "made_up_tally-9.zip",
        "other-9.tar.gz",
        "made_up_tally.tar.gz",
        "notes.txt",
    ):
        index.files[name] = type(next(iter(index.files.values())))(content)
    assert "pinned 2 releases of made-up-tally, 1.0 to 1.1" in fork.run("pin").stderr
