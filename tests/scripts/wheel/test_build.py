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
from scripts.wheel.contents import Contents, read_contents, write_wheel
from scripts.wheel.sbom import sbom_fault
from tests.support import harness
from tests.support.shipping import OWN_TESTS, WHEEL

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


def test_two_builds_in_two_folders_on_two_days_are_the_same_bytes(shop, tmp_path):
    clone = tmp_path / "another" / "place"
    shop.git("clone", "--quiet", str(shop.root), str(clone))
    shutil.copytree(shop.root / ".fork" / "sdists", clone / ".fork" / "sdists")
    env = shop.env(
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
    assert (clone / "dist" / WHEEL).read_bytes() == shop.wheel.read_bytes()


def test_bytes_depend_on_contents_and_moment_alone():
    day = datetime(2020, 2, 2, tzinfo=UTC)
    one = Contents("a", "1", {"b.py": b"", "a.py": b""}, {"WHEEL": b"", "METADATA": b""})
    two = Contents("a", "1", {"a.py": b"", "b.py": b""}, {"METADATA": b"", "WHEEL": b""})
    assert write_wheel(one, day) == write_wheel(two, day)
    assert write_wheel(one, day) != write_wheel(one, datetime(2020, 2, 3, tzinfo=UTC))


# What it carries


def test_metadata_is_upstreams_with_what_fork_toml_adds(shop):
    contents = read_contents(shop.wheel)
    metadata = Metadata.from_email(contents.info["METADATA"], validate=True)
    assert (metadata.name, str(metadata.version)) == ("made-up-larder", "2.0+rover.1")
    assert metadata.description_content_type == "text/plain"
    assert metadata.provides_extra == ["jars"]
    assert list(map(str, metadata.requires_dist)) == ['made-up-jars>=1; extra == "jars"']
    assert contents.info["licenses/larder_overrides/LICENSE"] == b"All of it is made up.\n"


def test_bill_of_materials_names_upstream_and_each_patch(shop):
    document = json.loads(read_contents(shop.wheel).info["sboms/made-up-larder.cdx.json"])
    wheel = document["metadata"]["component"]
    assert (wheel["name"], wheel["version"]) == ("made-up-larder", "2.0+rover.1")
    (upstream,) = wheel["pedigree"]["ancestors"]
    assert upstream["version"] == "2.0"
    assert upstream["hashes"] == [{"alg": "SHA-256", "content": record(shop)["upstream"]["sha256"]}]
    (patch,) = wheel["pedigree"]["patches"]
    assert patch["diff"]["text"]["content"] == shop.read("patches/0001-trim-headings.patch")
    assert sbom_fault(json.dumps(document).encode()) == ""


def test_bill_of_materials_that_is_none_is_a_fault():
    assert "specVersion" in sbom_fault(b'{"bomFormat": "CycloneDX"}')


def test_number_counts_on_in_a_file_to_commit(shop):
    assert "N 2" in shop.run("wheel", "--bump", "--no-verify").stdout.splitlines()
    assert (shop.root / "dist" / WHEEL.replace("rover.1", "rover.2")).exists()
    assert shop.git("status", "--porcelain").split() == ["??", "upstream/wheels.toml"]
    shop.write("upstream/wheels.toml", "[numbers]\n'2.0' = 0\n")
    assert "upstream/wheels.toml is wrong" in shop.run("wheel", "--no-verify", ok=2).stderr


# The installation, asked for what it is


@pytest.fixture
def installed(shop, tmp_path):
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
        shop.wheel,
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


def test_installation_says_what_it_is(shop, installed):
    done, expected = asked(installed), record(shop)
    (patch,) = expected["patches"]
    assert done.stdout.splitlines() == [
        "made-up-larder 2.0+rover.1",
        f"  upstream  2.0: made_up_larder-2.0.tar.gz sha256 {expected['upstream']['sha256']}",
        f"  tree      {expected['tree']}",
        f"  patch     trim-headings sha256 {patch['sha256']}",
        f"{len(expected['files'])} files are as recorded",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_record_covers_every_file_of_the_wheel_but_itself_and_the_installers(shop):
    contents = read_contents(shop.wheel)
    own = "larder_overrides/_provenance.json"
    assert sorted(record(shop)["files"]) == sorted(set(contents.files) - {own})


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


def test_failure_of_upstreams_own_tests_that_bare_lacks_is_named_in_every_mode(shop):
    shop.write(
        "larder_overrides/trim.py",
        '"""Trims too much."""\n\n\ndef trim(text):\n    """Remove all."""\n    return text[:1]\n',
    )
    before = shop.wheel.read_bytes()
    refused = shop.run("wheel", ok=20)
    assert "error: the installed wheel fails what it has to pass:" in refused.stderr
    assert "  - trim-headings on 2.0@plain: failed " in refused.stderr
    for mode in ("default", "other"):
        assert (
            f"  - tests/test_own.py::test_heading ({mode}, plain): AssertionError" in refused.stderr
        )
    assert "test_fails_everywhere" in OWN_TESTS
    assert "test_fails_everywhere" not in refused.stderr
    assert shop.wheel.read_bytes() == before


def test_retired_patchs_probe_that_fails_on_the_installed_wheel_is_named(shop):
    shop.write(
        "larder_overrides/profile.py",
        '"""Nothing."""\n\nSETTINGS = {"fold-names": {"FOLD": False}}\n',
    )
    assert "  - fold-names on 2.0@plain: failed " in shop.run("wheel", ok=20).stderr


def test_description_that_cannot_be_shown_is_not_sound(shop):
    shop.replace(
        "fork.toml",
        '"text/plain", Description = "A larder."',
        '"text/x-rst", Description = "`unclosed"',
    )
    refused = shop.run("wheel", ok=20)
    assert "error: the wheel is not sound:" in refused.stderr
    assert "`long_description` has syntax errors in markup" in refused.stderr


def test_file_that_nobody_can_import_is_not_sound(shop):
    shop.replace(
        "fork.toml", 'common = ["__init__.py"', 'common = ["__init__.py", "not-a-module.py"'
    )
    shop.write("larder_overrides/not-a-module.py", "")
    assert "W004: Module is not located at importable path" in shop.run("wheel", ok=20).stderr


def test_series_that_conflicts_is_not_built(shop):
    shop.lay("conflict")
    refused = shop.run("wheel", ok=20)
    assert (
        "the series does not apply, so there is nothing to ship:\n    two-digits: "
        in refused.stderr
    )


def test_file_that_upstreams_build_leaves_out_is_refused(shop):
    patch = shop.read("patches/0001-trim-headings.patch")
    shop.write("patches/0001-trim-headings.patch", patch.rstrip("\n") + NEW_FILE)
    refused = shop.run("wheel", "--no-verify", ok=20)
    assert "upstream's build leaves out what a patch brought: larder/labels.txt" in refused.stderr


def test_waiver_of_no_patch_is_refused(shop):
    refused = shop.run("wheel", "--waive", "trim-heading=a reason", ok=2)
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
    (tmp_path / name).write_bytes(write_wheel(Contents("a", "1", files, info), day))
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


def record(shop):
    """Return the record in the wheel."""
    return json.loads(read_contents(shop.wheel).library["larder_overrides/_provenance.json"])
