"""Check that the commits of the branch can become patches, and say everything that they lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scripts.core.errors import Problem, problems_error
from scripts.core.model import Patch, State
from scripts.core.repository import Repository
from scripts.editing.branch import Branch, BranchCommit
from scripts.editing.commit_message import message_problems, reason_problems
from scripts.editing.ways import Progress, ways_to_reword
from scripts.series.diff_hunks import read_hunks
from scripts.series.module_checks import (
    misnamed_modules,
    missing_modules,
    uncovered_imports,
    with_meant_modules,
)
from scripts.series.patch_file import read_mail
from scripts.series.patch_series import Series


@dataclass(frozen=True)
class Checked:
    """The commits of a branch as patches, whatever they lack, with those of the old series."""

    repo: Repository
    branch: Branch
    progress: Progress
    old: Series
    patches: Mapping[BranchCommit, Patch]

    @property
    def series(self) -> Series:
        """The series as the branch has it."""
        return Series(tuple(self.patches.values()), self.old.retired)


def as_patches(
    repo: Repository, old: Series, mails: Mapping[BranchCommit, bytes]
) -> dict[BranchCommit, Patch]:
    """Return commits as patches: what their mails say of hunks and of other patches and modules."""
    return {item: _as_patch(repo, old, item, mail) for item, mail in mails.items()}


def _as_patch(repo: Repository, old: Series, item: BranchCommit, content: bytes) -> Patch:
    name, mail = item.id or item.commit, read_mail(content)
    before = old.by_id.get(name)
    hunks, lines, _ = read_hunks(mail.diff)
    return Patch(
        path=before.path if before else repo.patches / f"{name}.patch",
        state=State.ACTIVE,
        id=name,
        title=item.title,
        base="",
        sha256="",
        features=mail.names("Features"),
        overrides=mail.names("Overrides"),
        depends=mail.names("Depends"),
        hunks=hunks,
        lines=lines,
    )


def check_commits(checked: Checked) -> None:
    """Raise one UsageError with everything that the commits lack."""
    commits, retired = checked.progress.commits, _retired(checked.old)
    wrong = dict(_problems(checked, retired))
    found = [problem.at(item.name) for item, problems in wrong.items() for problem in problems]
    if found:
        lacking = [item for item in commits if wrong[item]]
        ways = ways_to_reword(checked.branch.tree, lacking, checked.progress)
        ways += [f"nox -s unretire -- {item.id}" for item in lacking if item.id in retired]
        raise problems_error(
            "these commits cannot become patches yet:", found, hint="\n".join(ways)
        )


def _retired(series: Series) -> dict[str, str]:
    """Return the files of the retired patches, by the ids that no commit may have."""
    return {patch.id: patch.path.name for patch in series.retired}


def _problems(
    checked: Checked, retired: Mapping[str, str]
) -> Iterator[tuple[BranchCommit, list[Problem]]]:
    """Yield each commit with what it lacks."""
    progress, commits = checked.progress, checked.progress.commits
    begun = progress.meant
    series = with_meant_modules(checked.repo, checked.series)
    for (item, given), patch in zip(checked.patches.items(), series.active, strict=True):
        found = message_problems(item.title, item.body, begun.get(item))
        # A patch that somebody wrote by hand may have been without one.
        found += reason_problems(item.body) if progress.is_own(item) else []
        found += _taken_ids(commits, item, retired)
        found += misnamed_modules(checked.repo, given, patch)
        found += missing_modules(checked.repo, given, patch)
        found += uncovered_imports(checked.repo, series, patch)
        yield item, found


def _taken_ids(
    commits: Sequence[BranchCommit], item: BranchCommit, retired: Mapping[str, str]
) -> Iterator[Problem]:
    earlier, another = commits[: commits.index(item)], f"write `Id: {item.id}-2`"
    if item.id and item.id in {other.id for other in earlier}:
        yield Problem(f"another commit has Id: {item.id} too", another)
    if item.id in retired:
        text = f"Id: {item.id} is that of {retired[item.id]}, which is retired"
        yield Problem(text, another)
