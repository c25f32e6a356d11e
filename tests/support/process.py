"""Processes of an application that stands on the series, each with a life of its own: they share a database and a Redis."""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.core.result_cache import Store
from scripts.series.apply import Workshop
from scripts.series.profile import check_profile, settings_for
from scripts.series.series import read_series
from scripts.upstream.vendor import bring
from tests.support.live import ROOT

HERE = Path(__file__).parent
ANSWER_SECONDS = 120  # many processes start at a time


class Answer(NamedTuple):
    """What a process says of what it was told: the value of the last expression, the SQL it ran, its warnings."""

    value: object
    queries: list
    warned: list


class Process:
    """A process that executes Python, with the models of `written` and all of cacheops in its names."""

    def __init__(self, tree, **settings):
        environment = {
            **os.environ,
            "PYTHONPATH": str(tree),
            "APPLICATION_SETTINGS": json.dumps(settings),
        }
        command = [sys.executable, str(HERE / "process_main.py")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, source, seconds=ANSWER_SECONDS):
        """Execute statements there, and return what they came to."""
        self.tell(source)
        return self.answer(seconds)

    def tell(self, source):
        """Have statements executed without waiting for their end."""
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()

    def answer(self, seconds=ANSWER_SECONDS):
        """Return what the statements came to that it was told last."""
        assert select.select([self._process.stdout], [], [], seconds)[0], "no answer"
        line = self._process.stdout.readline()
        assert line, self._process.stderr.read()
        said = json.loads(line)
        assert "raised" not in said, said["raised"]
        return Answer(**said)

    def value(self, source, seconds=ANSWER_SECONDS):
        """Execute statements there, and return the value of the last one."""
        return self.ask(source, seconds).value

    def is_hit(self, source):
        """Tell whether statements read nothing from the database."""
        return not self.ask(source).queries

    def killed(self):
        """Wait for the end of a process that kills itself; it gives no answer."""
        assert select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0], "it lives"
        line = self._process.stdout.readline()
        assert not line, line
        assert self._process.wait() == -signal.SIGKILL

    def end(self):
        """End it, however it is."""
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()


@contextmanager
def processes(tree, folder, redis, **settings):
    """Give a function that starts processes on one database and one Redis, with more settings of their own."""
    begun = []
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{folder}/application.sqlite3",
        "OPTIONS": {"timeout": 20},
    }

    def start(**more):
        common = {
            "DATABASES": {"default": database},
            "CACHEOPS": {"written.plain": None, "written.*": {"ops": "all", "timeout": 600}},
            "CACHEOPS_DEGRADE_ON_FAILURE": True,
            "CACHEOPS_ROVER_RETRY_SECONDS": 0,
            **series_settings(),
        }
        begun.append(Process(tree, **{**common, "CACHEOPS_REDIS": redis, **settings, **more}))
        if len(begun) == 1:
            begun[0].ask(
                "from django.core.management import call_command; call_command('migrate', run_syncdb=True, verbosity=0)"
            )
        return begun[-1]

    try:
        yield start
    finally:
        for process in begun:
            process.end()


def series_tree():
    """Build what is locked with the whole series on it, and return its folder."""
    repo = Repository(ROOT)
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        series = read_series(repo, lock)
        workshop = Workshop(repo, lock, series, Store(repo.work / "results"))
        return workshop.folder(workshop.build(series.active, lock.release(lock.locked)).tree)


def series_settings():
    """Return the settings of the profile."""
    repo = Repository(ROOT)
    lock = read_lock(repo.lock_file)
    series = read_series(repo, lock)
    return settings_for(check_profile(repo, series), series, lock.locked, None).mapping()
