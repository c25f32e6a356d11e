"""A small fork, its made-up upstream and the real command line to drive it.

`larder/` is the fork that every situation begins with: one live patch that is needed and two retired ones, all in order.
`larder_releases/` is its upstream; a release's folder holds what changed since the one before. Every other folder is a
situation: files to lay over the fork, and a patch to append to its series.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from tests.support.local_index import File, LocalIndex, sdist

SITUATIONS = Path(__file__).parents[1] / "situations"
PROJECT = SITUATIONS.parents[1]
KILLED_AT_STEP = Path(__file__).with_name("killed_at_step.py")
PATIENCE_SECONDS = 120
ENVIRONMENTS = ".fork/environments"

TRIM_PROBE = "tests/probes/test_trim_headings.py"
WAITING_PROBE = """

def test_waits():
    import os, pathlib, time

    import larder

    if "FOLD" in larder.SETTINGS and os.environ.get("LARDER_STARTED"):
        pathlib.Path(os.environ["LARDER_STARTED"]).touch()
        while not pathlib.Path(os.environ["LARDER_STARTED"] + ".go").exists():
            time.sleep(0.02)
"""
"""A probe that waits on release 2.0 where the test asks for it, and is known by the same content where it does not."""


@dataclass(frozen=True)
class CommandResult:
    """What the command line left behind."""

    code: int
    stdout: str
    stderr: str

    @cached_property
    def report(self):
        """The JSON on stdout, which must hold nothing else."""
        return json.loads(self.stdout)

    @cached_property
    def features(self):
        """The report's features by id."""
        return {feature["id"]: feature for feature in self.report["features"]}

    @property
    def verdicts(self):
        """The verdict of each feature at the locked release."""
        return {name: feature["verdict"] for name, feature in self.features.items()}

    @property
    def probe_processes_run(self):
        """How many processes of probes were run."""
        return int(re.search(r"(\d+) processes of probes run", self.stderr)[1])

    def cell(self, feature, release="2.0"):
        """Return the only cell of a feature on a release."""
        (cell,) = self.features[feature]["releases"][release]["cells"].values()
        return cell


def _environment():
    """Return this process's environment, without the width of a terminal that nobody looks at: xdist gives its workers one."""
    return {name: value for name, value in os.environ.items() if name != "COLUMNS"}


@dataclass(frozen=True)
class Fork:
    """A fork's repository in a temporary folder."""

    root: Path

    def run(self, *words, kill_at="", **env):
        """Run the command line to its end, or to a step of a rebase at which it kills itself."""
        line = command(self.root, words)
        if kill_at:
            line[1:3] = [KILLED_AT_STEP, kill_at]  # in place of `-m scripts`
        done = subprocess.run(
            line,
            cwd=PROJECT,
            env=_environment() | env,
            capture_output=True,
            check=False,
        )
        return CommandResult(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words, **env):
        """Start the command line as a terminal does: in a process group of its own."""
        return subprocess.Popen(
            command(self.root, words),
            cwd=PROJECT,
            env=_environment() | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def status(self, *words, **env):
        """Run `status --format json`."""
        return self.run("status", "--format", "json", *words, **env)

    def apply_situation(self, situation):
        """Lay a situation's files over the fork and append its patch to the series."""
        folder = SITUATIONS / situation
        shutil.copytree(folder, self.root, dirs_exist_ok=True)
        for patch in sorted(folder.glob("patches/*.patch")):
            self.append("patches/series", f"{patch.name}\n")

    def replace(self, name, old, new):
        """Replace the one place in a file that holds `old`."""
        text = self.read(name)
        assert text.count(old) == 1, f"{name} holds {old!r} {text.count(old)} times"
        self.write(name, text.replace(old, new))

    def append(self, name, text):
        """Write something at a file's end."""
        self.write(name, self.read(name) + text)

    def read(self, name):
        """Return a file's text."""
        return (self.root / name).read_text()

    def write(self, name, text):
        """Write a file."""
        (self.root / name).write_text(text)


def command(root, words):
    """Return the command line for a fork."""
    return [sys.executable, "-m", "scripts", "--repo", root, *words]


def make_fork(folder, root):
    """Copy a fork's files, to run with the Python that runs the tests."""
    shutil.copytree(folder, root)
    fork = Fork(root)
    fork.replace(
        "fork.toml", 'python = "3.11"', f'python = "{sys.version_info[0]}.{sys.version_info[1]}"'
    )
    return fork


def copy_fork(template, root):
    """Copy a fork with all that was made in it; the environments, which take longest to copy, are shared."""
    ignored = shutil.ignore_patterns("environments")
    shutil.copytree(template.root, root, ignore=ignored, symlinks=True)
    (root / ENVIRONMENTS).mkdir()
    for place in (template.root / ENVIRONMENTS).iterdir():
        (root / ENVIRONMENTS / place.name).symlink_to(place)
    return Fork(root)


def make_once(tmp_path_factory, worker_id, name, make):
    """Return a folder that `make` fills, once for all parallel workers."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    with FileLock(base / f"{name}.lock"):
        if not (base / name).exists():
            make(base / f"{name}.new")
            (base / f"{name}.new").rename(base / name)
    return base / name


def wait_until(true, what):
    """Wait until something is true, and fail where it never is."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end, f"waited {PATIENCE_SECONDS} s for {what}"
        time.sleep(0.02)


def index_of_releases(folder, name):
    """Return an index that has a made-up upstream's releases; each folder holds what changed since the one before."""
    files, found = {}, LocalIndex(project=name.replace("_", "-"))
    for release in sorted(folder.iterdir()):
        files |= {
            str(path.relative_to(release)): path.read_bytes()
            for path in release.rglob("*")
            if path.is_file()
        }
        found.files[f"{name}-{release.name}.tar.gz"] = File(sdist(release.name, files, name=name))
    return found
