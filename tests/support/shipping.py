"""A made-up fork that can be shipped, real package indexes on loopback to ship it to, and a proxy that gets in the way."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from filelock import FileLock

from scripts.probes.servers import free_port
from scripts.wheel.contents import WheelContents, write_wheel
from tests.support import harness
from tests.support.local_index import _KILLER, GITCONFIG, serving

USER, PASSWORD = "rover", "5up3r/s3cret pass"
WHEEL = "made_up_larder-2.0+rover.1-py3-none-any.whl"
PATIENCE_SECONDS = 60

FORK_TOML_FOR_PUBLISHING = """
[wheel]
backend = ["setuptools==80.9.0"]
metadata = { Description-Content-Type = "text/plain", Description = "A larder." }
extras = { jars = ["made-up-jars>=1"] }

[suite]
files = ["tests"]
tests = ["tests"]
command = [
    "{python}", "-m", "pytest", "-c", "/dev/null", "--rootdir", "{folder}", "-p", "no:cacheprovider",
    "--report-log", "{log}",
]
[suite.modes]
default = {}
other = { LARDER_MODE = "other" }
"""
OWN_TESTS = """
import os
from larder.labels import heading
from larder.shelf import Shelf

def test_heading():
    assert heading("rye bread") == "Rye bread"

def test_shelf_keeps():
    shelf = Shelf()
    assert (shelf.get("jam", lambda: 1), shelf.get("jam", lambda: 2)) == (1, 1)

def test_fails_everywhere():
    assert not "upstream's own bug"
"""

# The fork


@dataclass(frozen=True)
class PublishableFork(harness.Fork):
    """A fork with what shipping needs; its verbs know no credential but those given to them."""

    home: Path

    def run(self, *words, ok=0, allow_traceback=False, **env):
        """Run the command line; it must end with `ok` (None: any), and never show the password or a traceback."""
        done = subprocess.run(
            harness.command(self.root, words),
            cwd=harness.PROJECT,
            env=self.env(**env),
            capture_output=True,
            text=True,
        )
        result = harness.CommandResult(done.returncode, done.stdout, done.stderr)
        assert ok is None or done.returncode == ok, done.stdout + done.stderr
        assert_no_secret(done.stdout + done.stderr)
        assert allow_traceback or "Traceback" not in done.stdout + done.stderr
        return result

    def publish(self, *words, ok=0, **env):
        """Publish to the index `local`, with the right password unless another one is given."""
        return self.run(
            "publish",
            "--index",
            "local",
            *words,
            ok=ok,
            **({"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD} | env),
        )

    def start_publishing(self, *words):
        """Start publishing and go on at once."""
        env = self.env(TWINE_USERNAME=USER, TWINE_PASSWORD=PASSWORD)
        command = harness.command(self.root, ("publish", "--index", "local", *words))
        return subprocess.Popen(
            command,
            cwd=harness.PROJECT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run_killed_at(self, event, text):
        """Publish, and be killed right before the first audit event (PEP 578) with arguments like `text`."""
        command = [
            sys.executable,
            "-c",
            _KILLER,
            event,
            text,
            "--repo",
            str(self.root),
            "publish",
            "--index",
            "local",
        ]
        env = self.env(TWINE_USERNAME=USER, TWINE_PASSWORD=PASSWORD)
        done = subprocess.run(command, cwd=harness.PROJECT, env=env, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, (
            f"{event} {text!r} never happened:\n{done.stdout}{done.stderr}"
        )

    def env(self, **extra):
        """Return the user's environment without this machine's credentials."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("TWINE_", "NETRC"))
        }
        return kept | _sealed(self.home) | extra

    def git(self, *words):
        """Run git as the fork's maintainer."""
        return subprocess.run(
            ["git", *words],
            cwd=self.root,
            env=self.env(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def commit(self):
        """Commit whatever is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "As it is")

    def use_index(self, upload, simple):
        """Publish to these addresses from now on."""
        self.append(
            "fork.toml",
            f'\n[[indexes]]\nname = "local"\nupload = "{upload}"\nsimple = "{simple}"\n',
        )
        self.commit()

    @property
    def wheel(self):
        """The wheel in `dist/`."""
        return self.root / "dist" / WHEEL


def assert_no_secret(text):
    """Fail where the password stands in a text, in whatever spelling."""
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for spelling in (PASSWORD, "5up3r%2Fs3cret", basic):
        assert spelling not in text


def program_environment(home, **extra):
    """Return an environment for pip and uv without any configuration of this machine's or this user's."""
    foreign = ("PIP_", "UV_", "NETRC", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return (
        kept
        | _sealed(home)
        | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "UV_NO_CONFIG": "0"}
        | extra
    )


def _sealed(home):
    return {
        "HOME": str(home),
        "UV_CACHE_DIR": str(cache_folder()),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "NO_PROXY": "127.0.0.1",
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def cache_folder():
    """Return uv's cache, which a new home folder would hide."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "cache", "dir"], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def make_publishable_fork(folder):
    """Make a fork of the larder that is pinned, vendored, judged, built once and committed."""
    releases = folder / "releases"
    shutil.copytree(harness.SITUATIONS / "larder_releases", releases)
    (releases / "1.0" / "tests").mkdir()
    (releases / "1.0" / "tests" / "test_own.py").write_text(OWN_TESTS)
    harness.make_fork(harness.SITUATIONS / "larder", folder / "fork")
    publishable_fork = PublishableFork(folder / "fork", folder / "home")
    publishable_fork.home.mkdir()
    (publishable_fork.home / ".gitconfig").write_text(GITCONFIG)
    publishable_fork.append("fork.toml", FORK_TOML_FOR_PUBLISHING)
    publishable_fork.replace(
        "fork.toml", 'common = ["__init__.py"', 'common = ["__init__.py", "__main__.py"'
    )
    shutil.copy(
        harness.PROJECT / "rover_overrides" / "__main__.py",
        publishable_fork.root / "larder_overrides",
    )
    publishable_fork.write("LICENSE", "All of it is made up.\n")
    publishable_fork.write(".gitignore", ".fork/\n__pycache__/\n/upstream/src/\n/dist/\n")
    with serving(harness.index_of_releases(releases, "made_up_larder")) as index:
        publishable_fork.run("pin", PIP_INDEX_URL=index.address)
    for verb in ("vendor", "status", "wheel"):
        publishable_fork.run(verb)
    publishable_fork.git("init", "--quiet")
    publishable_fork.commit()
    return publishable_fork


@pytest.fixture(scope="session")
def publishable_fork_template(tmp_path_factory, worker_id):
    """Return the fork that every test copies; parallel workers share one."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shop"
    with FileLock(f"{folder}.lock"):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make_publishable_fork(folder)
            (folder / "ready").touch()
    return PublishableFork(folder / "fork", folder / "home")


@pytest.fixture
def publishable_fork(publishable_fork_template, tmp_path):
    """Return a fork in which everything is in order, committed, and nothing is left to run."""
    root, home = tmp_path / "fork", tmp_path / "home"
    harness.copy_fork(publishable_fork_template, root)
    shutil.copytree(publishable_fork_template.home, home)
    return PublishableFork(root, home)


# The indexes


@dataclass(frozen=True)
class RunningIndex:
    """An index: where to upload, where it lists, and where it keeps files (pypiserver alone)."""

    upload: str
    simple: str
    folder: Path | None = None

    def files(self):
        """Return the files that it holds, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


@contextmanager
def pypiserver(folder, authenticated="update,download,list"):
    """Run a pypiserver in which these actions take the password."""
    packages = folder / "packages"
    packages.mkdir(parents=True)
    password = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    (folder / "htpasswd").write_text(f"{USER}:{{SHA}}{password}\n")
    port = free_port()
    options = [
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        "-P",
        str(folder / "htpasswd"),
        "-a",
        authenticated,
        "--disable-fallback",
    ]
    with running_program(
        [sys.executable, "-m", "pypiserver", "run", *options, str(packages)], port, folder / "log"
    ):
        yield RunningIndex(
            f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/simple/", packages
        )


@contextmanager
def devpi(folder, mirrored):
    """Run a devpi in which the user has an index for uploads that takes each version once, based on a mirror."""
    port, state = free_port(), folder / "devpi"
    words = ["--serverdir", str(state), "--no-root-pypi"]
    binaries = Path(sys.executable).parent
    subprocess.run([binaries / "devpi-init", *words], check=True, capture_output=True)
    server = [
        str(binaries / "devpi-server"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--serverdir",
        str(state),
    ]
    with running_program(server, port, folder / "log"):
        address = f"http://127.0.0.1:{port}/{USER}"
        requests.put(address, json={"password": PASSWORD}, timeout=60).raise_for_status()
        login = requests.post(
            f"http://127.0.0.1:{port}/+login", json={"user": USER, "password": PASSWORD}, timeout=60
        ).json()
        token = base64.b64encode(f"{USER}:{login['result']['password']}".encode()).decode()
        mirror = {"type": "mirror", "mirror_url": mirrored, "volatile": False}
        stage = {"type": "stage", "bases": [f"{USER}/mirror"], "volatile": False}
        for name, index in (("mirror", mirror), ("prod", stage)):
            headers = {"X-Devpi-Auth": token}
            requests.put(
                f"{address}/{name}", json=index, headers=headers, timeout=60
            ).raise_for_status()
        yield RunningIndex(f"{address}/prod/", f"{address}/prod/+simple/")


@contextmanager
def running_program(command, port, log):
    """Run a server until the block ends; it is up when it takes connections."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: process.poll() is not None or accepts_connections(port), command[0])
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def pypi_index(tmp_path):
    """Yield a pypiserver with a password."""
    with pypiserver(tmp_path / "index") as index:
        yield index


@pytest.fixture
def configured_index(pypi_index, publishable_fork):
    """Return a pypiserver to which the fork's index `local` leads."""
    publishable_fork.use_index(pypi_index.upload, pypi_index.simple)
    return pypi_index


def accepts_connections(port):
    """Return whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true, what):
    """Wait until something is true, and fail where it never is."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end, f"waited {PATIENCE_SECONDS} s for {what}"
        time.sleep(0.02)


def small_wheel(name, version, *needs, text=""):
    """Return the file name and the bytes of a wheel with one module."""
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {need}\n" for need in needs
    )
    info = {
        "METADATA": f"{head}\n".encode(),
        "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents = WheelContents(name, version, {f"{name.replace('-', '_')}.py": text.encode()}, info)
    from datetime import UTC, datetime

    return contents.file_name, write_wheel(contents, datetime(2020, 1, 1, tzinfo=UTC))


# What gets in the way


@dataclass
class FaultyProxy:
    """Stands before an index. `behaviour` is what it does with an upload; `received_half` and `upload_accepted` are set as one arrives."""

    index: RunningIndex
    behaviour: str = "pass"
    received_half: threading.Event = field(default_factory=threading.Event)
    upload_accepted: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    address: str = ""


class _FaultyProxyHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.proxy.behaviour == "garbage":
            self._answer(200, {"Content-Type": "text/html"}, b"<html>\x00\xff<<< not an index")
        elif self.server.proxy.behaviour == "broken":
            self._answer(500, {}, b"Traceback: internal")
        else:
            self._forward(None)

    do_HEAD = do_GET

    def do_POST(self):
        proxy, size = self.server.proxy, int(self.headers["Content-Length"])
        if proxy.behaviour in ("cut", "stall"):
            self.rfile.read(size // 2)
            proxy.received_half.set()
            if proxy.behaviour == "stall":
                proxy.released.wait(PATIENCE_SECONDS)
            self.close_connection = True
            return
        body = self.rfile.read(size)
        if proxy.behaviour in ("echo", "garbage", "lie"):
            self._answer(
                502 if proxy.behaviour == "echo" else 200,
                {},
                f"you are {self.headers['Authorization']}".encode(),
            )
            return
        self._forward(body)

    def _forward(self, body):
        proxy, parts = self.server.proxy, urlsplit(self.server.proxy.index.upload)
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        headers = {key: value for key, value in self.headers.items() if key != "Host"}
        connection.request(self.command, self.path, body, headers | {"Host": self.headers["Host"]})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if body is not None:
            proxy.upload_accepted.set()
        if body is not None and proxy.behaviour == "swallow":
            proxy.released.wait(PATIENCE_SECONDS)
            self.close_connection = True
            return
        self._answer(
            answer.status,
            {"Content-Type": answer.headers.get("Content-Type", "text/html")},
            content,
        )

    def _answer(self, status, headers, body):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


@contextmanager
def faulty_proxy(index, behaviour):
    """Put a proxy before an index; its files are then at `proxy.address` and below."""
    proxy = FaultyProxy(index, behaviour)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _FaultyProxyHandler)
    server.proxy, server.daemon_threads = proxy, True
    proxy.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
