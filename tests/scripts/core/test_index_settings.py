"""One index, one CA and one set of credentials for the tool, uv and pip; and no secret in anything printed."""

import base64
import json
import os
import ssl
import subprocess
import sys

import pytest
import trustme

from scripts.core.errors import EnvironmentFailedError, redact
from scripts.core.index_settings import IndexSettings, discover_index
from tests.support.local_index import (
    ROOT,
    File,
    empty_wheel,
    index_of_two_releases,
    make_fork,
    serving,
)

pytestmark = pytest.mark.slow

USER, PASSWORD = "rover", "p@ss:w/rd"
QUOTED = "p%40ss%3Aw%2Frd"
SECRETS = (PASSWORD, QUOTED, "ss:w", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
REQUIRES = f'\nrequires = ["made-up-tally==1.1"]\n\n[[environments]]\nid = "plain"\npython = "3.{sys.version_info.minor}"\n'

BACKEND = f"""
from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential

class Fake(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return {PASSWORD!r} if username == {USER!r} and service in SERVICES else None

    def get_credential(self, service, username):
        return SimpleCredential({USER!r}, {PASSWORD!r}) if username in (None, {USER!r}) and service in SERVICES else None

    def set_password(self, service, username, password):
        raise NotImplementedError

class Broken(Fake):
    def get_credential(self, service, username):
        raise ValueError("the wallet with " + {PASSWORD!r} + " is closed")
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    """Take this machine's own settings away from what runs in this process."""
    for name in os.environ:
        if name.startswith(("PIP_", "UV_")) or name in (
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "SSL_CERT_DIR",
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


# The choice


def configured(tmp_path, monkeypatch, *, fork=None, variable=None, file=None):
    (tmp_path / "fork.toml").write_text(
        f'[upstream]\nindex = "{fork}"\n' if fork else "[upstream]\n"
    )
    if variable:
        monkeypatch.setenv("PIP_INDEX_URL", variable)
    if file:
        (tmp_path / "pip.conf").write_text(file)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return discover_index(tmp_path)


GLOBAL = "[global]\nindex-url = https://global.invalid/simple\ncert = /global.pem\n"
INSTALL = GLOBAL + "[install]\nindex-url = https://install.invalid/simple\n"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, None),
        ({"file": GLOBAL}, "https://global.invalid/simple"),
        ({"file": INSTALL}, "https://install.invalid/simple"),
        (
            {"file": INSTALL, "variable": "https://variable.invalid/simple"},
            "https://variable.invalid/simple",
        ),
        (
            {
                "file": INSTALL,
                "variable": "https://variable.invalid/simple",
                "fork": "https://fork.invalid/simple",
            },
            "https://fork.invalid/simple",
        ),
    ],
    ids=["default", "pip's global", "pip's install", "PIP_INDEX_URL", "fork.toml"],
)
def test_index_comes_from_the_first_place_that_names_one(tmp_path, monkeypatch, where, expected):
    assert configured(tmp_path, monkeypatch, **where).index == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "/global.pem"),
        ({"PIP_CERT": "/pip.pem"}, "/pip.pem"),
        ({"PIP_CONFIG_FILE": os.devnull}, None),
        ({"PIP_CONFIG_FILE": os.devnull, "SSL_CERT_FILE": "/ssl.pem"}, "/ssl.pem"),
        (
            {
                "PIP_CONFIG_FILE": os.devnull,
                "SSL_CERT_FILE": "/ssl.pem",
                "REQUESTS_CA_BUNDLE": "/requests.pem",
            },
            "/requests.pem",
        ),
    ],
)
def test_ca_comes_from_pip_then_from_the_usual_variables(
    tmp_path, monkeypatch, variables, expected
):
    (tmp_path / "pip.conf").write_text(GLOBAL)
    for name, value in ({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")} | variables).items():
        monkeypatch.setenv(name, value)
    assert discover_index(tmp_path).cert == expected


def test_pips_configuration_counts_where_the_interpreter_has_no_pip(tmp_path, monkeypatch):
    """So it is where nox was installed by pipx or uv."""
    (tmp_path / "bin").mkdir()
    pip = tmp_path / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n')
    pip.chmod(0o755)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert configured(tmp_path, monkeypatch, file=GLOBAL) == IndexSettings(
        "https://global.invalid/simple", "/global.pem"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (
        configured(tmp_path, monkeypatch, variable="https://variable.invalid/simple").index
        == "https://variable.invalid/simple"
    )


def test_default_leaves_every_client_its_own_index():
    variables = IndexSettings(None, None).environment()
    assert not {
        "UV_DEFAULT_INDEX",
        "PIP_INDEX_URL",
        "SSL_CERT_FILE",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
    } & set(variables)


# The clients


HAND_OUT = """
import json, sys
from pathlib import Path
from scripts.core.index_settings import discover_index
print(json.dumps(discover_index(Path(sys.argv[1])).environment()))
"""


def installing(fork, client):
    """Let pip or uv install what the index has, with nothing but what `discover_index` hands out."""
    command = [sys.executable, "-c", HAND_OUT, fork.root]
    given = json.loads(
        subprocess.run(
            command, cwd=ROOT, env=fork.env, capture_output=True, text=True, check=True
        ).stdout
    )
    env = {key: value for key, value in fork.env.items() if not key.startswith("PIP_")} | given
    words = ["--target", str(fork.root / f"from-{client}"), "made-up-tally==1.1"]
    commands = {
        "pip": ["pip", "install", "--no-cache-dir"],
        "uv": ["uv", "pip", "install", "--no-cache"],
    }
    done = subprocess.run(
        [sys.executable, "-m", *commands[client], *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (fork.root / f"from-{client}" / "made_up_tally-1.1.dist-info").exists()


def with_environment(fork):
    """Let the fork's environment need what the index has."""
    config = fork.root / "fork.toml"
    config.write_text(config.read_text().partition("\n[[environments]]")[0] + REQUIRES)


def making_the_environment(fork):
    """Let `status` make the environment, in which no probe can run: the index has no pytest."""
    done = shown(fork, "-v", "status")
    assert done.returncode == 3, done.stderr
    assert "import pytest" in done.stderr
    place = fork.root / ".fork/environments/plain"
    assert list(place.glob("lib/python3*/site-packages/made_up_tally-1.1.dist-info"))
    return done


@pytest.fixture
def fork(tmp_path):
    """Give a fork whose index wants a login; nothing says yet which."""
    index = index_of_two_releases()
    index.files["made_up_tally-1.1-py3-none-any.whl"] = File(empty_wheel("1.1"))
    index.login = (USER, PASSWORD)
    with serving(index):
        yield make_fork(tmp_path, index)


def with_user(address, user):
    return address.replace("://", f"://{user}@")


def in_address(fork):
    fork.env["PIP_INDEX_URL"] = with_user(fork.index.address, f"{USER}:{QUOTED}")


def in_fork_toml(fork):
    address = with_user(fork.index.address, f"{USER}:{QUOTED}")
    path = fork.root / "fork.toml"
    path.write_text(
        path.read_text().replace('track = ">=1"', f'track = ">=1"\nindex = "{address}"')
    )
    fork.env["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple/"


def in_netrc(fork):
    path = fork.home / ".netrc"
    path.write_text(f"machine 127.0.0.1\nlogin {USER}\npassword {PASSWORD}\n")
    path.chmod(0o600)


def in_keyring(fork, services=None, backend="Fake", user=None):
    """Install a backend for the tool and pip, and a `keyring` program for uv."""
    folder = fork.home / "python"
    folder.mkdir()
    host = fork.index.address.split("/")[2]
    (folder / "fake_keyring.py").write_text(
        f"SERVICES = {services or [fork.index.address, host]!r}\n{BACKEND}"
    )
    settings = fork.home / "settings" / "python_keyring" / "keyringrc.cfg"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"[backend]\ndefault-keyring = fake_keyring.{backend}\nkeyring-path = {folder}\n"
    )
    program = fork.home / "bin" / "keyring"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m keyring "$@"\n')
    program.chmod(0o755)
    fork.env |= {
        "PATH": f"{program.parent}:{fork.env['PATH']}",
        "XDG_CONFIG_HOME": str(fork.home / "settings"),
    }
    del fork.env["PYTHON_KEYRING_BACKEND"]
    if user:
        fork.env["PIP_INDEX_URL"] = with_user(fork.index.address, user)


def assert_no_secret(*texts):
    for text in texts:
        assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize(
    "give", [in_address, in_fork_toml, in_netrc, in_keyring], ids=lambda give: give.__name__
)
def test_credentials_are_used_and_not_shown(fork, give):
    give(fork)
    assert_no_secret(fork.run("-v", "pin").output)
    fork.reset_clone()
    assert_no_secret(fork.run("-v", "vendor").output)
    written = [path for path in fork.root.rglob("*") if path.is_file() and path.name != "fork.toml"]
    assert_no_secret(*(path.read_bytes().decode(errors="replace") for path in written))


@pytest.mark.parametrize(
    ("service", "user"),
    [("address", USER), ("address without the last slash", None), ("host", None), ("host", USER)],
)
def test_keyring_is_asked_as_pip_asks_it(fork, service, user):
    address = fork.index.address
    names = {
        "address": address,
        "address without the last slash": address.rstrip("/"),
        "host": address.split("/")[2],
    }
    in_keyring(fork, [names[service]], user=user)
    fork.run("pin")


@pytest.mark.parametrize("give", [in_address, in_netrc, in_keyring], ids=lambda give: give.__name__)
def test_wrong_credentials_are_an_error_that_shows_none(fork, give):
    give(fork)
    fork.index.login = (USER, "another")
    done = shown(fork, "-v", "pin")
    assert done.returncode == 3
    assert (
        f"the index {fork.index.address} did not give the list of made-up-tally's files: 401"
        in done.stderr
    )
    assert_no_secret(done.stdout, done.stderr)
    assert_no_secret(fork.run("pin", ok=3).output)


def shown(fork, *words):
    """Run a verb whose traceback is asked for with -v."""
    command = [sys.executable, "-m", "scripts", "--repo", str(fork.root), *words]
    return subprocess.run(
        command, cwd=ROOT, env=fork.env, capture_output=True, text=True, check=False
    )


def test_keyring_that_fails_is_done_without_and_its_words_are_not_shown(fork):
    in_keyring(fork, backend="Broken")
    done = shown(fork, "-v", "pin")
    assert done.returncode == 3
    assert "401" in done.stderr
    assert_no_secret(done.stdout, done.stderr)


@pytest.mark.parametrize("give", [in_address, in_keyring], ids=lambda give: give.__name__)
def test_credentials_are_not_sent_to_another_host_that_the_index_links_to(fork, give):
    give(fork)
    other = index_of_two_releases()
    with serving(other):
        fork.index.absolute_links = other.address.removesuffix("/simple/").replace(
            "127.0.0.1", "localhost"
        )
        fork.env["NO_PROXY"] = "127.0.0.1,localhost"
        fork.run("pin")
        assert len(other.requests) == 2
        assert {authorization for _, authorization in other.requests} == {None}


@pytest.mark.parametrize(
    ("give", "client"),
    [
        (in_address, "pip"),
        (in_netrc, "pip"),
        (in_keyring, "pip"),
        (in_address, "uv"),
        (in_fork_toml, "uv"),
        (in_netrc, "uv"),
        (in_keyring, "uv"),
        (in_netrc, "status"),
        (in_keyring, "status"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_client_installs_from_the_chosen_index_with_its_credentials(fork, give, client):
    give(fork, **({"user": USER} if give is in_keyring else {}))
    if client == "status":  # by the uv that makes the environments
        with_environment(fork)
        fork.run("pin")
        done = making_the_environment(fork)
        assert_no_secret(done.stdout, done.stderr)
    else:
        installing(fork, client)
    assert "made_up_tally-1.1-py3-none-any.whl" in fork.index.downloads


def test_environment_that_cannot_be_made_shows_no_secret(fork):
    in_address(fork)
    with_environment(fork)
    fork.run("pin")
    fork.index.login = (USER, "another")
    done = shown(fork, "-v", "status")
    assert done.returncode == 3, done.stderr
    assert "made-up-tally==1.1" in done.stderr
    assert_no_secret(done.stdout, done.stderr)


@pytest.mark.parametrize(
    "text",
    [
        f"https://{USER}:{QUOTED}@host/simple",
        f"x //{USER}:p@ss:w@host/simple/ y",
        "git+ssh://token@host/path",
    ],
)
def test_credentials_are_taken_out_of_errors_and_echoed_commands(text):
    for shown in (
        redact(text),
        str(EnvironmentFailedError(text)),
        EnvironmentFailedError(text).message,
    ):
        assert "host" in shown
        assert "@" not in shown


def test_text_without_credentials_stays():
    for text in ("see https://host/a@b and me@host", "//host/x y@z", "user@host:path"):
        assert redact(text) == text


# The CA


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(tmp_path, authority):
    """Give a fork whose index has a certificate of a private CA, and the CA's file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    index = index_of_two_releases()
    index.files["made_up_tally-1.1-py3-none-any.whl"] = File(empty_wheel("1.1"))
    with serving(index, tls=context):
        yield make_fork(tmp_path, index)


def test_certificate_of_an_unknown_ca_is_refused(secure):
    done = secure.run("pin", ok=3)
    assert "certificate verify failed" in done.stderr
    assert not secure.lock.exists()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"])
def test_private_ca_of_a_variable_is_trusted_by_every_client(secure, tmp_path, name):
    secure.env[name] = str(tmp_path / "ca.pem")
    secure.run("pin")
    for client in ("pip", "uv"):
        installing(secure, client)


def test_private_ca_of_pips_configuration_wins_over_another_variable(secure, tmp_path):
    (tmp_path / "pip.conf").write_text(f"[global]\ncert = {tmp_path}/ca.pem\n")
    secure.env |= {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "REQUESTS_CA_BUNDLE": str(tmp_path / "other.pem"),
    }
    secure.run("pin")
    for client in ("pip", "uv"):
        installing(secure, client)
    with_environment(secure)
    making_the_environment(secure)
