"""The package index: which files it has, and their bytes, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import keyring
import keyring.errors
import pypi_simple
import requests
import truststore
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from scripts.clients import Clients, without_secret
from scripts.errors import EnvironmentFailedError
from scripts.model import Release
from scripts.terminal import Advance

TIMEOUT = (15.0, 120.0)
"""Seconds to connect, and to wait for a part of the answer."""


@dataclass(frozen=True)
class Remote:
    """An sdist that the index offers."""

    version: Version
    package: pypi_simple.DistributionPackage = field(repr=False)


@dataclass(frozen=True)
class Index:
    """A simple index, asked by its JSON form where it has one (PEP 691, PEP 700)."""

    clients: Clients

    @cached_property
    def _client(self) -> pypi_simple.PyPISimple:
        truststore.inject_into_ssl()
        session = requests.Session()
        if self.clients.cert:
            session.verify = self.clients.cert
        return pypi_simple.PyPISimple(self.clients.index or pypi_simple.PYPI_SIMPLE_ENDPOINT, session=session)

    @property
    def address(self) -> str:
        """The index's address without credentials, for messages."""
        return without_secret(self._client.endpoint)

    def sdists(self, project: str) -> list[Remote]:
        """List a project's sdists that are not yanked, oldest first; raises EnvironmentFailedError."""
        with self._explained(f"the list of {project}'s files"):
            page = self._authenticated(project)
        found = (_remote(package, project) for package in page.packages if not package.is_yanked)
        return sorted(filter(None, found), key=lambda remote: remote.version)

    def download(self, remote: Remote, path: Path, advance: Advance) -> None:
        """Bring an sdist to `path`, which appears only once the index's own digest agrees."""
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._explained(remote.package.filename):
                self._client.download_package(remote.package, part, timeout=TIMEOUT)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        advance()

    def _authenticated(self, project: str) -> pypi_simple.ProjectPage:
        """Ask with what the address or netrc says, and once more with the keyring's word after a 401."""
        try:
            return self._client.get_project_page(project, timeout=TIMEOUT)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != requests.codes.unauthorized:
                raise
            credential = _from_keyring(self._client.endpoint)
            if credential is None:
                raise
            self._client.s.auth = credential
            return self._client.get_project_page(project, timeout=TIMEOUT)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn what can go wrong with an index into one error that names it."""
        hint = "check the network and the index (fork.toml, PIP_INDEX_URL, `pip config list`), then run this again"
        try:
            yield
        except pypi_simple.NoSuchProjectError as error:
            raise EnvironmentFailedError(f"the index {self.address} has no project for {what}", hint=hint) from error
        except pypi_simple.DigestMismatchError as error:
            raise EnvironmentFailedError(
                f"the index {self.address} sent {what} with other bytes than its own digest says (cut off or changed on the way)",
                hint="run this again; if it stays so, do not trust that index",
            ) from error
        except (requests.RequestException, pypi_simple.UnsupportedContentTypeError, ValueError) as error:
            raise EnvironmentFailedError(
                f"the index {self.address} did not give {what}: {without_secret(str(error))}", hint=hint
            ) from error
        except OSError as error:
            raise EnvironmentFailedError(f"cannot keep {what}: {error.strerror or error}", hint="free some disk space") from error


def _remote(package: pypi_simple.DistributionPackage, project: str) -> Remote | None:
    """Read an sdist's version from its name, or None where the file is something else."""
    try:
        name, version = parse_sdist_filename(package.filename)
    except InvalidSdistFilename:
        return None
    return Remote(version, package) if canonicalize_name(project) == name else None


def _from_keyring(endpoint: str) -> tuple[str, str] | None:
    try:
        credential = keyring.get_credential(endpoint, None)
    except keyring.errors.KeyringError:
        return None
    return (credential.username, credential.password) if credential else None


def described(remote: Remote, path: Path) -> Release:
    """Describe a downloaded sdist as a pin; an index without upload times gives the start of the epoch."""
    content = path.read_bytes()
    uploaded = remote.package.upload_time or datetime.fromtimestamp(0, UTC)
    return Release(
        version=str(remote.version),
        file=remote.package.filename,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        uploaded=uploaded.replace(microsecond=0),
    )
