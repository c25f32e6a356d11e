"""Lint: everything that can be wrong with a series before anything runs, all of it at once."""

import pytest

from scripts.core.errors import Exit, UsageError
from scripts.core.model import Lock, Release
from scripts.core.repository import Repository
from scripts.series.series import read_series, read_with_problems

FORK_TOML = """
[upstream]
name = "tally"
track = ">=1"

[overrides]
package = "extra"

[probes]
control = ["tests/probes/test_control.py"]

[[environments]]
id = "plain"
python = "3.11"
"""
LOCK = Lock("tally", "2.0", tuple(Release(version, "", 0, "", None) for version in ("1.0", "2.0")))
MAIL = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Maintainer <maintainer@example.invalid>
Date: Tue, 1 Feb 2022 00:00:00 +0000
Subject: [PATCH] Do it

It must be done.

{}
"""


PROBES = """\
class TestOrder:
    def test_it(self):
        pass


def test_that():
    pass
"""


class Fork:
    """A fork on disk with two live patches and a retired one, all in order."""

    def __init__(self, root):
        self.root = root
        for name, text in {
            "fork.toml": FORK_TOML,
            "extra/__init__.py": "",
            "extra/order.py": "",
            "tests/probes/test_order.py": PROBES,
        }.items():
            self.write(name, text)
        self.patch("0001-one", Overrides="order")
        self.patch("0002-two", Depends="one")
        self.patch("retired/0001-old", Base="1.0", Applied_Upstream="2.0; by itself")
        self.write(
            "patches/series", "# the first\n0001-one.patch\n\n0002-two.patch   # and the second\n"
        )

    def write(self, name, text):
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def patch(self, name, **fields):
        """Write a patch without hunks; a field that is None is left out."""
        known = {
            "Id": name.partition("-")[2],
            "Base": "2.0",
            "Origin": "vendor",
            "Forwarded": "no",
            "Last-Update": "2022-02-01",
            "Probes": "tests/probes/test_order.py",
            "Drop-When": "never",
        } | {key.replace("_", "-"): value for key, value in fields.items()}
        lines = "\n".join(f"{key}: {value}" for key, value in known.items() if value is not None)
        self.write(f"patches/{name}.patch", MAIL.format(lines))

    @property
    def problems(self):
        """Everything that is wrong."""
        return [str(problem) for problem in read_with_problems(Repository(self.root), LOCK)[1]]


@pytest.fixture
def fork(tmp_path):
    """Give a fork in order."""
    return Fork(tmp_path)


def test_series_in_order(fork):
    series = read_series(Repository(fork.root), LOCK)
    assert [patch.id for patch in series.active] == ["one", "two"]
    assert [patch.id for patch in series.retired] == ["old"]
    assert [patch.id for patch in series.all] == ["one", "two", "old"]
    assert str(series.features_of(series.retired[0])[0].retired_in) == "2.0"


def test_dependents_go_all_the_way(fork):
    fork.patch("0003-three", Depends="two")
    fork.patch("0004-four")
    fork.write(
        "patches/series", "0001-one.patch\n0002-two.patch\n0003-three.patch\n0004-four.patch\n"
    )
    series = read_series(Repository(fork.root), LOCK)
    assert series.dependents(series.by_id["one"]) == {"one", "two", "three"}
    assert series.dependents(series.by_id["three"]) == {"three"}
    assert [patch.id for patch in series.with_dependencies(series.by_id["three"])] == [
        "one",
        "two",
        "three",
    ]


def test_unlisted_patch(fork):
    fork.write("patches/series", "0001-one.patch\n")
    assert fork.problems == ["patches/0002-two.patch: not listed in patches/series"]


def test_missing_patch(fork):
    (fork.root / "patches/0002-two.patch").unlink()
    assert fork.problems == ["patches/series: 0002-two.patch is listed, but there is no such file"]


def test_patch_that_is_listed_twice(fork):
    fork.write("patches/series", "0001-one.patch\n0002-two.patch\n0001-one.patch\n")
    assert fork.problems == ["patches/series: 0001-one.patch is listed 2 times"]


def test_missing_series(fork):
    (fork.root / "patches/series").unlink()
    assert fork.problems[0] == "patches/series: the list of the patches is missing"


def test_patch_of_another_folder_is_not_listed(fork):
    fork.write("patches/series", "0001-one.patch\n0002-two.patch\nretired/0001-old.patch\n")
    assert fork.problems == [
        "patches/series: retired/0001-old.patch is listed, but there is no such file"
    ]


def test_id_that_is_used_twice(fork):
    fork.patch("0002-two", Id="one", Depends=None)
    assert fork.problems == [
        "patches/0002-two.patch: Id: one is the id of patches/0001-one.patch too"
    ]


def test_retired_id_that_lives_again(fork):
    fork.patch("0002-two", Id="old")
    assert fork.problems == [
        "patches/retired/0001-old.patch: Id: old is the id of patches/0002-two.patch too"
    ]


def test_problem_of_a_file_names_it(fork):
    fork.patch("retired/0001-old", Applied_Upstream=None, Base="1.0")
    fork.patch("0002-two", Probe="x")
    assert fork.problems == [
        "patches/0002-two.patch: unknown field Probe:; did you mean Probes?",
        "patches/retired/0001-old.patch: the trailer `Applied-Upstream:` is missing",
    ]


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("Base", "3.0", "Base: 3.0 is not pinned in upstream/lock.toml"),
        (
            "Probes",
            "tests/probes/test_oder.py",
            "Probes: tests/probes/test_oder.py matches nothing",
        ),
        ("Probes", "tests/probes", "Probes: tests/probes matches nothing"),
        (
            "Probes",
            "tests/probes/test_order.py::test_this",
            "Probes: tests/probes/test_order.py::test_this matches nothing",
        ),
        ("Overrides", "odrer", "Overrides: there is no extra/odrer.py"),
        ("Depends", "zero", "Depends: there is no patch zero"),
        ("Depends", "two", "Depends: two comes later in the series"),
        ("Needs", "Django=>6", "Needs: 'Django=>6' is not a requirement such as `Django>=6`"),
        ("Mutation", "tests/none.diff", "Mutation: there is no tests/none.diff"),
    ],
)
def test_name_that_stands_for_nothing(fork, field, value, problem):
    fork.patch("0002-two", **{field: value})
    assert [text for text in fork.problems if not text.startswith("extra/")] == [
        f"patches/0002-two.patch: {problem}"
    ]


def test_probe_file_that_has_a_server_beside_the_cells_and_is_not_there(fork):
    beside = 'extra_servers = [{ files = ["tests/probes/test_oder.py"], server = "quick", variable = "PROBE_QUICK_URL" }]'
    server = '[[servers]]\nid = "quick"\ncommand = ["quick"]\nurl = ""\n\n[[environments]]'
    fork.write(
        "fork.toml",
        FORK_TOML.replace("[probes]", f"[probes]\n{beside}").replace("[[environments]]", server),
    )
    assert fork.problems == [
        "fork.toml: probes.extra_servers names tests/probes/test_oder.py, which does not exist"
    ]


def test_base_that_is_no_version(fork):
    fork.patch("0002-two", Base="newest")
    assert fork.problems == [
        "patches/0002-two.patch: Base: 'newest' is not a version",
    ]


@pytest.mark.parametrize("node", ["test_that", "TestOrder", "TestOrder::test_it", "test_that[1]"])
def test_node_of_a_probe_file(fork, node):
    fork.patch("0002-two", Probes=f"tests/probes/test_order.py::{node}")
    assert fork.problems == []


def test_dependency_out_of_order(fork):
    fork.write("patches/series", "0002-two.patch\n0001-one.patch\n")
    assert fork.problems == ["patches/0002-two.patch: Depends: one comes later in the series"]


def test_retired_patch_that_does_not_say_which_release(fork):
    fork.patch("retired/0001-old", Base="1.0", Applied_Upstream="long ago")
    assert fork.problems == [
        "patches/retired/0001-old.patch: Applied-Upstream: 'long ago' does not begin with a release",
    ]


def test_retired_patch_may_name_modules_that_are_gone(fork):
    fork.patch("retired/0001-old", Base="1.0", Applied_Upstream="2.0", Overrides="gone")
    assert fork.problems == []


def test_retired_patches_that_depend_on_each_other(fork):
    fork.patch("retired/0001-old", Base="1.0", Applied_Upstream="2.0", Depends="older")
    fork.patch("retired/0002-older", Base="1.0", Applied_Upstream="2.0", Depends="old")
    assert fork.problems == [
        "patches/retired/0001-old.patch: Depends: older depends on old itself",
        "patches/retired/0002-older.patch: Depends: old depends on older itself",
    ]


def test_module_that_no_patch_names(fork):
    fork.write("extra/stray.py", "")
    assert fork.problems == ["extra/stray.py: no live patch names it (Overrides: stray)"]


def test_module_that_only_a_retired_patch_names(fork):
    fork.write("extra/gone.py", "")
    fork.patch("retired/0001-old", Base="1.0", Applied_Upstream="2.0", Overrides="gone")
    assert fork.problems == ["extra/gone.py: no live patch names it (Overrides: gone)"]


IMPORTS = {
    "from": "from extra.two import it",
    "module": "from extra import two",
    "import": "import extra.two as other",
}


@pytest.mark.parametrize("source", IMPORTS.values(), ids=IMPORTS)
def test_module_that_imports_one_of_a_later_patch(fork, source):
    fork.write("extra/order.py", source)
    fork.write("extra/two.py", "")
    fork.patch("0002-two", Depends="one", Overrides="two")
    assert fork.problems == [
        "patches/0001-one.patch: Overrides: extra/order.py imports two, which neither this patch nor one it depends on names"
    ]


def test_modules_that_may_be_imported(fork):
    fork.write("extra/order.py", "import extra\n\ndef later():\n    from extra import two\n")
    fork.write("extra/two.py", "from extra import order\nfrom extra.three import it\n")
    fork.write("extra/three.py", "")
    fork.patch("0002-two", Depends="one", Overrides="three, two")
    assert fork.problems == []


def test_live_patches_on_several_bases(fork):
    fork.patch("0002-two", Base="1.0")
    with pytest.raises(UsageError) as error:
        read_series(Repository(fork.root), LOCK)
    assert error.value.message == (
        "the patches are not in order:\n"
        "  - patches/0002-two.patch: Base: 1.0, but the series is based on 2.0\n"
        "      fix: nox -s import && nox -s export"
    )
    assert len(read_series(Repository(fork.root), LOCK, one_base=False).active) == 2


def test_everything_wrong_is_one_error(fork):
    fork.write("extra/stray.py", "")
    fork.write("patches/series", "0001-one.patch\n0003-three.patch\n")
    fork.patch("0001-one", Overrides="order", Origin="me", Probes="nowhere.py")
    with pytest.raises(UsageError) as error:
        read_series(Repository(fork.root), LOCK)
    assert error.value.exit_code is Exit.USAGE
    assert str(error.value) == (
        "the patches are not in order:\n"
        "  - patches/series: 0003-three.patch is listed, but there is no such file\n"
        "      fix: write `0002-two.patch`\n"
        "       or: delete the line `0003-three.patch`\n"
        "  - patches/0002-two.patch: not listed in patches/series\n"
        "      fix: echo 0002-two.patch >> patches/series\n"
        "       or: rm patches/0002-two.patch\n"
        "  - patches/0001-one.patch: Origin: 'me' is not of the form ^(vendor|backport, .+)$\n"
        "      fix: write `Origin: vendor`\n"
        "  - patches/0001-one.patch: Probes: nowhere.py matches nothing\n"
        "      fix: take nowhere.py out of `Probes:`\n"
        "  - extra/stray.py: no live patch names it (Overrides: stray)\n"
        "      fix: add `stray` to the `Overrides:` of the patch that needs it\n"
        "       or: move extra/stray.py away; git does not have it yet\n"
        "  next: do what stands below each of them, then `nox -s lint`"
    )
