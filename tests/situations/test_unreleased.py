"""Upstream that nobody released: what a branch or a checkout would do to the series, and since which commit."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.status.bisect import first_good
from tests.support.harness import SITUATIONS, Fork, index_of_releases
from tests.support.local_index import File, LocalIndex, sdist, serving
from tests.support.upstream_history import CAPITALIZED_LINE, HITS, STRIPPED_LINE, UpstreamHistory

VERSIONS = ("1.0", "1.1", "2.0")


@pytest.fixture
def history(fork, tmp_path):
    """Give upstream's repository with its releases, and a commit after the last that changes nothing for us."""
    made = UpstreamHistory(tmp_path / "upstream", fork.root / ".fork/sdists", VERSIONS)
    made.unrelated("Thank somebody")
    return made


def at(done):
    """Return the one version that was tried."""
    (version,) = done.report["upstream"]["releases"]
    return version


def untouched(fork):
    """Return what a source must never change."""
    return {
        name: fork.read(name)
        for name in ("upstream/lock.toml", "patches/series", "upstream/src/larder/labels.py")
    }


# A branch


def test_branch_that_changes_nothing_for_us_gives_the_verdicts_of_its_release(fork, history):
    before = untouched(fork)
    done = fork.status("--upstream", f"git:{history.root}@main")
    assert done.code == 0, done.stderr
    assert re.fullmatch(r"2\.0\+git\.main\.[0-9a-f]{10}", at(done))
    assert done.report["answer"]["text"].startswith(
        f"No: bare made-up-larder {at(done)} is not enough; 1 feature stands"
    )
    assert done.verdicts == {
        "trim-headings": "needed",
        "count-hits": "absorbed",
        "fold-names": "configurable",
    }
    assert done.features["trim-headings"]["releases"][at(done)]["applies"] == "clean"
    assert untouched(fork) == before
    assert fork.status().report["upstream"]["releases"] == list(VERSIONS), "a source is not tracked"


def test_patch_that_a_branch_absorbs_could_go(fork, history):
    history.change("Trim", "larder/labels.py", CAPITALIZED_LINE, STRIPPED_LINE)
    done = fork.status("--upstream", f"git:{history.root}@main", "--check")
    assert (done.code, done.verdicts["trim-headings"]) == (10, "absorbed")
    assert done.report["answer"]["bare_is_enough"] is True
    assert fork.status().verdicts["trim-headings"] == "needed", "it stays needed where we stand"


def test_patch_whose_place_a_branch_rewrote_would_conflict(fork, history):
    history.change("Loud", "larder/labels.py", CAPITALIZED_LINE, "    return line.upper()\n")
    done = fork.status("--upstream", f"git:{history.root}@main")
    assert (done.code, done.verdicts["trim-headings"]) == (20, "conflict")
    assert done.cell("trim-headings", at(done))["detail"].startswith(
        "larder/labels.py: line 8 (hunks "
    )


def test_retired_patch_that_a_branch_takes_back_would_regress(fork, history):
    history.change("Be quick", "larder/shelf.py", HITS, "")
    done = fork.status("--upstream", f"git:{history.root}@main")
    assert (done.code, done.verdicts["count-hits"]) == (20, "regressed")
    assert "test_hits_are_counted" in done.cell("count-hits", at(done))["detail"]


def test_branch_is_fetched_anew_each_time(fork, history):
    source = f"git:{history.root}@main"
    first = fork.status("--upstream", source)
    history.change("Trim", "larder/labels.py", CAPITALIZED_LINE, STRIPPED_LINE)
    second = fork.status("--upstream", source)
    assert (first.verdicts["trim-headings"], second.verdicts["trim-headings"]) == (
        "needed",
        "absorbed",
    )
    assert fork.status("--upstream", source).probe_processes_run == 0


def test_tag_and_commit_are_taken_too(fork, history):
    tip = history.git("rev-parse", "1.1")
    by_tag = fork.status("--upstream", f"git:{history.root}@1.1")
    by_commit = fork.status("--upstream", f"git:{history.root}@{tip}")
    assert at(by_tag) == f"1.1+git.1.1.{tip[:10]}", (
        "it stands beside the release that it is nearest to"
    )
    assert at(by_commit).startswith("1.1+git.")
    assert by_tag.verdicts == by_commit.verdicts
    assert by_tag.verdicts["count-hits"] == "needed"


def test_source_stands_beside_releases(fork, history):
    done = fork.status("--upstream", f"git:{history.root}@main", "--upstream", "2.0")
    assert done.report["upstream"]["releases"][0] == "2.0"
    assert done.report["answer"]["release"] == done.report["upstream"]["releases"][1]


# A checkout


def test_checkout_is_tried_as_it_stands(fork, history):
    labels = history.root / "larder/labels.py"
    labels.write_text(labels.read_text().replace(CAPITALIZED_LINE, STRIPPED_LINE))
    (history.root / ".gitignore").write_text("*.log\n")
    (history.root / "run.log").write_text("1")
    first = fork.status("--upstream", f"path:{history.root}")
    assert first.code == 0, first.stderr
    assert re.fullmatch(r"2\.0\+path\.[0-9a-f]{10}", at(first))
    assert first.verdicts["trim-headings"] == "absorbed"
    (history.root / "run.log").write_text("2")
    assert fork.status("--upstream", f"path:{history.root}").probe_processes_run == 0, (
        "what git ignores is no part of it"
    )
    labels.write_text(labels.read_text().replace(STRIPPED_LINE, CAPITALIZED_LINE))
    assert fork.status("--upstream", f"path:{history.root}").verdicts["trim-headings"] == "needed"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("path:nowhere", "error: path:nowhere: there is no such folder"),
        ("git:{root}@mian", "there is no mian; did you mean main?"),
        ("git:{root}", "error: not a source: "),
        ("git:{root}@..main", "error: not a source: "),
        ("git:{root}@main..1.0", "names no commit: 1.0 is not after main"),
        (
            "path:{patches}",
            "error: that is not made-up-larder: it has no file of any pinned release",
        ),
    ],
)
def test_wrong_source_is_named(fork, history, source, complaint):
    words = source.format(root=history.root, patches=fork.root / "patches")
    done = fork.status("--upstream", words)
    assert (done.code, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_repository_that_cannot_be_had_is_the_environments_fault(fork, tmp_path):
    done = fork.status("--upstream", f"git:{tmp_path}/none@main")
    assert (done.code, done.stdout) == (3, "")
    assert "does not appear to be a git repository" in done.stderr


# Down to the commit


@pytest.mark.parametrize("count", range(1, 40))
def test_search_finds_the_change_and_asks_few(count):
    for first in range(count + 1):
        asked = set()

        def good(step, first=first, asked=asked):
            assert step not in asked, "asked twice"
            asked.add(step)
            return step >= first

        expected = (first - 1 if first else None, first if first < count else None)
        assert first_good(count, good) == expected
        assert len(asked) <= 2 + max(count - 1, 1).bit_length()
        assert {step for step in expected if step is not None} <= asked


def test_search_passes_over_steps_that_say_nothing():
    silent = {4, 5, 6}
    assert first_good(10, lambda step: None if step in silent else step >= 7) == (3, 7)
    assert first_good(10, lambda step: None if step in silent else step >= 9) == (8, 9)
    assert first_good(10, lambda step: None if step in silent else step >= 2) == (1, 2)


def test_bisect_names_the_commit_that_absorbed_a_patch(fork, history):
    for number in range(9):
        history.unrelated(f"Before {number}")
    wanted = history.change(
        "Trim what is around a heading", "larder/labels.py", CAPITALIZED_LINE, STRIPPED_LINE
    )
    for number in range(8):
        history.unrelated(f"After {number}")
    done = fork.run("bisect", f"git:{history.root}@2.0..main", "--patch", "trim-headings")
    assert done.code == 0, done.stderr
    before = history.git("rev-parse", f"{wanted}^")
    assert done.stdout.splitlines() == [
        f"trim-headings: absorbed in {wanted[:10]} (Trim what is around a heading); confirmed in plain, where {before[:10]} (Before 8) fails"
    ]
    assert "20 steps, " in done.stderr
    assert done.probe_processes_run <= 7, "20 steps need no more than 2 + log2(20) runs"
    assert (
        fork.run(
            "bisect", f"git:{history.root}@2.0..main", "--patch", "trim-headings"
        ).probe_processes_run
        == 0
    )


def test_bisect_over_the_releases_agrees_with_status(fork):
    done = fork.run("bisect")
    assert done.stdout.splitlines() == [
        "trim-headings: not absorbed up to 2.0",
        "count-hits: absorbed in 2.0; confirmed in plain, where 1.1 fails",
        "fold-names: not absorbed up to 2.0",
        "fold-names: configurable in 2.0; confirmed in plain, where 1.1 fails",
    ]


def test_bisect_of_no_range_is_refused(fork, history):
    done = fork.run("bisect", f"git:{history.root}@main")
    assert (done.code, done.stdout) == (2, "")
    assert "error: not a range: " in done.stderr


# Watch


@dataclass(frozen=True)
class Watched:
    """A fork and the index that it asks."""

    fork: Fork
    index: LocalIndex

    def watch(self):
        """Run `watch`."""
        return self.fork.run("watch", PIP_INDEX_URL=self.index.address, NO_PROXY="127.0.0.1")


@pytest.fixture
def watched(fork, history):
    """Yield a fork that watches a branch, and the index that has its releases."""
    fork.replace(
        "fork.toml", 'track = ">=1"', f'track = ">=1"\nwatch = ["git:{history.root}@main"]'
    )
    with serving(index_of_releases(SITUATIONS / "larder_releases", "made_up_larder")) as index:
        yield Watched(fork, index)


def test_watch_speaks_of_a_branch_once(watched, history):
    first = watched.watch()
    version = re.search(r"2\.0\+git\.main\.\w+", first.stdout)[0]
    assert first.code == 10
    assert first.stdout.splitlines()[:5] == [
        f"Nothing to do: all features are needed on {version}; 2 are retired.",
        "next: nox -s status",
        "",
        f"git:{history.root}@main:",
        f"  {version} is here, not looked at before",
    ]
    assert watched.fork.read(".fork/watch.json")
    second = watched.watch()
    assert (second.code, second.stdout.splitlines()) == (
        0,
        [
            "Nothing to do, as the last time: all features are needed on 2.0; 2 are retired.",
            "next: nox -s watch",
        ],
    )


def test_watch_says_which_patch_could_go(watched, history):
    watched.watch()
    history.change("Trim", "larder/labels.py", CAPITALIZED_LINE, STRIPPED_LINE)
    done = watched.watch()
    assert done.code == 10, done.stderr
    assert "  trim-headings: absorbed, needed the last time" in done.stdout.splitlines()
    assert (
        done.stdout.splitlines()[1]
        == f"next: nox -s status -- --upstream git:{history.root}@main --patch trim-headings --why"
    )
    page = done.stdout.split("evidence: ")[1].strip()
    assert "Can go: absorbed." in Path(page).read_text()


def test_watch_calls_somebody_where_a_branch_would_conflict(watched, history):
    watched.watch()
    history.change("Loud", "larder/labels.py", CAPITALIZED_LINE, "    return line.upper()\n")
    done = watched.watch()
    assert done.code == 20
    assert (
        "\n  trim-headings: conflict, needed the last time: larder/labels.py: line 8 (hunks "
        in done.stdout
    )
    assert watched.watch().code == 0


def test_watch_looks_at_what_a_repository_has_checked_out(watched, history):
    watched.fork.replace("fork.toml", "@main", "@HEAD")
    done = watched.watch()
    assert (done.code, done.stderr.count("error")) == (10, 0)
    assert re.search(r"2\.0\+git\.head\.\w{10} is here, not looked at before", done.stdout)
    history.git("switch", "--quiet", "--detach", "1.1")
    assert re.search(
        r"1\.1\+git\.head\.\w{10} is here, 2\.0\+git\.head\.\w{10} the last time",
        watched.watch().stdout,
    )


def stripping(version):
    """Return a release that does by itself what the fork's patch does."""
    files = {}
    for name in VERSIONS:
        folder = SITUATIONS / "larder_releases" / name
        files |= {
            str(path.relative_to(folder)): path.read_text()
            for path in folder.rglob("*")
            if path.is_file()
        }
    files["larder/labels.py"] = files["larder/labels.py"].replace(CAPITALIZED_LINE, STRIPPED_LINE)
    return File(sdist(version, files, name="made_up_larder"))


def test_watch_looks_at_a_candidate_only_where_fork_toml_wants_them(watched):
    watched.watch()
    watched.index.files["made_up_larder-3.0rc1.tar.gz"] = stripping("3.0rc1")
    done = watched.watch()
    assert (done.code, done.stdout.splitlines()[0]) == (
        0,
        "Nothing to do, as the last time: all features are needed on 2.0; 2 are retired.",
    )
    watched.fork.replace("fork.toml", "track =", "prereleases = true\ntrack =")
    done = watched.watch()
    assert (done.code, done.stdout.splitlines()[:2]) == (
        10,
        [
            "3.0rc1 is released, where 1 feature can go: trim-headings; the fork stands on 2.0.",
            "next: nox -s rebase -- 3.0rc1 --dry-run",
        ],
    )


def test_watch_passes_over_a_release_without_an_sdist(watched):
    watched.watch()
    watched.index.files["made_up_larder-3.0-py3-none-any.whl"] = File(b"a wheel")
    done = watched.watch()
    assert (done.code, done.stdout.splitlines()[0]) == (
        0,
        "Nothing to do, as the last time: all features are needed on 2.0; 2 are retired.",
    )
    assert "3.0 has no sdist" in done.stderr


def test_watch_finds_a_release_that_is_not_pinned(watched):
    watched.watch()
    lock = watched.fork.read("upstream/lock.toml")
    watched.index.files["made_up_larder-3.0.tar.gz"] = stripping("3.0")
    done = watched.watch()
    assert done.code == 10, done.stderr
    assert done.stdout.splitlines()[:6] == [
        "3.0 is released, where 1 feature can go: trim-headings; the fork stands on 2.0.",
        "next: nox -s rebase -- 3.0 --dry-run",
        "",
        "the newest release:",
        "  3.0 is here, 2.0 the last time",
        "  trim-headings: absorbed, needed the last time",
    ]
    assert watched.fork.read("upstream/lock.toml") == lock, "watching pins nothing"
    again = watched.watch()
    assert (again.code, again.stdout.splitlines()[0]) == (
        0,
        f"As the last time: {done.stdout.splitlines()[0]}",
    )
    told = watched.fork.run("status").stdout.splitlines()
    assert told[:2] == [
        "3.0 is released, which is not tried yet; the fork stands on 2.0.",
        "next: nox -s rebase -- 3.0 --dry-run",
    ], "what watch saw counts for status, too"


def test_watch_writes_the_text_of_an_issue(watched, history):
    watched.watch()
    history.change("Trim", "larder/labels.py", CAPITALIZED_LINE, STRIPPED_LINE)
    done = watched.fork.run(
        "watch", "--format", "markdown", PIP_INDEX_URL=watched.index.address, NO_PROXY="127.0.0.1"
    )
    title, blank, command, *rest = done.stdout.splitlines()
    assert re.fullmatch(
        r"# 1 feature can go on 2\.0\+git\.main\.\w{10}: trim-headings \(absorbed\)\.", title
    )
    assert (done.code, blank) == (10, "")
    assert (
        command
        == f"Next: `nox -s status -- --upstream git:{history.root}@main --patch trim-headings --why`"
    )
    assert "- trim-headings: absorbed, needed the last time" in rest
    assert rest[-1] == f"Evidence: `nox -s status -- --upstream git:{history.root}@main --why`"


def test_source_that_is_away_hides_no_other(watched, history):
    watched.watch()
    shutil.move(history.root, f"{history.root}.away")
    done = watched.watch()
    assert (done.code, done.stdout.splitlines()) == (
        3,
        [
            "Not known: 1 of the 2 sources could not be looked at, and at the others nothing has changed.",
            "next: nox -s watch",
        ],
    )
    assert "does not appear to be a git repository" in done.stderr
    shutil.move(f"{history.root}.away", history.root)
    assert watched.watch().code == 0
