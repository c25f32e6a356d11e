"""Compare the installed files with the wheel's record: `python -m` and this package's name.

Also prints what is installed. The exit code is 0, 20 if files differ from the record (each is
named), or 2 if there is no readable record.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_RECORD = _HERE / "_provenance.json"
_CHANGED = 20
_NO_RECORD = 2
# `-m` puts the current directory first on `sys.path`; `-I` does not.
_ELSE = f"install the wheel; in the fork's own folder ask with `python -I -m {_HERE.name}`"


def main() -> int:
    """Print what is installed and what differs, and return the exit code."""
    try:
        record: dict[str, Any] = json.loads(_RECORD.read_bytes())
        lines = list(described(record))
        faults = list(differences(record["files"], _HERE.parent))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(
            f"no record of what is installed can be read: {error!r}\n  next: {_ELSE}\n"
        )
        return _NO_RECORD
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    if not faults:
        sys.stdout.write(f"{len(record['files'])} files are as recorded\n")
        return 0
    sys.stderr.write("".join(f"{fault}\n" for fault in faults) + "  next: install the wheel anew\n")
    return _CHANGED


def described(record: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that describe what is installed."""
    upstream = record["upstream"]
    yield f"{record['name']} {record['version']}"
    yield f"  upstream  {upstream['version']}: {upstream['file']} sha256 {upstream['sha256']}"
    yield f"  tree      {record['tree']}"
    for patch in record["patches"]:
        yield f"  patch     {patch['id']} sha256 {patch['sha256']}"
    for name, reason in record["waived"].items():
        yield f"  waived    {name}: {reason}"


def differences(files: dict[str, str], folder: Path) -> Iterator[str]:
    """Yield a line for each file that is missing, changed or added.

    An added file is a `*.py` in a recorded package that is not in the record itself.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            yield f"missing: {name}"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            yield f"changed: {name}"
    packages = {name.partition("/")[0] for name in files if name.endswith("/__init__.py")}
    for path in sorted(path for package in packages for path in (folder / package).rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if name not in files:
            yield f"added: {name}"


if __name__ == "__main__":
    sys.exit(main())
