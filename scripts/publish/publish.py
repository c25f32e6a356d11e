"""publish: prove, build and upload the wheel, and install what was uploaded.

After any failure, running it again continues.
"""

from __future__ import annotations

from collections.abc import Mapping

from scripts.core.config import did_you_mean
from scripts.core.console import info
from scripts.core.errors import AttentionError, UsageError
from scripts.core.git import user_git
from scripts.core.lockfile import read_lock
from scripts.core.model import FAULTS, Lock
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.probes.environments import WheelFile, create_environment, requirements
from scripts.probes.interpreters import find_interpreter
from scripts.publish.credentials import find_credential
from scripts.publish.upload import PublishedState, PublishTarget
from scripts.series.series import read_series
from scripts.status.selection import Selection
from scripts.status.status import run_status
from scripts.upstream.vendor import ensure_releases
from scripts.verdicts.aggregate import Report
from scripts.wheel.build import BuiltWheel, build_wheel
from scripts.wheel.verify import (
    ProbedInstallation,
    available_cells,
    installation_problems,
    no_environment_error,
)


def publish(repo: Repository, name: str, *, waived: Mapping[str, str], dry_run: bool) -> list[str]:
    """Publish the wheel of the committed tree to an index, and return lines on what was done.

    Raises UsageError for an uncommitted tree or a taken version, AttentionError for verdicts that
    are not clean, EnvironmentFailedError if the index fails.
    """
    index = _publish_target(repo, name)
    with repo.exclusive():
        commit = clean_commit(repo)
        lock = read_lock(repo.lock_file)
        ensure_releases(repo, lock)
        refuse_faults(run_status(repo, lock, Selection())[0], waived)
        wheel = build_wheel(repo, lock, waived)
        # Somebody may have edited or committed while the wheel was built and tested.
        if clean_commit(repo) != commit:
            raise UsageError(
                "the tree was changed while the wheel was built", hint="commit, then run this again"
            )
        state = index.find_published(wheel)
        index.refuse_other_bytes(state, wheel)
        lines = [f"{wheel.path.name} sha256 {wheel.sha256} N {wheel.number}"]
        if dry_run:
            there = "already there" if state is PublishedState.SAME else "would be uploaded"
            return [
                *lines,
                f"{there}: {name} ({index.target.upload}); nothing was sent (--dry-run)",
            ]
        lines.append(_upload_if_absent(index, wheel, state))
        _test_installation(repo, lock, index, wheel)
        lines.append(
            f"installed from {name} into a new environment: "
            "the files are as recorded, the control probe passes"
        )
        return [*lines, f"pin it as: {requirement_line(wheel)}"]


def clean_commit(repo: Repository) -> str:
    """Return the id of the folder's commit; raises UsageError if anything is not committed."""
    inside = user_git(repo.root, "rev-parse", "--verify", "--quiet", "HEAD", ok=None)
    if inside.code != 0:
        raise UsageError(
            f"{repo.root} is not at a commit of a git repository",
            hint="git init && git add --all && git commit",
        )
    # `normal` names a new folder once, not each file in it.
    changes = user_git(
        repo.root, "status", "--porcelain", "--untracked-files=normal", "--", "."
    ).text.splitlines()
    if changes:
        shown = "\n".join(f"    {line}" for line in changes[:20])
        raise UsageError(
            f"what is published must be committed; this is not:\n{shown}",
            hint="git add --all && git commit",
        )
    return inside.text.strip()


def refuse_faults(report: Report, waived: Mapping[str, str]) -> None:
    """Raise AttentionError for warnings and for faults that are not waived.

    Raises UsageError for a waiver of what is no fault.
    """
    faults = {
        item.feature.id: str(item.verdict) for item in report.features if item.verdict in FAULTS
    }
    idle = sorted(set(waived) - set(faults))
    if idle:
        known = {item.feature.id: str(item.verdict) for item in report.features}
        verdict = known.get(idle[0])
        what = (
            f"the verdict on {idle[0]} is {verdict}"
            if verdict
            else f"there is no feature {idle[0]}"
        )
        raise UsageError(
            f"{what}: nothing to waive{did_you_mean(idle[0], sorted(faults)) if faults else ''}",
            hint="leave it out",
        )
    problems = [
        *report.warnings,
        *(f"{name} is {verdict}" for name, verdict in faults.items() if name not in waived),
    ]
    if problems:
        text = "\n".join(f"  - {problem}" for problem in problems)
        waivers = " ".join(f"--waive '{name}=REASON'" for name in faults if name not in waived)
        way = f"\nnox -s publish -- --index NAME {waivers}" if waivers else ""
        raise AttentionError(f"not fit to publish:\n{text}", hint=f"nox -s status -- --why{way}")


def requirement_line(wheel: BuiltWheel) -> str:
    """Return the line of a requirements file that only these bytes satisfy."""
    return f"{wheel.requirement} --hash=sha256:{wheel.sha256}"


def _publish_target(repo: Repository, name: str) -> PublishTarget:
    """Return the index of that name in fork.toml, with its credential.

    Raises UsageError if fork.toml has none of that name, or if there is no credential.
    """
    indexes = {target.name: target for target in repo.config.indexes}
    if name not in indexes:
        known = did_you_mean(name, list(indexes)) if indexes else ""
        raise UsageError(
            f"fork.toml has no [[indexes]] named {name}{known}",
            hint=f'add [[indexes]] to fork.toml, with name = "{name}", and the addresses'
            " upload (of twine) and simple (of pip)",
        )
    return PublishTarget(repo, indexes[name], find_credential(indexes[name]))


def _upload_if_absent(index: PublishTarget, wheel: BuiltWheel, state: PublishedState) -> str:
    """Upload the wheel unless it is already there, and return what was done."""
    if state is PublishedState.SAME:
        return f"already there: {index.target.name} has these bytes"
    info(f"uploading to {index.target.name}")
    index.refuse_other_bytes(index.upload(wheel), wheel)
    return f"uploaded to {index.target.name}"


def _test_installation(
    repo: Repository, lock: Lock, index: PublishTarget, wheel: BuiltWheel
) -> None:
    """Install the wheel from the index into a new environment, and run the control probe there.

    It is pinned by version and sha256. Raises AttentionError if the installation has a fault,
    EnvironmentFailedError if no environment can be made here.
    """
    cell = next(
        (
            cell
            for cell in available_cells(repo, lock)
            if find_interpreter(repo.config.environment(cell.environment).python)
        ),
        None,
    )
    if cell is None:
        raise no_environment_error(lock)
    environment = repo.config.environment(cell.environment)
    with repo.scratch() as folder:
        pins = folder / "requirements.txt"
        pins.write_text(f"{requirement_line(wheel)}\n", encoding="utf-8")
        wanted = [
            *requirements(repo, environment),
            "-r",
            str(pins),
            "--refresh-package",  # uv may remember the list from before the upload
            wheel.contents.name,
        ]
        ready = create_environment(
            repo, folder / "environment", environment, wanted, index.install_variables()
        )
        faults = list(
            installation_problems(
                repo, WheelFile(wheel.path, wheel.sha256), index.target.name, ready
            )
        )
        # A cache of its own, so that the probe really runs in this installation.
        trial = ProbedInstallation(
            repo, lock, read_series(repo, lock), wheel.sha256, ResultCache(folder / "results")
        )
        faults += trial.problems((), {cell: ready})
    if faults:
        text = "\n".join(f"  - {fault}" for fault in faults)
        raise AttentionError(
            f"what {index.target.name} gives is not fit to use:\n{text}",
            hint="do not install it; find out why",
        )
