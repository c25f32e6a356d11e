"""What leans on what in a series, found by leaving out and by applying; and upstream's own tests as a gate."""

import pytest

from tests.support.upstream_history import UpstreamHistory

SUITE = """
[suite]
files = ["checks"]
tests = ["checks"]
command = ["{python}", "-m", "pytest", "-c", "/dev/null", "--rootdir", "{folder}", "-p", "no:cacheprovider", "--report-log", "{log}"]
"""


def test_patch_that_stands_alone_takes_its_own_probes_with_it(fork):
    done = fork.status("--graph")
    assert done.code == 0, done.stderr
    assert done.report["left_out"] == {"trim-headings": ["trim-headings"]}
    assert done.report["dependencies"] == {"trim-headings": {"declared": [], "found": []}}
    assert fork.status("--graph").probe_processes_run == 0
    assert "left_out" not in fork.status().report


def test_undeclared_dependency_is_found_by_applying(fork):
    fork.apply_situation("undeclared")
    done = fork.status("--graph")
    assert done.report["dependencies"]["drop-stops"] == {"declared": [], "found": ["trim-headings"]}
    assert (
        "drop-stops depends on trim-headings (its header: nothing)"
        in fork.run("status", "--graph").stdout
    )


def test_redundant_patch_is_missed_by_nobody(fork):
    fork.apply_situation("redundant")
    done = fork.status("--graph")
    assert done.report["left_out"] == {"trim-headings": ["trim-headings"], "drop-tabs": []}
    assert done.report["smallest_series"] == ["trim-headings"]


def test_dependents_go_with_what_they_need(fork):
    fork.apply_situation("undeclared")
    fork.replace(
        "patches/0009-drop-stops.patch", "Drop-When:", "Depends: trim-headings\nDrop-When:"
    )
    done = fork.status("--graph")
    assert done.report["left_out"] == {
        "trim-headings": ["trim-headings", "drop-stops"],
        "drop-stops": ["drop-stops"],
    }
    assert done.report["dependencies"]["drop-stops"] == {
        "declared": ["trim-headings"],
        "found": ["trim-headings"],
    }


# Upstream's own tests


@pytest.fixture
def checkout(fork, tmp_path):
    """Return a checkout of upstream that has tests: one that always fails, one that passes, one that the series breaks."""
    fork.append("fork.toml", SUITE)
    made = UpstreamHistory(tmp_path / "upstream", fork.root / ".fork/sdists", ["2.0"])
    (made.root / "checks").mkdir()
    (made.root / "checks/test_labels.py").write_text(
        "from larder.labels import heading\n\n\n"
        "def test_capital():\n    assert heading('rye') == 'Rye'\n\n\n"
        "def test_never():\n    assert heading('rye') == 'wheat'\n\n\n"
        "def test_keeps_space():\n    assert heading(' rye') == ' rye'\n"
    )
    return made


def test_test_of_upstream_that_the_series_breaks_is_named(fork, checkout):
    done = fork.status("--upstream", f"path:{checkout.root}", "--suite")
    assert done.code == 20, done.stderr
    (failure,) = done.report["suite"]
    assert failure.startswith(
        f"{done.report['upstream']['releases'][0]}: checks/test_labels.py::test_keeps_space (default, plain): "
    )


def test_failure_that_bare_upstream_has_too_is_no_news(fork, checkout):
    text = (checkout.root / "checks/test_labels.py").read_text()
    (checkout.root / "checks/test_labels.py").write_text(
        text.replace("test_keeps_space", "keeps_space")
    )
    done = fork.status("--upstream", f"path:{checkout.root}", "--suite")
    assert (done.code, done.report["suite"]) == (0, [])
    words = fork.run("status", "--upstream", f"path:{checkout.root}", "--suite").stdout
    assert "no test that counts fails with the series" in words


def test_excused_test_is_named_with_its_reason(fork, checkout):
    fork.append(
        "fork.toml", '\n[suite.excused]\n"checks/test_labels.py::test_keeps_space" = "why not"\n'
    )
    done = fork.run("status", "--upstream", f"path:{checkout.root}", "--suite")
    assert done.code == 0, done.stderr
    assert "plain, mode default: 1 of the 2 tests that pass bare" in done.stdout
    assert "checks/test_labels.py::test_keeps_space counts for nothing: why not" in done.stdout


def test_failure_that_does_not_come_back_is_not_believed(fork, checkout):
    flag = checkout.root.parent / "seen"
    (checkout.root / "checks/test_once.py").write_text(
        f"import pathlib\n\n\ndef test_once():\n    flag = pathlib.Path({str(flag)!r})\n"
        "    new = flag.exists()\n    flag.touch()\n    assert new\n"
    )
    (checkout.root / "checks/test_labels.py").unlink()
    done = fork.status("--upstream", f"path:{checkout.root}", "--suite")
    assert (done.code, done.report["suite"], flag.exists()) == (0, [], True)
