"""Assemble a wheel's contents: the locked release with the series, and what the fork adds."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from uv import find_uv_bin

from scripts.core.console import progress
from scripts.core.errors import AttentionError, UsageError
from scripts.core.model import Applies, Lock, Release
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.core.subprocesses import run
from scripts.probes.environments import client_variables
from scripts.series.apply import PatchedTree, TreeBuilder, series_module
from scripts.series.series import Series
from scripts.wheel import provenance
from scripts.wheel.contents import LICENSES, SBOMS, WheelContents, read_contents, with_metadata
from scripts.wheel.provenance import Provenance
from scripts.wheel.sbom import sbom


def build_contents(
    repo: Repository, lock: Lock, series: Series, number: int, waived: Mapping[str, str]
) -> WheelContents:
    """Return the wheel's contents: the built patched tree, and what the fork adds."""
    own_license = _license(repo)  # before the backend runs, which takes seconds
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
    upstream_wheel = upstream_wheel.with_files(
        library=added, info={_license_name(repo): own_license}
    )
    version = f"{lock.locked}+{repo.config.wheel.label}.{number}"
    return _add_records(repo, upstream_wheel, origin, version)


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
    with progress(f"building the wheel of {release.version}", None):
        run(
            [*command, "--out-dir", out, source],
            env=variables,
            hint="look at [wheel] in fork.toml, and at the index",
        )
    return read_contents(next(out.glob("*.whl")))


def _add_records(
    repo: Repository, contents: WheelContents, origin: Provenance, version: str
) -> WheelContents:
    """Add metadata, bill of materials and record to upstream's files and the fork's."""
    config, package = repo.config.wheel, repo.config.overrides.package
    bill = sbom(contents.name, version, package, origin)
    fields = [("License-File", _license_name(repo).removeprefix(f"{LICENSES}/"))]
    for extra, requirements in config.extras.items():
        fields += [
            ("Provides-Extra", extra),
            *(("Requires-Dist", f'{text}; extra == "{extra}"') for text in requirements),
        ]
    contents = with_metadata(
        contents.with_files(info={f"{SBOMS}/{contents.name}.cdx.json": bill}),
        version,
        fields,
        config.metadata,
    )
    # Last, because the record has the digest of every other file.
    return contents.with_files(library={f"{package}/{provenance.RECORD}": origin.record(contents)})


def _license_name(repo: Repository) -> str:
    """Return the path of the fork's licence in `.dist-info`."""
    return f"{LICENSES}/{repo.config.overrides.package}/{Path(repo.config.wheel.license).name}"


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
