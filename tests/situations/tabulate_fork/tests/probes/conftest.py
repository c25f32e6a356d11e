"""Tables as a program sees them; the settings of a column are set on the module, as an application would."""

import ast
import collections
import collections.abc
import os

import pytest

for name in (
    "Iterable",
    "Mapping",
):  # which old releases look for where Python 3.10 no longer has them
    setattr(collections, name, getattr(collections.abc, name))

import tabulate  # noqa: E402

for name, value in ast.literal_eval(os.environ.get("PROBE_SETTINGS", "{}")).items():
    setattr(tabulate, name, value)


@pytest.fixture
def table():
    """Give a function that returns the text of a table, and fails where upstream refuses."""

    def made(rows, **words):
        try:
            return tabulate.tabulate(rows, **{"tablefmt": "plain", **words})
        except (TypeError, ValueError) as error:
            raise AssertionError("upstream refuses it: %s" % error) from error

    return made
