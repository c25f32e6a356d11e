"""docs/first-patch.md: a fresh clone gets a patch with a verdict by what the page says, word for word."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.support.harness import PROJECT

pytestmark = pytest.mark.slow

PAGE = PROJECT / "docs/first-patch.md"
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = {
    r"\b\d{4}-(?=[a-z-]+\.patch)": "NNNN-",
    r"\b\d+ live and \d+ retired patches": "L live and R retired patches",
    r"\btouch \d+ upstream lines": "touch L upstream lines",
    r"\b\d+(?:\.\d+)+\b": "RELEASE",
    r"\bN(?: N)+": "N…",
}
"""What may differ from the page: the number of a patch, of all patches and lines, and the releases."""

# nox itself would make an environment for each verb; tests/scripts/cli/test_noxfile.py shows that
# its sessions run this.
NOX = """
nox() {
    local verb=$2
    shift 2
    if [ "$1" = -- ]; then shift; fi
    %s -m scripts "$verb" "$@"
}
"""
CTRL_C = """
set -m
%(group)s &
until grep --quiet --fixed-strings %(last_line)s %(streams)s; do
    kill -0 $!
    sleep 0.2
done
kill -INT -- -$!
wait $! || code=$?
set +m
"""


@dataclass(frozen=True)
class Step:
    """A block of commands, how it ends, and lines that it prints."""

    commands: str
    ending: str
    lines: tuple[str, ...]

    @property
    def code(self):
        """The exit code that it ends with."""
        return 130 if self.ending == "ctrl-c" else int(self.ending.removeprefix("exit=") or 0)

    def script(self, streams):
        """Return what runs it in this shell, and writes what it prints to two files."""
        out, err = map(shlex.quote, map(str, streams))
        group = f"{{\n{self.commands}}} >{out} 2>{err}"
        if self.ending == "ctrl-c":
            last = shlex.quote(self.lines[-1])
            return CTRL_C % {"group": group, "last_line": last, "streams": f"{out} {err}"}
        return f"{group} || code=$?" if self.ending else group


def read_page():
    """Return the steps of the page; each block of output belongs to the commands above it."""
    found = []
    for kind, ending, text in FENCE.findall(PAGE.read_text()):
        assert kind in {"sh", "text"}, kind
        if kind == "sh":
            found.append(Step(text, ending, ()))
        else:
            found[-1] = Step(found[-1].commands, found[-1].ending, tuple(text.splitlines()))
    return found


def clone(target):
    """Clone the project, with what is in no commit yet."""
    run = lambda *words, cwd=target: (
        subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True).stdout
    )
    run("clone", "--quiet", str(PROJECT), str(target), cwd=PROJECT)
    run("checkout", "--quiet", "-B", "main")
    names = run("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=PROJECT)
    for name in filter(None, os.fsdecode(names).split("\0")):
        if (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)
    run("add", "--all")
    run("commit", "--quiet", "--allow-empty", "--message", "The tree that is tested")


def without_variables(line):
    for pattern, word in VARIABLE.items():
        line = re.sub(pattern, word, line)
    return line.rstrip()


def missing_lines(wanted, streams):
    """Return the lines that are in no stream, or in a stream before one that is above them."""
    left = [[without_variables(line) for line in path.read_text().splitlines()] for path in streams]
    missing = []
    for line in map(without_variables, wanted):
        lines = next((lines for lines in left if line in lines), None)
        if lines is None:
            missing.append(line)
        else:
            del lines[: lines.index(line) + 1]
    return missing


@pytest.fixture
def identity(monkeypatch):
    """Give git a person's name, and none of this person's settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.delenv("COLUMNS", raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A newcomer")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "newcomer@example.org")


@pytest.mark.usefixtures("identity")
def test_page_leads_from_a_fresh_clone_to_a_verdict_and_back(tmp_path):
    clone(tmp_path / "clone")
    steps = read_page()
    streams = [(tmp_path / f"{n}.out", tmp_path / f"{n}.err") for n in range(len(steps))]
    script = ["set -e", NOX % shlex.quote(sys.executable)]
    for number, step in enumerate(steps):
        code = shlex.quote(str(tmp_path / f"{number}.code"))
        script += ["code=0", step.script(streams[number]), f"echo $code >{code}"]
    subprocess.run(["bash", "-c", "\n".join(script)], cwd=tmp_path / "clone")
    for number, step in enumerate(steps):
        said = "".join(path.read_text() for path in streams[number] if path.exists())
        code = tmp_path / f"{number}.code"
        assert code.exists(), f"this failed:\n{step.commands}\n{said}"
        assert int(code.read_text()) == step.code, f"{step.commands}\n{said}"
        assert missing_lines(step.lines, streams[number]) == [], f"{step.commands}\n{said}"


@pytest.mark.usefixtures("identity")
@pytest.mark.parametrize("staged", [False, True])
def test_last_commands_of_the_page_take_back_what_is_in_no_commit(tmp_path, staged):
    clone(tmp_path / "clone")
    run = lambda *words: subprocess.run(
        words, cwd=tmp_path / "clone", check=True, capture_output=True, text=True
    )
    run("git", "switch", "--create", "first-patch")
    for name in ("README.md", "patches/series"):
        with (tmp_path / "clone" / name).open("a") as file:
            file.write("0012-key-get.patch\n")
    for name in (
        "patches/0012-key-get.patch",
        "rover_overrides/hooks/cache_key.py",
        "tests/probes/test_key_get.py",
    ):
        (tmp_path / "clone" / name).write_text("")
    if staged:
        run("git", "add", "--all")
    step = read_page()[-1]
    assert "nothing to commit, working tree clean" in step.lines
    said = run("bash", "-e", "-c", step.commands).stdout
    assert said.endswith(f"{step.lines[-1]}\n")


def test_page_shows_a_verdict():
    steps = read_page()
    assert len(steps) > 8
    assert sum("status" in step.commands for step in steps) > 1
    assert {step.code for step in steps} == {0, 20, 130}
    assert sum(bool(step.lines) for step in steps) > 6
