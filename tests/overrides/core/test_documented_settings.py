"""The table of settings in docs/cache.md has every setting that the engine reads, with its default."""

import ast
import re
from importlib import import_module

import pytest

from tests.support.engine_redis import ROOT

NAME = re.compile(r"CACHEOPS_ROVER_[A-Z_]*[A-Z]")
ROW = re.compile(r"^\| (`CACHEOPS_ROVER_[^|]*) \| ([^|]*) \|", re.MULTILINE)
IN_WORDS = {"CACHEOPS_ROVER_STAMP_SECONDS": None}
"""Settings whose default the table puts in words, with what the engine reads if they are not set."""

SOURCES = sorted((ROOT / "rover_overrides").rglob("*.py"))


def documented():
    """Return the default of each setting in the table, as it stands there."""
    rows = ROW.findall((ROOT / "docs" / "cache.md").read_text())
    return {name: default.strip("`") for names, default in rows for name in NAME.findall(names)}


def defaults_read():
    """Yield each setting that is read with a default, with this default."""
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            values = [*call.args, *(keyword.value for keyword in call.keywords)]
            if len(values) < 2 or not isinstance(values[-2], ast.Constant):
                continue
            if NAME.fullmatch(str(values[-2].value)):
                default = values[-1]
                if isinstance(default, ast.Name):
                    yield values[-2].value, getattr(import_module(".".join(parts)), default.id)
                else:
                    yield values[-2].value, ast.literal_eval(default)


def test_table_has_every_setting_that_is_read():
    assert set(documented()) == {
        name for path in SOURCES for name in NAME.findall(path.read_text())
    }


def test_defaults_are_found_where_they_are_read():
    assert len({name for name, _ in defaults_read()}) >= len(documented()) - 1


@pytest.mark.parametrize(("name", "default"), list(defaults_read()))
def test_default_in_the_table_is_the_one_that_is_read(name, default):
    if name in IN_WORDS:
        assert default == IN_WORDS[name]
    else:
        assert ast.literal_eval(documented()[name]) == default
