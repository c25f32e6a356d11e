# /// script
# dependencies = ["nox[uv]"]
# ///
"""The maintainer's verbs: `nox -l` lists them, `nox -s VERB -- --help` explains one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from scripts.core.errors import Exit  # noqa: E402
from scripts.core.index_settings import discover_index  # noqa: E402

PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

logging.getLogger("scripts").setLevel(logging.WARNING)
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["status"]


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group from the index that all clients use."""
    session.env.update(discover_index(ROOT).environment())
    try:
        session.install("--quiet", *nox.project.dependency_groups(PROJECT, group))
    except CommandFailed:
        session.log(
            "the tools could not be installed: check the network and the index, then run this again"
        )
        raise SystemExit(Exit.ENVIRONMENT) from None


def run_python(session: nox.Session, *words: str) -> int:
    """Run the session's Python and return its exit code, which nox itself would reduce to 1."""
    sys.stdout.flush()
    python = Path(session.bin, "python")
    environment = {
        **os.environ,
        **{key: value for key, value in session.env.items() if value is not None},
    }
    return subprocess.run([python, *words], cwd=ROOT, env=environment, check=False).returncode


def exit_with(exit_code: int) -> None:
    """Exit with a code, unless it is 0 (README lists the codes)."""
    if exit_code:
        raise SystemExit(exit_code)


def run_verb(session: nox.Session, group: str = "tools") -> None:
    """Run the verb that has the session's name."""
    install(session, group)
    exit_with(run_python(session, "-m", "scripts", session.name, *session.posargs))


@nox.session
def status(session: nox.Session) -> None:
    """Report which of Rover's features are still needed, on every tracked release."""
    run_verb(session)


@nox.session(default=False)
def matrix(session: nox.Session) -> None:
    """Report as `status` does, from every cell of the matrix (takes minutes)."""
    run_verb(session, "matrix")


@nox.session(default=False)
def cell(session: nox.Session) -> None:
    """Run every probe in one cell and show each column (-- NAME; `matrix -- --list` names them)."""
    run_verb(session, "matrix")


@nox.session
def probe(session: nox.Session) -> None:
    """Run the probes of features on the imported tree, before any export (-- ID, --watch)."""
    run_verb(session, "matrix")


@nox.session
def watch(session: nox.Session) -> None:
    """Report upstream changes since the last run: the newest release and unreleased sources."""
    run_verb(session)


@nox.session
def bisect(session: nox.Session) -> None:
    """Find which release or commit made a feature unnecessary (-- [git:URL@A..B] --patch ID)."""
    run_verb(session)


@nox.session(default=False)
def init(session: nox.Session) -> None:
    """Begin a fork of another package in another folder (-- PACKAGE --repo DIR)."""
    run_verb(session)


@nox.session
def pin(session: nox.Session) -> None:
    """Pin the tracked releases in upstream/lock.toml."""
    run_verb(session)


@nox.session
def vendor(session: nox.Session) -> None:
    """Download and verify the pinned releases, and write upstream/src/."""
    run_verb(session)


@nox.session(name="import")
def import_(session: nox.Session) -> None:
    """Create a work tree in which the series is a branch, with one commit per patch."""
    run_verb(session)


@nox.session
def new(session: nox.Session) -> None:
    """Begin a patch and its feature from templates (-- ID)."""
    run_verb(session)


@nox.session
def export(session: nox.Session) -> None:
    """Write that branch back as patches/."""
    run_verb(session)


@nox.session
def forward(session: nox.Session) -> None:
    """Write a patch as a branch and a pull request for upstream (-- ID [SOURCE])."""
    run_verb(session)


@nox.session
def rebase(session: nox.Session) -> None:
    """Move the series to another upstream release (-- VERSION, --continue, --skip, --abort)."""
    run_verb(session, "wheel")


@nox.session
def retire(session: nox.Session) -> None:
    """Retire features that upstream made unnecessary (-- ID)."""
    run_verb(session)


@nox.session
def unretire(session: nox.Session) -> None:
    """Take retired features back into the series (-- ID)."""
    run_verb(session)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel into dist/ and test it as an installation (-- --bump increments N)."""
    run_verb(session, "wheel")


@nox.session
def publish(session: nox.Session) -> None:
    """Build, test, upload and install the wheel (-- --index NAME, --dry-run)."""
    run_verb(session, "wheel")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of the tools, the overrides and the situations (-- PYTEST-ARGUMENTS).

    With `-- --fast`, run those that take less than two minutes together: no test that is marked as
    slow, no whole fork and no gate.
    """
    install(session, "tests")
    # Many tests wait for servers, so two cores can run three processes. `loadgroup` runs the tests
    # of a group in one process, so that they share what is expensive to create.
    workers = str(3 * (os.cpu_count() or 2) // 2 or 1)
    parallel = ["-n", workers, "--dist", "loadgroup", "--durations", "15"]
    words = session.posargs or parallel
    if "--fast" in words:
        others = [word for word in words if word != "--fast"]
        folders = ["tests/scripts", "tests/overrides", "tests/support"]
        words = [*parallel, "-m", "not slow", *(others or folders)]
    session.run("pytest", *words)


@nox.session(default=False)
def oracle(session: nox.Session) -> None:
    """Check that no cached result differs from the database, on bare upstream and on the series.

    Options: `-- --steps N`, `--database`, `--help`.
    """
    install(session, "tools")
    exit_with(run_python(session, "tests/oracle/run.py", *session.posargs))


@nox.session(default=False)
def django(session: nox.Session) -> None:
    """Run Django's own tests under the wheel (an hour per Django; -- --help).

    Fails if a test newly fails or a result is wrong.
    """
    run_verb(session, "matrix")


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """Check that no read under faults returns stale data (an hour per server; -- --help)."""
    run_verb(session, "chaos")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Benchmark the wheel, upstream's two modes, django-cachalot and no cache (-- --help).

    Takes about a quarter of an hour.
    """
    install(session, "bench")
    exit_with(run_python(session, "tests/benchmarks/run.py", *session.posargs))


@nox.session(default=False)
def history(session: nox.Session) -> None:
    """Move Rover's fork of 4.0.7 through every release, running upstream's own tests (minutes)."""
    install(session, "tests")
    session.run("pytest", "tests/history", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check code style, the series, and README's table of patches (-- --write mends what it can).

    Every check runs, whatever the others find.
    """
    install(session, "lint")
    series = ("scripts", "lint", *session.posargs)
    write = session.posargs == ["--write"]
    styles = [("ruff", "check", *(["--fix"] if write else []), ".")]
    styles += [("ruff", "format", *([] if write else ["--check"]), ".")]
    # Other words are the verb's, such as --help.
    checks = [*styles, series] if write or not session.posargs else [series]
    codes = {words: run_python(session, "-m", *words) for words in checks}
    failed = [" ".join(words) for words, code in codes.items() if code]
    if failed and len(checks) > 1:
        session.log(f"checked: {'; '.join(' '.join(words) for words in checks)}")
        session.log(f"not in order: {'; '.join(failed)}")
        mends = [] if write else ["`nox -s lint -- --write` mends what can be mended"]
        session.log("; ".join([*mends, "each finding above says what mends it"]))
    exit_with(codes[series] or (Exit.ATTENTION if failed else 0))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy in strict mode."""
    install(session, "types")
    session.run("mypy")
