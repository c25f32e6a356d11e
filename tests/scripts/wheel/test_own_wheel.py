"""This repository's own wheel: built twice, what it carries, and that pip and uv take it from Rover's index and no other file.

`nox -s wheel` proves it as an installation; this is about the file and about how Rover pins it.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock
from packaging.metadata import Metadata
from packaging.utils import canonicalize_name

from scripts.core.lockfile import read_lock
from scripts.core.repository import Repository
from scripts.series.series import read_series
from scripts.wheel.contents import read_contents
from scripts.wheel.sbom import sbom_problem
from tests.support import harness
from tests.support.local_index import File, LocalIndex, serving
from tests.support.shipping import program_environment, pypiserver, small_wheel

pytestmark = pytest.mark.slow

MADE = {
    ".fork",
    ".git",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".venv",
    "__pycache__",
    "dist",
}


def build(root):
    """Copy the repository's files to a folder, and build the wheel there; what was downloaded here is not again."""
    shutil.copytree(harness.PROJECT, root, ignore=lambda folder, names: MADE & set(names))
    shutil.rmtree(root / "upstream" / "src", ignore_errors=True)
    downloads = harness.PROJECT / ".fork" / "sdists"
    if downloads.exists():
        shutil.copytree(downloads, root / ".fork" / "sdists")
    done = subprocess.run(
        harness.command(root, ("wheel", "--no-verify")),
        cwd=harness.PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (made,) = (root / "dist").iterdir()
    assert done.stdout.splitlines()[:2] == [
        made.name,
        f"sha256 {hashlib.sha256(made.read_bytes()).hexdigest()}",
    ]
    return made


@pytest.fixture(scope="session")
def own(tmp_path_factory, worker_id):
    """Give the repository's wheel; parallel workers share it."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "own"
    with FileLock(f"{root}.lock"):
        if not (root / "ready").exists():
            shutil.rmtree(root, ignore_errors=True)
            build(root)
            (root / "ready").touch()
    return next((root / "dist").iterdir())


@pytest.fixture(scope="session")
def repo():
    return Repository(harness.PROJECT)


@pytest.fixture(scope="session")
def lock(repo):
    return read_lock(repo.lock_file)


@pytest.fixture(scope="session")
def record(own):
    return json.loads(read_contents(own).library["rover_overrides/_provenance.json"])


def test_second_build_in_another_folder_is_the_same_bytes(own, tmp_path):
    again = build(tmp_path / "elsewhere")
    assert (again.name, again.read_bytes()) == (own.name, own.read_bytes())


def test_metadata_is_upstreams_plus_the_extra(own, lock):
    ours = Metadata.from_email(read_contents(own).info["METADATA"], validate=True)
    with tarfile.open(sdist(own, lock)) as archive:
        name = f"{lock.locked_release.file.removesuffix('.tar.gz')}/PKG-INFO"
        theirs = Metadata.from_email(archive.extractfile(name).read(), validate=False)
    assert (ours.name, str(ours.version)) == (
        theirs.name,
        f"{lock.locked}+rover.{own.name.split('.')[-2].split('-')[0]}",
    )
    for field in (
        "summary",
        "author",
        "author_email",
        "license",
        "home_page",
        "classifiers",
        "requires_python",
        "description",
    ):
        assert getattr(ours, field) == getattr(theirs, field), field
    needs = {canonicalize_name(need.name) for need in ours.requires_dist if need.marker is None}
    assert needs == {"django", "redis", "funcy"}
    assert ours.provides_extra == ["rq"]
    assert [str(need) for need in ours.requires_dist if need.marker] == ['rq; extra == "rq"']


def test_upstreams_licence_is_inside_to_the_byte(own, lock):
    with tarfile.open(sdist(own, lock)) as archive:
        theirs = archive.extractfile(
            f"{lock.locked_release.file.removesuffix('.tar.gz')}/LICENSE"
        ).read()
    info = read_contents(own).info
    assert info["licenses/LICENSE"] == theirs
    assert info["licenses/rover_overrides/LICENSE"] == (harness.PROJECT / "LICENSE").read_bytes()


def test_record_is_complete(record, repo, lock):
    series = read_series(repo, lock)
    assert record["upstream"] == {
        "version": lock.locked,
        "file": lock.locked_release.file,
        "sha256": lock.locked_release.sha256,
    }
    assert len(record["tree"]) == 40
    expected = [
        (patch.id, hashlib.sha256(patch.path.read_bytes()).hexdigest()) for patch in series.active
    ]
    assert [(patch["id"], patch["sha256"]) for patch in record["patches"]] == expected
    assert record["waived"] == {}


def test_bill_of_materials_is_valid_cyclonedx(own):
    ((name, content),) = [
        (name, file) for name, file in read_contents(own).info.items() if name.startswith("sboms/")
    ]
    assert name == "sboms/django-cacheops.cdx.json"
    assert json.loads(content)["bomFormat"] == "CycloneDX"
    assert sbom_problem(content) == ""


@pytest.mark.parametrize(
    "words",
    [
        ["twine", "check", "--strict"],
        ["check_wheel_contents", "--toplevel", "cacheops,rover_overrides"],
    ],
)
def test_checkers_accept_it(own, words):
    done = subprocess.run(
        [sys.executable, "-m", *words, own], cwd=own.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Installing it as Rover does


@pytest.fixture
def index(tmp_path, own):
    """Give Rover's index: the wheel, upstream's release beside it, and a package that needs cacheops."""
    with pypiserver(tmp_path / "index", authenticated="update") as running:
        shutil.copy(own, running.folder)
        for file, content in (
            small_wheel("django-cacheops", "7.2"),
            small_wheel("needs-cacheops", "1", "django-cacheops>=7"),
        ):
            (running.folder / file).write_bytes(content)
        yield running


@pytest.fixture
def elsewhere():
    """Give an index of other people's: a newer django-cacheops, and what is not on Rover's."""
    found = LocalIndex(project="django-cacheops")
    file, content = small_wheel("django-cacheops", "99")
    found.files[file] = File(content)
    with serving(found) as running:
        yield running


def planned(folder, client, *words, ok=0, **env):
    """Return what pip or uv would install, as name==version, beside the Django, redis and funcy of the tests."""
    environment = program_environment(folder, **env)
    if client == "pip":
        command = ["pip", "install", "--dry-run", "--quiet", "--report", folder / "report", *words]
    else:
        command = ["uv", "pip", "install", "--dry-run", "--python", sys.executable, *words]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == ok, done.stdout + done.stderr
    if ok:
        return done.stdout + done.stderr
    if client == "uv":
        return sorted(line[3:] for line in done.stderr.splitlines() if line.startswith(" + "))
    found = (entry["metadata"] for entry in json.loads((folder / "report").read_text())["install"])
    return sorted(f"{entry['name']}=={entry['version']}" for entry in found)


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_rovers_wheel_is_what_the_name_gives_and_what_satisfies_who_needs_it(
    tmp_path, own, index, client
):
    rovers = f"django-cacheops=={read_contents(own).version}"
    assert planned(tmp_path, client, "--index-url", index.simple, "django-cacheops") == [rovers]
    assert planned(tmp_path, client, "--index-url", index.simple, "needs-cacheops") == [
        rovers,
        "needs-cacheops==1",
    ]


def test_pin_with_its_hash_refuses_another_file_of_that_name(tmp_path, own, index):
    version, sha256 = read_contents(own).version, hashlib.sha256(own.read_bytes()).hexdigest()
    pin = tmp_path / "requirements.txt"
    pin.write_text(f"django-cacheops=={version} --hash=sha256:{sha256}\n")
    words = ["--index-url", index.simple, "--no-deps", "-r", pin]
    assert planned(tmp_path, "pip", *words) == [f"django-cacheops=={version}"]
    file, content = small_wheel("django-cacheops", version, text="OTHER = 1\n")
    (index.folder / file).write_bytes(content)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in planned(tmp_path, "pip", *words, ok=1)


def test_second_index_of_pip_may_serve_another_projects_file(tmp_path, index, elsewhere):
    """Which is why docs/publish.md has Rover use no --extra-index-url without a pin."""
    words = ["--no-deps", "--index-url", index.simple, "--extra-index-url", elsewhere.address]
    assert planned(tmp_path, "pip", *words, "django-cacheops") == ["django-cacheops==99"]


def test_uv_project_of_the_docs_takes_the_name_from_rovers_index_alone(
    tmp_path, own, index, elsewhere
):
    text = (harness.PROJECT / "docs" / "publish.md").read_text()
    block = text.partition("```toml\n[[tool.uv.index]]")[2].partition("```")[0]
    version = read_contents(own).version
    project = f'[project]\nname = "rover"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["django-cacheops=={version}"]\n'
    settings = f"[[tool.uv.index]]{block}".replace("http://127.0.0.1:8080/simple/", index.simple)
    assert index.simple in settings
    (tmp_path / "pyproject.toml").write_text(f"{project}\n{settings}")
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-deps",
        "--generate-hashes",
        "pyproject.toml",
    ]
    env = program_environment(tmp_path, UV_DEFAULT_INDEX=elsewhere.address)
    done = subprocess.run(
        [*command, "--python", sys.executable],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"django-cacheops=={version}" in done.stdout
    assert hashlib.sha256(own.read_bytes()).hexdigest() in done.stdout
    assert elsewhere.requests == []


def sdist(own, lock):
    """Return the pinned sdist, which the build has brought."""
    return Path(own).parent.parent / ".fork" / "sdists" / lock.locked_release.file
