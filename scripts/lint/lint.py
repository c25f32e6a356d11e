"""lint: find everything that is wrong with a fork without running any of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from scripts.core.errors import Problem, UsageError, problems_error
from scripts.core.git import Git
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.editing.import_branch import branch_folder
from scripts.editing.stray_modules import stray_modules
from scripts.editing.trailer_places import with_places
from scripts.lint.exact_check import apply_series, base_problems
from scripts.lint.left_out import left_out_problems
from scripts.lint.place_checks import place_problems, shipped_places
from scripts.lint.readme_table import readme_problems
from scripts.lint.unexported import unexported
from scripts.series.bases import series_base, several_bases
from scripts.series.forward_files import unused_forward_folders
from scripts.series.hunk_imports import imported_by_hunks
from scripts.series.module_checks import (
    imports_of_nothing,
    unclaimed_modules,
    uncovered_imports,
    with_meant_modules,
)
from scripts.series.patch_series import Series
from scripts.series.profile import profile_problems
from scripts.series.series import FIX_ALL, read_with_problems
from scripts.series.series_checks import place


@dataclass
class Findings:
    """What is wrong with a fork, what is worth a look, and what could not be checked."""

    series: Series
    problems: list[Problem]
    warnings: list[Problem] = field(default_factory=list)
    unchecked: str = ""

    def error(self) -> UsageError:
        """Return all problems as one error, in the order of the files."""
        count = len(self.problems)
        title = "1 thing is not in order:" if count == 1 else f"{count} things are not in order:"
        return problems_error(title, in_order(self.problems), hint=FIX_ALL)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in the order of the files that they name."""
    return sorted(problems, key=lambda problem: problem.where)


def lint(repo: Repository, lock: Lock, *, write: bool) -> Findings:
    """Find everything that is wrong, and with `write` write README's table."""
    series, problems = read_with_problems(repo, lock)
    found = Findings(series, _with_hunk_imports(repo, series, problems))
    found.problems += stray_modules(repo, branch_folder(repo, None))
    found.problems += profile_problems(repo, series)
    found.problems += unused_forward_folders(repo, series)
    found.problems += readme_problems(repo, series, write=write)
    git = _git_with_releases(repo, lock, series)
    if git is None:
        found.problems += several_bases(series, lock)
        found.unchecked = "whether each patch applies to its Base:, and to upstream's package alone"
    else:
        _check_in_git(repo, git, lock, found)
    found.warnings += map(Problem, repo.config.stale_exclusions(lock))
    found.problems = with_places(repo, lock, series, found.problems)
    return found


def _with_hunk_imports(repo: Repository, series: Series, problems: list[Problem]) -> list[Problem]:
    """Add what is wrong with the imports of hunks to the problems of the series.

    It says of a module which patch must name it, so that no patch does is no finding besides.
    """
    package, meant = repo.config.overrides.package, with_meant_modules(repo, series)
    imported = {
        f"{package}/{file}" for patch in meant.active for file in imported_by_hunks(repo, patch)
    }
    said = {item for item in unclaimed_modules(repo, series) if item.where in imported}
    return [
        *(problem for problem in problems if problem not in said),
        *(
            item.at(place(repo, patch))
            for check in (imports_of_nothing, uncovered_imports)
            for patch in meant.active
            for item in check(repo, meant, patch)
        ),
    ]


def _git_with_releases(repo: Repository, lock: Lock, series: Series) -> Git | None:
    """Return the private repository if the base of the series is there.

    Its temporary files go elsewhere, because lint does not wait for another run, and one that
    begins removes such files.
    """
    if not repo.has_git:
        return None
    git = replace(repo.git, scratch=None)
    commit = series_base(series, lock).commit
    return git if commit and git.resolve(f"{commit}^{{commit}}") else None


def _check_in_git(repo: Repository, git: Git, lock: Lock, found: Findings) -> None:
    """Check what needs upstream's files."""
    series, base = found.series, series_base(found.series, lock)
    done = apply_series(git, series, base)
    found.problems += base_problems(repo, git, lock, series, done)
    found.problems += place_problems(repo, series, shipped_places(git, repo.config, base))
    if len(done.trees) == len(series.active):
        found.problems += left_out_problems(repo, git, series, base, done.trees)
        found.warnings += unexported(repo, lock, series, done.trees)
