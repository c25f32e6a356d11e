"""rebase: stand on another release: retire what it made unnecessary, replay the rest, prove the result, then replace.

Until the last step nothing outside `.fork/rebase/` is touched; the last step replaces everything or nothing.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from scripts.errors import AttentionError, UsageError
from scripts.evidence import PatchReport, Report
from scripts.lock import read_lock, write_lock
from scripts.mail import read_mail
from scripts.model import FAULTS, Lock, State
from scripts.pin import resolve
from scripts.readme import readme_with_table
from scripts.rebase_state import RebaseState, forget, home, is_decided, reached, read_state, required_state, staged, target_lock
from scripts.replay import id_of_head, ids_of, mails, release_of, replay, resolved, stop, work_of, workshop
from scripts.repository import Repository
from scripts.retire import Plan, profile_with, retired_mail, retirements
from scripts.series import read_series
from scripts.source import is_subtree
from scripts.status import Choice, examine
from scripts.terminal import say
from scripts.vendor import bring


def rebase(repo: Repository, version: str, *, dry_run: bool = False) -> Plan:
    """Move the fork to a release and return what was done; with `dry_run`, what would be.

    Raises AttentionError at a conflict or where the result is not proven, with the state kept for `--continue`.
    """
    with repo.alone():
        if _under_way(repo):
            raise UsageError("a rebase is under way", hint="nox -s rebase -- --continue, --skip or --abort")
        forget(repo)
        old = read_lock(repo.lock_file)
        lock = _target(repo, old, version)
        write_lock(home(repo) / "lock.toml", lock)
        reached("pinned")
        state = _planned(repo, old, lock)
        if dry_run:
            plan = _trial(repo, state)
            forget(repo)
            return plan
        state.write(repo)
        reached("planned")
        return _go_on(repo, state)


def go_on(repo: Repository) -> Plan:
    """Take up a rebase that stopped or was killed, with what was resolved in its work tree."""
    with repo.alone():
        _under_way(repo)
        state = required_state(repo)
        return _go_on(repo, resolved(repo, state) if state.stopped else state)


def skip(repo: Repository) -> Plan:
    """Leave the patch out at which the rebase stopped, and go on; it is dropped on a person's word, not on proof."""
    with repo.alone():
        _under_way(repo)
        state = required_state(repo)
        if not state.queue:
            raise UsageError("there is no patch to skip: all are replayed", hint="nox -s rebase -- --continue or --abort")
        work = work_of(repo)
        work.run("cherry-pick", "--abort", ok=None)
        if id_of_head(work) == state.queue[0]:
            work.run("reset", "--quiet", "--hard", "HEAD^")
        skipped = (*state.skipped, state.queue[0])
        return _go_on(repo, dataclasses.replace(state, queue=state.queue[1:], skipped=skipped, stopped=""))


def abort(repo: Repository) -> None:
    """Forget the rebase under way."""
    with repo.alone():
        if not _under_way(repo) and not home(repo).exists():
            raise UsageError("no rebase is under way", hint="nox -s rebase -- VERSION")
        forget(repo)


def _under_way(repo: Repository) -> bool:
    """Tell whether a rebase is under way; one that was killed right after its last step is finished here."""
    state = read_state(repo)
    if state is not None and is_decided(repo, state):
        say(f"the rebase to {state.target} had been done when it was killed; only its work tree was left")
        forget(repo)
        return False
    return state is not None


# Decide


def _target(repo: Repository, old: Lock, version: str) -> Lock:
    """Return the pins with another release locked, asking the index only for one that is not pinned yet."""
    if old.release(version) is None:
        return resolve(repo, version)
    bring(repo, old)
    return dataclasses.replace(old, locked=version)


def _planned(repo: Repository, old: Lock, lock: Lock) -> RebaseState:
    """Ask what the bare target does by itself: a patch is retired on behaviour alone."""
    report, _ = examine(staged(repo), lock, Choice(bare=True))
    faults = [f"{item.patch.id}: {_detail(item, report)}" for item in report.patches if item.verdict in FAULTS]
    if faults:
        raise AttentionError("the verdicts on the target are not clean:\n" + "\n".join(faults), hint="nox -s status -- --why")
    retire = tuple(retirements(report))
    gone = {item.id for item in retire}
    queue = tuple(item.patch.id for item in report.patches if item.patch.state is State.ACTIVE and item.patch.id not in gone)
    return RebaseState(lock.locked, old.locked, retire, queue)


def _trial(repo: Repository, state: RebaseState) -> Plan:
    """Try the replay in passing and note what would conflict."""
    shop = workshop(repo)
    live = shop.series.active
    built = shop.build(live, release_of(repo, state.target), without={item.id for item in state.retire})
    notes = tuple(f"{name}: {step.applies} {step.detail}".rstrip() for name, step in built.steps.items())
    return Plan(state.origin, state.target, state.retire, state.queue, notes)


# Act


def _go_on(repo: Repository, state: RebaseState) -> Plan:
    """Do what is left, from whichever step the state says."""
    state = replay(repo, state)
    _export(repo, state)
    reached("exported")
    report = _proof(repo, state)
    reached("proven")
    plan = Plan(
        state.origin,
        state.target,
        state.retire,
        ids_of(work_of(repo), release_of(repo, state.target)),
        _notes(repo, state, report),
    )
    reached("deciding")
    _replace(repo, state)
    reached("decided")
    forget(repo)
    return plan


def _export(repo: Repository, state: RebaseState) -> None:
    """Write the new series, the retired patches, the overrides and the profile into the stage."""
    stage = home(repo) / "stage"
    shop, work = workshop(repo), work_of(repo)
    series = shop.series
    patches, overrides = stage / "patches", stage / repo.config.overrides.package
    for folder, source in ((patches, repo.patches), (overrides, repo.overrides)):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for patch in series.active:
        (patches / patch.path.name).unlink()
    target = release_of(repo, state.target)
    names = []
    for content in mails(work, target):
        name = series.by_id[read_mail(content).value("Id")].path.name
        (patches / name).write_bytes(content)
        names.append(name)
    (patches / "series").write_text(_listing(repo.patches / "series", names))
    for number, item in enumerate(state.retire, _next_number(patches / "retired")):
        (patches / "retired").mkdir(exist_ok=True)
        content = retired_mail(shop, series.by_id[item.id], item)
        (patches / "retired" / f"{number:04}-{item.id}.patch").write_bytes(content)
    _drop_modules(repo, state, overrides)
    _write_profile(repo, state, overrides)
    write_lock(stage / "upstream" / "lock.toml", target_lock(repo))


def _listing(path: Path, names: list[str]) -> str:
    """Return `series` with the names that are left, comments kept."""
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.split("#")[0].strip() or line.split("#")[0].strip() in names]
    return "\n".join(kept) + "\n"


def _drop_modules(repo: Repository, state: RebaseState, overrides: Path) -> None:
    """Remove the override modules that no live patch names any more."""
    series = workshop(repo).series
    gone = {item.id for item in state.retire} | set(state.skipped)
    named = {module for patch in series.active if patch.id not in gone for module in patch.overrides}
    for patch in (series.by_id[name] for name in gone):
        for module in set(patch.overrides) - named:
            (overrides / f"{module}.py").unlink(missing_ok=True)


def _write_profile(repo: Repository, state: RebaseState, overrides: Path) -> None:
    """Put the settings that replace a patch into the profile, so that Rover keeps the behaviour."""
    name = repo.config.overrides.profile
    entries = {item.id: item.settings.mapping() for item in state.retire if item.settings}
    if entries and name is None:
        raise UsageError("fork.toml names no overrides.profile to put settings into", hint="edit fork.toml")
    if entries and name is not None:
        path = overrides / name
        path.write_text(profile_with(path.read_text(), entries))


def _proof(repo: Repository, state: RebaseState) -> Report:
    """Run every probe, live and retired, on the repository as it will be; stop where a verdict is a fault."""
    report, _ = examine(staged(repo), target_lock(repo), Choice())
    faults = [f"{item.patch.id} is {item.verdict}: {_detail(item, report)}" for item in report.patches if item.verdict in FAULTS]
    if faults:
        stop(repo, state, "replayed, but not proven:\n" + "\n".join(faults))
    return report


def _replace(repo: Repository, state: RebaseState) -> None:
    """Replace patches, overrides, lock, README's table and upstream/src/ together."""
    stage = home(repo) / "stage"
    package = repo.config.overrides.package
    changes: dict[Path, Path | None] = {
        repo.patches: stage / "patches",
        repo.overrides: stage / package,
        repo.lock_file: stage / "upstream" / "lock.toml",
    }
    table = readme_with_table(repo, read_series(staged(repo), target_lock(repo)))
    if table is not None:
        (stage / "README.md").write_text(table)
        changes[repo.root / "README.md"] = stage / "README.md"
    if not is_subtree(repo):
        source = stage / "src"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        repo.git.write_folder(release_of(repo, state.target).tree, source)
        changes[repo.source] = source
    repo.replace(changes)


# Look


def _notes(repo: Repository, state: RebaseState, report: Report) -> tuple[str, ...]:
    """Return what a person wants to know at the end: the answer, what was skipped, and the range-diff."""
    shop = workshop(repo)
    ids = [shop.commits(shop.series.active).ids.get(patch.id) for patch in shop.series.active]
    old = [commit for commit in ids if commit]
    skipped = [f"{name} was skipped on your word: its behaviour is gone" for name in state.skipped]
    if not old:
        return (report.answer.text, *skipped)
    before, after = release_of(repo, shop.series.active[0].base).commit, release_of(repo, state.target).commit
    head = work_of(repo).text("rev-parse", "HEAD")
    return (report.answer.text, *skipped, repo.git.text("range-diff", "--no-color", f"{before}..{old[-1]}", f"{after}..{head}"))


def _detail(item: PatchReport, report: Report) -> str:
    """Return the words of the release that decided a patch's verdict."""
    at = item.release(report.locked)
    return at.detail if at else ""


def _next_number(folder: Path) -> int:
    numbers = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]-*.patch")]
    return max(numbers, default=0) + 1
