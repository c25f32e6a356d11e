"""Run probes twice in one process, the second time in reverse order; part of a cell's own interpreter.

Imports nothing of the tool, for a cell knows only upstream, pytest and its requirements.
"""

import os


class Reversed:
    """Turns the order round, so that a test that leans on another one shows."""

    def pytest_collection_modifyitems(self, items):
        """Reverse the tests that were collected."""
        items.reverse()


def run_probes(log, root, files):
    """Write `log`.1 and `log`.2 in the format of pytest-reportlog, and return the exit code of the worse round."""
    import pytest

    common = ["-c", os.devnull, "--rootdir", root, "--confcutdir", root, "-p", "no:cacheprovider", "-q", "--tb=native"]
    common.append("--continue-on-collection-errors")
    first = pytest.main([*common, "--report-log", log + ".1", *files])
    second = pytest.main([*common, "--report-log", log + ".2", *files], plugins=[Reversed()])
    return max(int(first), int(second))
