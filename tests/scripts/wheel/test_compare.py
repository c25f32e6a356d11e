"""What differs between two wheels: a pure comparison of their contents."""

import io
import json

import pytest
from rich.console import Console

from scripts.wheel.compare import compare
from scripts.wheel.compare_text import full_text, print_comparison
from scripts.wheel.contents import WheelContents
from scripts.wheel.public_names import public_names


def wheel(version="1", library=None, metadata="", patches=None, features=None):
    """Return a wheel; with `patches` (sha256 and title by id) it has the fork's record."""
    files = {name: text.encode() for name, text in (library or {}).items()}
    if patches is not None:
        items = [
            {"id": name, "sha256": sha, "title": title} for name, (sha, title) in patches.items()
        ]
        files["over/_provenance.json"] = json.dumps({"patches": items}).encode()
        listed = "" if features is None else f"FEATURES = {tuple(features)!r}\n"
        files["over/_series.py"] = f"SERIES = ()\n{listed}".encode()
    head = f"Name: larder\nVersion: {version}\n{metadata}"
    return WheelContents("larder", version, files, {"METADATA": head.encode()})


def difference(old, new, what):
    """Return what was added, removed and changed in one respect."""
    (found,) = (item for item in compare(old, new).differences if item.what == what)
    return found.added, found.removed, found.changed


def test_equal_wheels_do_not_differ():
    one = wheel(library={"larder.py": "A = 1"}, patches={"a": ("1", "A")}, features=["a"])
    assert not compare(one, one)


def test_files_are_named_with_their_sizes():
    old = wheel(library={"larder/a.py": "a", "larder/b.py": "bb"})
    new = wheel(library={"larder/b.py": "b" * 1234, "larder/c.py": ""})
    assert difference(old, new, "files") == (
        ("larder/c.py (0 bytes)",),
        ("larder/a.py (1 bytes)",),
        ("larder/b.py (2 → 1,234 bytes)",),
    )


def test_folder_of_the_metadata_has_no_version():
    assert difference(wheel("1"), wheel("2"), "files") == (
        (),
        (),
        (".dist-info/METADATA (24 → 24 bytes)",),
    )


def test_fields_of_the_metadata_change_and_repeated_ones_come_and_go():
    old = wheel("1", metadata="Requires-Dist: redis >=3\nRequires-Dist: funcy >=1.8\n\nOne\nTwo\n")
    new = wheel(
        "2",
        metadata="Requires-Dist: funcy>=1.8\nRequires-Dist: redis>=4\nLicense: BSD\n\nOne\nX\nY\n",
    )
    assert difference(old, new, "metadata") == (
        ("License: BSD", "Requires-Dist: redis>=4"),
        ("Requires-Dist: redis>=3",),
        ("Description: 2 lines added, 1 removed", "Version: 1 → 2"),
    )


def test_requirement_that_is_none_is_compared_as_it_is():
    old, new = (wheel(metadata=f"Requires-Dist: {text}\n") for text in ("a (", "b ("))
    assert difference(old, new, "metadata") == (
        ("Requires-Dist: b (",),
        ("Requires-Dist: a (",),
        (),
    )


def test_patches_differ_by_their_bytes_and_features_by_their_ids():
    old = wheel(patches={"a": ("1", "Do a"), "b": ("1", "Do b")}, features=["x", "y"])
    new = wheel(patches={"b": ("2", "Do b"), "c": ("1", "Do c")}, features=["y", "z"])
    assert difference(old, new, "patches") == (("c: Do c",), ("a: Do a",), ("b: Do b",))
    assert difference(old, new, "features") == (("z",), ("x",), ())


def test_patches_of_a_wheel_without_features_are_its_features():
    old = wheel(patches={"a": ("1", "Do a")})
    new = wheel(patches={"a": ("1", "Do a")}, features=["a", "b"])
    assert difference(old, new, "features") == (("b",), (), ())


def test_upstreams_own_wheel_has_no_patches():
    new = wheel(patches={"a": ("1", "Do a")}, features=["a"])
    assert difference(wheel(), new, "patches") == (("a: Do a",), (), ())


def test_changed_signature_is_shown_with_the_one_before():
    old = wheel(library={"larder.py": "def get(key): ...\n"})
    new = wheel(library={"larder.py": "def get(key, default=None): ...\n"})
    assert difference(old, new, "public names")[2] == (
        "larder.get\n  (key)\n  (key, default=None)",
    )
    assert (
        "  changed  larder.get\n             (key)\n             (key, default=None)\n"
        in full_text(compare(old, new))
    )


# The public names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("A = b = 1\nC: int = 2\n(d, e) = 1, 2\n_f = 3\n", ["A", "C", "b", "d", "e"]),
        ("def f(a, /, b: int = 1, *c, d='x', **e) -> int: ...\n", ["f(a, /, b=1, *c, d='x', **e)"]),
        ("async def f(): ...\n", ["f() async"]),
        (
            "class A(B):\n def __init__(self, x): ...\n def m(self): ...\n def _p(self): ...\n",
            ["A(B)", "A.__init__(self, x)", "A.m(self)"],
        ),
        ("class _A:\n def m(self): ...\n", []),
        ("try:\n def f(): ...\nexcept E:\n f = None\n g = 1\nif x:\n h = 1\nelse:\n i = 1\n",
         ["f", "g", "h", "i"]),
        ("def f():\n inner = 1\n", ["f()"]),
        ("from .b import f\nimport os\n", []),
        ("__all__ = ['f', '_g', 'lazy']\nfrom .b import f\n_g = 1\nh = 1\n", ["_g", "f", "lazy"]),
        ("import os\nd = {}\nos.x['a'] = 1\n", ["d"]),
        ("print 'for Python 2'\n", []),
    ],
)  # fmt: skip
def test_public_names_of_a_module(source, names):
    found = public_names({"larder/a.py": source.encode()})
    assert sorted(f"{name}{text}" for name, text in found.items()) == [
        f"larder.a.{name}" for name in names
    ]


def test_package_has_the_names_that_it_imports_from_its_own_modules():
    source = b"import os\nfrom typing import Any\nfrom .a import f as g\nfrom .b import *\n"
    assert sorted(public_names({"larder/__init__.py": source})) == ["larder.* from .b", "larder.g"]


@pytest.mark.parametrize(
    "path", ["larder/_a.py", "_larder/a.py", "larder/__main__.py", "larder/a.txt", "larder/a.pyi"]
)
def test_private_modules_and_other_files_have_no_public_names(path):
    assert public_names({path: b"A = 1\n"}) == {}


# As text


def printed(old, new):
    console = Console(file=io.StringIO(), width=80)
    print_comparison(compare(old, new), console, ".fork/changes.txt")
    return console.file.getvalue()


def test_table_counts_what_the_file_names():
    old = wheel("1", {"larder.py": "A = 1"})
    new = wheel("2", {"larder.py": "A = 1\nB = 1", "b.py": ""})
    assert [line.rstrip() for line in printed(old, new).splitlines()] == [
        "the wheel, from larder 1 to larder 2",
        "                added  removed  changed",
        "  files             1        -        2",
        "  metadata          -        -        1",
        "  patches           -        -        -",
        "  features          -        -        -",
        "  public names      1        -        -",
        "each of them by name: .fork/changes.txt",
    ]
    assert full_text(compare(old, new)) == (
        "From larder 1 to larder 2\n\n"
        "files:\n  added    b.py (0 bytes)\n  changed  .dist-info/METADATA (24 → 24 bytes)\n"
        "  changed  larder.py (5 → 11 bytes)\n\n"
        "metadata:\n  changed  Version: 1 → 2\n\n"
        "patches: the same\n\nfeatures: the same\n\npublic names:\n  added    larder.B\n"
    )


def test_equal_wheels_print_no_table():
    assert printed(wheel(), wheel()) == (
        "the wheel, from larder 1 to larder 1\n  nothing differs\n"
    )
