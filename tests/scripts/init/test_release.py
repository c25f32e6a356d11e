"""What an sdist tells of its package, in every layout: the module to import and what it requires."""

import pytest

from scripts.init.release import InspectedRelease

CODE = b"x = 1\n"


def release(project, *names, **texts):
    files = dict.fromkeys(names, CODE)
    return InspectedRelease(
        project, files | {name: text.encode() for name, text in texts.pop("texts", {}).items()}
    )


@pytest.mark.parametrize(
    ("project", "names", "module", "folder"),
    [
        ("tally", ["setup.py", "tally.py", "test_tally.py"], "tally", "."),
        ("tally", ["setup.py", "tally/__init__.py", "tests/__init__.py"], "tally", "."),
        ("tally", ["src/tally/__init__.py", "tests/__init__.py"], "tally", "src"),
        ("tally", ["src/tally.py", "setup.py"], "tally", "src"),
        ("python-tally", ["setup.py", "tally/__init__.py", "docs/conf.py"], "tally", "."),
        ("Tally-Ho", ["tally_ho/__init__.py", "other/__init__.py"], "tally_ho", "."),
        ("acme.tally", ["acme/tally/__init__.py"], "acme.tally", "."),
        ("acme-tally", ["acme/tally/__init__.py"], "acme.tally", "."),
        ("tally", ["src/tally/__init__.py", "src/_tally/__init__.py"], "tally", "src"),
        ("testing", ["testing/__init__.py", "setup.py"], "testing", "."),
    ],
)
def test_module_is_found_in_every_layout(project, names, module, folder):
    found = release(project, *names)
    assert (found.module, found.folder) == (module, folder)


def test_what_setuptools_declares_wins_over_what_lies_beside_it():
    found = release(
        "tally",
        "count/__init__.py",
        "extra/__init__.py",
        texts={"tally.egg-info/top_level.txt": "count\n"},
    )
    assert found.module == "count"


def test_two_modules_that_can_be_meant_leave_it_open():
    found = release("tally", "count/__init__.py", "sum/__init__.py")
    assert (found.module, found.modules) == (None, ["count", "sum"])
    assert found.has_module("sum")
    assert not found.has_module("su")


def test_requirements_are_those_without_an_extra():
    info = (
        "Metadata-Version: 2.1\nName: tally\nVersion: 1\nRequires-Dist: jars>=1\n"
        "Requires-Dist: lids; extra == 'lids'\nRequires-Dist: old; python_version < '3.8'\n"
    )
    assert release("tally", texts={"PKG-INFO": info}).requires == [
        "jars>=1",
        'old; python_version < "3.8"',
    ]


def test_requirements_of_old_metadata_come_from_setuptools_file():
    text = 'jars>=1\n\n[:python_version < "3.8"]\nold\n\n[lids]\nlids\n'
    assert release("tally", texts={"tally.egg-info/requires.txt": text}).requires == [
        "jars>=1",
        'old; python_version < "3.8"',
    ]


def test_backend_is_the_one_of_pyproject_or_setuptools():
    text = '[build-system]\nrequires = ["hatchling>=1"]\n'
    found = release("tally", texts={"pyproject.toml": text})
    assert list(map(str, found.build_requires)) == ["hatchling>=1"]
    assert list(map(str, release("tally").build_requires)) == ["setuptools"]
