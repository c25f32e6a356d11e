"""Run probes once, in order or in reverse; part of a cell's own interpreter.

Imports nothing of the tool, for a cell knows only upstream, pytest and its requirements.
"""

import os


class Reversed:
    """Turns the order round, so that a test that leans on another one shows."""

    def pytest_collection_modifyitems(self, items):
        """Reverse the tests that were collected."""
        items.reverse()


class Deciding:
    """Leaves out what can no longer change whether a file passes: all that follows its first failure.

    `failed` are the tests that failed in the round before, by file: such a file runs that test, and nothing else is collected.
    Of `complete` files every test is run.
    """

    def __init__(self, complete, failed):
        self.complete = frozenset(complete)
        self.failed = dict(failed)

    def pytest_collection_modifyitems(self, config, items):
        """Deselect what an earlier round has decided."""
        gone = [item for item in items if self._is_decided(item)]
        items[:] = [item for item in items if not self._is_decided(item)]
        config.hook.pytest_deselected(items=gone)

    def pytest_runtest_setup(self, item):
        """Skip a test of a file that is decided."""
        import pytest

        if self._is_decided(item):
            item.user_properties.append(
                ("left_out", True)
            )  # which scripts/probes/report_log.py looks for
            pytest.skip("its file is decided")

    def pytest_runtest_logreport(self, report):
        """Remember the first failure of each file."""
        if report.failed and report.when == "call" and _file(report) not in self.complete:
            self.failed.setdefault(_file(report), report.nodeid)

    def _is_decided(self, item):
        return self.failed.get(_file(item), item.nodeid) != item.nodeid


def run_probes(log, root, files, *, complete=(), failed=(), reverse=False):
    """Write `log` in the format of pytest-reportlog, and return the exit code.

    `complete` are the node ids of files that run to their end; `failed` is what the round before found (see `Deciding`).
    """
    import pytest

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = (
        "1"  # looking for plugins takes as long as a small file's tests
    )
    # The last two only warn, after a full garbage collection.
    plugins = [
        "pytest_reportlog.plugin",
        "no:cacheprovider",
        "no:unraisableexception",
        "no:threadexception",
    ]
    common = [
        "-c",
        os.devnull,
        "--rootdir",
        root,
        "--confcutdir",
        root,
        "-q",
        "--tb=native",
        "--continue-on-collection-errors",
    ]
    common += [f"-p{plugin}" for plugin in plugins]
    extra = [Deciding(complete, failed), *([Reversed()] if reverse else [])]
    return int(pytest.main([*common, "--report-log", log, *files], plugins=extra))


def _file(test):
    return test.nodeid.partition("::")[0]
