"""Credentials for an index, from where Python's other tools look for them; never printed."""

from __future__ import annotations

import base64
import configparser
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests.utils

from scripts.core.config import IndexTarget
from scripts.core.errors import UsageError, register_secrets
from scripts.upstream.index import keyring_credential

_Candidate = tuple[str, str | None, str | None]
"""The name of a source, and the user name and the password that it has."""


@dataclass(frozen=True)
class Credential:
    """A user name and password, and a description of the source that they come from."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    source: str


def find_credential(target: IndexTarget) -> Credential:
    """Return the first complete credential for an index, and hide it from all messages.

    Raises UsageError if there is none.
    """
    for source, user, password in _candidates(target):
        login = (user, password) if user and password else None
        # The keyring may have the password for a user name without one.
        if login is None and (user or source == "the keyring"):
            login = keyring_credential(target.upload, user)
        if login:
            found = Credential(*login, source)
            # As it is, as in an address, and as in an Authorization header.
            register_secrets(found.password, quote(found.password, safe=""), _basic(found))
            return found
    raise UsageError(
        f"no credentials for uploads to {target.name} ({target.upload})",
        hint=f"set TWINE_USERNAME and TWINE_PASSWORD, or fill [{target.name}] in ~/.pypirc, "
        "the keyring or ~/.netrc",
    )


def _candidates(target: IndexTarget) -> Iterator[_Candidate]:
    """Yield what each source has, in order of precedence."""
    yield (
        "TWINE_USERNAME and TWINE_PASSWORD",
        os.environ.get("TWINE_USERNAME"),
        os.environ.get("TWINE_PASSWORD"),
    )
    yield from _pypirc(target)
    yield "the keyring", None, None
    login = requests.utils.get_netrc_auth(target.upload)
    if login:
        yield "the netrc file", *login


def _pypirc(target: IndexTarget) -> Iterator[_Candidate]:
    """Yield the index's section of ~/.pypirc, if it is for the same address.

    Raises UsageError if the file cannot be read.
    """
    parser = configparser.RawConfigParser()  # a password may contain a `%`
    path = Path("~/.pypirc").expanduser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        # The parser's own message is left out, because it quotes the line.
        raise UsageError(
            "~/.pypirc cannot be read", hint="correct it (packaging.python.org, `.pypirc`)"
        ) from None
    if target.name in parser and _is_for_index(parser[target.name].get("repository"), target):
        section = parser[target.name]
        yield f"[{target.name}] in ~/.pypirc", section.get("username"), section.get("password")


def _is_for_index(repository: str | None, target: IndexTarget) -> bool:
    """Return whether a section has no address or the index's: a password goes to no other host."""
    return repository is None or _comparable_url(repository) == _comparable_url(target.upload)


def _comparable_url(address: str) -> tuple[str, str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower(), parts.path.rstrip("/")


def _basic(credential: Credential) -> str:
    return base64.b64encode(f"{credential.user}:{credential.password}".encode()).decode()
