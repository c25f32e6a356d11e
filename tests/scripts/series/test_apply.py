"""The series on its base and moved to other releases, with real git on small trees."""

import dataclasses
import difflib
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.core.model import Applies, Lock, Release, State, TextPresence
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.series.apply import FORMAT_PATCH_OPTIONS, TreeBuilder
from scripts.series.cherry_pick import commit_diff
from scripts.series.feature_record import feature_from_patch
from scripts.series.patch_file import read_patch
from scripts.series.series import Series

FORK_TOML = """
[upstream]
name = "tally"
track = ">=1"

[overrides]
package = "extra"

[probes]
control = ["tests/probes/test_control.py"]

[[environments]]
id = "plain"
python = "3.11"
"""

BODY = """\
    x = clean(x)
    check(x)
    return x
"""
BASE = f"""\
def save(x):
{BODY}

def load(x):
{BODY}"""
"""Two functions with one body: a hunk with a line of context fits into both."""

STRICT = BASE[: BASE.index("def load")] + BASE[BASE.index("def load") :].replace(
    "check(x)", "check(x, strict=True)"
)


@dataclasses.dataclass
class Bench:
    """A fork without its command line: releases in the private repository, patches on disk, trees from both."""

    repo: Repository
    releases: list[Release] = dataclasses.field(default_factory=list)
    active: list[Path] = dataclasses.field(default_factory=list)
    retired: list[Path] = dataclasses.field(default_factory=list)

    def release(self, version, files):
        """Add a release that holds just these files."""
        git = self.repo.git
        with git.temporary_index() as handle:
            for path, text in files.items():
                blob = handle.text("hash-object", "-w", "--stdin", stdin=text.encode())
                handle.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
            tree = handle.text("write-tree")
        commit = git.text("commit-tree", "-m", version, tree)
        found = Release(
            version, f"tally-{version}.tar.gz", 0, "", datetime.fromtimestamp(0, UTC), tree, commit
        )
        self.releases.append(found)
        return found

    def patch(self, name, old, new, *, base="1", retired=False, **fields):
        """Write a patch that turns some files into others, with one line of context."""
        folder = self.repo.patches / "retired" if retired else self.repo.patches
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.patch"
        trailers = {
            "Id": name,
            "Base": base,
            **{key.replace("_", "-"): value for key, value in fields.items()},
        }
        lines = "".join(f"{key}: {value}\n" for key, value in trailers.items())
        path.write_text(
            f"{HEAD}Subject: [PATCH] Do {name}\n\nIt must be done.\n\n{lines}\n{diff(old, new)}"
        )
        (self.retired if retired else self.active).append(path)
        return path

    @property
    def series(self):
        """The patches as they stand on disk."""
        active = tuple(read_patch(path, State.ACTIVE)[0] for path in self.active)
        retired = tuple(read_patch(path, State.RETIRED)[0] for path in self.retired)
        features = tuple(feature_from_patch(patch)[0] for patch in (*active, *retired))
        return Series(active, retired, features)

    @property
    def builder(self):
        """A tree builder with nothing in memory, only the cache on disk."""
        lock = Lock("tally", self.releases[-1].version, tuple(self.releases))
        return TreeBuilder(self.repo, lock, self.series, ResultCache(self.repo.work / "results"))

    def build(self, release, **options):
        """Return the series on a release."""
        return self.builder.build(self.series.active, release, **options)

    def step(self, release, name="strict"):
        """Return how one patch of the series goes onto a release."""
        return self.build(release).results[name]

    def read(self, tree, path):
        """Return a file of a tree, or None."""
        done = self.repo.git.run("cat-file", "blob", f"{tree}:{path}", ok=None)
        return done.text if done.code == 0 else None

    def files(self, tree):
        """List the files of a tree."""
        return self.repo.git.text("ls-tree", "-r", "--name-only", tree).splitlines()


HEAD = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Maintainer <maintainer@example.invalid>
Date: Tue, 1 Feb 2022 00:00:00 +0000
"""


def diff(old, new):
    """Return the difference between files as git writes it, with one line of context."""
    found = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        found.append(f"diff --git a/{path} b/{path}\n")
        found += ["new file mode 100644\n"] * (before is None) + ["deleted file mode 100644\n"] * (
            after is None
        )
        names = (
            f"a/{path}" if before is not None else "/dev/null",
            f"b/{path}" if after is not None else "/dev/null",
        )
        found += difflib.unified_diff(
            (before or "").splitlines(True), (after or "").splitlines(True), *names, n=1
        )
    return "".join(found)


@pytest.fixture
def bench(tmp_path):
    """Give a fork whose release 1 is one file, and whose only patch makes `load` strict."""
    root = tmp_path / "fork"
    (root / "extra").mkdir(parents=True)
    (root / "fork.toml").write_text(FORK_TOML)
    (root / "extra/__init__.py").write_text("")
    found = Bench(Repository(root))
    found.release("1", {"io.py": BASE})
    found.patch("strict", {"io.py": BASE}, {"io.py": STRICT})
    return found


# On its own base


def test_patch_goes_onto_its_base(bench):
    built = bench.build(bench.releases[0])
    assert (built.applied, bench.step(bench.releases[0]).applies) == (("strict",), Applies.CLEAN)
    assert bench.read(built.tree, "io.py") == STRICT


def test_offset_on_its_own_base_is_refused(bench):
    path = bench.active[0]
    path.write_text(path.read_text().replace("@@ -8,3 +8,3 @@", "@@ -9,3 +9,3 @@"))
    built = bench.build(bench.releases[0])
    assert built.applied == ()
    assert built.results["strict"].applies is Applies.CONFLICT
    words = "does not apply exactly on its own base 1: Hunk #1 succeeded at 8 (offset -1 lines)."
    assert built.results["strict"].detail == words


def test_other_context_on_its_own_base_is_refused(bench):
    path = bench.active[0]
    path.write_text(path.read_text().replace("     return x", "     return y"))
    step = bench.step(bench.releases[0])
    assert step.applies is Applies.CONFLICT
    assert step.detail.startswith("does not apply exactly on its own base 1: error: ")
    assert "error: patch failed: io.py:8" in step.detail


def test_patch_stands_on_those_before_it(bench):
    stricter = STRICT.replace("strict=True", "strict=2")
    bench.patch("stricter", {"io.py": STRICT}, {"io.py": stricter})
    built = bench.build(bench.releases[0])
    assert built.applied == ("strict", "stricter")
    assert bench.read(built.tree, "io.py") == stricter


def test_commit_has_the_words_and_the_author_of_the_mail(bench):
    commit = bench.builder.commits(bench.series.active).ids["strict"]
    words = bench.repo.git.text(
        "log", "-1", "--format=%an <%ae> %ad%n%B", "--date=iso-strict", commit
    )
    assert words == (
        "A Maintainer <maintainer@example.invalid> 2022-02-01T00:00:00+00:00\n"
        "Do strict\n\nIt must be done.\n\nId: strict\nBase: 1"
    )


def test_commit_gives_back_the_hunks_of_the_mail(bench):
    commit = bench.builder.commits(bench.series.active).ids["strict"]
    mail = bench.repo.git.run(
        "format-patch", "--stdout", *FORMAT_PATCH_OPTIONS, f"{commit}^..{commit}"
    ).text
    assert mail.endswith(
        bench.active[0]
        .read_text()
        .partition("+++ b/io.py\n")[2]
        .replace("@@\n", "@@ def load(x):\n")
    )
    assert commit_diff(bench.repo.git, commit).count(b"@@ -") == 1


# On another release


def test_clean_where_upstream_changed_another_place(bench):
    target = bench.release("2", {"io.py": BASE.replace("def save", "def store"), "new.py": ""})
    assert bench.step(target).applies is Applies.CLEAN
    assert bench.read(bench.build(target).tree, "io.py") == STRICT.replace("def save", "def store")


def test_offset_where_upstream_put_lines_before_it(bench):
    other = BASE.replace("    x = clean(x)\n", '    x = f"{x}"\n', 1)
    target = bench.release("2", {"io.py": "import sys\n\n" + other})
    assert bench.step(target).applies is Applies.OFFSET
    assert bench.read(bench.build(target).tree, "io.py").endswith(
        STRICT[STRICT.index("def load") :]
    )


def test_three_way_where_upstream_changed_the_context(bench):
    text = BASE.replace("    return x\n", "    return y\n")
    target = bench.release("2", {"io.py": text})
    assert bench.step(target).applies is Applies.CONFLICT, (
        "a neighbouring line is too near even for a merge"
    )
    target = bench.release("3", {"disk/io.py": BASE})
    assert bench.step(target).applies is Applies.THREE_WAY, "upstream moved the file"
    assert bench.read(bench.build(target).tree, "disk/io.py") == STRICT


def test_conflict_names_file_line_and_hunk(bench):
    target = bench.release("2", {"io.py": BASE.replace("check(x)", "verify(x)")})
    step = bench.step(target)
    assert (step.applies, step.detail) == (
        Applies.CONFLICT,
        "io.py: line 9 (hunks @@ -8,3 +8,3 @@)",
    )
    assert bench.build(target).tree == target.tree


def test_conflict_names_every_file(bench):
    bench.active.clear()
    bench.release("2", {"a.py": "1\n", "b.py": "1\n"})
    bench.patch("both", {"a.py": "1\n", "b.py": "1\n"}, {"a.py": "2\n", "b.py": "2\n"}, base="2")
    target = bench.release("3", {"a.py": "3\n", "b.py": "3\n"})
    assert (
        bench.step(target, "both").detail
        == "a.py: line 1 (hunks @@ -1,1 +1,1 @@); b.py: line 1 (hunks @@ -1,1 +1,1 @@)"
    )


def test_conflict_says_that_upstream_removed_the_file(bench):
    target = bench.release("2", {"other.py": "1\n"})
    assert bench.step(target).applies is Applies.CONFLICT
    assert bench.step(target).detail == "io.py: the file is gone or binary (hunks @@ -8,3 +8,3 @@)"


def test_conflict_in_a_moved_file_names_the_hunks(bench):
    target = bench.release("2", {"disk/io.py": BASE.replace("check(x)", "verify(x)")})
    assert bench.step(target).detail == "disk/io.py: line 9 (hunks @@ -8,3 +8,3 @@)"


def test_patch_after_one_that_conflicts_still_goes_on(bench):
    bench.patch("header", {"io.py": STRICT}, {"io.py": "import sys\n" + STRICT})
    target = bench.release("2", {"io.py": BASE.replace("check(x)", "verify(x)")})
    assert bench.build(target).applied == ("header",)


def test_patch_that_depends_on_one_that_conflicts_does_too(bench):
    bench.patch("header", {"io.py": STRICT}, {"io.py": "import sys\n" + STRICT}, Depends="strict")
    target = bench.release("2", {"io.py": BASE.replace("check(x)", "verify(x)")})
    built = bench.build(target)
    assert (built.applied, built.results["header"].detail) == (
        (),
        "depends on strict, which conflicts",
    )


def test_patch_that_upstream_took_makes_no_difference(bench):
    bench.active.clear()
    bench.release("2", {"a.py": "1\n2\n3\n"})
    bench.patch("two", {"a.py": "1\n2\n3\n"}, {"a.py": "1\ntwo\n3\n"}, base="2")
    target = bench.release("3", {"a.py": "1\ntwo\n3\n"})
    built = bench.build(target)
    assert (built.applied, built.results["two"].applies) == (("two",), Applies.THREE_WAY)
    assert bench.read(built.tree, "a.py") == "1\ntwo\n3\n"


# The misplaced hunk


def plain(bench, release, *words):
    """Take a patch onto a release as `git am` or `git apply` does, and return what the file then holds."""
    with bench.repo.git.temporary_worktree(release.commit) as work:
        done = work.run(*words, bench.active[0], ok=None)
        return done.code, (work.work_tree / "io.py").read_text()


@pytest.mark.parametrize("words", [("am", "--quiet"), ("apply",)], ids=lambda words: words[0])
def test_hunk_that_plain_git_puts_into_the_wrong_function_is_a_conflict(bench, words):
    head, tail = BASE[: BASE.index("def load")], BASE[BASE.index("def load") :]
    target = bench.release("2", {"io.py": head + tail.replace("check(x)", "verify(x)")})

    wrong = head.replace("check(x)", "check(x, strict=True)") + tail.replace(
        "check(x)", "verify(x)"
    )
    assert plain(bench, target, *words) == (0, wrong), "git succeeds, and makes `save` strict"

    step = bench.step(target)
    assert (step.applies, step.detail) == (
        Applies.CONFLICT,
        "io.py: line 9 (hunks @@ -8,3 +8,3 @@)",
    )
    assert bench.build(target).tree == target.tree


@pytest.mark.parametrize("words", [("am", "--quiet"), ("apply",)], ids=lambda words: words[0])
def test_hunk_that_fits_into_a_new_function_is_ambiguous(bench, words):
    head, tail = BASE[: BASE.index("def load")], BASE[BASE.index("def load") :]
    target = bench.release("2", {"io.py": f"{head}def peek(x):\n{BODY}\n\n{tail}"})

    code, text = plain(bench, target, *words)
    assert (code, "def peek(x):\n    x = clean(x)\n    check(x, strict=True)" in text) == (
        0,
        True,
    ), "git makes `peek` strict"

    step = bench.step(target)
    assert step.applies is Applies.CONFLICT
    assert step.detail == "ambiguous: its hunks fit in more than one place of io.py"
    assert bench.build(target).tree == target.tree


# What a tree holds


@pytest.fixture
def two(bench):
    """Give a fork with a second patch and a module for each; `beta` has no hunk."""
    for name in ("alpha", "beta"):
        (bench.repo.root / f"extra/{name}.py").write_text(f"NAME = {name!r}\n")
    bench.active.clear()
    bench.patch("strict", {"io.py": BASE}, {"io.py": STRICT}, Overrides="alpha")
    bench.patch("quiet", {}, {}, Overrides="beta")
    return bench


def test_tree_holds_the_modules_of_its_patches_and_their_list(two):
    built = two.build(two.releases[0])
    assert two.files(built.tree) == [
        "extra/__init__.py",
        "extra/_series.py",
        "extra/alpha.py",
        "extra/beta.py",
        "io.py",
    ]
    listing = {}
    exec(two.read(built.tree, "extra/_series.py"), listing)
    assert listing["SERIES"] == ("strict", "quiet")


def test_patch_without_a_hunk_is_applied(two):
    assert two.build(two.releases[0]).results["quiet"].applies is Applies.NO_HUNKS
    assert two.builder.commits(two.series.active).ids.keys() == {"strict", "quiet"}


def test_leaving_a_patch_out_removes_its_hunks_and_its_code(two):
    two.build(two.releases[0])
    built = two.build(two.releases[0], without=["strict"])
    assert built.applied == ("quiet",)
    assert two.files(built.tree) == [
        "extra/__init__.py",
        "extra/_series.py",
        "extra/beta.py",
        "io.py",
    ]
    assert two.read(built.tree, "io.py") == BASE
    assert "strict" not in two.read(built.tree, "extra/_series.py")


def test_leaving_out_a_patch_without_a_hunk_removes_its_code(two):
    built = two.build(two.releases[0], without=["quiet"])
    assert two.files(built.tree) == [
        "extra/__init__.py",
        "extra/_series.py",
        "extra/alpha.py",
        "io.py",
    ]


def test_leaving_everything_out_gives_the_bare_tree(two):
    assert two.build(two.releases[0], without=["strict", "quiet"]).tree == two.releases[0].tree


def test_conflict_takes_the_code_of_its_patch_with_it(two):
    target = two.release("2", {"io.py": BASE.replace("check(x)", "verify(x)")})
    assert two.files(two.build(target).tree) == [
        "extra/__init__.py",
        "extra/_series.py",
        "extra/beta.py",
        "io.py",
    ]


def test_edited_module_makes_another_tree(two):
    before = two.build(two.releases[0]).tree
    (two.repo.root / "extra/alpha.py").write_text("NAME = 'other'\n")
    after = two.build(two.releases[0]).tree
    assert (before != after, two.read(after, "extra/alpha.py")) == (True, "NAME = 'other'\n")


def test_retired_patch_brings_its_code_as_a_new_file(bench):
    old, new = {"io.py": BASE}, {"io.py": STRICT, "extra/gone.py": "GONE = 1\n"}
    bench.patch(
        "gone",
        old,
        new,
        retired=True,
        Overrides="gone",
        Applied_Upstream="2; by itself; proven on plain",
    )
    (patch,) = bench.series.retired
    built = bench.builder.build([patch], bench.releases[0])
    assert built.results["gone"].applies is Applies.CLEAN
    assert bench.files(built.tree) == [
        "extra/__init__.py",
        "extra/_series.py",
        "extra/gone.py",
        "io.py",
    ]


def test_retired_patch_stands_on_one_with_an_older_base(bench):
    bench.release("2", {"io.py": "import sys\n\n" + BASE})
    later = "import sys\n\n" + STRICT
    fields = {"retired": True, "Applied_Upstream": "2"}
    bench.patch("first", {"io.py": BASE}, {"io.py": STRICT}, **fields)
    bench.patch(
        "second",
        {"io.py": later},
        {"io.py": later.replace("sys", "os")},
        base="2",
        Depends="first",
        **fields,
    )
    second = bench.series.retired[1]
    built = bench.builder.build(bench.series.with_dependencies(second), bench.releases[1])
    assert built.applied == ("first", "second")
    assert bench.read(built.tree, "io.py") == later.replace("sys", "os")


def test_tree_is_kept_by_its_content(bench, monkeypatch):
    before = bench.build(bench.releases[0])
    monkeypatch.setattr(TreeBuilder, "_build", lambda *args: pytest.fail("built again"))
    assert bench.build(bench.releases[0]) == before


def test_tree_that_git_lost_is_built_again(bench):
    before = bench.build(bench.releases[0])
    kept = Repository(bench.repo.root)
    (kept.work / "upstream.git/objects" / before.tree[:2] / before.tree[2:]).unlink()
    assert bench.build(bench.releases[0]) == before


def test_folder_holds_the_tree(bench):
    built = bench.build(bench.releases[0])
    folder = bench.builder.folder(built.tree)
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "__init__.py",
        "_series.py",
        "io.py",
    ]
    assert (folder / "io.py").read_text() == STRICT


# A second opinion


def test_text_is_present_where_upstream_took_it_and_absent_elsewhere(bench):
    taken, other = bench.release("2", {"io.py": STRICT}), bench.release("3", {"io.py": BASE})
    assert bench.builder.text_presence(bench.series.active, taken) == {
        "strict": TextPresence.PRESENT
    }
    assert bench.builder.text_presence(bench.series.active, other) == {
        "strict": TextPresence.ABSENT
    }


def test_text_of_a_patch_without_a_hunk_is_unknown(two):
    assert (
        two.builder.text_presence(two.series.active, two.releases[0])["quiet"]
        is TextPresence.UNKNOWN
    )


# A reverse mutation


def test_mutation_is_applied_to_the_base(bench):
    (bench.repo.root / "break.diff").write_text(
        diff({"io.py": BASE}, {"io.py": BASE.replace("check(x)", "pass")})
    )
    bench.patch("safe", {}, {}, Mutation="break.diff")
    tree = bench.builder.mutated_tree(bench.series.features[1])
    assert bench.read(tree, "io.py") == BASE.replace("check(x)", "pass")


def test_mutation_that_does_not_apply_gives_no_tree(bench):
    (bench.repo.root / "break.diff").write_text(diff({"io.py": STRICT}, {"io.py": BASE}))
    bench.patch("safe", {}, {}, Mutation="break.diff")
    assert bench.builder.mutated_tree(bench.series.features[1]) is None


# Git is sealed

GITCONFIG = """
[user]
    name = Somebody
    email = somebody@example.invalid
    useConfigOnly = true
[core]
    autocrlf = true
    eol = crlf
    hooksPath = {hooks}
    attributesFile = {home}/attributes
    excludesFile = {home}/excludes
    whitespace = cr-at-eol,tab-in-indent
[apply]
    whitespace = error-all
[am]
    threeWay = true
    messageid = true
[diff]
    noprefix = true
    mnemonicPrefix = true
    algorithm = patience
    renames = false
    context = 9
[merge]
    conflictStyle = zdiff3
    renames = false
[commit]
    gpgSign = true
    cleanup = scissors
[filter "evil"]
    clean = touch {canary}; cat
    smudge = touch {canary}; cat
    required = true
[i18n]
    commitEncoding = latin1
[format]
    headers = "X-Evil: yes"
    signature = evil
[rerere]
    enabled = true
[alias]
    am = !touch {canary}
"""


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Give a canary that dies where git hears anything of its user; return a function that turns the user hostile."""
    home, canary = tmp_path / "home", tmp_path / "canary"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    for name in (
        "applypatch-msg",
        "pre-applypatch",
        "post-applypatch",
        "commit-msg",
        "pre-commit",
        "post-checkout",
        "post-commit",
    ):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {canary}\nexit 1\n")
        (hooks / name).chmod(0o755)
    (home / ".gitconfig").write_text(GITCONFIG.format(hooks=hooks, home=home, canary=canary))
    (home / "attributes").write_text("* filter=evil text eol=crlf -diff merge=union\n")
    (home / "excludes").write_text("*\n")
    (home / "templates/hooks").mkdir(parents=True)

    def turn():
        evil = {
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "GIT_CONFIG_GLOBAL": home / ".gitconfig",
            "GIT_CONFIG_PARAMETERS": "'core.autocrlf'='true'",
            "GIT_DIR": home / "nowhere",
            "GIT_WORK_TREE": home,
            "GIT_INDEX_FILE": home / "index",
            "GIT_OBJECT_DIRECTORY": home / "objects",
            "GIT_AUTHOR_NAME": "Somebody",
            "GIT_AUTHOR_DATE": "2001-01-01T00:00:00",
            "GIT_COMMITTER_DATE": "2001-01-01T00:00:00",
            "GIT_DIFF_OPTS": "--unified=9",
            "GIT_EXTERNAL_DIFF": "false",
            "GIT_TEMPLATE_DIR": home / "templates",
            "TZ": "Asia/Tokyo",
            "LC_ALL": "de_DE.UTF-8",
        }
        for name, value in evil.items():
            monkeypatch.setenv(name, str(value))
        return canary

    return turn


def transcript(folder):
    """Make a fork in an empty folder, build it on three releases and return every id and word."""
    (folder / "extra").mkdir(parents=True)
    (folder / "fork.toml").write_text(FORK_TOML)
    (folder / "extra/__init__.py").write_text("")
    bench = Bench(Repository(folder))
    tabs = BASE + "\tx = 1 \n"
    attributes = {".gitattributes": "*.py text eol=crlf filter=evil\n", ".gitignore": "*\n"}
    bench.release("1", {"io.py": BASE, "ä.py": tabs, **attributes})
    bench.patch(
        "strict", {"io.py": BASE, "ä.py": tabs}, {"io.py": STRICT, "ä.py": tabs + "\ty = 2 \n"}
    )
    bench.release("2", {"disk/io.py": BASE, "ä.py": "\n" + tabs, **attributes})
    bench.release("3", {"io.py": BASE.replace("check(x)", "verify(x)"), "ä.py": tabs})
    ids = bench.builder.commits(bench.series.active).ids
    built = [bench.build(release) for release in bench.releases]
    return (
        [release.commit for release in bench.releases],
        ids,
        built,
        bench.read(built[0].tree, "ä.py"),
    )


def test_hostile_git_user_changes_no_id(tmp_path, hostile):
    expected = transcript(tmp_path / "calm")
    canary = hostile()
    assert transcript(tmp_path / "hostile") == expected
    assert not canary.exists()
    assert expected[3] == BASE + "\tx = 1 \n\ty = 2 \n"


def test_hooks_in_the_private_repository_are_not_run(bench, hostile):
    canary = hostile()
    shutil.copytree(canary.parent / "home/hooks", bench.repo.git.git_dir / "hooks")
    assert bench.step(bench.releases[0]).applies is Applies.CLEAN
    assert not canary.exists()


def test_hostile_git_user_would_change_ids_of_an_open_git(tmp_path, hostile):
    canary = hostile()
    folder = tmp_path / "open"
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"}
    }
    subprocess.run(["git", "init", "-q", folder], env=env, check=True)
    (folder / "a.py").write_text("a\n")
    subprocess.run(["git", "add", "-f", "a.py"], cwd=folder, env=env, check=True)
    assert canary.exists()
