"""Moving a fork from 1.1 to 2.0 of its upstream: what is retired, what is replayed, what is written."""

import re

import pytest

from tests.support.rebasing import (
    larder_releases,
    live_patch_names,
    rebase,
    retired_patch_text,
    run_with,
)

MOVED = ("upstream/lock.toml", "upstream/src", "patches", "larder_overrides", "README.md")


def test_absorbed_and_configurable_patches_retire_and_the_rest_moves(larder):
    for situation in ("absorbed", "configurable"):
        larder.apply_situation(situation)
    done = rebase(larder)
    assert done.stdout.startswith(
        "moved from 1.1 to 2.0\n"
        "  retire hits: 2.0; absorbed, the probes pass bare on 2.0; 2.0@plain\n"
        "  retire long-units: 2.0; configurable, the probes pass bare on 2.0 with MILLILITRE='millilitres'; 2.0@plain\n"
        "  replay trim-headings\n"
    )
    assert re.search(r"^1:  \w+ = 1:  \w+ Trim headings$", done.stdout, re.MULTILINE), (
        "the range-diff"
    )
    assert re.search(r"^2:  \w+ < -:  -+ Count hits$", done.stdout, re.MULTILINE)
    assert live_patch_names(larder) == ["trim-headings"]
    assert "\nBase: 2.0\n" in larder.read("patches/0001-trim-headings.patch")
    assert (
        "Applied-Upstream: 2.0; absorbed, the probes pass bare on 2.0; 2.0@plain\n\ndiff"
        in retired_patch_text(larder, "hits")
    )
    assert "\nBase: 1.1\n" in retired_patch_text(larder, "hits")
    assert larder.read("larder_overrides/profile.py").endswith(
        'SETTINGS = {\n    "fold-names": {"FOLD": True},\n    "long-units": {"MILLILITRE": "millilitres"},\n}\n'
    )
    assert 'locked = "2.0"' in larder.read("upstream/lock.toml")
    assert "FOLD" in larder.read("upstream/src/larder/__init__.py")
    assert "(retired: 2.0) | Write out millilitres" in larder.read("README.md")
    after = larder.status()
    assert (after.code, after.report["answer"]["settings"]) == (
        0,
        {"FOLD": True, "MILLILITRE": "millilitres"},
    )
    assert (larder.run("lint").code, larder.leftovers()) == (0, [])


def test_dry_run_says_what_would_happen_and_touches_nothing(larder):
    for situation in ("absorbed", "conflict"):
        larder.apply_situation(situation)
    before = larder.content()
    done = larder.run("rebase", "2.0", "--dry-run")
    assert done.code == 20, "somebody must look"
    assert done.stdout == (
        "1 retires, 1 replays cleanly, 1 conflicts\n"
        "would move from 1.1 to 2.0\n"
        "  retire hits: 2.0; absorbed, the probes pass bare on 2.0; 2.0@plain\n"
        "  replay trim-headings\n  replay two-digits\n\n"
        "trim-headings: clean\n\ntwo-digits: conflict larder/prices.py: line 3 (hunks @@ -2,2 +2,2 @@)\n\n"
        "next: nox -s rebase -- 2.0\n"
    )
    assert (larder.content(), larder.leftovers()) == (before, [])


def test_rebase_to_where_the_fork_stands_is_nothing(larder):
    rebase(larder)
    before = larder.content()
    done = rebase(larder)
    assert done.stdout.strip() == "nothing to do: every patch is on 2.0 already"
    assert (larder.content(), larder.leftovers()) == (before, [])


def test_rebase_to_where_the_fork_stands_writes_old_patches_on_it(larder):
    larder.replace("upstream/lock.toml", 'locked = "1.1"', 'locked = "2.0"')
    assert larder.run("vendor").code == 0
    rebase(larder)
    assert "\nBase: 2.0\n" in larder.read("patches/0001-trim-headings.patch")


def test_release_that_is_not_pinned_yet_is_asked_for(larder, tmp_path):
    lock = larder.read("upstream/lock.toml")
    done = run_with(
        larder_releases(tmp_path, "1.0", "1.1", "2.0", "2.1"),
        larder,
        "rebase",
        "2.1",
        kill_at="deciding",
    )
    assert (done.code, larder.read("upstream/lock.toml")) == (-9, lock)
    rebase(larder, "--continue")
    assert 'locked = "2.1"' in larder.read("upstream/lock.toml")
    assert "\nBase: 2.1\n" in larder.read("patches/0001-trim-headings.patch")
    assert larder.status().code == 0


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("3.0", "has no made-up-larder 3.0; it has 1.0, 1.1, 2.0"),
        (
            "path:upstream/src",
            "not a release: 'path:upstream/src'; what is not released is never pinned",
        ),
    ],
)
def test_release_that_nobody_has_is_refused(larder, tmp_path, version, words):
    before = larder.content()
    done = run_with(larder_releases(tmp_path, "1.0", "1.1", "2.0"), larder, "rebase", version)
    assert (done.code, larder.content(), larder.leftovers()) == (2, before, [])
    assert words in done.stderr


def test_other_spelling_of_a_release_is_that_release(larder):
    rebase(larder, "2.0.0")
    assert 'locked = "2.0"' in larder.read("upstream/lock.toml")


def test_fork_goes_back_to_an_older_release(larder):
    rebase(larder)
    for path in (larder.root / "patches" / "retired").iterdir():
        path.unlink()
    larder.write("larder_overrides/profile.py", '"""None."""\n\nSETTINGS = {}\n')
    rebase(larder, "1.1")
    assert "\nBase: 1.1\n" in larder.read("patches/0001-trim-headings.patch")
    assert "FOLD" not in larder.read("upstream/src/larder/__init__.py")


def test_target_on_which_nothing_can_run_is_refused(larder):
    larder.replace("fork.toml", 'releases = ">=1"', 'releases = "<2"')
    done = larder.run("rebase", "2.0")
    assert (done.code, larder.leftovers()) == (20, [])
    assert "nothing could be run on 2.0 here, so nothing would be proved" in done.stderr


def test_patch_that_no_cell_can_try_is_moved_and_named(larder):
    larder.apply_situation("untested")
    done = rebase(larder)
    assert "\nnot tried on 2.0, for no cell here can: future-pytest\n" in done.stdout


def test_committed_subtree_is_left_to_vendor(larder):
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["add", "-f", "upstream/src"],
        ["commit", "-qm", "Begin"],
    ):
        larder.git(*words, at=larder.root)
    source = larder.read("upstream/src/larder/__init__.py")
    done = rebase(larder)
    assert (
        "\nupstream/src/ is a subtree and left as it is; nox -s vendor -- --subtree merges 2.0 into it\n"
        in done.stdout
    )
    assert larder.read("upstream/src/larder/__init__.py") == source


# Patches that depend on each other, and shared modules


def test_live_patch_stands_without_the_dependency_that_upstream_absorbed(larder):
    larder.apply_situation("absorbed")
    larder.patch(
        "loud-left",
        [
            (
                "larder/twins.py",
                '    """Return the left jar."""\n',
                '    """Return the left jar."""\n    return "PLUM"\n',
            )
        ],
        "from larder.twins import left\n\n\ndef test_left_is_loud():\n    assert left() == 'PLUM'\n",
        Depends="hits",
    )
    rebase(larder)
    assert "Depends:" not in larder.read("patches/0003-loud-left.patch")
    assert (larder.status().code, live_patch_names(larder)) == (0, ["trim-headings", "loud-left"])


def test_retired_patch_keeps_what_it_needed_of_a_live_one(larder):
    larder.patch(
        "hits",
        [
            (
                "larder/shelf.py",
                "        self.jars = {}\n",
                "        self.jars = {}\n        self.hits = 0\n",
            ),
            (
                "larder/shelf.py",
                "            return self.jars[name]\n",
                "            self.hits += 1\n            return self.jars[name]\n",
            ),
            (
                "larder/labels.py",
                "trim(line).capitalize()",
                "trim(line).capitalize()  # counted elsewhere",
            ),
        ],
        Probes="tests/probes/test_count_hits.py",
        Depends="trim-headings",
    )
    rebase(larder)
    text = retired_patch_text(larder, "hits")
    assert "\nAs it was then, it holds what it depended on: trim-headings.\n\nId: hits\n" in text
    assert "Depends:" not in text
    assert "+++ b/larder_overrides/trim.py\n" in text
    larder.write(
        "larder_overrides/trim.py",
        larder.read("larder_overrides/trim.py").replace("def trim", "def cut"),
    )
    assert larder.status().verdicts["hits"] == "absorbed", (
        "later changes of the live patch are no matter"
    )


def test_retired_patches_that_depend_on_each_other_share_a_module_once(larder):
    helper = {
        "helper": '"""Adds."""\n\n\ndef add(number):\n    """Add one."""\n    return number + 1\n'
    }
    imported = "from larder_overrides.helper import add\nfrom larder import SETTINGS\n"
    larder.patch(
        "hits",
        [
            ("larder/shelf.py", "from larder import SETTINGS\n", imported),
            (
                "larder/shelf.py",
                "        self.jars = {}\n",
                "        self.jars = {}\n        self.hits = 0\n",
            ),
            (
                "larder/shelf.py",
                "            return self.jars[name]\n",
                "            self.hits = add(self.hits)\n            return self.jars[name]\n",
            ),
        ],
        modules=helper,
        Probes="tests/probes/test_count_hits.py",
    )
    larder.patch(
        "more-hits",
        [
            (
                "larder/shelf.py",
                '    """Results by name."""\n',
                '    """Results by name, and how often they helped."""\n',
            )
        ],
        Probes="tests/probes/test_count_hits.py",
        Overrides="helper",
        Depends="hits",
    )
    rebase(larder)
    assert "+++ b/larder_overrides/helper.py\n" in retired_patch_text(larder, "hits")
    assert "helper.py" not in retired_patch_text(larder, "more-hits")
    assert "\nDepends: hits\n" in retired_patch_text(larder, "more-hits")
    assert not (larder.root / "larder_overrides" / "helper.py").exists()
    done = larder.status()
    assert (done.code, done.verdicts["hits"], done.verdicts["more-hits"]) == (
        0,
        "absorbed",
        "absorbed",
    )


def test_module_of_a_retired_patch_stays_where_a_live_one_names_it(larder):
    larder.patch(
        "hits",
        [
            (
                "larder/shelf.py",
                "from larder import SETTINGS\n",
                "from larder_overrides.trim import trim\nfrom larder import SETTINGS\n",
            ),
            (
                "larder/shelf.py",
                "        self.jars = {}\n",
                "        self.jars = {}\n        self.hits = len(trim(''))\n",
            ),
            (
                "larder/shelf.py",
                "            return self.jars[name]\n",
                "            self.hits += 1\n            return self.jars[name]\n",
            ),
        ],
        Probes="tests/probes/test_count_hits.py",
        Overrides="trim",
    )
    rebase(larder)
    assert "+++ b/larder_overrides/trim.py\n" in retired_patch_text(larder, "hits")
    assert (larder.root / "larder_overrides" / "trim.py").exists()
    assert (larder.status().code, larder.run("lint").code) == (0, 0)


# The profile


def test_settings_that_contradict_each_other_stop_the_rebase(larder):
    larder.apply_situation("configurable")
    larder.replace(
        "larder_overrides/profile.py", '{"FOLD": True}', '{"FOLD": True, "MILLILITRE": "ML"}'
    )
    before = larder.content()
    done = larder.run("rebase", "2.0")
    assert (done.code, larder.content(), larder.leftovers()) == (20, before, [])
    assert (
        "the settings that replace features contradict each other:\n"
        "MILLILITRE is 'ML' for fold-names and 'millilitres' for long-units\n"
    ) in done.stderr


def test_the_same_setting_may_stand_for_two_patches(larder):
    larder.apply_situation("configurable")
    larder.replace(
        "larder_overrides/profile.py",
        '{"FOLD": True}',
        '{"FOLD": True, "MILLILITRE": "millilitres"}',
    )
    done = larder.run("rebase", "2.0")
    assert done.code == 0, done.stderr
    assert live_patch_names(larder) == ["trim-headings"]


def test_edits_in_upstreams_folder_are_not_thrown_away(larder):
    larder.append("upstream/src/larder/labels.py", "# mine\n")
    before = larder.content()
    done = larder.run("rebase", "2.0")
    assert (done.code, larder.content(), larder.leftovers()) == (20, before, [])
    assert "    M larder/labels.py\n" in done.stderr
