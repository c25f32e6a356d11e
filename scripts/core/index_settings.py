"""The one package index and CA that a run uses, passed to uv and pip alike.

Only the standard library is imported, because the noxfile needs this before anything is installed.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.core.subprocesses import run

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True)
class IndexSettings:
    """The settings of every client of the index; None leaves a client its own default.

    `index` is the address of a simple index (PEP 503/691), `cert` a file of CA certificates.
    """

    index: str | None = field(repr=False)  # it may contain a password
    cert: str | None

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make uv and pip use this index and this CA."""
        found = {
            "UV_KEYRING_PROVIDER": "subprocess",  # by default, uv ignores the keyring
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            # A missing interpreter is reported with the command that gets it.
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_SYSTEM_CERTS": "1",
        }
        if self.index:
            found |= {"UV_DEFAULT_INDEX": self.index, "PIP_INDEX_URL": self.index}
        if self.cert:
            found |= {
                "SSL_CERT_FILE": self.cert,
                "PIP_CERT": self.cert,
                "REQUESTS_CA_BUNDLE": self.cert,
            }
        return found


def discover_index(root: Path) -> IndexSettings:
    """Return the index of `fork.toml`, else of pip's environment or configuration, else None.

    The CA is the one of pip's `cert`, else of the usual variables, else None: the system's store.
    """
    pip = _pip_settings()
    cert = pip.get("cert") or next(
        (os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)), None
    )
    return IndexSettings(_fork_toml_index(root / "fork.toml") or pip.get("index-url"), cert)


def _fork_toml_index(path: Path) -> str | None:
    """Return the index of a `fork.toml`; errors in the file are reported elsewhere."""
    try:
        index = tomllib.loads(path.read_text(encoding="utf-8")).get("upstream", {}).get("index")
    except (OSError, ValueError, AttributeError):
        return None
    return index if isinstance(index, str) else None


def _pip_settings() -> dict[str, str]:
    """Return the settings that pip would use.

    As in pip, the environment overrides the section `install`, which overrides `global`.
    """
    found: dict[str, str] = {}
    lines = _pip_config()
    for section in ("global.", "install."):
        for line in lines:
            key, _, value = line.partition("=")
            if key.startswith(section):
                # `pip config list` quotes values as Python does.
                found[key.removeprefix(section)] = _literal(value)
    variables = {"index-url": "PIP_INDEX_URL", "cert": "PIP_CERT"}
    return found | {
        key: os.environ[name] for key, name in variables.items() if os.environ.get(name)
    }


def _pip_config() -> list[str]:
    """Return the lines of pip's configuration.

    Uses this interpreter's pip, or one on PATH if it has none (nox installed by pipx or uv).
    """
    for pip in _pips():
        done = run([*pip, "config", "list"], ok=None)
        if done.code == 0:
            return done.text.splitlines()
    return []


def _pips() -> Iterator[list[str]]:
    yield [sys.executable, "-m", "pip"]
    yield from ([found] for name in ("pip", "pip3") if (found := shutil.which(name)))


def _literal(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text
