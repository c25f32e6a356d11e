"""Publishing to real indexes on loopback: what is refused, what is repeated, and what happens when something gets in the way."""

import hashlib
import signal
import traceback

import pypi_simple
import pytest

from scripts.core.config import IndexTarget
from scripts.core.errors import EnvironmentFailedError, Exit, UsageError, redact
from scripts.core.repository import Repository
from scripts.publish.credentials import Credential, find_credential
from scripts.publish.upload import PublishedState, PublishTarget
from scripts.wheel.build import BuiltWheel
from scripts.wheel.contents import read_contents
from tests.support.local_index import File, LocalIndex, serving
from tests.support.shipping import (
    PASSWORD,
    USER,
    WHEEL,
    assert_no_secret,
    devpi,
    faulty_proxy,
    free_port,
    pypiserver,
    small_wheel,
    wait_until,
)

pytestmark = pytest.mark.slow

UPLOADED = "uploaded to local"
THERE = "already there: local has these bytes"
PROVEN = "installed from local into a new environment: the files are as recorded, the control probe passes"


def lines(done):
    return [line for line in done.stdout.splitlines()[1:] if not line.startswith("pin it as: ")]


# To pypiserver


def test_publish_plans_then_uploads_and_installs_then_finds_the_same_bytes(
    publishable_fork, configured_index
):
    planned = publishable_fork.publish("--dry-run")
    assert lines(planned) == [
        f"would be uploaded: local ({configured_index.upload}); nothing was sent (--dry-run)"
    ]
    assert configured_index.files() == {}
    first = publishable_fork.publish()
    assert lines(first) == [UPLOADED, PROVEN]
    assert configured_index.files() == {WHEEL: publishable_fork.wheel.read_bytes()}
    assert first.stdout.splitlines()[0] == f"{WHEEL} sha256 {sha256(publishable_fork.wheel)} N 1"
    assert (
        first.stdout.splitlines()[-1]
        == f"pin it as: made-up-larder==2.0+rover.1 --hash=sha256:{sha256(publishable_fork.wheel)}"
    )
    assert lines(publishable_fork.publish()) == [THERE, PROVEN]
    for path in (path for path in publishable_fork.root.rglob("*") if path.is_file()):
        assert_no_secret(path.read_bytes().decode(errors="replace"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_bytes_under_a_taken_version_are_refused_and_the_named_command_helps(
    publishable_fork, configured_index
):
    taken = small_wheel("made-up-larder", "2.0+rover.1", text="OTHER = 1\n")
    (configured_index.folder / taken[0]).write_bytes(taken[1])
    refused = publishable_fork.publish(ok=2)
    assert "local has other bytes under made-up-larder==2.0+rover.1" in refused.stderr
    again = "git add upstream/wheels.toml && git commit --message 'Increment the number of the wheel' && nox -s publish -- --index local"
    assert f"next: nox -s wheel -- --bump && {again}\n" in refused.stderr
    assert configured_index.files() == dict([taken])
    publishable_fork.run("wheel", "--bump")
    publishable_fork.commit()
    assert lines(publishable_fork.publish()) == [UPLOADED, PROVEN]
    assert sorted(configured_index.files()) == [taken[0], WHEEL.replace("rover.1", "rover.2")]


# To devpi


def test_publish_to_devpi_with_the_password_of_pypirc(publishable_fork, tmp_path):
    other = LocalIndex(project="made-up-larder")
    for version in ("2.0", "99"):
        file, content = small_wheel("made-up-larder", version)
        other.files[file] = File(content)
    with serving(other), devpi(tmp_path / "index", other.address) as index:
        publishable_fork.use_index(index.upload, index.simple)
        pypirc = publishable_fork.home / ".pypirc"
        pypirc.write_text(
            f"[local]\nrepository = {index.upload}\nusername = {USER}\npassword = wr0ng/w0rd\n"
        )
        refused = publishable_fork.run("publish", "--index", "local", ok=3)
        assert "refused the user or the password of [local] in ~/.pypirc (401)" in refused.stderr
        pypirc.write_text(pypirc.read_text().replace("wr0ng/w0rd", PASSWORD))
        done = publishable_fork.run("publish", "--index", "local")
        assert lines(done) == [UPLOADED, PROVEN]
        assert lines(publishable_fork.run("publish", "--index", "local")) == [THERE, PROVEN]
        assert listed(index, "made-up-larder") == [WHEEL]
        target, other_wheel = stall(tmp_path, index.upload, index.simple)
        assert target.upload(other_wheel) is PublishedState.OTHER
        assert listed(index, "made-up-larder") == [WHEEL]
        assert (
            target.find_published(
                BuiltWheel(
                    publishable_fork.wheel, other_wheel.contents, 1, sha256(publishable_fork.wheel)
                )
            )
            is PublishedState.SAME
        )


def listed(index, project):
    """Return the names of the files that an index lists."""
    page = pypi_simple.PyPISimple(index.simple, auth=(USER, PASSWORD)).get_project_page(project)
    return [package.filename for package in page.packages]


# Refused before anything is sent


def test_uncommitted_tree_is_refused(publishable_fork, configured_index):
    publishable_fork.write("notes.txt", "not committed\n")
    refused = publishable_fork.publish(ok=2)
    assert "what is published must be committed; this is not:\n    ?? notes.txt" in refused.stderr
    assert configured_index.files() == {}


def test_faulty_verdict_is_refused_until_it_is_waived_with_a_reason_that_the_record_carries(
    publishable_fork, configured_index
):
    publishable_fork.append(
        "tests/probes/test_trim_headings.py", "\n\ndef test_never():\n    assert not 'today'\n"
    )
    publishable_fork.commit()
    refused = publishable_fork.publish(ok=20)
    assert "not fit to publish:\n  - trim-headings is broken" in refused.stderr
    assert configured_index.files() == {}
    assert "has no reason" in publishable_fork.publish("--waive", "trim-headings=", ok=2).stderr
    done = publishable_fork.publish("--waive", "trim-headings=the probe is wrong, see issue 12")
    assert lines(done) == [UPLOADED, PROVEN]
    assert (
        '"waived": {\n    "trim-headings": "the probe is wrong, see issue 12"\n  }'
        in archive_text(publishable_fork.wheel)
    )


def test_waiver_of_what_is_no_fault_is_refused(publishable_fork, configured_index):
    assert (
        "the verdict on trim-headings is needed: nothing to waive"
        in publishable_fork.publish("--waive", "trim-headings=why", ok=2).stderr
    )
    assert (
        "there is no feature trim-heading: nothing to waive"
        in publishable_fork.publish("--waive", "trim-heading=why", ok=2).stderr
    )


def test_there_is_no_force(publishable_fork):
    assert "No such option" in publishable_fork.publish("--force", ok=2).stderr


def test_publish_without_a_password_says_where_one_goes(publishable_fork):
    publishable_fork.use_index("http://127.0.0.1:9/", "http://127.0.0.1:9/")
    refused = publishable_fork.run("publish", "--index", "local", ok=2)
    assert "no credentials for uploads to local (http://127.0.0.1:9/)" in refused.stderr
    assert (
        "next: set TWINE_USERNAME and TWINE_PASSWORD, or fill [local] in ~/.pypirc"
        in refused.stderr
    )


def test_unknown_index_is_refused_with_the_near_miss(publishable_fork):
    publishable_fork.use_index("http://127.0.0.1:9/", "http://127.0.0.1:9/")
    refused = publishable_fork.run("publish", "--index", "lokal", ok=2)
    assert "fork.toml has no [[indexes]] named lokal; did you mean local?" in refused.stderr


def test_password_in_fork_toml_is_refused_and_not_shown(publishable_fork):
    publishable_fork.use_index("http://rover:5up3r%2Fs3cret@127.0.0.1:9/", "http://127.0.0.1:9/")
    refused = publishable_fork.run("publish", "--index", "local", ok=2)
    assert (
        "indexes[0].upload: an address in fork.toml holds no user and no password" in refused.stderr
    )


# When something gets in the way


def test_wrong_password_is_named_and_not_shown_even_with_a_traceback(
    publishable_fork, configured_index
):
    wrong = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": "wr0ng/w0rd"}
    done = publishable_fork.run(
        "-v", "publish", "--index", "local", ok=3, allow_traceback=True, **wrong
    )
    assert (
        f"local ({configured_index.upload}) refused the user or the password of TWINE_USERNAME and TWINE_PASSWORD (403)"
        in done.stderr
    )
    assert "next: correct them, then nox -s publish -- --index local" in done.stderr
    assert "wr0ng" not in done.stdout + done.stderr
    assert configured_index.files() == {}


@pytest.mark.parametrize(
    ("behaviour", "cause"), [("cut", "was cut off: "), ("garbage", "took the upload, but ")]
)
def test_verb_names_the_cause_and_the_next_command_and_shows_no_secret(
    publishable_fork, pypi_index, behaviour, cause
):
    with faulty_proxy(pypi_index, behaviour) as proxy:
        publishable_fork.use_index(proxy.address, f"{proxy.address}simple/")
        env = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD}
        done = publishable_fork.run(
            "-v", "publish", "--index", "local", ok=3, allow_traceback=True, **env
        )
    assert cause in done.stderr.rpartition("error: ")[2]
    assert "  next: " in done.stderr
    assert pypi_index.files() == {}


def test_index_that_is_down_is_named(publishable_fork):
    port = free_port()
    publishable_fork.use_index(f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/simple/")
    done = publishable_fork.publish(ok=3)
    assert (
        f"the index http://127.0.0.1:{port}/simple/ did not give the list of made-up-larder's files: Connection refused"
        in done.stderr
    )
    assert "  next: check the network and the index" in done.stderr


def test_wrong_password_for_uploads_alone_is_named(tmp_path):
    with pypiserver(tmp_path / "index", "update") as index:
        target, wheel = stall(tmp_path, index.upload, password="wr0ng/w0rd")
        assert target.find_published(wheel) is PublishedState.ABSENT
        assert complaint(lambda: target.upload(wheel)) == (
            f"local ({index.upload}) refused the user or the password of a test (403)\n"
            "  next: correct them, then nox -s publish -- --index local"
        )


CAUSES = {
    "echo": "local (UPLOAD) answered the upload with 502",
    "cut": "the upload to local (UPLOAD) was cut off: requests.exceptions.ConnectionError",
    "garbage": "local (UPLOAD) took the upload, but UPLOADsimple/ does not list it",
    "lie": "local (UPLOAD) took the upload, but UPLOADsimple/ does not list it",
}


@pytest.mark.parametrize("behaviour", CAUSES)
def test_bad_answer_to_an_upload_is_named_and_the_next_try_goes_on(tmp_path, pypi_index, behaviour):
    with faulty_proxy(pypi_index, behaviour) as proxy:
        target, wheel = stall(tmp_path, proxy.address)
        words = complaint(lambda: target.upload(wheel))
        assert words.startswith(CAUSES[behaviour].replace("UPLOAD", proxy.address))
        assert words.endswith("nox -s publish -- --index local")
        assert pypi_index.files() == {}
        proxy.behaviour = "pass"
        assert target.upload(wheel) is PublishedState.SAME


def test_bad_answer_to_a_look_is_named(tmp_path, pypi_index):
    with faulty_proxy(pypi_index, "broken") as proxy:
        target, wheel = stall(tmp_path, proxy.address)
        words = complaint(lambda: target.find_published(wheel))
        assert words.startswith(
            f"the index {proxy.address}simple/ did not give the list of made-up-larder's files: 500 "
        )


def test_upload_that_arrived_although_its_answer_was_cut_off_counts(tmp_path, pypi_index):
    with faulty_proxy(pypi_index, "swallow") as proxy:
        proxy.released.set()
        target, wheel = stall(tmp_path, proxy.address)
        assert target.upload(wheel) is PublishedState.SAME


def test_somebody_elses_upload_in_between_is_seen(tmp_path, pypi_index):
    target, wheel = stall(tmp_path, pypi_index.upload)
    name, content = small_wheel("made-up-larder", "2.0+rover.1", text="OTHER = 1\n")
    (pypi_index.folder / name).write_bytes(content)
    assert target.upload(wheel) is PublishedState.OTHER


def test_password_is_sent_to_no_other_host_than_the_one_for_uploads(tmp_path):
    with serving(LocalIndex(project="made-up-larder")) as other:
        target, wheel = stall(tmp_path, "http://localhost:9/", other.address)
        assert target.find_published(wheel) is PublishedState.ABSENT
        assert [login for _, login in other.requests] == [None]
        assert "UV_INDEX_PUBLISH_PASSWORD" not in target.install_variables()


# Killed


@pytest.mark.parametrize(("behaviour", "expected"), [("stall", UPLOADED), ("swallow", THERE)])
def test_publish_killed_in_the_middle_of_its_upload_is_resumed(
    publishable_fork, pypi_index, behaviour, expected
):
    with faulty_proxy(pypi_index, behaviour) as proxy:
        publishable_fork.use_index(proxy.address, f"{proxy.address}simple/")
        process = publishable_fork.start_publishing()
        event = proxy.received_half if behaviour == "stall" else proxy.upload_accepted
        wait_until(lambda: event.is_set() or process.poll() is not None, "the upload")
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        proxy.behaviour = "pass"
        proxy.released.set()
        assert lines(publishable_fork.publish()) == [expected, PROVEN]
        assert pypi_index.files() == {WHEEL: publishable_fork.wheel.read_bytes()}


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
    publishable_fork, configured_index
):
    """Each run takes up what the one before left; it must come as far as its own step, and the last one to the end."""
    new, old = publishable_fork.wheel.read_bytes(), b"the wheel before"
    publishable_fork.wheel.write_bytes(old)
    steps = list(STEPS)
    for place, step in enumerate(steps):
        publishable_fork.run_killed_at(*STEPS[step])
        assert publishable_fork.git("status", "--porcelain") == "", step
        assert publishable_fork.wheel.read_bytes() == (
            old if place <= steps.index("the wheel takes its place") else new
        ), step
        assert configured_index.files() == (
            {WHEEL: new} if place > steps.index("the upload") else {}
        ), step
    assert lines(publishable_fork.publish()) == [THERE, PROVEN]
    assert configured_index.files() == {WHEEL: new}
    assert not list((publishable_fork.root / ".fork").glob("tmp-*"))


# Credentials


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a home folder without credentials."""
    for name in ("TWINE_USERNAME", "TWINE_PASSWORD", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        "scripts.publish.credentials.keyring_credential",
        lambda address, user: RING.get((address, user)),
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
    with pytest.raises(UsageError, match="no credentials for uploads to local"):
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
    text = redact(f"{PASSWORD} 5up3r%2Fs3cret%20pass cm92ZXI6NXVwM3IvczNjcmV0IHBhc3M=")
    assert text == "**** **** ****"
    assert_no_secret(text)


def stall(folder, upload, simple=None, password=PASSWORD):
    """Return an index to publish to, and a small wheel."""
    (folder / "fork.toml").touch()
    target = IndexTarget(name="local", upload=upload, simple=simple or f"{upload}simple/")
    name, content = small_wheel("made-up-larder", "2.0+rover.1")
    path = folder / name
    path.write_bytes(content)
    wheel = BuiltWheel(path, read_contents(path), 1, hashlib.sha256(content).hexdigest())
    return PublishTarget(Repository(folder), target, Credential(USER, password, "a test")), wheel


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
