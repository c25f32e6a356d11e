"""What a person sees on stdout and stderr where they are no terminal, or where nobody reads them any more."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from scripts.core import console

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 30


class Heard(io.StringIO):
    """A stream that says when it holds enough lines."""

    def __init__(self, lines):
        super().__init__()
        self.wanted, self.enough = lines, threading.Event()

    def write(self, text):
        super().write(text)
        if self.getvalue().count("\n") >= self.wanted:
            self.enough.set()


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch):
    stream = Heard(lines=3)
    monkeypatch.setattr(console, "err", Console(file=stream, soft_wrap=True))
    monkeypatch.setattr(console, "REPORT_SECONDS", 0.01)
    with console.progress("probing: 7 processes", 7) as advance:
        advance()
        advance()
        assert stream.enough.wait(PATIENCE_SECONDS)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "probing: 7 processes"
    assert lines[-1].startswith("probing: 7 processes: 2 of 7, ")
    assert lines[-1].endswith(" s")


def test_progress_without_an_end_says_how_long_it_takes(monkeypatch):
    stream = Heard(lines=2)
    monkeypatch.setattr(console, "err", Console(file=stream, soft_wrap=True))
    monkeypatch.setattr(console, "REPORT_SECONDS", 0.01)
    with console.progress("fetching x", None):
        assert stream.enough.wait(PATIENCE_SECONDS)
    assert stream.getvalue().splitlines()[1] == "fetching x: 0 s"


def test_verb_that_says_nothing_else_says_that_it_goes_on(monkeypatch):
    stream = Heard(lines=2)
    monkeypatch.setattr(console, "err", Console(file=stream, soft_wrap=True))
    monkeypatch.setattr(console, "REPORT_SECONDS", 0.01)
    with console.heartbeat("status"):
        assert stream.enough.wait(PATIENCE_SECONDS)
    assert stream.getvalue().splitlines()[0] == "status: at work for 0 s"


def test_second_bar_of_a_terminal_is_a_line(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=stream, force_terminal=True, width=80))
    with console.progress("probing", 7), console.progress("making an environment", None) as advance:
        advance()
    assert stream.getvalue().count("making an environment\n") == 1


def test_reports_are_ten_seconds_apart():
    assert console.REPORT_SECONDS == 10


@pytest.mark.parametrize(
    ("columns", "width"), [({}, 160), ({"COLUMNS": "72"}, 72), ({"COLUMNS": "250"}, 250)]
)
def test_columns_count_also_in_a_pipe(columns, width):
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | columns
    code = "from scripts.core.console import out; print(out.width)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{width}\n"


WORK = """
import sys
sys.path.insert(0, {root!r})
from scripts.core.console import ignore_closed_pipes, info, out
ignore_closed_pipes()
import click
for number in range(2000):
    out.print("x" * 100)
    click.echo("y" * 100)
    info("z" * 100)
open({done!r}, "w").close()
raise SystemExit(20)
"""


@pytest.mark.parametrize("redirect", ["", "2>&1", ">&-", "2>&-"])
def test_verb_whose_reader_leaves_goes_on_to_its_end_and_keeps_its_exit_code(tmp_path, redirect):
    script, done = tmp_path / "work.py", tmp_path / "done"
    script.write_text(WORK.format(root=str(ROOT), done=str(done)))
    line = f"{{ {sys.executable} {script} {redirect}; echo $? > {tmp_path}/code; }} | head -1"
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert (tmp_path / "code").read_text() == "20\n"
    assert done.exists()
    assert "Broken" not in found.stderr
    assert "Traceback" not in found.stderr
