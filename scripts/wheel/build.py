"""wheel: build the locked release, the series and the fork's package as one wheel, and prove it."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from scripts.core.config import near_miss
from scripts.core.console import progress
from scripts.core.errors import AttentionError, UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import Applies, Lock, Release
from scripts.core.repository import Repository, write_whole
from scripts.core.result_cache import Store
from scripts.core.subprocesses import run
from scripts.probes.environments import client_variables
from scripts.probes.wheel_environments import WheelFile
from scripts.series.apply import Built, Workshop, listing
from scripts.series.series import Series, read_series
from scripts.upstream.vendor import bring
from scripts.wheel import provenance
from scripts.wheel.build_number import bump as count_on
from scripts.wheel.build_number import number_of
from scripts.wheel.contents import (
    LICENSES,
    SBOMS,
    Contents,
    read_contents,
    with_metadata,
    write_wheel,
)
from scripts.wheel.provenance import Provenance
from scripts.wheel.sbom import sbom
from scripts.wheel.verify import verify_wheel


@dataclass(frozen=True)
class Wheel:
    """A wheel in `dist/`: its file, the contents that it was written from, and its sha256.

    `number` is the N of its version.
    """

    path: Path
    contents: Contents
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
) -> Wheel:
    """Build the wheel, prove it, and write it to `dist/`; with `bump`, increment its number first.

    `waived` maps features to the reason why their faults are ignored, which the wheel's record
    includes. Raises AttentionError if the series does not apply, or if the installed wheel fails
    what it must pass.
    """
    with repo.alone():
        lock = read_lock(repo.lock_file)
        bring(repo, lock)
        if bump:
            count_on(repo, lock.locked)
        return make(repo, lock, waived or {}, verify=verify)


def make(repo: Repository, lock: Lock, waived: Mapping[str, str], *, verify: bool = True) -> Wheel:
    """Do what `wheel` does, for a command that has locked the folder and has the releases."""
    series = read_series(repo, lock)
    _refuse_unknown(waived, series)
    number = number_of(repo, lock.locked)
    contents = build(repo, lock, series, number, waived)
    content = write_wheel(contents, lock.current.uploaded)
    sha256 = hashlib.sha256(content).hexdigest()
    with repo.scratch() as folder:
        trial = folder / contents.file_name
        trial.write_bytes(content)
        if verify:
            verify_wheel(repo, lock, series, WheelFile(trial, sha256), waived=waived)
    place = repo.root / "dist" / contents.file_name
    write_whole(place, content)
    return Wheel(place, contents, number, sha256)


def build(
    repo: Repository, lock: Lock, series: Series, number: int, waived: Mapping[str, str]
) -> Contents:
    """Return the wheel's contents: the built patched tree, and what the fork adds."""
    workshop = Workshop(repo, lock, series, Store(repo.work / "results"))
    built = workshop.build(series.active, lock.current)
    _refuse_conflicts(built)
    origin = Provenance(lock.current, built.tree, series.active, waived)
    with repo.scratch() as folder:
        source = folder / "source"
        source.mkdir()
        repo.git.write_folder(built.tree, source)
        added = _package(repo, source, built)
        made = _backend(repo, source, lock.current)
        inside = workshop.import_folder(lock.current)
        _refuse_left_out(repo, source, made, (lock.current.tree, built.tree), inside)
    return _composed(repo, made, added, origin, f"{lock.locked}+rover.{number}")


def _package(repo: Repository, source: Path, built: Built) -> dict[str, bytes]:
    """Remove the fork's package from the source, so that the backend sees upstream's alone.

    Return the package's files by path.
    """
    package = repo.config.overrides.package
    folder = source / package
    if not built.applied:  # a bare tree has no package of the fork
        common = {
            f"{package}/{name}": (repo.overrides / name).read_bytes()
            for name in repo.config.overrides.common
        }
        return common | {f"{package}/_series.py": listing(())}
    files = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    shutil.rmtree(folder)
    return files


def _backend(repo: Repository, source: Path, release: Release) -> Contents:
    """Build a source with upstream's own backend, at its pinned version; return the contents."""
    pins, out = source.parent / "pins.txt", source.parent / "out"
    pins.write_text("".join(f"{line}\n" for line in repo.config.wheel.backend))
    variables = client_variables(repo) | {
        "SOURCE_DATE_EPOCH": str(int(release.uploaded.timestamp()))
    }
    command: list[str | Path] = [
        find_uv_bin(),
        "build",
        "--wheel",
        "--quiet",
        "--python",
        sys.executable,
        "--build-constraints",
        pins,
    ]
    with progress("building the wheel", None):
        run(
            [*command, "--out-dir", out, source],
            env=variables,
            hint="look at [wheel] in fork.toml, and at the index",
        )
    return read_contents(next(out.glob("*.whl")))


def _composed(
    repo: Repository, made: Contents, added: Mapping[str, bytes], origin: Provenance, version: str
) -> Contents:
    """Add the fork's package, licence, metadata, bill of materials and record to the wheel."""
    config, package = repo.config.wheel, repo.config.overrides.package
    license_name = f"{package}/{Path(config.license).name}"
    info = {f"{LICENSES}/{license_name}": _license(repo)}
    info[f"{SBOMS}/{made.name}.cdx.json"] = sbom(made.name, version, package, origin)
    fields = [("License-File", license_name)]
    for extra, requirements in config.extras.items():
        fields += [
            ("Provides-Extra", extra),
            *(("Requires-Dist", f'{text}; extra == "{extra}"') for text in requirements),
        ]
    contents = with_metadata(
        made.adding(library=added, info=info), version, fields, config.metadata
    )
    return contents.adding(library={f"{package}/{provenance.RECORD}": origin.record(contents)})


def _license(repo: Repository) -> bytes:
    path = repo.root / repo.config.wheel.license
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"wheel.license: cannot read {repo.config.wheel.license}", hint="edit fork.toml"
        ) from error


def _refuse_unknown(waived: Mapping[str, str], series: Series) -> None:
    for name, reason in waived.items():
        if name not in series.feature_by_id:
            raise UsageError(
                f"there is no feature {name} to waive{near_miss(name, list(series.feature_by_id))}"
            )
        if not reason.strip():
            raise UsageError(
                f"waiving {name} takes a reason, which the wheel's record carries",
                hint=f"nox -s wheel -- --waive '{name}=REASON'",
            )


def _refuse_conflicts(built: Built) -> None:
    """Raise AttentionError if a patch of the series does not apply."""
    wrong = [
        f"{name}: {step.detail}"
        for name, step in built.steps.items()
        if step.applies is Applies.CONFLICT
    ]
    if wrong:
        text = "\n".join(f"    {line}" for line in wrong)
        raise AttentionError(
            f"the series does not apply, so there is nothing to ship:\n{text}", hint="nox -s status"
        )


def _refuse_left_out(
    repo: Repository, source: Path, made: Contents, trees: tuple[str, str], folder: str
) -> None:
    """Raise AttentionError if the wheel lacks a file that a patch changed in one of its packages.

    Upstream's build configuration may list its files by hand. `trees` are the release's tree and
    the patched one; `folder` is the folder in both that modules are imported from.
    """
    names = repo.git.text("diff-tree", "-r", "--name-only", "--no-renames", *trees).splitlines()
    lost = []
    for name in (name.removeprefix(f"{folder}/") for name in names):
        path = source / folder / name
        shipped = name.partition("/")[0].removesuffix(".py") in made.packages
        if shipped and path.is_file() and made.library.get(name) != path.read_bytes():
            lost.append(name)
    if lost:
        raise AttentionError(
            f"upstream's build leaves out what a patch brought: {', '.join(lost)}",
            hint="let the patch also name the file in upstream's build configuration",
        )
