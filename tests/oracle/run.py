"""Judge bare upstream and the series side by side: `nox -s oracle -- --steps 100000 --database sqlite`.

Prints a line of figures a tree, the reproducers of stale reads, and writes all of it as JSON. Ends with 20 where the series
has a stale read, an error of its own, or nothing that was judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE.parent)]

from oracle.environments import Database, Environment, Subject, is_clean, run_worker  # noqa: E402

from scripts.core.console import info, progress  # noqa: E402
from scripts.core.errors import Exit, ForkError  # noqa: E402
from scripts.core.lockfile import read_lock  # noqa: E402
from scripts.core.repository import Repository  # noqa: E402
from scripts.core.result_cache import ResultCache, digest, file_digest  # noqa: E402
from scripts.core.subprocesses import stop_all  # noqa: E402
from scripts.probes.servers import server_identity  # noqa: E402
from scripts.series.apply import TreeBuilder  # noqa: E402
from scripts.series.profile import check_profile, settings_for  # noqa: E402
from scripts.series.series import read_series  # noqa: E402
from scripts.upstream.vendor import ensure_releases  # noqa: E402

PORTION = 2500
"""Steps of one process; a portion's seeds depend on its number alone, so that any number of processes does the same steps."""


@dataclass
class SubjectResult:
    """What one tree came to."""

    name: str
    count: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    reproducers: list[Any] = field(default_factory=list)
    raised: dict[str, Any] = field(default_factory=dict)
    examples: list[Any] = field(default_factory=list)

    def add(self, result: dict[str, Any]) -> None:
        """Add what a process counted."""
        self.count.update(result["figures"])
        self.seconds += result["seconds"]
        self.reproducers += result["reproducers"]
        self.raised |= result["raised"]
        self.examples += result["needless"]

    @property
    def needless(self) -> str:
        """The share of the drops that were for nothing, of those of which it can be said."""
        decided = self.count["drops needless"] + self.count["drops needed"]
        return f"{100 * self.count['drops needless'] / decided:.2f}%" if decided else "none decided"

    @property
    def _odd(self) -> str:
        """How many of them the workload's few odd queries had."""
        odd = self.count["drops needless odd"]
        return f", {odd} of {self.count['drops needless']} odd" if odd else ""

    def line(self) -> str:
        """Sum up in a line."""
        count = self.count
        return (
            f"{self.name:15} steps {count['steps']}  reads {count['reads']}  hits {count['hits']}  stale reads {count['stale']}  "
            f"needless drops {self.needless} of {count['drops']} ({count['drops undecided']} undecided{self._odd})  "
            f"evicted {count['evicted']}  refused {count['writes refused']}  errors {count['reads raised'] + count['writes raised']}  blown up {count['reads blown up']}  "
            f"{count['steps'] / self.seconds if self.seconds else 0:.0f} steps/s"
        )


def main() -> int:
    """Do what the command line says."""
    options = parse_arguments(sys.argv[1:])
    try:
        columns = judge_subjects(options)
    except ForkError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        stop_all()
        return int(Exit.INTERRUPTED)
    for column in columns:
        sys.stdout.write(f"{column.line()}\n")
    report(columns, options)
    return int(
        Exit.OK
        if is_clean([column.count for column in columns if not column.name.startswith("bare")])
        else Exit.ATTENTION
    )


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Decode the command line."""
    parser = argparse.ArgumentParser(prog="nox -s oracle --", description=__doc__)
    parser.add_argument(
        "--steps", type=int, default=100_000, help="rule executions, summed over seeds"
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument(
        "--isolation", choices=("read-committed", "repeatable-read"), default="read-committed"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--release", help="a pinned release (default: the locked one)")
    parser.add_argument(
        "--tree", type=Path, help="a folder in place of the release with the series"
    )
    parser.add_argument(
        "--columns", default="bare,bare-insideout,series", help="which trees are judged"
    )
    parser.add_argument(
        "--workload",
        choices=("anything", "rover"),
        default="anything",
        help="rover: the mix for the share of needless drops (docs/oracle.md)",
    )
    parser.add_argument(
        "--environment", default="py311-django5.2", help="an environment of fork.toml"
    )
    parser.add_argument(
        "--spare",
        type=int,
        default=0,
        help="bytes after which the server evicts what it likes (default: never)",
    )
    parser.add_argument(
        "--shrink",
        type=int,
        default=3,
        help="how many stale reads of a process are reduced to a reproducer",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument(
        "--fresh", action="store_true", help="judge portions anew that an earlier run has finished"
    )
    parser.add_argument("--json", type=Path, default=ROOT / ".fork" / "oracle.json")
    return parser.parse_args(arguments)


def judge_subjects(options: argparse.Namespace) -> list[SubjectResult]:
    """Run every column, in portions, a few processes at a time."""
    repo = Repository(ROOT)
    with repo.exclusive():
        subjects = list(
            subjects_of(repo, options.columns.split(","), options.release, options.tree)
        )
    with ExitStack() as stack:
        environment = stack.enter_context(
            Environment.prepared(
                repo, options.environment, Database(options.database, options.isolation)
            )
        )
        columns = [SubjectResult(subject.name) for subject in subjects]
        portions = [
            min(PORTION, options.steps - start) for start in range(0, options.steps, PORTION)
        ]
        jobs = [
            (column, subject, n, steps)
            for n, steps in enumerate(portions)
            for column, subject in zip(columns, subjects, strict=True)
        ]
        store = ResultCache(repo.work / "results", fresh=options.fresh)
        advance = stack.enter_context(
            progress(f"judging {', '.join(column.name for column in columns)}", len(jobs))
        )

        def run_one(job: tuple[SubjectResult, Subject, int, int]) -> None:
            column, subject, number, steps = job
            words = [
                "--steps",
                steps,
                "--seed",
                options.seed * 1000 + number,
                "--shrink",
                options.shrink,
                "--workload",
                options.workload,
                "--spare",
                options.spare,
            ]
            column.add(portion_result(store, environment, subject, [str(word) for word in words]))
            advance()

        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(run_one, jobs))
    return columns


def portion_result(
    store: ResultCache, environment: Environment, subject: Subject, words: list[str]
) -> dict[str, Any]:
    """Return what a portion came to, in this run or in an earlier one of the same tree, code and environment."""
    server = environment.repo.config.server(environment.server)
    assert server is not None
    key = digest(
        "oracle",
        {
            "tree": file_digest(subject.folder),
            "settings": str(sorted(subject.settings.items())),
            "code": file_digest(HERE),
            "environment": (str(environment.ready.python), environment.ready.fingerprint),
            "server": server_identity(server),
            "database": (environment.database.kind, environment.database.isolation),
            "words": words,
        },
    )
    found = store.get(key)
    if found is None:
        found = run_worker(environment, subject, words)
        store.put(key, found)
    return dict(found)


def subjects_of(
    repo: Repository, columns: Sequence[str], version: str | None = None, tree: Path | None = None
) -> Iterator[Subject]:
    """Build the trees that are asked for: bare, bare-insideout, series."""
    lock = read_lock(repo.lock_file)
    ensure_releases(repo, lock)
    series = read_series(repo, lock)
    builder = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results"))
    version = version or lock.locked
    release = lock.release(version)
    if release is None:
        raise ForkError(f"{version} is not pinned", hint="nox -s pin")
    bare = builder.folder(release.tree)
    settings = settings_for(check_profile(repo, series), series, version, None).as_dict()
    if "bare" in columns:
        yield Subject("bare", bare, {})
    if "bare-insideout" in columns:
        yield Subject("bare-insideout", bare, {"CACHEOPS_INSIDEOUT": True})
    if "series" in columns:
        built = builder.build(series.active, release)
        info(f"the series is {', '.join(built.applied)}")
        yield Subject("series", tree or builder.folder(built.tree), settings)


def report(columns: list[SubjectResult], options: argparse.Namespace) -> None:
    """Print how to see each stale read again, and write everything as JSON."""
    for column in columns:
        for found in column.reproducers:
            sys.stdout.write(f"\n{column.name}, seed {found['seed']}: stale is {found['query']}\n")
            sys.stdout.write(
                "".join(f"    {line}\n" for step in found["steps"] for line in step.splitlines())
            )
        for error, (source, _) in column.raised.items():
            sys.stdout.write(f"\n{column.name} raises {error}\n    {source}\n")
    options.json.parent.mkdir(exist_ok=True)
    found = [{"name": item.name, "needless": item.needless, **vars(item)} for item in columns]
    options.json.write_text(
        json.dumps(
            {"options": {k: str(v) for k, v in vars(options).items()}, "columns": found}, indent=1
        )
    )


if __name__ == "__main__":
    sys.exit(main())
