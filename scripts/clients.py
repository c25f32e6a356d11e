"""The one package index and CA that a run uses, handed to uv, tox and pip alike.

Only the standard library is imported, for the noxfile needs this before anything is installed.
"""

from __future__ import annotations

import ast
import os
import re
import ssl
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from scripts.process import run

_SECRET = re.compile(r"(?<=//)[^/@\s]+@")


@dataclass(frozen=True)
class Clients:
    """What every client of the index is told; None leaves a client its own default.

    `index` is the address of a simple index (PEP 503/691), `cert` a file of CA certificates.
    """

    index: str | None
    cert: str | None

    def environment(self) -> dict[str, str]:
        """Return the variables that make uv, tox and pip use this index and this CA."""
        found = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1"}
        if self.index:
            found |= {"UV_DEFAULT_INDEX": self.index, "PIP_INDEX_URL": self.index}
        if self.cert:
            found |= {"SSL_CERT_FILE": self.cert, "PIP_CERT": self.cert, "REQUESTS_CA_BUNDLE": self.cert}
        return found


def choose(root: Path) -> Clients:
    """Choose the index: `fork.toml`, then pip's environment and configuration, then the clients' default."""
    pip = _pip_settings()
    cert = pip.get("cert") or _default_cert()
    return Clients(_configured(root / "fork.toml") or pip.get("index-url"), cert)


def without_secret(text: str) -> str:
    """Return a text without the credentials that addresses in it may hold."""
    return _SECRET.sub("", text)


def _configured(path: Path) -> str | None:
    """Return the index of a `fork.toml`; a wrong file is somebody else's to report."""
    try:
        index = tomllib.loads(path.read_text()).get("upstream", {}).get("index")
    except (OSError, ValueError):
        return None
    return index if isinstance(index, str) else None


def _pip_settings() -> dict[str, str]:
    """Read what pip would use; `:env:` wins over a file's `install` and that over its `global`, as in pip."""
    found: dict[str, str] = {}
    lines = run([sys.executable, "-m", "pip", "config", "list"], ok=None).text.splitlines()
    for section in ("global.", "install.", ":env:."):
        for line in lines:
            key, _, value = line.partition("=")
            if key.startswith(section):
                found[key.removeprefix(section)] = _literal(value)
    return found


def _literal(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text


def _default_cert() -> str | None:
    """Return the CA file that the environment names, else none: uv and the tool then ask the system's store."""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", ssl.get_default_verify_paths().openssl_cafile_env)
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
