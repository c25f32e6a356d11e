"""wheel: build the locked release, the series and the fork's package as one wheel, and prove it."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from scripts.core.config import did_you_mean
from scripts.core.console import progress
from scripts.core.errors import AttentionError, UsageError
from scripts.core.lockfile import read_lock
from scripts.core.model import Applies, Lock, Release
from scripts.core.repository import Repository, write_atomically
from scripts.core.result_cache import ResultCache
from scripts.core.subprocesses import run
from scripts.probes.environments import WheelFile, client_variables
from scripts.series.apply import PatchedTree, TreeBuilder, series_module
from scripts.series.series import Series, read_series
from scripts.upstream.vendor import ensure_releases
from scripts.wheel import provenance
from scripts.wheel.build_number import increment_number, read_number
from scripts.wheel.contents import (
    LICENSES,
    SBOMS,
    WheelContents,
    read_contents,
    with_metadata,
    write_wheel,
)
from scripts.wheel.provenance import Provenance
from scripts.wheel.sbom import sbom
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


def build_contents(
    repo: Repository, lock: Lock, series: Series, number: int, waived: Mapping[str, str]
) -> WheelContents:
    """Return the wheel's contents: the built patched tree, and what the fork adds."""
    builder = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
    built = builder.build(series.active, lock.locked_release)
    _refuse_conflicts(built)
    origin = Provenance(lock.locked_release, built.tree, series.active, waived)
    with repo.scratch() as folder:
        source = folder / "source"
        source.mkdir()
        repo.git.write_folder(built.tree, source)
        added = _take_fork_package(repo, source, built)
        upstream_wheel = _run_backend(repo, source, lock.locked_release)
        inside = builder.import_folder(lock.locked_release)
        _refuse_missing_files(
            repo, source, upstream_wheel, (lock.locked_release.tree, built.tree), inside
        )
    version = f"{lock.locked}+{repo.config.wheel.label}.{number}"
    return _add_fork_files(repo, upstream_wheel, added, origin, version)


def _take_fork_package(repo: Repository, source: Path, built: PatchedTree) -> dict[str, bytes]:
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
        return common | {f"{package}/_series.py": series_module(())}
    files = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    shutil.rmtree(folder)
    return files


def _run_backend(repo: Repository, source: Path, release: Release) -> WheelContents:
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


def _add_fork_files(
    repo: Repository,
    upstream_wheel: WheelContents,
    added: Mapping[str, bytes],
    origin: Provenance,
    version: str,
) -> WheelContents:
    """Add the fork's package, licence, metadata, bill of materials and record to the wheel."""
    config, package = repo.config.wheel, repo.config.overrides.package
    license_name = f"{package}/{Path(config.license).name}"
    info = {f"{LICENSES}/{license_name}": _license(repo)}
    info[f"{SBOMS}/{upstream_wheel.name}.cdx.json"] = sbom(
        upstream_wheel.name, version, package, origin
    )
    fields = [("License-File", license_name)]
    for extra, requirements in config.extras.items():
        fields += [
            ("Provides-Extra", extra),
            *(("Requires-Dist", f'{text}; extra == "{extra}"') for text in requirements),
        ]
    contents = with_metadata(
        upstream_wheel.with_files(library=added, info=info), version, fields, config.metadata
    )
    # Last, because the record has the digest of every other file.
    return contents.with_files(library={f"{package}/{provenance.RECORD}": origin.record(contents)})


def _license(repo: Repository) -> bytes:
    path = repo.root / repo.config.wheel.license
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the wheel ships the fork's licence, and {repo.config.wheel.license} cannot be read:"
            f" {error.strerror}",
            hint=f"write {repo.config.wheel.license}, or name another file in fork.toml:"
            " wheel.license",
        ) from error


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


def _refuse_conflicts(built: PatchedTree) -> None:
    """Raise AttentionError if a patch of the series does not apply."""
    wrong = [
        f"{name}: {step.detail}"
        for name, step in built.results.items()
        if step.applies is Applies.CONFLICT
    ]
    if wrong:
        text = "\n".join(f"    {line}" for line in wrong)
        raise AttentionError(
            f"the series does not apply, so there is nothing to ship:\n{text}", hint="nox -s status"
        )


def _refuse_missing_files(
    repo: Repository,
    source: Path,
    upstream_wheel: WheelContents,
    trees: tuple[str, str],
    folder: str,
) -> None:
    """Raise AttentionError if the wheel lacks a file that a patch changed in one of its packages.

    Upstream's build configuration may list its files by hand. `trees` are the release's tree and
    the patched one; `folder` is the folder in both that modules are imported from.
    """
    names = repo.git.text("diff-tree", "-r", "--name-only", "--no-renames", *trees).splitlines()
    lost = []
    for name in (name.removeprefix(f"{folder}/") for name in names):
        path = source / folder / name
        shipped = name.partition("/")[0].removesuffix(".py") in upstream_wheel.packages
        if shipped and path.is_file() and upstream_wheel.library.get(name) != path.read_bytes():
            lost.append(name)
    if lost:
        raise AttentionError(
            f"upstream's build leaves out what a patch brought: {', '.join(lost)}",
            hint="let the patch also name the file in upstream's build configuration",
        )
