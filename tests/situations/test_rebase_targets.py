"""A rebase to a release that moved a file, changed line endings or has other cells, and one that a probe without teeth stops."""

import pytest

from tests.support.imported_series import UNCHANGED
from tests.support.local_index import File, sdist
from tests.support.rebasing import larder_releases, rebase, refused_rebase, run_with

LABELS, TWINS, JARS = "larder/labels.py", "larder/twins.py", "larder/jars.py"
REWRITTEN = "".join(
    f"def jar_{number}(size={number}):\n    '''Return jar number {number}.'''\n    return 'jar {number}', size\n\n\n"
    for number in range(7)
)
PROBE = """\
import importlib


def test_left_is_loud():
    for name in ("larder.jars", "larder.twins"):
        try:
            left = importlib.import_module(name).left
        except ImportError:
            continue
        assert left() == "PLUM"
        return
    raise AssertionError("there is no left jar")
"""


@pytest.fixture
def to_2_2(larder, tmp_path):
    """Return a function that rebases to 2.2, which is 1.1 with other files, and returns what was said."""
    larder.write("fork.toml", larder.read("fork.toml") + MATRIX)
    source = larder.root / "upstream" / "src"
    files = {
        str(path.relative_to(source)): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file()
    }
    for path in (larder.root / "patches" / "retired").iterdir():
        path.unlink()
    larder.write("larder_overrides/profile.py", '"""None."""\n\nSETTINGS = {}\n')

    def move(change):
        index = larder_releases(tmp_path, "1.0", "1.1", "2.0")
        index.files["made_up_larder-2.2.tar.gz"] = File(
            sdist("2.2", change(dict(files)), name="made_up_larder")
        )
        return run_with(index, larder, "rebase", "2.2")

    return move


MATRIX = """
[matrix]
databases = ["own"]

[[matrix.environments]]
id = "more"
pythons = ["3.11"]

[[matrix.exclude]]
releases = "!=1.1"
reason = "one release will do"
"""


@pytest.fixture
def loud(larder):
    """Return that fork with a patch on a file that 2.2 moves."""
    docstring = '    """Return the left jar."""\n'
    larder.patch("loud-left", [(TWINS, docstring, f'{docstring}    return "PLUM"\n')], PROBE)
    return larder


def renamed(files, *changes):
    text = files.pop(TWINS).decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return {**files, JARS: (REWRITTEN + text + "\n\n" + REWRITTEN.replace("jar", "pot")).encode()}


def test_patch_moves_with_its_file(loud, to_2_2):
    done = to_2_2(renamed)
    assert done.code == 0, done.stderr
    patch = loud.read("patches/0002-loud-left.patch")
    assert f"+++ b/{JARS}\n" in patch
    assert TWINS not in patch
    assert (loud.status().code, loud.run("lint").code) == (0, 0)


def test_conflict_shows_what_changed_where_the_file_went(loud, to_2_2):
    done = to_2_2(
        lambda files: renamed(files, ("Return the left jar.", "Return the jar on the left."))
    )
    assert done.code == 20
    assert f"loud-left conflicts with 2.2: {TWINS} moved to {JARS} (" in done.stderr
    assert (
        '\n-    """Return the left jar."""\n+    """Return the jar on the left."""\n' in done.stderr
    )
    assert '-    """Return the right jar."""' not in done.stderr, "not a whole deleted file"
    loud.resolve(JARS, new='    """Return the jar on the left."""\n    return "PLUM"\n')
    rebase(loud, "--continue")
    assert f"+++ b/{JARS}\n" in loud.read("patches/0002-loud-left.patch")


def test_file_that_is_gone_is_shown_as_before(loud, to_2_2):
    done = to_2_2(lambda files: {name: text for name, text in files.items() if name != TWINS})
    assert done.code == 20
    assert (
        f"loud-left conflicts with 2.2: {TWINS}: the file is gone or binary (hunks @@ -2,2 +2,3 @@"
        in done.stderr
    )
    assert '-    """Return the right jar."""' in done.stderr


def test_line_endings_alone_are_no_conflict(larder, to_2_2):
    done = to_2_2(lambda files: {**files, LABELS: files[LABELS].replace(b"\n", b"\r\n")})
    assert done.code == 0, done.stderr
    patch = (larder.root / "patches/0001-trim-headings.patch").read_bytes()
    assert b"\n+    return trim(line).capitalize()\r\n" in patch
    assert (larder.status().code, larder.run("lint").code) == (0, 0)
    assert larder.run("import").code == 0
    assert larder.run("export").stderr == UNCHANGED


def test_exclusion_that_named_the_release_before_is_told(to_2_2):
    done = to_2_2(dict)
    assert (
        "\nfork.toml: matrix.exclude[0].releases = '!=1.1' names 1.1, and 2.2 is locked; write `locked` where the locked release "
        "is meant (one release will do)\n"
    ) in done.stdout


def test_probe_without_teeth_stops_with_the_command_that_waives_it(larder):
    larder.write(
        "tests/probes/test_trim_headings.py",
        "import larder.labels\n\n\ndef test_nothing():\n    assert larder.labels\n",
    )
    before = larder.content()
    for words in (["2.0"], ["2.0", "--dry-run"]):
        assert (
            "trim-headings is unproven: its probes pass on the bare tree of every release"
            in refused_rebase(larder, *words)
        )
    assert (larder.content(), larder.leftovers()) == (before, [])
    following = refused_rebase(larder, "2.0").partition("  next: ")[2]
    command = following.rpartition("nox -s rebase -- ")[2].split()
    assert command == ["2.0", "--waive", "trim-headings=REASON"]
    done = rebase(larder, *command)
    assert "\ntrim-headings is not proven, waived: REASON\n" in done.stdout
    assert "\nBase: 2.0\n" in larder.read("patches/0001-trim-headings.patch")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["2.0", "--waive", "nobody=so"], "--waive names nobody, which is no feature"),
        (["2.0", "--waive", "trim-headings"], "'trim-headings' has no reason; give ID=reason"),
        (
            ["--abort", "--waive", "trim-headings=so"],
            "--waive goes with a release or with --continue",
        ),
    ],
)
def test_waiver_that_says_nothing_is_refused(larder, words, said):
    assert said in refused_rebase(larder, *words, code=2)
    assert larder.leftovers() == []


def test_evidence_of_a_release_that_is_not_pinned_begins_with_pin(larder, to_2_2):
    larder.write(
        "tests/probes/test_trim_headings.py",
        "import larder.labels\n\n\ndef test_nothing():\n    assert larder.labels\n",
    )
    done = to_2_2(dict)
    assert done.code == 20
    assert "(nox -s pin, then nox -s status -- --upstream 2.2 --why)" in done.stderr
