"""A report with a feature of each kind, for the tests of every form."""

from tests.scripts.report.test_terminal import full  # noqa: F401
