"""From which folder of a release its modules are imported."""

import pytest

from scripts.core.config import Upstream
from scripts.upstream.import_folder import import_folder

FLAT = {"setup.py": "", "tally/__init__.py": "", "tests/__init__.py": ""}
SRC = {"setup.py": "", "src/tally/__init__.py": "", "tests/__init__.py": ""}


def found(files):
    return import_folder(list(files), files.__getitem__)


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (FLAT, "."),
        ({"tally.py": ""}, "."),
        (SRC, "src"),
        ({"src/tally.py": "", "docs/conf.py": ""}, "src"),
        ({**FLAT, "src/speedups.c": ""}, "."),
        ({**FLAT, "src/helper/__init__.py": ""}, "."),
        ({**SRC, "src/Tally.egg-info/top_level.txt": "tally\n"}, "src"),
        (
            {
                "lib/tally/__init__.py": "",
                "lib/Tally.egg-info/top_level.txt": "tally\n",
                "docs/__init__.py": "",
            },
            "lib",
        ),
        ({**FLAT, "src/helper/__init__.py": "", "Tally.egg-info/top_level.txt": "tally\n"}, "."),
        ({**SRC, "Tally.egg-info/top_level.txt": "gone\n"}, "src"),
        ({"py/tally/a.py": "", "pyproject.toml": '[tool.setuptools.package-dir]\n"" = "py"'}, "py"),
        (
            {
                "py/tally/a.py": "",
                "pyproject.toml": '[tool.setuptools.packages.find]\nwhere = ["py"]',
            },
            "py",
        ),
        (
            {
                "py/tally/a.py": "",
                "pyproject.toml": '[tool.setuptools]\npackages = ["tally"]\npackage-dir = { "" = "py" }',
            },
            "py",
        ),
        (
            {
                "py/tally/a.py": "",
                "pyproject.toml": '[tool.poetry]\npackages = [{ include = "tally", from = "py" }]',
            },
            "py",
        ),
        (
            {
                "py/tally/a.py": "",
                "pyproject.toml": '[tool.hatch.build.targets.wheel]\npackages = ["py/tally"]',
            },
            "py",
        ),
        ({"py/tally/a.py": "", "pyproject.toml": '[tool.pdm.build]\npackage-dir = "py"'}, "py"),
        (
            {"py/tally/a.py": "", "pyproject.toml": '[tool.uv.build-backend]\nmodule-root = "py"'},
            "py",
        ),
        ({"py/tally/a.py": "", "setup.cfg": "[options]\npackage_dir =\n    = py\n"}, "py"),
        ({"py/tally/a.py": "", "setup.cfg": "[options.packages.find]\nwhere = py\n"}, "py"),
        ({"py/tally/a.py": "", "setup.py": 'setup(package_dir={"": "py"})'}, "py"),
        ({**SRC, "pyproject.toml": "not TOML", "setup.cfg": "not a file of sections"}, "src"),
        ({**FLAT, "pyproject.toml": '[tool.pdm.build]\npackage-dir = "gone"'}, "."),
    ],
)
def test_folder_that_the_code_is_in(files, folder):
    assert found(files) == folder


@pytest.mark.parametrize("path", ["src", {">=2.11": "src"}, {"<2.11": ".", ">=2.11": "src/"}])
def test_folder_that_is_given_by_hand(path):
    upstream = Upstream(name="tally", track=">=1", path=path)
    assert (
        upstream.configured_import_folder("2.11")
        == upstream.configured_import_folder("3.0+git.main.0123456789")
        == "src"
    )


def test_folder_by_hand_says_nothing_of_other_releases():
    assert (
        Upstream(name="tally", track=">=1", path={">=2.11": "src"}).configured_import_folder("2.10")
        is None
    )
    assert Upstream(name="tally", track=">=1").configured_import_folder("2.10") is None


@pytest.mark.parametrize("path", ["/src", "../src", {">=1": "/src"}, {"new": "src"}])
def test_folder_outside_the_release_is_refused(path):
    with pytest.raises(ValueError, match=r"not a folder inside a release|not a version specifier"):
        Upstream(name="tally", track=">=1", path=path)
