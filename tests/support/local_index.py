"""A package index on loopback, made-up sdists and forks to try the verbs on, and ways to make each of them fail."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROJECT = "made-up-tally"
ROOT = Path(__file__).parents[2]
UPLOADED = "2020-02-02T02:02:02.500000Z"
MTIME = 1_500_000_000

FILES_1_0 = {
    "PKG-INFO": "Metadata-Version: 2.1\nName: made-up-tally\n",
    "tally/__init__.py": (
        "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n\n\ndef mul(a, b):\n    return a * b\n"
    ),
    "tally/words.py": "HELLO = 'hello'\n\n\nBYE = 'bye'\n",
}
FILES_1_1 = {
    **FILES_1_0,
    "tally/words.py": "HELLO = 'good day'\n\n\nBYE = 'bye'\n",
    "tally/more.py": "MORE = 1\n",
}


# Archives


def sdist(
    version: str,
    files: Mapping[str, str | bytes],
    *,
    executable: Sequence[str] = (),
    name: str = "made_up_tally",
) -> bytes:
    """Return an sdist with these files below its top folder."""
    members = []
    for path, content in files.items():
        info = tarfile.TarInfo(f"{name}-{version}/{path}")
        info.mode = 0o755 if path in executable else 0o644
        members.append((info, content.encode() if isinstance(content, str) else content))
    return archive(members)


def archive(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return a .tar.gz of just these members, the same bytes every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in members:
            info.size = len(content)
            info.mtime = info.mtime or MTIME
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


# The index


@dataclass
class File:
    """A file that the index lists; `served` are other bytes than those it states the digest of."""

    content: bytes
    served: bytes | None = None
    status: int = 200
    cut_at: int | None = None
    yanked: bool | str = False
    upload_time: str | None = UPLOADED
    stated: bool = True
    requires_python: str = ""


@dataclass
class LocalIndex:
    """What the index has and how it misbehaves; change the fields while it runs."""

    files: dict[str, File] = field(default_factory=dict)
    project: str = PROJECT
    html: bool = False
    status: int = 200
    page: bytes | None = None
    login: tuple[str, str] | None = None
    absolute_links: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def __post_init__(self) -> None:
        self.may_answer.set()

    def add(self, version: str, files: Mapping[str, str | bytes] | bytes, **kwargs: Any) -> File:
        """Publish an sdist."""
        content = files if isinstance(files, bytes) else sdist(version, files)
        self.files[sdist_name(version)] = File(content, **kwargs)
        return self.files[sdist_name(version)]

    @property
    def downloads(self) -> list[str]:
        """The names of the files that were asked for."""
        return [path.rpartition("/")[2] for path, _ in self.requests if "/files/" in path]

    def listing(self) -> tuple[str, bytes]:
        """Return the project's page and its type."""
        return self._html() if self.html else self._json()

    def _json(self) -> tuple[str, bytes]:
        files = []
        for name, file in self.files.items():
            entry: dict[str, Any] = {
                "filename": name,
                "url": self._url(name),
                "hashes": _hashes(file),
                "yanked": file.yanked,
            }
            if file.requires_python:
                entry["requires-python"] = file.requires_python
            if file.upload_time:
                entry |= {"upload-time": file.upload_time, "size": len(file.content)}
            files.append(entry)
        page = {"meta": {"api-version": "1.0"}, "name": self.project, "files": files}
        return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()

    def _html(self) -> tuple[str, bytes]:
        links = []
        for name, file in self.files.items():
            fragment = f"#sha256={hashlib.sha256(file.content).hexdigest()}" if file.stated else ""
            links.append(
                f'<a href="{self._url(name)}{fragment}"{" data-yanked" if file.yanked else ""}>{name}</a>'
            )
        return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()

    def _url(self, name: str) -> str:
        return (
            f"{self.absolute_links}/files/{name}" if self.absolute_links else f"../../files/{name}"
        )


def sdist_name(version: str) -> str:
    """Return the name of a made-up sdist."""
    return f"made_up_tally-{version}.tar.gz"


def _hashes(file: File) -> dict[str, str]:
    return {"sha256": hashlib.sha256(file.content).hexdigest()} if file.stated else {}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        index: LocalIndex = self.server.index  # type: ignore[attr-defined]
        if self.command == "GET":
            index.requests.append((self.path, self.headers["Authorization"]))
        index.may_answer.wait(20)
        if index.login and self.headers["Authorization"] != _basic(*index.login):
            self._answer(
                401, "text/plain", b"who are you", {"WWW-Authenticate": 'Basic realm="index"'}
            )
        elif self.path.startswith("/simple/"):
            self._page(index)
        else:
            self._file(index.files.get(self.path.rpartition("/")[2]))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _page(self, index: LocalIndex) -> None:
        if index.status != 200:
            self._answer(index.status, "text/plain", b"no")
        elif self.path.strip("/") != f"simple/{index.project}":
            self._answer(404, "text/plain", b"no such project")
        else:
            kind, body = index.listing()
            self._answer(200, kind, body if index.page is None else index.page)

    def _file(self, file: File | None) -> None:
        if file is None or file.status != 200:
            self._answer(file.status if file else 404, "text/plain", b"no")
            return
        body = file.content if file.served is None else file.served
        self._answer(200, "application/gzip", body, cut_at=file.cut_at)

    def _answer(
        self,
        status: int,
        kind: str,
        body: bytes,
        headers: Mapping[str, str] = {},
        cut_at: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut_at])

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def serving(index: LocalIndex, *, tls: ssl.SSLContext | None = None) -> Iterator[LocalIndex]:
    """Serve an index on a free port of loopback; `index.address` is its simple page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.index = index  # type: ignore[attr-defined]
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    index.address = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/simple/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()


# A fork, and its command line


@dataclass(frozen=True)
class CommandResult:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Everything that was printed."""
        return self.stdout + self.stderr


@dataclass
class Fork:
    """A made-up fork's folder and the environment that its verbs run in."""

    root: Path
    home: Path
    index: LocalIndex
    env: dict[str, str]

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, ok: int | None = 0, **kwargs: Any
    ) -> CommandResult:
        """Run a verb through the command line; `ok` is the exit code it must end with (None: any)."""
        command = [
            sys.executable,
            *kwargs.pop("python", ("-m", "scripts")),
            "--repo",
            str(self.root),
            *words,
        ]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            **kwargs,
        )
        result = CommandResult(done.returncode, done.stdout, done.stderr)
        assert ok is None or result.code == ok, result.output
        assert "Traceback" not in result.output, result.output
        return result

    def run_killed_at(self, event: str, text: str, *words: str) -> None:
        """Run a verb that SIGKILLs itself right before the first audit event (PEP 578) with arguments like `text`."""
        done = subprocess.run(
            [sys.executable, "-c", _KILLER, event, text, "--repo", str(self.root), *words],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -9, (
            f"{event} {text!r} never happened:\n{done.stdout}{done.stderr}"
        )

    def git(self, *words: str, cwd: Path | None = None) -> str:
        """Run git in the fork's clone, or in `cwd`, as its user."""
        done = subprocess.run(
            ["git", *words],
            cwd=cwd or self.root,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def git_private(self, *words: str) -> str:
        """Run git in the private repository."""
        return self.git("--git-dir", str(self.root / ".fork" / "upstream.git"), *words)

    @property
    def lock(self) -> Path:
        """The pins."""
        return self.root / "upstream" / "lock.toml"

    @property
    def source(self) -> Path:
        """The vendored files."""
        return self.root / "upstream" / "src"

    def files(self) -> dict[str, bytes]:
        """Return what is vendored."""
        return contents(self.source)

    def reset_clone(self) -> None:
        """Be a new clone: nothing of `.fork/` and `upstream/src/`."""
        shutil.rmtree(self.root / ".fork", ignore_errors=True)
        shutil.rmtree(self.source, ignore_errors=True)


_KILLER = """
import os, re, signal, sys
event, text = sys.argv[1:3]
del sys.argv[1:3]
def hook(name, args):
    if name == event and re.search(text, repr(args)):
        os.kill(os.getpid(), signal.SIGKILL)
from scripts.__main__ import main
sys.addaudithook(hook)
main()
"""


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, links as what they point at."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """Return an environment without anything of this machine's or this user's configuration but PATH."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "NO_PROXY": "127.0.0.1",
        "GIT_CONFIG_NOSYSTEM": "1",
        **extra,
    }


FORK_TOML = """
[upstream]
name = "made-up-tally"
track = ">=1"

[overrides]
package = "tally_overrides"

[probes]
control = ["tests/probes/test_control.py"]

[[environments]]
id = "plain"
python = "3.11"
"""


def make_fork(folder: Path, index: LocalIndex) -> Fork:
    """Write a fork without patches, tracking what the index has."""
    root = folder / "fork"
    for name, text in {
        "fork.toml": FORK_TOML,
        ".gitignore": ".fork/\n__pycache__/\n/upstream/src/\n",
        "patches/series": "",
        "tally_overrides/__init__.py": "",
        "tests/probes/test_control.py": "def test_control():\n    pass\n",
        "tests/probes/test_a.py": "def test_a():\n    pass\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    home = folder / "home"
    return Fork(root, home, index, clean_environment(home, PIP_INDEX_URL=index.address))


GITCONFIG = "[user]\nname = A Maintainer\nemail = maintainer@example.invalid\n[init]\ndefaultBranch = main\n"


def make_clone(fork: Fork) -> None:
    """Commit the fork in a repository of its own, by somebody with a name."""
    (fork.home / ".gitconfig").write_text(GITCONFIG)
    fork.git("init", "--quiet")
    fork.git("add", ".")
    fork.git("commit", "--quiet", "-m", "Begin")


def empty_wheel(version: str) -> bytes:
    """Return a wheel with nothing in it, for clients that install."""
    folder = f"made_up_tally-{version}.dist-info"
    files = {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: made-up-tally\nVersion: {version}\n",
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{folder}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{folder}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return buffer.getvalue()


def index_of_two_releases():
    """Return an index that is not running yet."""
    found = LocalIndex()
    found.add("1.0", FILES_1_0)
    found.add("1.1", FILES_1_1)
    return found


def copy_stage(stage, folder, index):
    """Return a copy of a stage that asks this index."""
    shutil.copytree(stage, folder / "fork")
    return Fork(
        folder / "fork",
        folder / "home",
        index,
        clean_environment(folder / "home", PIP_INDEX_URL=index.address),
    )
