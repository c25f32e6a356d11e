"""Which modules can become upstream's, and what is said of the others."""

import pytest

from scripts.forward.imports import Target
from scripts.forward.module_plan import plan_modules
from scripts.forward.packages import OverrideCode, upstream_package

UPSTREAM = {
    "larder/__init__.py": "",
    "larder/labels.py": "import yaml\nfrom .units import grams\n",
    "larder/units.py": "",
    "setup.py": "import setuptools\n",
}
HOOK = {"larder/labels.py": "from extra.trim import trim\n"}


def plan(modules, owners=None, changed=HOOK, by_hand=(), paths=("larder/labels.py",), folder="."):
    """Plan for the patch `trim`, which owns every module that no other is said to own."""
    known = dict.fromkeys(modules, "trim") | (owners or {})
    code = OverrideCode("extra", modules, {file: name for file, name in known.items() if name})
    upstream = upstream_package(folder, paths, UPSTREAM)
    features = ["trim-headings"]
    return plan_modules("trim", features, changed, code, upstream, by_hand, "tests/forward/trim")


def problems(*args, **words):
    return [
        (item.where, item.text, item.advice.split("\n")) for item in plan(*args, **words).problems
    ]


def test_module_of_the_patch_goes_into_the_package():
    found = plan({"trim.py": "import re\nimport yaml\nfrom larder.units import grams\n"})
    assert (found.targets, found.problems) == ({"trim.py": Target("larder", "trim")}, ())


def test_modules_that_it_imports_go_along():
    found = plan({"trim.py": "from .edges import off\n", "edges.py": ""})
    assert list(found.targets) == ["trim.py", "edges.py"]
    assert found.problems == ()


def test_modules_are_followed_all_the_way():
    modules = {
        "trim.py": "from .edges import off\n",
        "edges.py": "from .knife import cut\n",
        "knife.py": "import attrs\n",
    }
    assert [where for where, _, _ in problems(modules)] == ["extra/knife.py:1"]


def test_module_that_no_hunk_needs_stays():
    assert list(plan({"trim.py": "", "other.py": "from extra.gone import it\n"}).targets) == [
        "trim.py"
    ]


def test_module_whose_name_upstream_has_gets_all_parts_of_its_own():
    changed = {"larder/labels.py": "from extra.cut.units import trim\n"}
    assert plan({"cut/units.py": ""}, changed=changed).targets == {
        "cut/units.py": Target("larder", "cut_units")
    }


def test_modules_of_one_name_do_not_overwrite_each_other():
    changed = {"larder/labels.py": "from extra.a import cut\nfrom extra.b import cut as c\n"}
    found = plan({"a/cut.py": "", "b/cut.py": ""}, changed=changed)
    assert [target.name for target in found.targets.values()] == ["a_cut", "b_cut"]


def test_module_of_another_patch_is_in_the_way_even_in_a_function():
    modules = {"trim.py": "def f():\n    from extra.locks import Lock\n", "locks.py": ""}
    assert problems(modules, {"locks.py": "locking"}) == [
        (
            "extra/trim.py:2",
            "imports Lock from extra.locks, which belongs to the patch locking",
            [
                "write what it needs of it into extra/trim.py",
                "write the module for upstream as tests/forward/trim/larder/trim.py, which then counts instead",
            ],
        )
    ]


def test_common_module_is_in_the_way():
    modules = {"trim.py": "from extra.profile import SETTINGS\n", "profile.py": ""}
    ((where, text, _),) = problems(modules, {"profile.py": ""})
    assert (where, text) == (
        "extra/trim.py:1",
        "imports SETTINGS from extra.profile, which is in every tree",
    )


def test_library_that_upstream_does_not_import_is_in_the_way():
    ((where, text, advice),) = problems({"trim.py": "\nimport attrs.validators\n"})
    assert (where, text, advice[0]) == (
        "extra/trim.py:2",
        "imports attrs.validators, and upstream's code imports nothing of attrs",
        "write it without attrs",
    )


def test_what_only_setup_imports_is_no_requirement():
    assert problems({"trim.py": "import setuptools\n"})


def test_switch_of_the_patch_is_to_be_written_as_true():
    modules = {
        "trim.py": "from extra.switches import is_on\nx = is_on('trim-headings') or is_on('other')\n",
        "switches.py": "",
    }
    ((_, _, advice),) = problems(modules, {"switches.py": "keys"})
    assert advice[0] == "write `True` for `is_on('trim-headings')`: upstream has no such switch"


def test_import_of_a_hunk_that_cannot_move_is_named_with_its_file():
    changed = {"larder/labels.py": "x = 1\nfrom extra.locks import Lock\n"}
    assert problems({"locks.py": ""}, {"locks.py": "locking"}, changed=changed) == [
        (
            "larder/labels.py:2",
            "imports Lock from extra.locks, which belongs to the patch locking",
            ["let the hunk of larder/labels.py do without it (nox -s import, nox -s export)"],
        )
    ]


def test_import_without_a_name_cannot_be_pointed_elsewhere():
    changed = {"larder/labels.py": "import extra.trim\n"}
    ((_, text, advice),) = problems({"trim.py": ""}, changed=changed)
    assert text == "imports extra.trim without naming what it uses"
    assert advice == ["write `from extra import ...`"]


def test_statement_is_named_once_with_all_that_is_in_the_way():
    modules = {"trim.py": "from extra.locks import A, B\n", "locks.py": ""}
    assert [text for _, text, _ in problems(modules, {"locks.py": "locking"})] == [
        "imports A, B from extra.locks, which belongs to the patch locking"
    ]


def test_module_written_by_hand_is_not_looked_into():
    modules = {"trim.py": "from extra.locks import Lock\n", "locks.py": ""}
    assert problems(modules, {"locks.py": "locking"}, by_hand=["larder/trim.py"]) == []


@pytest.mark.parametrize(
    "paths", [["larder.py"], ["larder/labels.py", "setup.py"], ["a/b.py", "c/d.py"]]
)
def test_hunks_outside_of_one_package_leave_no_place_for_a_module(paths):
    assert upstream_package(".", paths, UPSTREAM) is None
    ((_, text, _),) = problems({"trim.py": ""}, paths=paths)
    assert text.startswith("no single package of upstream can take trim.py")


def test_package_below_another_folder_is_found():
    texts = {f"src/{name}": text for name, text in UPSTREAM.items()}
    found = upstream_package("src", ["src/larder/labels.py"], texts)
    assert (found.name, found.folder) == ("larder", "src/larder")
    assert found.modules == {"__init__", "labels", "units"}
    assert found.imports == {"yaml", "larder"}
