"""The package index: which files it has, and their verified bytes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import keyring
import pypi_simple
import requests
import requests.adapters
import requests.auth
import truststore
import urllib3
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from scripts.core.console import Advance
from scripts.core.errors import EnvironmentFailedError
from scripts.core.index_settings import IndexSettings
from scripts.core.model import Release
from scripts.upstream.sdist import newest_time

log = logging.getLogger(__name__)

TIMEOUT = (15.0, 120.0)
"""Seconds to connect, and to wait for each part of the response."""

_RETRIES = urllib3.Retry(
    3, backoff_factor=0.1, status_forcelist=(502, 503, 504), raise_on_status=False
)
_HINT = (
    "check the network and the index (fork.toml, PIP_INDEX_URL, `pip config list`),"
    " then run this again"
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class RemoteSdist:
    """An sdist that the index offers; `sha256` is the index's own claim and may be missing."""

    version: Version
    package: pypi_simple.DistributionPackage = field(repr=False)

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.package.filename

    @property
    def sha256(self) -> str | None:
        """The digest that the index states for the file, or None."""
        return self.package.digests.get("sha256")

    @property
    def yanked(self) -> bool:
        """Whether upstream has yanked the release."""
        return self.package.is_yanked


@dataclass(frozen=True)
class Index:
    """A simple index, read in its JSON form if it has one (PEP 691, PEP 700)."""

    settings: IndexSettings

    @property
    def address(self) -> str:
        """The index's address without credentials."""
        parts = urlsplit(self.settings.index or pypi_simple.PYPI_SIMPLE_ENDPOINT)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def files(self, project: str) -> list[pypi_simple.DistributionPackage]:
        """Return every file of a project, none if the index does not know the project.

        Raises EnvironmentFailedError if the index fails.
        """
        with self._translate_errors(f"the list of {project}'s files"):
            try:
                return self._with_credentials(
                    lambda: self._client.get_project_page(project, timeout=TIMEOUT)
                ).packages
            except pypi_simple.NoSuchProjectError:
                return []

    def sdists(self, project: str) -> list[RemoteSdist]:
        """Return a project's sdists, oldest first, including yanked ones.

        Raises EnvironmentFailedError if the index fails or does not know the project.
        """
        with self._translate_errors(f"the list of {project}'s files"):
            page = self._with_credentials(
                lambda: self._client.get_project_page(project, timeout=TIMEOUT)
            )
        found = filter(None, (_remote_sdist(package, project) for package in page.packages))
        return sorted(
            {remote.version: remote for remote in found}.values(), key=lambda remote: remote.version
        )

    def wheel_only_versions(self, project: str) -> list[Version]:
        """Return the releases that have only wheels, oldest first; none of them can be forked."""
        names = [package.filename for package in self.files(project)]
        known = {remote.version for remote in self.sdists(project)}
        return sorted({version for name in names if (version := _wheel_version(name))} - known)

    def download(self, remote: RemoteSdist, path: Path, advance: Advance) -> None:
        """Download an sdist to `path`.

        The file appears there only once its bytes match the index's digest, if the index states
        one.
        """
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        # pypi_simple refuses to verify a file for which the index states no digest.
        checked = bool(remote.package.digests)
        try:
            with self._translate_errors(remote.file):
                self._with_credentials(
                    lambda: self._client.download_package(
                        remote.package, part, verify=checked, timeout=TIMEOUT
                    )
                )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        advance()

    @cached_property
    def _client(self) -> pypi_simple.PyPISimple:
        truststore.inject_into_ssl()  # use the system's CA store
        return pypi_simple.PyPISimple(self.address, session=_session(self.settings))

    def _with_credentials(self, send: Callable[[], _T]) -> _T:
        """Call `send` with the credentials of the address or netrc, then with the keyring's.

        The keyring is queried only after a 401.
        """
        try:
            return send()
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != requests.codes.unauthorized:
                raise
            user = urlsplit(self.settings.index or "").username
            credential = keyring_credential(self.address, unquote(user) if user else None)
            if credential is None:
                raise
            self._client.s.auth = _IndexAuth(_origin(self.address), credential)
            return send()

    @contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        """Convert every error of an index into one EnvironmentFailedError that names the index."""
        try:
            yield
        except pypi_simple.NoSuchProjectError as error:
            raise EnvironmentFailedError(
                f"the index {self.address} has no such project: {what}", hint=_HINT
            ) from error
        except pypi_simple.DigestMismatchError as error:
            raise EnvironmentFailedError(
                f"the index {self.address} sent {what} with other bytes than its own digest says"
                " (cut off or changed on the way)",
                hint="run this again; if it stays so, do not trust that index",
            ) from error
        except (
            requests.RequestException,
            pypi_simple.UnsupportedRepoVersionError,
            ValueError,
        ) as error:
            raise EnvironmentFailedError(
                f"the index {self.address} did not give {what}: {_reason(error)}", hint=_HINT
            ) from error
        # The last clause, because RequestException is an OSError, too.
        except OSError as error:
            raise EnvironmentFailedError(
                f"cannot keep {what}: {error.strerror or error}", hint="free some disk space"
            ) from error


class _Session(requests.Session):
    """A session whose own CA overrides REQUESTS_CA_BUNDLE, which requests itself would prefer."""

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        chosen = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, chosen, cert)


@dataclass(frozen=True)
class _IndexAuth(requests.auth.AuthBase):
    """A user name and password for the index alone, because its pages may link to other hosts."""

    origin: tuple[str, str]
    credential: tuple[str, str] = field(repr=False)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = request.url or ""
        ours = _origin(url) == self.origin
        # With `auth` set, requests itself does not look into netrc.
        credential = self.credential if ours else requests.utils.get_netrc_auth(url)
        return requests.auth.HTTPBasicAuth(*credential)(request) if credential else request


def _session(settings: IndexSettings) -> requests.Session:
    """Return a session with the chosen CA, a few retries, and the credentials of the address."""
    session = _Session()
    session.verify = settings.cert or True
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=_RETRIES))
    parts = urlsplit(settings.index or "")
    if parts.username and parts.password:
        session.auth = _IndexAuth(
            _origin(settings.index or ""), (unquote(parts.username), unquote(parts.password))
        )
    return session


def _origin(url: str) -> tuple[str, str]:
    """Return an address's scheme, and its host with the port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _remote_sdist(package: pypi_simple.DistributionPackage, project: str) -> RemoteSdist | None:
    """Return an sdist by its file name, or None for another file (PEP 625: sdists are .tar.gz)."""
    try:
        name, version = parse_sdist_filename(package.filename)
    except InvalidSdistFilename:
        return None
    ours = canonicalize_name(project) == name and package.filename.endswith(".tar.gz")
    return RemoteSdist(version, package) if ours else None


def _wheel_version(name: str) -> Version | None:
    try:
        return parse_wheel_filename(name)[1]
    except InvalidWheelFilename:
        return None


def keyring_credential(address: str, user: str | None) -> tuple[str, str] | None:
    """Return the keyring's user name and password for an index, or None.

    The keyring is queried by the names that pip uses: the index's address, then its host.
    """
    bare = address.rstrip("/")
    for service in (f"{bare}/", bare, _origin(address)[1]):
        try:
            credential = keyring.get_credential(service, user)
        # A backend may raise anything; pip also continues without the keyring then.
        except Exception as error:  # noqa: BLE001
            # Without its message, which may contain a secret.
            log.debug("the keyring failed: %s", type(error).__name__)
            return None
        if credential:
            return credential.username, credential.password
    return None


def _reason(error: BaseException) -> str:
    """Return the system's message for a failed connection, else the error's own.

    requests wraps the system's error in several layers.
    """
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return str(error)


def describe_release(remote: RemoteSdist, path: Path) -> Release:
    """Return a downloaded sdist as a pin.

    If the index gives no upload time, the time of the newest file in the sdist is used.
    """
    content = path.read_bytes()
    uploaded = remote.package.upload_time or datetime.fromtimestamp(newest_time(path), UTC)
    return Release(
        version=str(remote.version),
        file=remote.file,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        uploaded=uploaded.astimezone(UTC).replace(microsecond=0),
    )
