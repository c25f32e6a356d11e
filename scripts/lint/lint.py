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
from scripts.lint.exact_check import apply_series, base_problems
from scripts.lint.import_checks import hunk_import_problems
from scripts.lint.place_checks import place_problems, shipped_places
from scripts.lint.readme_table import readme_problems
from scripts.lint.unexported import unexported
from scripts.series.bases import series_base, several_bases
from scripts.series.profile import profile_problems
from scripts.series.series import FIX_ALL, Series, read_with_problems


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
    found = Findings(series, problems)
    found.problems += hunk_import_problems(repo, series)
    found.problems += stray_modules(repo, branch_folder(repo, None))
    found.problems += profile_problems(repo, series)
    found.problems += readme_problems(repo, series, write=write)
    git = _git_with_releases(repo, lock, series)
    if git is None:
        found.problems += several_bases(series, lock)
        found.unchecked = "whether each patch applies to its Base:, and to upstream's package alone"
    else:
        _check_in_git(repo, git, lock, found)
    found.warnings += map(Problem, repo.config.stale_exclusions(lock))
    return found


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
        found.warnings += unexported(repo, lock, series, done.trees)
