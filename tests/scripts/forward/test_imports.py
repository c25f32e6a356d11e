"""Imports of a package, pointed at the modules that took the place of its own."""

import pytest

from scripts.forward.imports import Target, find_imports, override_file, point_imports_at

FILES = dict.fromkeys(("__init__.py", "trim.py", "cut/__init__.py", "cut/edges.py"), "")
TARGETS = {"trim.py": Target("larder", "trim"), "cut/edges.py": Target("larder", "cut_edges")}


def rewritten(source, module=""):
    return point_imports_at(source, module, "extra", TARGETS, FILES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from extra.trim import trim", "from larder.trim import trim"),
        ("from extra.trim import a, b as c", "from larder.trim import a, b as c"),
        ("from extra import trim", "from larder import trim"),
        ("from extra import trim as t", "from larder import trim as t"),
        ("from extra.cut import edges", "from larder import cut_edges as edges"),
        ("from extra.cut.edges import off", "from larder.cut_edges import off"),
        ("import extra.trim as t", "from larder import trim as t"),
        ("import os, sys", "import os, sys"),
        ("from extraordinary import trim", "from extraordinary import trim"),
    ],
)
def test_import_names_the_new_module(old, new):
    assert rewritten(f"x = 1\n{old}  # why\ny = 2\n") == f"x = 1\n{new}  # why\ny = 2\n"


def test_import_keeps_its_lines():
    old = "from extra.trim import (  # both\n    left,\n    right,\n)\n"
    assert rewritten(old) == old.replace("extra.trim", "larder.trim")


def test_imports_before_one_another_keep_their_places():
    old = (
        "from extra.cut import (\n    edges,\n)\nfrom extra import trim; from extra.trim import a\n"
    )
    assert rewritten(old) == (
        "from larder import cut_edges as edges\nfrom larder import trim; from larder.trim import a\n"
    )


def test_import_in_a_function_is_changed_where_it_stands():
    old = "def f():\n    'ü'; from extra import trim; return trim\n"
    assert rewritten(old) == old.replace("extra", "larder")


def test_statement_for_modules_of_different_names_becomes_two():
    files = FILES | {"cut/trim.py": ""}
    targets = TARGETS | {"cut/trim.py": Target("larder", "cut_trim")}
    old = "if True:\n    from extra.cut import edges, trim\n"
    assert point_imports_at(old, "", "extra", targets, files) == (
        "if True:\n    from larder import cut_edges as edges\n    from larder import cut_trim as trim\n"
    )


def test_relative_import_of_a_module_is_followed():
    assert rewritten("from .edges import off\n", "extra.cut.knife") == (
        "from larder.cut_edges import off\n"
    )
    assert rewritten("from ..trim import trim\n", "extra.cut.knife") == (
        "from larder.trim import trim\n"
    )


def test_other_line_endings_and_other_encodings_stay():
    text = b"from extra.trim import trim\r\nx = '\xff'\r\n".decode(errors="surrogateescape")
    assert rewritten(text) == text, "it cannot be parsed"
    assert rewritten("from extra.trim import trim\r\n") == "from larder.trim import trim\r\n"


def test_imports_are_found_everywhere_in_order_of_their_blocks():
    source = "import a.b\nfrom c import d as e\ndef f():\n    import g as h\n"
    found = [(item.module, item.name, item.alias, item.line) for item in find_imports(source)]
    assert found == [("a.b", "", "a.b", 1), ("c", "d", "e", 2), ("g", "", "h", 4)]


def test_import_of_what_is_not_there_has_no_file():
    (found,) = find_imports("from extra.gone import it")
    assert override_file(found, "extra", {"trim.py": ""}) is None
