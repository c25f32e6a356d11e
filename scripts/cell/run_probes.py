"""Run probes twice in one process, the second time in reverse order; started in a cell's own interpreter.

Usage: run_probes.py LOG ROOT FILE...   writes LOG.1 and LOG.2 in the format of pytest-reportlog.
Imports nothing of the tool, for a cell knows only upstream, pytest and its requirements.
"""

import os
import sys


class Reversed:
    """Turns the order round, so that a test that leans on another one shows."""

    def pytest_collection_modifyitems(self, items):
        """Reverse the tests that were collected."""
        items.reverse()


def main(log, root, *files):
    """Run both rounds and return the exit code of the worse one."""
    import pytest

    common = ["-c", os.devnull, "--rootdir", root, "--confcutdir", root, "-p", "no:cacheprovider", "-q", "--tb=short"]
    first = pytest.main([*common, "--report-log", log + ".1", *files])
    second = pytest.main([*common, "--report-log", log + ".2", *files], plugins=[Reversed()])
    return max(int(first), int(second))


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file
    sys.exit(main(*sys.argv[1:]))
