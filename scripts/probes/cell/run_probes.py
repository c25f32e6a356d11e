"""Run probes once, in order or in reverse, in a cell's own interpreter.

Imports nothing of the tooling, because a cell has only upstream, pytest and its requirements.
"""

import os


class ReverseOrder:
    """Reverses the order, to reveal a test that depends on another one."""

    def pytest_collection_modifyitems(self, items):
        """Reverse the collected tests."""
        items.reverse()


class StopAtFirstFailure:
    """Leaves out the tests that cannot change whether a file passes: all after its first failure.

    `failed` are the tests that failed in the previous round, by file: such a file runs only that
    test. Files in `complete` run every test.
    """

    def __init__(self, complete, failed):
        self.complete = frozenset(complete)
        self.failed = dict(failed)

    def pytest_collection_modifyitems(self, config, items):
        """Deselect what the previous round has decided."""
        gone = [item for item in items if self._is_decided(item)]
        items[:] = [item for item in items if not self._is_decided(item)]
        config.hook.pytest_deselected(items=gone)

    def pytest_runtest_setup(self, item):
        """Skip a test of a file that is decided."""
        import pytest

        if self._is_decided(item):
            # scripts/probes/report_log.py reads this property.
            item.user_properties.append(("left_out", True))
            pytest.skip("its file is decided")

    def pytest_runtest_logreport(self, report):
        """Remember the first failure of each file."""
        # An error in a fixture is no failure of the test, so it decides nothing.
        if report.failed and report.when == "call" and _file(report) not in self.complete:
            self.failed.setdefault(_file(report), report.nodeid)

    def _is_decided(self, item):
        return self.failed.get(_file(item), item.nodeid) != item.nodeid


def run_probes(log, root, files, *, complete=(), failed=(), reverse=False):
    """Write `log` in the format of pytest-reportlog, and return the exit code.

    `complete` are the node ids of files that run to their end; `failed` are the failures of the
    previous round (see `StopAtFirstFailure`).
    """
    import pytest

    # Searching for plugins takes as long as the tests of a small file.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # The last two would only warn, after a full garbage collection.
    plugins = [
        "pytest_reportlog.plugin",
        "no:cacheprovider",
        "no:unraisableexception",
        "no:threadexception",
    ]
    # No configuration of the user, nor of a folder above `root`, may change the result.
    common = [
        "-c",
        os.devnull,
        "--rootdir",
        root,
        "--confcutdir",
        root,
        "-q",
        "--tb=native",
        # A file that cannot be imported must take no other with it.
        "--continue-on-collection-errors",
    ]
    common += [f"-p{plugin}" for plugin in plugins]
    extra = [StopAtFirstFailure(complete, failed), *([ReverseOrder()] if reverse else [])]
    return int(pytest.main([*common, "--report-log", log, *files], plugins=extra))


def _file(test):
    return test.nodeid.partition("::")[0]
