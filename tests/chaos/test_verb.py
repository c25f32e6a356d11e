"""The command line of the gate: what it lists, what it refuses, and the exit code where nothing can be run."""

import json
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from click.testing import CliRunner

from scripts.__main__ import cli
from scripts.core.errors import EnvironmentFailedError, Exit, UsageError
from scripts.core.repository import Repository
from scripts.gates import chaos
from scripts.gates.chaos import MIN_SECONDS, MIN_TIMES, ChaosSelection, _duration
from tests.chaos import report, run
from tests.chaos.faults import FAULTS
from tests.chaos.judge import Round
from tests.support.redis_servers import ROOT, wait_until

pytestmark = pytest.mark.xdist_group("chaos")


def invoke(*words):
    return CliRunner().invoke(
        cli, ["--repo", str(ROOT), "chaos", *words], standalone_mode=False, catch_exceptions=True
    )


def test_list_names_every_fault_with_its_bound():
    lines = invoke("--list").output.splitlines()
    assert [line.split(" ")[0] for line in lines] == list(FAULTS)
    assert [line.split("; bound: ")[1] for line in lines if "bound" in line] == [
        fault.bound.words for fault in FAULTS.values() if fault.bound
    ]


def test_each_bound_stands_in_the_docs():
    docs = " ".join((ROOT / "docs/cache.md").read_text().replace("`", "").split()).casefold()
    bounds = {fault.bound.words for fault in FAULTS.values() if fault.bound}
    assert bounds
    assert [words for words in bounds if words.casefold() not in docs] == []


@pytest.mark.parametrize(
    "words", [["--fault", "flood"], ["--server", "memcached"], ["--place", "moon"]]
)
def test_unknown_names_are_refused(words):
    error = invoke(*words).exception
    assert isinstance(error, UsageError)
    assert error.message == f"there is no {words[0][2:]} {words[1]!r}"


def test_nothing_that_can_be_run_is_a_failure_of_the_environment(monkeypatch):
    monkeypatch.setattr(chaos, "find_program", lambda _server: None)
    error = invoke("--server", "valkey9").exception
    assert isinstance(error, EnvironmentFailedError)
    assert error.exit_code is Exit.ENVIRONMENT


def test_redis_7_is_what_path_has(monkeypatch):
    monkeypatch.setattr(chaos, "find_program", lambda _server: "/usr/bin/redis-server")
    repo = Repository(ROOT)
    assert chaos._servers(repo, chaos.gate_of(repo), ChaosSelection(("redis7",))) == ("redis",)


def test_whole_gate_takes_an_hour_and_each_fault_twenty_times():
    assert (MIN_SECONDS, MIN_TIMES) == (3600, 20)
    assert _duration(ChaosSelection())["seconds"] == 3600
    assert _duration(ChaosSelection())["times"] == 20
    assert _duration(ChaosSelection(seconds=60.0))["times"] == 0
    assert _duration(ChaosSelection(times=3))["seconds"] == 0


@pytest.mark.parametrize(("violations", "code"), [([], Exit.OK), ([{}], Exit.ATTENTION)])
def test_exit_code_says_whether_somebody_must_look(monkeypatch, violations, code):
    found = Round("valkey9", "single")
    found.counts.update({"reads": 2, "writes": 1, "reads between": 1, "hits between": 1})
    line = {
        "under": "none",
        "query": "get",
        "key": "fact 1",
        "got": 1,
        "noted": 2,
        "most": 3,
        "own": False,
        "age": 1.0,
        "hit": True,
    }
    found.violations += [{**line, "process": 1, "style": "plain", **each} for each in violations]
    monkeypatch.setattr(run, "run", lambda _options: [found])
    monkeypatch.setattr(chaos, "ensure_environment", lambda *_: Ready())
    done = invoke("--seconds", "5", "--seed", "3", "--format", "json")
    assert done.return_value is code, done
    assert json.loads(done.stdout)["seed"] == 3
    assert ("1 violations" in report.text([found], 3, "x")) is bool(violations)


class Ready:
    python = "python"


class InterruptedWorkers:
    """Workers that have logged a stale answer when Ctrl-C arrives."""

    restarts: ClassVar = {}

    def __init__(self, _options, _place, folder, board):
        self.folder, self.log, self.board = folder, folder / "log.jsonl", board

    def prepare(self):
        (self.folder / "names").write_text("[[], []]")

    def start(self):
        self.board.count(0, "reads", 2)
        self.board.count(0, "writes", 1)
        line = {"what": "violation", "fault": 0, "noted": 2, "got": 1, "most": 3, "own": False}
        self.log.write_text(json.dumps({**line, "age": 0.5, "at": 1, "process": 0}) + "\n")

    def restart_ended(self):
        raise KeyboardInterrupt

    def end(self):
        pass


def test_interrupted_run_judges_and_returns_what_it_has_found(monkeypatch):
    pool = SimpleNamespace(borrow=lambda _database: nullcontext(""), close=lambda: None)
    monkeypatch.setattr(run, "ServerPool", lambda: pool)
    monkeypatch.setattr(run, "PLACES", {"single": lambda *_: nullcontext()})
    monkeypatch.setattr(run, "_make_workers", InterruptedWorkers)
    options = run.RunOptions("python", ROOT, {}, ("valkey9", "redis6.2"), seconds=600, seed=1)
    (found,) = run.run(options)
    assert (found.server, len(found.violations)) == ("valkey9", 1)
    assert found.problems == ["1 violations", "interrupted after 0 s"]
    assert not report.is_clean([found])


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_run_that_is_interrupted_or_killed_leaves_no_process_behind(sign, code):
    script = (
        "import sys; from scripts import __main__; from scripts.gates import chaos; chaos.ensure_environment = lambda *_: sys.modules['__main__']; "
        "python = sys.executable; sys.argv = ['chaos', 'chaos', '--fault', 'flushall', '--server', 'valkey9', '--seconds', '600']; "
        "__main__.main()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        line = next(line for line in process.stderr if " reads, " in line)
        begun = descendants(process.pid)
        process.send_signal(sign)
        process.stderr.read()
        assert process.wait() == code, line
    assert len(begun) > 6  # a server with its guard, a database with its own, and the workers
    wait_until(
        lambda: not [pid for pid, started in begun if start_of(pid) == started], "somebody lives"
    )


def descendants(pid):
    """Return the processes that a process has started, and those that they have, each with when it began."""
    every = {int(path.name): stat(path.name) for path in Path("/proc").glob("[0-9]*")}
    found = {pid}
    for _ in every:
        found |= {child for child, words in every.items() if words and int(words[1]) in found}
    return [(child, start_of(child)) for child in found - {pid}]


def stat(pid):
    """Return what the system says of a process, from its state on; nothing of one that has ended."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return words if words[0] != "Z" else []
    return []


def start_of(pid):
    words = stat(pid)
    return words[19] if words else None
