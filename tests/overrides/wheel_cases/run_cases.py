"""Runs cases: `run_cases.py FILE [NAME...]`, in the environment that `tests/support/wheel_process.py` makes. Prints their outcomes as JSON."""

import json
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path

import django

warnings.simplefilter("ignore", RuntimeWarning)
sys.path.insert(0, str(Path(__file__).parent))
django.setup()

from cacheops.redis import redis_client  # noqa: E402
from probe_project import rows  # noqa: E402


def outcome(case):
    """Run a case on the rows of the probes and an empty server; return its traceback, if it fails."""
    rows.recreate()
    if hasattr(redis_client, "connection_pool"):  # a proxy of the case before may have closed it
        redis_client.connection_pool.disconnect()
    redis_client.flushdb()
    try:
        case()
    except BaseException:
        return traceback.format_exc()
    return None


def main():
    file, *names = sys.argv[1:]
    module = import_module(file)
    rows.create_tables()
    wanted = names or [name[len("case_") :] for name in vars(module) if name.startswith("case_")]
    sys.stdout.write(
        json.dumps({name: outcome(getattr(module, "case_" + name)) for name in wanted}) + "\n"
    )


main()
