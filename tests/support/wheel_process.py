"""The whole cache as Rover installs it, release and series, in processes of its own: a *case* is a function that one of them runs."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.application_process import build_series_tree, profile_settings

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "overrides" / "wheel_cases"
PATIENCE_SECONDS = 120


@cache
def build_wheel_tree():
    """Build the tree that goes into the wheel; return its folder and the settings of the profile."""
    return build_series_tree(), profile_settings()


def start(*words, redis, program=CASES / "run_cases.py", **settings):
    """Start a process, which runs cases of a file of `wheel_cases/`: all of them unless some are named."""
    folder, profile = build_wheel_tree()
    wanted = {
        "ALLOWED_HOSTS": ["*"],
        "CACHEOPS_DEGRADE_ON_FAILURE": True,
        **profile,
        "CACHEOPS_REDIS": redis,
        **settings,
    }
    path = os.pathsep.join(map(str, (folder, ROOT / "tests" / "probes", CASES.parent)))
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "PROBE_SERVER_URL": "",
        "PROBE_SETTINGS": repr(wanted),
    }
    environment["DJANGO_SETTINGS_MODULE"] = "probe_project.settings"
    return subprocess.Popen(
        [sys.executable, str(program), *words],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_cases(cases, *names, redis, **settings):
    """Run cases and return what each of them ended with: None, or the traceback of its failure."""
    process = start(cases, *names, redis=redis, **settings)
    try:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return json.loads(output.splitlines()[-1])


def case_names(cases):
    """Return the cases of a file, in its order."""
    lines = (CASES / f"{cases}.py").read_text().splitlines()
    return [
        line[len("def case_") :].split("(")[0] for line in lines if line.startswith("def case_")
    ]
