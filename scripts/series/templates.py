"""The texts that a new patch begins with, and which of them are still to be replaced."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.core.errors import Problem

TITLE = "<what it does, in one line>"
WHY = "<why it is needed>"
DROP_WHEN = "<what upstream would have to do>"


@dataclass(frozen=True)
class NewPatch:
    """What a person asks for: the names that the texts are made of.

    A patch without `features` has one feature of its own name, and its message is the record.
    """

    id: str
    features: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    title: str = ""


def left_placeholders(text: str) -> list[Problem]:
    """Return the problems with a text: the words of a template that nobody has replaced."""
    return [
        Problem(f"`{words}` is still to be replaced", "write your own words there")
        for words in (TITLE, WHY, DROP_WHEN)
        if words in text
    ]


def slug_of(text: str) -> str:
    """Return the id that a title, or a wrong id, suggests."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "new-patch"


def commit_message(patch: NewPatch, probes: Sequence[str]) -> str:
    """Return the message of a new patch; `export` adds `Base:` and `Last-Update:`."""
    trailers = {
        "Id": patch.id,
        "Origin": "vendor",
        "Forwarded": "no",
        "Features": ", ".join(patch.features),
        "Probes": "" if patch.features else ", ".join(probes),
        "Overrides": ", ".join(patch.modules),
        "Drop-When": "" if patch.features else DROP_WHEN,
    }
    lines = "".join(f"{name}: {value}\n" for name, value in trailers.items() if value)
    return f"{patch.title or TITLE}\n\n{WHY}\n\n{lines}"


def probe_file(patch: NewPatch, feature: str) -> str:
    """Return a probe that fails until it is written; its docstring is the feature's record."""
    docstring = _record(patch) if feature in patch.features else f"The probes of `{feature}`."
    name = feature.replace("-", "_")
    return (
        f'"""{docstring}"""\n\n\ndef test_{name}():\n'
        "    # Assert here what upstream lacks: it must fail without the patch and pass with it.\n"
        f'    raise AssertionError("the probe of {feature} is not written yet")\n'
    )


def module_file(patch: NewPatch) -> str:
    """Return an override module with nothing in it."""
    return f'"""What the patch `{patch.id}` calls."""\n\nfrom __future__ import annotations\n'


def package_file(package: str) -> str:
    """Return the `__init__.py` of a new folder of modules."""
    return f'"""The modules of `{package}`."""\n'


def _record(patch: NewPatch) -> str:
    # The title of a patch with several features is that of none of them.
    title = patch.title if patch.title and len(patch.features) == 1 else TITLE
    sentence = textwrap.fill(f"{title.removesuffix('.')}.", 96, break_long_words=False)
    text = f"{sentence}\n\n{WHY}\n\nDrop-When: {DROP_WHEN}\n"
    return text.replace("\\", r"\\").replace('"""', r"\"\"\"")
