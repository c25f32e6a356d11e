"""The failures of a process of probes as pytest shows them in short: where, and what was asserted.

Only places in probes and in the tree are shown, with paths that do not depend on the run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.probes.fork_server_pool import ProcessExit
from scripts.probes.report_log import Log, is_finished

_FRAME = re.compile(
    # Python's own form is that of a test, the other is that of a file which cannot be imported.
    r'^(?:  File "(?P<native>.+)", line (?P<line>\d+), in (?P<where>.+)'
    r"|(?P<short>\S.*):(?P<at>\d+): in (?P<within>.+))(?:\n    (?P<source>.+))?$",
    re.MULTILINE,
)
_MOST_FRAMES = 5
_MOST_LINES = 15
_MOST_COLUMNS = 500


@dataclass(frozen=True)
class Places:
    """The folders of a process: the repository, the tree, and the one that it ran in.

    `tree` is None if the process tested the installed wheel.
    """

    root: Path
    tree: Path | None
    cwd: Path

    def shown(self, path: str) -> str | None:
        """Return the path of a probe's file or of a file of the tree, None for any other file."""
        full = Path(os.path.normpath(self.cwd / path))
        if self.tree and full.is_relative_to(self.tree):
            return str(full.relative_to(self.tree))
        name = full.relative_to(self.root) if full.is_relative_to(self.root) else None
        # The environments are in the repository, too.
        return str(name) if name and not name.parts[0].startswith(".") else None

    def shorten(self, text: str) -> str:
        """Return a text without the folders of this run."""
        for folder in filter(None, (self.tree, self.root)):
            # pytest prints some paths relative to the folder that it runs in.
            for name in (str(folder), os.path.relpath(folder, self.cwd)):
                text = text.replace(f"{name}{os.sep}", "")
        return text


def failure_texts(log: Log, ended: ProcessExit, places: Places) -> dict[str, str]:
    """Return the text of each failure, by the node id of the test or of the file.

    The key is empty for a process that did not run to its end, whose text is what it printed last.
    """
    found = {}
    if not is_finished(log):
        lines = places.shorten(ended.output).strip().splitlines()
        found[""] = "\n".join(_bounded(lines[-_MOST_LINES:]))
    for entry in log:
        if entry.get("outcome") == "failed" and entry.get("longrepr"):
            # A test that fails and cannot be torn down either failed for the first reason.
            found.setdefault(entry["nodeid"], "\n".join(_lines(entry["longrepr"], places)))
    return found


def _lines(longrepr: Any, places: Places) -> Iterator[str]:
    """Yield the lines of a failure as pytest's short form has them."""
    if isinstance(longrepr, dict):
        entries = (longrepr.get("reprtraceback") or {}).get("reprentries") or []
        trace = "".join(line for entry in entries for line in entry["data"].get("lines") or [])
        message = (longrepr.get("reprcrash") or {}).get("message", "").splitlines()
    else:
        trace = str(longrepr)
        message = [line[1:].strip() for line in trace.splitlines() if line.startswith("E ")]
    frames = list(_frames(trace, places))
    # The first is the line of the test.
    yield from frames if len(frames) <= _MOST_FRAMES else [frames[0], "…", *frames[-3:]]
    yield from (f"E   {places.shorten(line)}".rstrip() for line in _bounded(message or [trace]))


def _frames(trace: str, places: Places) -> Iterator[str]:
    """Yield each place of a traceback: where it is, and below it the source."""
    for frame in _FRAME.finditer(trace):
        name = places.shown(frame["native"] or frame["short"])
        if name is not None:
            where = f"{frame['line'] or frame['at']}: in {frame['where'] or frame['within']}"
            yield f"{name}:{where}\n    {(frame['source'] or '').strip()}"


def _bounded(lines: Sequence[str]) -> list[str]:
    """Return lines of bounded length, and not too many of them."""
    more = ["…"] if len(lines) > _MOST_LINES else []
    return [line[:_MOST_COLUMNS] for line in lines[:_MOST_LINES]] + more
