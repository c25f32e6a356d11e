"""An index to publish to: what it has of a wheel's version, uploading to it, installing from it."""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from scripts.core.config import IndexTarget
from scripts.core.errors import EnvironmentFailedError, UsageError
from scripts.core.index_settings import IndexSettings
from scripts.core.repository import Repository
from scripts.core.subprocesses import TIMED_OUT, Completed, run
from scripts.probes.environments import client_variables
from scripts.publish.credentials import Credential
from scripts.upstream.index import Index, RemoteSdist
from scripts.wheel.build import BuiltWheel
from scripts.wheel.build_number import BUMP_COMMAND

UPLOAD_SECONDS = 600
"""Seconds after which an upload is aborted."""

_ATTEMPTS, _PAUSE_SECONDS = 5, 0.4
_REFUSED = (401, 403)
_STATUS = re.compile(r"HTTPError: (\d{3})")


class PublishedState(StrEnum):
    """What an index has for a wheel's version."""

    ABSENT = "absent"
    SAME = "the same bytes"
    OTHER = "other bytes"


@dataclass(frozen=True)
class PublishTarget:
    """An index to publish to, with its credential."""

    repo: Repository
    target: IndexTarget
    credential: Credential

    def find_published(self, wheel: BuiltWheel) -> PublishedState:
        """Return what the index has for the wheel's version.

        Raises EnvironmentFailedError if the index does not answer.
        """
        index = self._index
        version = Version(wheel.contents.version)
        try:
            files = index.files(wheel.contents.name)
        except EnvironmentFailedError as error:
            # `Index` translates the errors of `requests`, which have the status.
            status = getattr(getattr(error.__cause__, "response", None), "status_code", None)
            raise self._credentials_error(status) if status in _REFUSED else error from None
        found = [package for package in files if _version(package.filename) == version]
        if not found:
            return PublishedState.ABSENT
        same = [
            package.filename == wheel.path.name and self._sha256(index, package) == wheel.sha256
            for package in found
        ]
        return PublishedState.SAME if all(same) else PublishedState.OTHER

    def upload(self, wheel: BuiltWheel) -> PublishedState:
        """Upload the wheel, and return what the index then lists, whatever it answered.

        Raises EnvironmentFailedError with the cause if the index does not list the wheel.
        """
        # Whatever it says: an upload whose answer was cut off may have arrived.
        done = self._twine(wheel)
        # An index may take some time until it lists what was uploaded.
        for attempt in range(_ATTEMPTS if done.code == 0 else 1):
            time.sleep(_PAUSE_SECONDS if attempt else 0)
            try:
                state = self.find_published(wheel)
            except EnvironmentFailedError:
                if done.code == 0:
                    raise
                break  # report the failed upload instead
            if state is not PublishedState.ABSENT:
                return state
        raise self._upload_error(done)

    def install_variables(self) -> dict[str, str]:
        """Return uv's variables for installing from this index.

        The usual index is used for what this one does not have.
        """
        # With `first-index`, uv takes a name only from the first index that has it.
        found = {"UV_INDEX": f"publish={self.target.simple}", "UV_INDEX_STRATEGY": "first-index"}
        if self._same_host:
            found |= {
                "UV_INDEX_PUBLISH_USERNAME": self.credential.user,
                "UV_INDEX_PUBLISH_PASSWORD": self.credential.password,
            }
        return found

    def refuse_other_bytes(self, state: PublishedState, wheel: BuiltWheel) -> None:
        """Raise UsageError if the index has other bytes for the wheel's version."""
        if state is PublishedState.OTHER:
            raise UsageError(
                f"{self.target.name} has other bytes under {wheel.requirement}, "
                "and a version never changes its bytes",
                hint=f"{BUMP_COMMAND} && git add upstream/wheels.toml"
                " && git commit --message 'Increment the number of the wheel'"
                f" && nox -s publish -- --index {self.target.name}",
            )

    @property
    def _same_host(self) -> bool:
        """Whether the simple index may get the upload credential: only if both are on one host."""
        return urlsplit(self.target.simple).hostname == urlsplit(self.target.upload).hostname

    @cached_property
    def _index(self) -> Index:
        parts = urlsplit(self.target.simple)
        login = (
            f"{quote(self.credential.user, safe='')}:{quote(self.credential.password, safe='')}@"
            if self._same_host
            else ""
        )
        return Index(
            IndexSettings(
                urlunsplit(parts._replace(netloc=login + parts.netloc)),
                self.repo.index_settings.cert,
            )
        )

    def _sha256(self, index: Index, package: object) -> str:
        """Return the sha256 of a file's bytes, not the digest that the index states."""
        with tempfile.TemporaryDirectory(prefix="fork-published-") as folder:
            path = Path(folder) / "file"
            index.download(
                RemoteSdist(Version("0"), package),  # type: ignore[arg-type]
                path,
                lambda *_, **__: None,
            )
            return hashlib.sha256(path.read_bytes()).hexdigest()

    def _twine(self, wheel: BuiltWheel) -> Completed:
        """Run twine with the credential in its environment, and without reading any .pypirc."""
        kept = {
            key: value
            for key, value in client_variables(self.repo).items()
            if not key.startswith("TWINE_REPO")
        }
        login = {"TWINE_USERNAME": self.credential.user, "TWINE_PASSWORD": self.credential.password}
        words = ["--non-interactive", "--disable-progress-bar", "--config-file", "/dev/null"]
        command = [
            sys.executable,
            "-m",
            "twine",
            "--no-color",
            "upload",
            *words,
            "--repository-url",
            self.target.upload,
        ]
        return run([*command, wheel.path], env=kept | login, timeout=UPLOAD_SECONDS, ok=None)

    def _upload_error(self, done: Completed) -> EnvironmentFailedError:
        """Return the error that explains a failed upload.

        It quotes at most the last line of the output, which may hold a page or a traceback.
        """
        status = _STATUS.search(done.error_output + done.text)
        where = f"{self.target.name} ({self.target.upload})"
        again = f"nox -s publish -- --index {self.target.name}"
        if done.code == 0:
            return EnvironmentFailedError(
                f"{where} took the upload, but {self.target.simple} does not list it",
                hint=f"check both addresses of [[indexes]] {self.target.name} in fork.toml, "
                f"then {again}",
            )
        if status and int(status[1]) in _REFUSED:
            return self._credentials_error(int(status[1]))
        if status:
            return EnvironmentFailedError(
                f"{where} answered the upload with {status[1]}",
                hint=f"look at its log, then {again}",
            )
        if done.code == TIMED_OUT:
            return EnvironmentFailedError(
                f"{where} did not take the upload within {UPLOAD_SECONDS} s", hint=again
            )
        last = (done.error_output.splitlines() or ["twine said nothing"])[-1]
        return EnvironmentFailedError(
            f"the upload to {where} was cut off: {last[:300]}",
            hint=f"check the network, then {again}",
        )

    def _credentials_error(self, status: int) -> EnvironmentFailedError:
        return EnvironmentFailedError(
            f"{self.target.name} ({self.target.upload}) refused the user or the password "
            f"of {self.credential.source} ({status})",
            hint=f"correct them, then nox -s publish -- --index {self.target.name}",
        )


def _version(file_name: str) -> Version | None:
    """Return the version in a wheel's file name, or None for another kind of file."""
    try:
        return parse_wheel_filename(file_name)[1]
    except InvalidWheelFilename:
        return None
