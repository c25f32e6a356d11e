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
from scripts.core.result_cache import ResultCache
from scripts.series.apply import TreeBuilder
from scripts.series.profile import check_profile, settings_for
from scripts.series.series import read_series
from scripts.upstream.vendor import ensure_releases
from tests.support.engine_redis import ROOT

HERE = Path(__file__).parent
ANSWER_SECONDS = 120  # many processes start at a time


class Outcome(NamedTuple):
    """The outcome of executed source: the value of the last expression, the SQL that ran, the warnings."""

    value: object
    queries: list
    warned: list


class ApplicationProcess:
    """A process that executes Python, with the models of `write_models` and all of cacheops in its names."""

    def __init__(self, tree, **settings):
        environment = {
            **os.environ,
            "PYTHONPATH": str(tree),
            "APPLICATION_SETTINGS": json.dumps(settings),
        }
        command = [sys.executable, str(HERE / "application_main.py")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.pid = self._process.pid

    def execute(self, source, seconds=ANSWER_SECONDS):
        """Execute statements there and return the outcome."""
        self.send(source)
        return self.receive(seconds)

    def send(self, source):
        """Send statements to execute without waiting for their end."""
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()

    def receive(self, seconds=ANSWER_SECONDS):
        """Return the outcome of the statements that were sent last."""
        assert select.select([self._process.stdout], [], [], seconds)[0], "no answer"
        line = self._process.stdout.readline()
        assert line, self._process.stderr.read()
        said = json.loads(line)
        assert "raised" not in said, said["raised"]
        return Outcome(**said)

    def evaluate(self, source, seconds=ANSWER_SECONDS):
        """Execute statements there, and return the value of the last one."""
        return self.execute(source, seconds).value

    def is_hit(self, source):
        """Return whether statements read nothing from the database."""
        return not self.execute(source).queries

    def wait_until_killed(self):
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
def application_processes(tree, folder, redis, **settings):
    """Yield a function that starts processes on one database and one Redis, with more settings of their own."""
    begun = []
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{folder}/application.sqlite3",
        "OPTIONS": {"timeout": 20},
    }

    def start(**more):
        common = {
            "DATABASES": {"default": database},
            "CACHEOPS": {
                "write_models.plain": None,
                "write_models.*": {"ops": "all", "timeout": 600},
            },
            "CACHEOPS_DEGRADE_ON_FAILURE": True,
            "CACHEOPS_ROVER_RETRY_SECONDS": 0,
            **profile_settings(),
        }
        begun.append(
            ApplicationProcess(tree, **{**common, "CACHEOPS_REDIS": redis, **settings, **more})
        )
        if len(begun) == 1:
            begun[0].execute(
                "from django.core.management import call_command; call_command('migrate', run_syncdb=True, verbosity=0)"
            )
        return begun[-1]

    try:
        yield start
    finally:
        for process in begun:
            process.end()


def build_series_tree():
    """Build what is locked with the whole series on it, and return its folder."""
    repo = Repository(ROOT)
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        series = read_series(repo, lock)
        builder = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
        return builder.folder(builder.build(series.active, lock.release(lock.locked)).tree)


def profile_settings():
    """Return the settings of the profile."""
    repo = Repository(ROOT)
    lock = read_lock(repo.lock_file)
    series = read_series(repo, lock)
    return settings_for(check_profile(repo, series), series, lock.locked, None).as_dict()
