"""wheel: build the locked release, the series and the fork's package as one wheel, and prove it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.config import did_you_mean
from scripts.core.errors import UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock
from scripts.core.repository import Repository, write_atomically
from scripts.probes.environments import WheelFile
from scripts.series.series import Series, read_series
from scripts.upstream.vendor import ensure_releases
from scripts.wheel.assembly import build_contents
from scripts.wheel.build_number import increment_number, read_number
from scripts.wheel.contents import WheelContents, write_wheel
from scripts.wheel.verify import verify_wheel


@dataclass(frozen=True)
class BuiltWheel:
    """A wheel in `dist/`: its file, the contents that it was written from, and its sha256.

    `number` is the N of its version.
    """

    path: Path
    contents: WheelContents
    number: int
    sha256: str

    @property
    def requirement(self) -> str:
        """The requirement that only this wheel satisfies."""
        return f"{self.contents.name}=={self.contents.version}"


def wheel(
    repo: Repository,
    *,
    waived: Mapping[str, str] | None = None,
    bump: bool = False,
    verify: bool = True,
) -> BuiltWheel:
    """Build the wheel, prove it, and write it to `dist/`; with `bump`, increment its number first.

    `waived` maps features to the reason why their faults are ignored, which the wheel's record
    includes. Raises AttentionError if the series does not apply, or if the installed wheel fails
    what it must pass.
    """
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        if bump:
            increment_number(repo, lock.locked)
        return build_wheel(repo, lock, waived or {}, verify=verify)


def build_wheel(
    repo: Repository, lock: Lock, waived: Mapping[str, str], *, verify: bool = True
) -> BuiltWheel:
    """Do what `wheel` does, for a command that has locked the folder and has the releases."""
    series = read_series(repo, lock)
    _refuse_unknown(waived, series)
    number = read_number(repo, lock.locked)
    contents = build_contents(repo, lock, series, number, waived)
    content = write_wheel(contents, lock.locked_release.uploaded)
    sha256 = hashlib.sha256(content).hexdigest()
    with repo.scratch() as folder:
        wheel_path = folder / contents.file_name
        wheel_path.write_bytes(content)
        if verify:
            verify_wheel(repo, lock, series, WheelFile(wheel_path, sha256), waived=waived)
    # Only now, so that no wheel that failed its tests is in `dist/`.
    place = repo.root / "dist" / contents.file_name
    write_atomically(place, content)
    return BuiltWheel(place, contents, number, sha256)


def _refuse_unknown(waived: Mapping[str, str], series: Series) -> None:
    for name, reason in waived.items():
        if name not in series.feature_by_id:
            raise UsageError(
                f"there is no feature {name} to waive"
                f"{did_you_mean(name, list(series.feature_by_id))}"
            )
        if not reason.strip():
            raise UsageError(
                f"waiving {name} takes a reason, which the wheel's record carries",
                hint=f"nox -s wheel -- --waive '{name}=REASON'",
            )
