"""Publishing to real indexes on loopback: what is refused, what is repeated, and what happens when something gets in the way."""

import hashlib
import signal
import traceback

import pypi_simple
import pytest

from scripts.core.config import IndexTarget
from scripts.core.errors import EnvironmentFailedError, Exit, UsageError, without_secret
from scripts.core.repository import Repository
from scripts.publish.credentials import Credential, find_credential
from scripts.publish.upload import Shelf, Standing
from scripts.wheel.build import Wheel
from scripts.wheel.contents import read_contents
from tests.support.local_index import File, LocalIndex, serving
from tests.support.shipping import (
    PASSWORD,
    USER,
    WHEEL,
    assert_no_secret,
    devpi,
    free_port,
    proxied,
    pypiserver,
    small_wheel,
    until,
)

UPLOADED = "uploaded to local"
THERE = "already there: local has these bytes"
PROVEN = "installed from local into a new environment: the files are as recorded, the control probe passes"


def lines(done):
    return [line for line in done.stdout.splitlines()[1:] if not line.startswith("pin it as: ")]


# To pypiserver


def test_publish_plans_then_uploads_and_installs_then_finds_the_same_bytes(shop, warehouse):
    planned = shop.publish("--dry-run")
    assert lines(planned) == [
        f"would be uploaded: local ({warehouse.upload}); nothing was sent (--dry-run)"
    ]
    assert warehouse.files() == {}
    first = shop.publish()
    assert lines(first) == [UPLOADED, PROVEN]
    assert warehouse.files() == {WHEEL: shop.wheel.read_bytes()}
    assert first.stdout.splitlines()[0] == f"{WHEEL} sha256 {sha256(shop.wheel)} N 1"
    assert (
        first.stdout.splitlines()[-1]
        == f"pin it as: made-up-larder==2.0+rover.1 --hash=sha256:{sha256(shop.wheel)}"
    )
    assert lines(shop.publish()) == [THERE, PROVEN]
    for path in (path for path in shop.root.rglob("*") if path.is_file()):
        assert_no_secret(path.read_bytes().decode(errors="replace"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_bytes_under_a_taken_version_are_refused_and_the_named_command_helps(shop, warehouse):
    taken = small_wheel("made-up-larder", "2.0+rover.1", text="OTHER = 1\n")
    (warehouse.folder / taken[0]).write_bytes(taken[1])
    refused = shop.publish(ok=2)
    assert "local has other bytes under made-up-larder==2.0+rover.1" in refused.stderr
    again = "git add upstream/wheels.toml && git commit --message 'Count the wheel on' && nox -s publish -- --index local"
    assert f"next: nox -s wheel -- --bump && {again}\n" in refused.stderr
    assert warehouse.files() == dict([taken])
    shop.run("wheel", "--bump")
    shop.commit()
    assert lines(shop.publish()) == [UPLOADED, PROVEN]
    assert sorted(warehouse.files()) == [taken[0], WHEEL.replace("rover.1", "rover.2")]


# To devpi


def test_publish_to_devpi_with_the_password_of_pypirc(shop, tmp_path):
    other = LocalIndex(project="made-up-larder")
    for version in ("2.0", "99"):
        file, content = small_wheel("made-up-larder", version)
        other.files[file] = File(content)
    with serving(other), devpi(tmp_path / "index", other.address) as index:
        shop.at(index.upload, index.simple)
        pypirc = shop.home / ".pypirc"
        pypirc.write_text(
            f"[local]\nrepository = {index.upload}\nusername = {USER}\npassword = wr0ng/w0rd\n"
        )
        refused = shop.run("publish", "--index", "local", ok=3)
        assert "refused the user or the password of [local] in ~/.pypirc (401)" in refused.stderr
        pypirc.write_text(pypirc.read_text().replace("wr0ng/w0rd", PASSWORD))
        done = shop.run("publish", "--index", "local")
        assert lines(done) == [UPLOADED, PROVEN]
        assert lines(shop.run("publish", "--index", "local")) == [THERE, PROVEN]
        assert listed(index, "made-up-larder") == [WHEEL]
        shelf, other_wheel = stall(tmp_path, index.upload, index.simple)
        assert shelf.put(other_wheel) is Standing.OTHER
        assert listed(index, "made-up-larder") == [WHEEL]
        assert (
            shelf.look(Wheel(shop.wheel, other_wheel.contents, 1, sha256(shop.wheel)))
            is Standing.SAME
        )


def listed(index, project):
    """Return the names of the files that an index lists."""
    page = pypi_simple.PyPISimple(index.simple, auth=(USER, PASSWORD)).get_project_page(project)
    return [package.filename for package in page.packages]


# Refused before anything is sent


def test_uncommitted_tree_is_refused(shop, warehouse):
    shop.write("notes.txt", "not committed\n")
    refused = shop.publish(ok=2)
    assert "what is published must be committed; this is not:\n    ?? notes.txt" in refused.stderr
    assert warehouse.files() == {}


def test_faulty_verdict_is_refused_until_it_is_waived_with_a_reason_that_the_record_carries(
    shop, warehouse
):
    shop.append(
        "tests/probes/test_trim_headings.py", "\n\ndef test_never():\n    assert not 'today'\n"
    )
    shop.commit()
    refused = shop.publish(ok=20)
    assert "not fit to publish:\n  - trim-headings is broken" in refused.stderr
    assert warehouse.files() == {}
    assert "has no reason" in shop.publish("--waive", "trim-headings=", ok=2).stderr
    done = shop.publish("--waive", "trim-headings=the probe is wrong, see issue 12")
    assert lines(done) == [UPLOADED, PROVEN]
    assert (
        '"waived": {\n    "trim-headings": "the probe is wrong, see issue 12"\n  }'
        in archive_text(shop.wheel)
    )


def test_waiver_of_what_is_no_fault_is_refused(shop, warehouse):
    assert (
        "the verdict on trim-headings is needed: nothing to waive"
        in shop.publish("--waive", "trim-headings=why", ok=2).stderr
    )
    assert (
        "there is no patch trim-heading: nothing to waive"
        in shop.publish("--waive", "trim-heading=why", ok=2).stderr
    )


def test_there_is_no_force(shop):
    assert "No such option" in shop.publish("--force", ok=2).stderr


def test_publish_without_a_password_says_where_one_goes(shop):
    shop.at("http://127.0.0.1:9/", "http://127.0.0.1:9/")
    refused = shop.run("publish", "--index", "local", ok=2)
    assert "nothing says who uploads to local (http://127.0.0.1:9/)" in refused.stderr
    assert (
        "next: set TWINE_USERNAME and TWINE_PASSWORD, or fill [local] in ~/.pypirc"
        in refused.stderr
    )


def test_unknown_index_is_refused_with_the_near_miss(shop):
    shop.at("http://127.0.0.1:9/", "http://127.0.0.1:9/")
    refused = shop.run("publish", "--index", "lokal", ok=2)
    assert "fork.toml has no [[indexes]] named lokal; did you mean local?" in refused.stderr


def test_password_in_fork_toml_is_refused_and_not_shown(shop):
    shop.at("http://rover:5up3r%2Fs3cret@127.0.0.1:9/", "http://127.0.0.1:9/")
    refused = shop.run("publish", "--index", "local", ok=2)
    assert (
        "indexes[0].upload: an address in fork.toml holds no user and no password" in refused.stderr
    )


# When something gets in the way


def test_wrong_password_is_named_and_not_shown_even_with_a_traceback(shop, warehouse):
    wrong = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": "wr0ng/w0rd"}
    done = shop.run("-v", "publish", "--index", "local", ok=3, allow_traceback=True, **wrong)
    assert (
        f"local ({warehouse.upload}) refused the user or the password of TWINE_USERNAME and TWINE_PASSWORD (403)"
        in done.stderr
    )
    assert "next: correct them, then nox -s publish -- --index local" in done.stderr
    assert "wr0ng" not in done.stdout + done.stderr
    assert warehouse.files() == {}


@pytest.mark.parametrize(
    ("way", "cause"), [("cut", "was cut off: "), ("garbage", "took the upload, but ")]
)
def test_verb_names_the_cause_and_the_next_command_and_shows_no_secret(shop, storage, way, cause):
    with proxied(storage, way) as proxy:
        shop.at(proxy.address, f"{proxy.address}simple/")
        env = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD}
        done = shop.run("-v", "publish", "--index", "local", ok=3, allow_traceback=True, **env)
    assert cause in done.stderr.rpartition("error: ")[2]
    assert "  next: " in done.stderr
    assert storage.files() == {}


def test_index_that_is_down_is_named(shop):
    port = free_port()
    shop.at(f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/simple/")
    done = shop.publish(ok=3)
    assert (
        f"the index http://127.0.0.1:{port}/simple/ did not give the list of made-up-larder's files: Connection refused"
        in done.stderr
    )
    assert "  next: check the network and the index" in done.stderr


def test_wrong_password_for_uploads_alone_is_named(tmp_path):
    with pypiserver(tmp_path / "index", "update") as index:
        shelf, wheel = stall(tmp_path, index.upload, password="wr0ng/w0rd")
        assert shelf.look(wheel) is Standing.ABSENT
        assert complaint(lambda: shelf.put(wheel)) == (
            f"local ({index.upload}) refused the user or the password of a test (403)\n"
            "  next: correct them, then nox -s publish -- --index local"
        )


CAUSES = {
    "echo": "local (UPLOAD) answered the upload with 502",
    "cut": "the upload to local (UPLOAD) was cut off: requests.exceptions.ConnectionError",
    "garbage": "local (UPLOAD) took the upload, but UPLOADsimple/ does not list it",
    "lie": "local (UPLOAD) took the upload, but UPLOADsimple/ does not list it",
}


@pytest.mark.parametrize("way", CAUSES)
def test_bad_answer_to_an_upload_is_named_and_the_next_try_goes_on(tmp_path, storage, way):
    with proxied(storage, way) as proxy:
        shelf, wheel = stall(tmp_path, proxy.address)
        words = complaint(lambda: shelf.put(wheel))
        assert words.startswith(CAUSES[way].replace("UPLOAD", proxy.address))
        assert words.endswith("nox -s publish -- --index local")
        assert storage.files() == {}
        proxy.way = "pass"
        assert shelf.put(wheel) is Standing.SAME


def test_bad_answer_to_a_look_is_named(tmp_path, storage):
    with proxied(storage, "broken") as proxy:
        shelf, wheel = stall(tmp_path, proxy.address)
        words = complaint(lambda: shelf.look(wheel))
        assert words.startswith(
            f"the index {proxy.address}simple/ did not give the list of made-up-larder's files: 500 "
        )


def test_upload_that_arrived_although_its_answer_was_cut_off_counts(tmp_path, storage):
    with proxied(storage, "swallow") as proxy:
        proxy.let_go.set()
        shelf, wheel = stall(tmp_path, proxy.address)
        assert shelf.put(wheel) is Standing.SAME


def test_somebody_elses_upload_in_between_is_seen(tmp_path, storage):
    shelf, wheel = stall(tmp_path, storage.upload)
    name, content = small_wheel("made-up-larder", "2.0+rover.1", text="OTHER = 1\n")
    (storage.folder / name).write_bytes(content)
    assert shelf.put(wheel) is Standing.OTHER


def test_password_is_sent_to_no_other_host_than_the_one_for_uploads(tmp_path):
    with serving(LocalIndex(project="made-up-larder")) as other:
        shelf, wheel = stall(tmp_path, "http://localhost:9/", other.address)
        assert shelf.look(wheel) is Standing.ABSENT
        assert [login for _, login in other.asked] == [None]
        assert "UV_INDEX_SHELF_PASSWORD" not in shelf.variables()


# Killed


@pytest.mark.parametrize(("way", "expected"), [("stall", UPLOADED), ("swallow", THERE)])
def test_publish_killed_in_the_middle_of_its_upload_is_resumed(shop, storage, way, expected):
    with proxied(storage, way) as proxy:
        shop.at(proxy.address, f"{proxy.address}simple/")
        process = shop.started()
        event = proxy.half if way == "stall" else proxy.taken
        until(lambda: event.is_set() or process.poll() is not None, "the upload")
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        proxy.way = "pass"
        proxy.let_go.set()
        assert lines(shop.publish()) == [expected, PROVEN]
        assert storage.files() == {WHEEL: shop.wheel.read_bytes()}


STEPS = {
    "the backend builds": ("subprocess.Popen", "'build', '--wheel'"),
    "the wheel is written": ("open", r"/tmp-[^/]+/made_up_larder"),
    "the scratch folder is removed": ("shutil.rmtree", r"/tmp-[^/]+'"),
    "the wheel takes its place": ("os.rename", r"dist/made_up_larder"),
    "the upload": ("subprocess.Popen", "'twine', '--no-color', 'upload'"),
    "the new environment": ("subprocess.Popen", "'venv'"),
    "the installation": ("subprocess.Popen", "'pip', 'install'"),
    "the installation is asked": (
        "subprocess.Popen",
        r"/tmp-[^/]+/environment/bin/python', '-I', '-m'",
    ),
    "the control probe": ("subprocess.Popen", r"/tmp-[^/]+/environment/bin/python', '-X'"),
}


def test_publish_killed_before_each_step_leaves_the_old_state_or_the_new_and_goes_on(
    shop, warehouse
):
    """Each run takes up what the one before left; it must come as far as its own step, and the last one to the end."""
    new, old = shop.wheel.read_bytes(), b"the wheel before"
    shop.wheel.write_bytes(old)
    steps = list(STEPS)
    for place, step in enumerate(steps):
        shop.killed(*STEPS[step])
        assert shop.git("status", "--porcelain") == "", step
        assert shop.wheel.read_bytes() == (
            old if place <= steps.index("the wheel takes its place") else new
        ), step
        assert warehouse.files() == ({WHEEL: new} if place > steps.index("the upload") else {}), (
            step
        )
    assert lines(shop.publish()) == [THERE, PROVEN]
    assert warehouse.files() == {WHEEL: new}
    assert not list((shop.root / ".fork").glob("tmp-*"))


# Credentials


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a home folder without credentials."""
    for name in ("TWINE_USERNAME", "TWINE_PASSWORD", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        "scripts.publish.credentials.from_keyring", lambda address, user: RING.get((address, user))
    )
    RING.clear()
    return tmp_path


RING = {}
TARGET = IndexTarget(
    name="local", upload="http://127.0.0.1:9/up/", simple="http://127.0.0.1:9/simple/"
)
PYPIRC = "[distutils]\nindex-servers = local\n[local]\nusername = u-rc\npassword = p-rc\n"


def found():
    credential = find_credential(TARGET)
    return credential.user, credential.password, credential.source


def test_environment_wins_over_pypirc_over_keyring_over_netrc(home, monkeypatch):
    (home / ".netrc").write_text("machine 127.0.0.1 login u-net password p-net\n")
    (home / ".netrc").chmod(0o600)
    assert found() == ("u-net", "p-net", "the netrc file")
    RING["http://127.0.0.1:9/up/", None] = ("u-ring", "p-ring")
    assert found() == ("u-ring", "p-ring", "the keyring")
    (home / ".pypirc").write_text(PYPIRC)
    assert found() == ("u-rc", "p-rc", "[local] in ~/.pypirc")
    monkeypatch.setenv("TWINE_USERNAME", "u-env")
    monkeypatch.setenv("TWINE_PASSWORD", "p-env")
    assert found() == ("u-env", "p-env", "TWINE_USERNAME and TWINE_PASSWORD")


def test_user_without_password_is_asked_of_the_keyring(home, monkeypatch):
    monkeypatch.setenv("TWINE_USERNAME", "u-env")
    RING["http://127.0.0.1:9/up/", "u-env"] = ("u-env", "p-ring")
    assert found() == ("u-env", "p-ring", "TWINE_USERNAME and TWINE_PASSWORD")


def test_pypirc_section_about_another_address_gives_no_password_away(home):
    (home / ".pypirc").write_text(PYPIRC + "repository = http://elsewhere.invalid/\n")
    with pytest.raises(UsageError, match="nothing says who uploads to local"):
        find_credential(TARGET)


def test_broken_pypirc_is_named_without_its_lines(home):
    (home / ".pypirc").write_text("[local]\nusername u-rc s3cret\n")
    with pytest.raises(UsageError) as raised:
        find_credential(TARGET)
    assert str(raised.value).startswith("~/.pypirc cannot be read")
    assert "s3cret" not in f"{raised.value} {raised.value.__cause__}"


def test_found_password_is_hidden_from_messages_in_every_spelling(home, monkeypatch):
    monkeypatch.setenv("TWINE_USERNAME", USER)
    monkeypatch.setenv("TWINE_PASSWORD", PASSWORD)
    find_credential(TARGET)
    text = without_secret(f"{PASSWORD} 5up3r%2Fs3cret%20pass cm92ZXI6NXVwM3IvczNjcmV0IHBhc3M=")
    assert text == "**** **** ****"
    assert_no_secret(text)


def stall(folder, upload, simple=None, password=PASSWORD):
    """Return an index to publish to, and a small wheel."""
    (folder / "fork.toml").touch()
    target = IndexTarget(name="local", upload=upload, simple=simple or f"{upload}simple/")
    name, content = small_wheel("made-up-larder", "2.0+rover.1")
    path = folder / name
    path.write_bytes(content)
    wheel = Wheel(path, read_contents(path), 1, hashlib.sha256(content).hexdigest())
    return Shelf(Repository(folder), target, Credential(USER, password, "a test")), wheel


def complaint(call):
    """Return what a failing call says, which ends a verb with 3."""
    with pytest.raises(EnvironmentFailedError) as raised:
        call()
    assert raised.value.exit_code is Exit.ENVIRONMENT
    assert_no_secret("".join(traceback.format_exception(raised.value)))
    assert "wr0ng" not in "".join(traceback.format_exception(raised.value))
    return str(raised.value)


def archive_text(path):
    """Return the text of the record in a wheel, whose files are stored as they are."""
    return path.read_bytes().decode(errors="replace")
