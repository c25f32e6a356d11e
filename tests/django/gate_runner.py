"""Django's test runner with a log of what became of each test, and the committing mode if it is asked for."""

import atexit
import json
import os
import traceback
from pathlib import Path
from unittest import TextTestResult

import committed_test_case
import key_comparison
import read_comparison
from django.test.runner import DiscoverRunner

GATE = json.loads(os.environ["GATE"])
COMPARES_KEYS = GATE["cached"] and GATE["settings"].get("CACHEOPS_ROVER_CHECK_KEYS") == 1


class Log:
    """A file with a JSON record a line, complete after each of them."""

    def __init__(self, path):
        self._file = Path(path).open("a", buffering=1)  # noqa: SIM115 - as long as the process
        atexit.register(self._file.close)

    def write(self, **record):
        self._file.write(json.dumps(record, default=repr) + "\n")


LOG = Log(GATE["log"])


class Result(TextTestResult):
    """Logs each outcome; a test with several, as those of its subtests, has the worst of them."""

    def startTest(self, test):
        super().startTest(test)
        self._seen = False
        LOG.write(start=test.id())
        read_comparison.begin_test(test.id())

    def stopTest(self, test):
        read_comparison.end_test()
        super().stopTest(test)

    def _log(self, test, outcome, error=None):
        LOG.write(
            test=test.id(),
            outcome=outcome,
            **({"words": words(error), "trace": trace(error)} if error else {}),
        )

    def addSuccess(self, test):
        super().addSuccess(test)
        self._log(test, "passed")

    def addError(self, test, err):
        super().addError(test, err)
        self._log(test, "failed", err)

    addFailure = addError

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        LOG.write(test=test.id(), outcome="skipped", words=reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._log(test, "expected")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        LOG.write(test=test.id(), outcome="failed", words="it was expected to fail and passes")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._log(test, "failed", err)


def words(error):
    """Return the exception's class and its first line."""
    text = str(error[1]).strip()
    return f"{error[0].__name__}: {text.splitlines()[0] if text else ''}"[:300]


def trace(error):
    """Return the last calls that led to an exception."""
    return "".join(traceback.format_exception(*error)[-12:])[-3000:]


class Runner(DiscoverRunner):
    """Runs the tests and logs, at the end, that it came there and what was counted."""

    def setup_databases(self, **kwargs):
        made = super().setup_databases(**kwargs)
        if GATE["mode"] == "committing":
            committed_test_case.install([connection for connection, *_ in made])
            read_comparison.install(LOG, cached=GATE["cached"])
        elif GATE["cached"]:
            read_comparison.count_hits()
        if COMPARES_KEYS:
            key_comparison.install(LOG)
        return made

    def get_resultclass(self):
        return Result

    def run_suite(self, suite, **kwargs):
        result = super().run_suite(suite, **kwargs)
        keys = key_comparison.count() if COMPARES_KEYS else {}
        LOG.write(figures={**read_comparison.figures, **keys}, done=True)
        return result
