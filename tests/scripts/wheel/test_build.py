"""The wheel of a made-up fork: equal bytes, what it carries, what proves it, and what it is refused for."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from packaging.metadata import Metadata

from scripts.core.errors import UsageError
from scripts.wheel.contents import WheelContents, read_contents, write_wheel
from scripts.wheel.sbom import sbom_problem
from tests.support import harness
from tests.support.shipping import OWN_TESTS, WHEEL

pytestmark = pytest.mark.slow

# Runs the command line forty days from now; what it starts keeps the real clock, which has moved on as well.
ANOTHER_DAY = """
import datetime, time
now, local, utc = time.time, time.localtime, time.gmtime
time.time = lambda: now() + 40 * 86400
time.localtime = lambda seconds=None: local(time.time() if seconds is None else seconds)
time.gmtime = lambda seconds=None: utc(time.time() if seconds is None else seconds)
class Later(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = Later
from scripts.__main__ import main
main()
"""


# The bytes


def test_two_builds_in_two_folders_on_two_days_are_the_same_bytes(publishable_fork, tmp_path):
    clone = tmp_path / "another" / "place"
    publishable_fork.git("clone", "--quiet", str(publishable_fork.root), str(clone))
    shutil.copytree(publishable_fork.root / ".fork" / "sdists", clone / ".fork" / "sdists")
    env = publishable_fork.env(
        TZ="Asia/Tokyo",
        LANG="C",
        PYTHONHASHSEED="7",
        SOURCE_DATE_EPOCH="1700000000",
        PIP_INDEX_URL="",
    )
    words = ["--repo", str(clone), "wheel", "--no-verify"]
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_DAY, *words],
        cwd=harness.PROJECT,
        env=env,
        capture_output=True,
        text=True,
        umask=0o077,
    )
    assert done.returncode == 0, done.stderr
    assert (clone / "dist" / WHEEL).read_bytes() == publishable_fork.wheel.read_bytes()


def test_bytes_depend_on_contents_and_moment_alone():
    day = datetime(2020, 2, 2, tzinfo=UTC)
    one = WheelContents("a", "1", {"b.py": b"", "a.py": b""}, {"WHEEL": b"", "METADATA": b""})
    two = WheelContents("a", "1", {"a.py": b"", "b.py": b""}, {"METADATA": b"", "WHEEL": b""})
    assert write_wheel(one, day) == write_wheel(two, day)
    assert write_wheel(one, day) != write_wheel(one, datetime(2020, 2, 3, tzinfo=UTC))


# What it carries


def test_metadata_is_upstreams_with_what_fork_toml_adds(publishable_fork):
    contents = read_contents(publishable_fork.wheel)
    metadata = Metadata.from_email(contents.info["METADATA"], validate=True)
    assert (metadata.name, str(metadata.version)) == ("made-up-larder", "2.0+rover.1")
    assert metadata.description_content_type == "text/plain"
    assert metadata.provides_extra == ["jars"]
    assert list(map(str, metadata.requires_dist)) == ['made-up-jars>=1; extra == "jars"']
    assert contents.info["licenses/larder_overrides/LICENSE"] == b"All of it is made up.\n"


def test_bill_of_materials_names_upstream_and_each_patch(publishable_fork):
    document = json.loads(
        read_contents(publishable_fork.wheel).info["sboms/made-up-larder.cdx.json"]
    )
    wheel = document["metadata"]["component"]
    assert (wheel["name"], wheel["version"]) == ("made-up-larder", "2.0+rover.1")
    (upstream,) = wheel["pedigree"]["ancestors"]
    assert upstream["version"] == "2.0"
    assert upstream["hashes"] == [
        {"alg": "SHA-256", "content": record(publishable_fork)["upstream"]["sha256"]}
    ]
    (patch,) = wheel["pedigree"]["patches"]
    assert patch["diff"]["text"]["content"] == publishable_fork.read(
        "patches/0001-trim-headings.patch"
    )
    assert sbom_problem(json.dumps(document).encode()) == ""


def test_bill_of_materials_that_is_none_is_a_fault():
    assert "specVersion" in sbom_problem(b'{"bomFormat": "CycloneDX"}')


def test_number_counts_on_in_a_file_to_commit(publishable_fork):
    assert "N 2" in publishable_fork.run("wheel", "--bump", "--no-verify").stdout.splitlines()
    assert (publishable_fork.root / "dist" / WHEEL.replace("rover.1", "rover.2")).exists()
    assert publishable_fork.git("status", "--porcelain").split() == ["??", "upstream/wheels.toml"]
    publishable_fork.write("upstream/wheels.toml", "[numbers]\n'2.0' = 0\n")
    assert (
        "upstream/wheels.toml is wrong" in publishable_fork.run("wheel", "--no-verify", ok=2).stderr
    )


# Compared with another wheel


def test_wheel_is_compared_with_the_one_before(publishable_fork, tmp_path):
    old = tmp_path / WHEEL
    shutil.copy(publishable_fork.wheel, old)
    same = publishable_fork.run("wheel", "--no-verify", "--compare", old)
    version = "made-up-larder 2.0+rover.1"
    assert same.stdout.endswith(
        f"\nN 1\n\nthe wheel, from {version} to {version}\n  nothing differs\n"
    )
    publishable_fork.append("larder_overrides/trim.py", "\n\ndef more(size): ...\n")
    # The old one may be where the new one goes.
    done = publishable_fork.run("wheel", "--no-verify", "--compare", publishable_fork.wheel)
    assert "  public names      1        -        -\n" in done.stdout.replace("- \n", "-\n")
    assert done.stdout.endswith("\neach of them by name: .fork/wheel-changes.txt\n")
    assert "\n  added    larder_overrides.trim.more(size)\n" in publishable_fork.read(
        ".fork/wheel-changes.txt"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("old.whl", "which is no wheel"),
        ("a-1-py3-none-any.whl", "which cannot be read as a wheel"),
        ("a-1-cp311-cp311-linux_x86_64.whl", "which is not for every Python 3"),
    ],
)
def test_file_that_is_no_wheel_is_refused_before_anything_is_built(
    publishable_fork, tmp_path, name, words
):
    (tmp_path / name).write_bytes(b"PK")
    refused = publishable_fork.run("wheel", "--compare", tmp_path / name, ok=2)
    assert f"error: --compare names {name}, {words}" in refused.stderr
    assert refused.stderr.endswith("\n  next: name one for every Python 3 (-none-any.whl)\n")
    assert "building" not in refused.stderr


# The installation, asked for what it is


@pytest.fixture
def installed(publishable_fork, tmp_path):
    """Give the folder into which pip installed the wheel."""
    place = tmp_path / "site"
    words = [
        "install",
        "--isolated",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        place,
        publishable_fork.wheel,
    ]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return place


def asked(place):
    """Ask an installation what it is."""
    words = [sys.executable, "-m", "larder_overrides"]
    return subprocess.run(
        words,
        cwd=place.parent,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
    )


def test_installation_says_what_it_is(publishable_fork, installed):
    done, expected = asked(installed), record(publishable_fork)
    (patch,) = expected["patches"]
    assert done.stdout.splitlines() == [
        "made-up-larder 2.0+rover.1",
        f"  upstream  2.0: made_up_larder-2.0.tar.gz sha256 {expected['upstream']['sha256']}",
        f"  tree      {expected['tree']}",
        f"  patch     trim-headings sha256 {patch['sha256']}",
        f"{len(expected['files'])} files are as recorded",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_record_covers_every_file_of_the_wheel_but_itself_and_the_installers(publishable_fork):
    contents = read_contents(publishable_fork.wheel)
    own = "larder_overrides/_provenance.json"
    assert sorted(record(publishable_fork)["files"]) == sorted(set(contents.files) - {own})


def test_changed_missing_and_added_files_are_named(installed):
    (installed / "larder" / "labels.py").write_text("heading = str.title\n")
    (installed / "larder_overrides" / "trim.py").unlink()
    (installed / "larder" / "sitecustomize.py").write_text("")
    metadata = next(installed.glob("*.dist-info")) / "METADATA"
    metadata.write_text("Name: other\n")
    done = asked(installed)
    assert done.returncode == 20
    assert done.stderr.splitlines() == [
        "changed: larder/labels.py",
        "missing: larder_overrides/trim.py",
        f"changed: {metadata.parent.name}/METADATA",
        "added: larder/sitecustomize.py",
        "  next: install the wheel anew",
    ]


@pytest.mark.parametrize("text", [None, "", "[]", '{"files": {}}'])
def test_installation_without_a_readable_record_says_so(installed, text):
    path = installed / "larder_overrides" / "_provenance.json"
    path.unlink() if text is None else path.write_text(text)
    done = asked(installed)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no record of what is installed can be read" in done.stderr
    assert "next: install the wheel" in done.stderr


# What it is refused for


def test_failure_of_upstreams_own_tests_that_bare_lacks_is_named_in_every_mode(publishable_fork):
    publishable_fork.write(
        "larder_overrides/trim.py",
        '"""Trims too much."""\n\n\ndef trim(text):\n    """Remove all."""\n    return text[:1]\n',
    )
    before = publishable_fork.wheel.read_bytes()
    refused = publishable_fork.run("wheel", ok=20)
    assert "error: the installed wheel fails its tests:" in refused.stderr
    assert "  - trim-headings on 2.0@plain: failed " in refused.stderr
    for mode in ("default", "other"):
        assert (
            f"  - tests/test_own.py::test_heading ({mode}, plain): AssertionError" in refused.stderr
        )
    assert "test_fails_everywhere" in OWN_TESTS
    assert "test_fails_everywhere" not in refused.stderr
    assert publishable_fork.wheel.read_bytes() == before


def test_retired_patchs_probe_that_fails_on_the_installed_wheel_is_named(publishable_fork):
    publishable_fork.write(
        "larder_overrides/profile.py",
        '"""Nothing."""\n\nSETTINGS = {"fold-names": {"FOLD": False}}\n',
    )
    assert "  - fold-names on 2.0@plain: failed " in publishable_fork.run("wheel", ok=20).stderr


def test_description_that_cannot_be_shown_is_not_sound(publishable_fork):
    publishable_fork.replace(
        "fork.toml",
        '"text/plain", Description = "A larder."',
        '"text/x-rst", Description = "`unclosed"',
    )
    refused = publishable_fork.run("wheel", ok=20)
    assert "error: the wheel is not valid:" in refused.stderr
    assert "`long_description` has syntax errors in markup" in refused.stderr


def test_file_that_nobody_can_import_is_not_sound(publishable_fork):
    publishable_fork.replace(
        "fork.toml", 'common = ["__init__.py"', 'common = ["__init__.py", "not-a-module.py"'
    )
    publishable_fork.write("larder_overrides/not-a-module.py", "")
    assert (
        "W004: Module is not located at importable path"
        in publishable_fork.run("wheel", ok=20).stderr
    )


def test_series_that_conflicts_is_not_built(publishable_fork):
    publishable_fork.apply_situation("conflict")
    refused = publishable_fork.run("wheel", ok=20)
    assert (
        "the series does not apply, so there is nothing to ship:\n    two-digits: "
        in refused.stderr
    )


def test_file_that_upstreams_build_leaves_out_is_refused(publishable_fork):
    patch = publishable_fork.read("patches/0001-trim-headings.patch")
    publishable_fork.write("patches/0001-trim-headings.patch", patch.rstrip("\n") + NEW_FILE)
    refused = publishable_fork.run("wheel", "--no-verify", ok=20)
    assert "upstream's build leaves out what a patch brought: larder/labels.txt" in refused.stderr


def test_waiver_of_no_patch_is_refused(publishable_fork):
    refused = publishable_fork.run("wheel", "--waive", "trim-heading=a reason", ok=2)
    assert (
        "there is no feature trim-heading to waive; did you mean trim-headings?" in refused.stderr
    )


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("a-1-cp311-cp311-linux_x86_64.whl", {}, "which is not for every Python 3"),
        ("a.whl", {}, "which is no wheel"),
        (
            "a-1-py3-none-any.whl",
            {"a-1.data/scripts/run": b""},
            "installs scripts or data outside the library: a-1.data",
        ),
    ],
)
def test_backends_wheel_that_is_more_than_a_library_is_refused(tmp_path, name, files, words):
    day = datetime(2020, 1, 1, tzinfo=UTC)
    info = {"METADATA": b"Name: a\nVersion: 1\n", "WHEEL": b""}
    (tmp_path / name).write_bytes(write_wheel(WheelContents("a", "1", files, info), day))
    with pytest.raises(UsageError, match=words):
        read_contents(tmp_path / name)


NEW_FILE = """
diff --git a/larder/labels.txt b/larder/labels.txt
new file mode 100644
index 0000000000000000000000000000000000000000..d95f3ad14dee633a758d2e331151e950dd13e4ed
--- /dev/null
+++ b/larder/labels.txt
@@ -0,0 +1 @@
+content
"""


def record(publishable_fork):
    """Return the record in the wheel."""
    return json.loads(
        read_contents(publishable_fork.wheel).library["larder_overrides/_provenance.json"]
    )
