"""Django and the fixtures of all probes.

A run is one process with `PROBE_SERVER_URL` (a private, empty server), for some files `PROBE_CLUSTER_URL`, and
`PROBE_SETTINGS` (the repr of a dict of extra Django settings) in its environment, and a folder that holds `cacheops/` on
its path. Models live in `probe_project.models`, on SQLite in memory. Fixtures:

`probe`  A clean server and the rows of `probe_project.rows`. Its methods (see `probe_project.probe.Probe`):
    fill(read)            call `read` until its result is cached; assert that the last call is a hit; return the result
    assert_kept(read)     `read` still is a hit
    assert_dropped(read)  `read` asks the database; return what it says
    count_sql(call)       how many SQL queries `call()` runs
    queries()             context manager that captures SQL queries (has a `len`)
    commands()            context manager; afterwards a Counter of the commands the server ran, those in scripts included
    redis                 a raw client (bytes in, bytes out), of a cluster where cacheops has one; flushed before each test
    keys(pattern="*")     the keys on the server, or on all masters, as sorted text

`no_waiting`  what would be tried again after a while is tried again at once.

`read` is a callable that builds its queryset anew and evaluates it: `lambda: list(Article.objects.filter(pages=1))`.
An API that only some releases have comes from `probe_project.api.need("cacheops.reap_conjs")`, in the test's body.
Settings that cacheops reads at run time are changed with `django.test.override_settings`.
"""

import os
import sys
import time
from pathlib import Path

import django
import pytest

# pytest puts this folder on the path in its default import mode alone.
HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)
os.environ["DJANGO_SETTINGS_MODULE"] = "probe_project.settings"
django.setup()

from probe_project import rows  # noqa: E402
from probe_project.probe import Probe  # noqa: E402

rows.create_tables()


@pytest.fixture
def no_waiting(monkeypatch):
    """Let whoever tries again do so at once."""
    from redis import retry

    monkeypatch.setattr(retry, "sleep", lambda seconds: None, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def probe():
    """Give a clean server and the same rows to each test, whatever the one before did."""
    probe = Probe(os.environ["PROBE_SERVER_URL"])
    rows.recreate()
    probe.redis.flushall()
    yield probe
    probe.close()
