"""A rebase that stops for a person: what it says, what it takes, what it refuses, and what it never mixes or forgets."""

import json

import pytest

from tests.support.rebasing import live_patch_names, rebase, refused_rebase, retired_patch_text

PRICES = "larder/prices.py"
STOPPED = (
    "error: the rebase to 2.0 stopped; nothing outside .fork/rebase has changed.\n"
    "two-digits conflicts with 2.0: larder/prices.py: line 3 (hunks @@ -2,2 +2,2 @@)\n"
    "What upstream changed there from 1.1 to 2.0:\n"
    "larder/prices.py\n"
    "@@ -1,3 +1,3 @@\n"
    " def price(cents):\n"
    '     """Return a price."""\n'
    '-    return f"{cents / 100} EUR"\n'
    '+    return f"EUR {cents / 100}"\n'
    "  next: resolve it (git add) in "
)


def stopped(fork, words="two-digits conflicts"):
    """Rebase to 2.0, which must stop."""
    done = fork.run("rebase", "2.0")
    assert done.code == 20, done.stderr
    assert words in done.stderr
    return done


@pytest.fixture
def conflict(larder):
    """Return a fork whose second patch conflicts with 2.0."""
    larder.apply_situation("conflict")
    return larder


# Conflicts


def test_conflict_is_named_kept_and_resolved(conflict):
    before = conflict.content()
    done = stopped(conflict)
    assert STOPPED in done.stderr
    assert done.stderr.endswith(
        "then `nox -s rebase -- --continue`; or --skip, which leaves two-digits out; or --abort\n"
    )
    assert conflict.content() == before
    state = json.loads(conflict.read(".fork/rebase/state.json"))
    assert (state["origin"], state["target"], state["at"], state["queue"]) == (
        "1.1",
        "2.0",
        ["two-digits"],
        ["two-digits"],
    )
    assert state["stopped"].startswith("two-digits conflicts with 2.0: larder/prices.py: line 3 ")
    told = "A rebase to 2.0 is under way: two-digits conflicts with 2.0: larder/prices.py: line 3"
    assert told in " ".join(conflict.run("status").stdout.split())
    assert "not resolved yet: larder/prices.py" in refused_rebase(conflict, "--continue")
    words = refused_rebase(conflict, "--continue", "--waive", "nobody=so", code=2)
    assert "--waive names nobody, which is no feature" in words
    assert "a rebase is under way" in refused_rebase(conflict, "2.0", code=2)
    conflict.resolve()
    rebase(conflict, "--continue")
    assert '+    return f"EUR {cents / 100:.2f}"\n' in conflict.read(
        "patches/0005-two-digits.patch"
    )
    after = conflict.run("status")
    assert (after.code, "under way" in after.stdout, conflict.leftovers()) == (0, False, [])


def test_message_and_author_survive_a_conflict(conflict):
    patch = "patches/0005-two-digits.patch"
    conflict.replace(
        patch, "Rover maintainers <fork@rover.invalid>", "Åse Ærlig <ase@rover.invalid>"
    )
    conflict.replace(
        patch,
        "2.5 EUR looks like a version.",
        "2.5 EUR looks like a version.\n\n# 1 of the reasons\nBase: of no importance",
    )
    head = conflict.read(patch).partition("\ndiff ")[0]
    stopped(conflict)
    conflict.resolve()
    rebase(conflict, "--continue")
    assert conflict.read(patch).partition("\ndiff ")[0] != head
    assert (
        conflict.read(patch).partition("\ndiff ")[0].splitlines()[4:]
        == head.replace("\nBase: 1.1", "\nBase: 2.0").splitlines()[4:]
    )
    assert conflict.run("import").code == 0
    assert (
        conflict.git("log", "-1", "--format=%an <%ae>", at=conflict.root / ".fork" / "series")
        == "Åse Ærlig <ase@rover.invalid>\n"
    )


def test_forgotten_conflict_marker_is_refused(conflict):
    stopped(conflict)
    conflict.git("add", PRICES)
    assert "a conflict marker is left: <<<<<<< HEAD" in refused_rebase(conflict, "--continue")


def test_change_that_is_not_added_is_refused(conflict):
    stopped(conflict)
    conflict.resolve()
    (conflict.tree / "larder/new.py").write_text("NEW = 1\n")
    (conflict.tree / "larder/labels.py").write_text("")
    (conflict.tree / "larder/prices.py.orig").write_text("a merge tool's")
    words = refused_rebase(conflict, "--continue")
    assert "in no commit:\n M larder/labels.py\n?? larder/new.py\n  next: " in words


def test_commits_that_are_not_the_series_are_refused(conflict):
    stopped(conflict)
    conflict.resolve()
    conflict.git("commit", "-qm", "By hand, without the trailers")
    words = refused_rebase(conflict, "--continue")
    assert (
        "must hold on 2.0 in this order a commit for trim-headings, two-digits;\n    it holds trim-headings, one without Id:"
        in words
    )
    conflict.git("reset", "-q", "--hard", "HEAD^")
    assert "    it holds trim-headings\n" in refused_rebase(conflict, "--continue")


def test_earlier_patch_may_be_mended_while_stopped(conflict):
    stopped(conflict)
    conflict.resolve()
    conflict.git("-c", "core.editor=true", "cherry-pick", "--continue")
    later = conflict.git("rev-parse", "HEAD").strip()
    conflict.git("reset", "-q", "--hard", "HEAD^")
    text = (conflict.tree / "larder/labels.py").read_text()
    (conflict.tree / "larder/labels.py").write_text(
        text.replace("trim(line).capitalize()", "trim(line).lower().capitalize()")
    )
    conflict.git("commit", "-qa", "--amend", "--no-edit")
    conflict.git("cherry-pick", later)
    rebase(conflict, "--continue")
    assert "+    return trim(line).lower().capitalize()\n" in conflict.read(
        "patches/0001-trim-headings.patch"
    )
    assert (live_patch_names(conflict), conflict.status().code, conflict.leftovers()) == (
        ["trim-headings", "two-digits"],
        0,
        [],
    )


def test_ambiguous_place_stops_and_is_accepted(larder):
    left = 'def left():\n    """Return the left jar."""\n    jar = "plum"\n    return jar'
    larder.patch(
        "loud-left",
        [("larder/twins.py", left, f"{left}.upper()")],
        "from larder import twins\n\n\ndef test_left_alone_is_loud():\n    assert (twins.left(), twins.right()) == ('PLUM', 'plum')\n",
    )
    done = stopped(
        larder,
        "loud-left conflicts with 2.0: ambiguous: its hunks fit in more than one place of larder/twins.py",
    )
    assert "Look at the last commit there; `--continue` accepts its place." in done.stderr
    assert "  next: fix it (git commit --amend) in " in done.stderr
    rebase(larder, "--continue")
    assert (live_patch_names(larder), larder.status().code) == (["trim-headings", "loud-left"], 0)


def test_resolution_is_used_again_and_named(conflict):
    stopped(conflict)
    conflict.resolve()
    assert conflict.run("rebase", "--continue", kill_at="resolved").code == -9
    assert conflict.run("rebase", "--abort").code == 0
    done = rebase(conflict)
    assert "two-digits: its conflict was resolved as once before (git rerere)\n" in done.stderr
    assert (
        "two-digits: its conflict was resolved as once before; look at it in the range-diff\n"
        in done.stdout
    )


def test_resolution_of_a_rebase_does_not_change_what_status_says(conflict):
    stopped(conflict)
    conflict.resolve()
    assert conflict.run("rebase", "--continue", kill_at="resolved").code == -9
    assert conflict.run("rebase", "--abort").code == 0
    done = conflict.status("--upstream", "2.0", "--fresh")
    assert done.cell("two-digits")["detail"] == "larder/prices.py: line 3 (hunks @@ -2,2 +2,2 @@)"


# Nothing is lost on the way


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("patches/0001-trim-headings.patch", "--continue"),
        ("patches/series", "--skip"),
        ("upstream/lock.toml", "--continue"),
    ],
)
def test_what_the_rebase_will_replace_must_not_change_meanwhile(conflict, name, verb):
    stopped(conflict)
    conflict.resolve()
    kept = conflict.read(name)
    conflict.append(name, "\n# mine\n")
    what = name if name.startswith("upstream") else "patches/"
    words = refused_rebase(conflict, verb)
    assert (
        f"error: {what} changed since the rebase to 2.0 began; going on would lose that change\n"
        in words
    )
    conflict.write(name, kept)
    rebase(conflict, verb)


def test_override_that_was_mended_while_stopped_is_taken(conflict):
    stopped(conflict)
    conflict.resolve()
    conflict.replace("larder_overrides/trim.py", "text.strip()", 'text.strip(" ")')
    rebase(conflict, "--continue")
    assert 'text.strip(" ")' in conflict.read("larder_overrides/trim.py")


def test_file_that_changes_while_the_proof_runs_is_not_overwritten(larder):
    larder.append("tests/probes/test_trim_headings.py", SCRIBBLE)
    done = larder.run("rebase", "2.0", SCRIBBLE=str(larder.root / "larder_overrides/trim.py"))
    assert (done.code, larder.read("larder_overrides/trim.py").count("# mine")) == (20, 1), (
        done.stderr
    )
    assert "larder_overrides/ changed while the rebase ran" in done.stderr


SCRIBBLE = """

def test_somebody_saves_a_file_meanwhile():
    import os
    from pathlib import Path

    import larder.labels

    path = Path(__file__).parents[2] / "larder_overrides" / "trim.py"
    if hasattr(larder.labels, "trim") and "# mine" not in path.read_text():
        path.write_text(path.read_text() + "# mine\\n")
"""


def test_folder_that_was_copied_while_stopped_is_refused(conflict, tmp_path):
    import shutil

    stopped(conflict)
    conflict.resolve()
    shutil.copytree(conflict.root, tmp_path / "copy", symlinks=True)
    copy = type(conflict)(tmp_path / "copy")
    assert "the folder was moved or copied while the rebase was stopped" in refused_rebase(
        copy, "--continue"
    )
    assert copy.run("rebase", "--abort").code == 0
    rebase(conflict, "--continue")


# Skip


def test_skipped_patch_leaves_with_its_module_its_settings_and_its_dependents(larder):
    larder.apply_situation("conflict")
    larder.patch(
        "euro-sign",
        [("larder/units.py", "Return a weight.", "Return a weight, not a price.")],
        "from larder.units import weight\n\n\ndef test_weight():\n    assert 'price' in weight.__doc__\n",
        Depends="two-digits",
    )
    larder.replace("patches/0005-two-digits.patch", "Drop-When:", "Overrides: digits\nDrop-When:")
    larder.write("larder_overrides/digits.py", '"""Digits."""\n')
    larder.write("tests/probes/test_digits.py", "import larder_overrides.digits\n")
    larder.replace(
        "larder_overrides/profile.py",
        '{"fold-names": {"FOLD": True}}',
        '{"fold-names": {"FOLD": True}, "two-digits": {"DIGITS": 2}}',
    )
    stopped(larder)
    done = rebase(larder, "--skip")
    assert (
        "\ntwo-digits was skipped, so its features are gone: nothing runs tests/probes/test_two_digits.py any more\n"
        "\neuro-sign was skipped, so its features are gone: nothing runs tests/probes/test_euro_sign.py any more\n"
        "\nlarder_overrides/digits.py went with its patch; look at tests/probes/test_digits.py\n"
    ) in done.stdout
    assert live_patch_names(larder) == ["trim-headings"]
    assert not (larder.root / "larder_overrides/digits.py").exists()
    assert (larder.root / "tests/probes/test_two_digits.py").exists()
    assert larder.read("larder_overrides/profile.py").endswith(
        'SETTINGS = {\n    "fold-names": {"FOLD": True},\n}\n'
    )
    assert (larder.run("lint").code, larder.status().code, larder.leftovers()) == (0, 0, [])


def test_skip_needs_a_patch_at_which_it_stopped(conflict):
    assert conflict.run("rebase", "2.0", kill_at="replaying").code == -9
    assert "the rebase did not stop at a live patch" in refused_rebase(conflict, "--skip", code=2)


@pytest.mark.parametrize("words", [["--continue"], ["--skip"], ["--abort"]])
def test_without_a_rebase_there_is_nothing_to_go_on_with(larder, words):
    assert "error: no rebase is under way\n" in refused_rebase(larder, *words, code=2)


@pytest.mark.parametrize("words", [[], ["2.0", "--skip"], ["--abort", "--continue"], ["--dry-run"]])
def test_command_line_asks_for_one_thing(larder, words):
    assert "give a release, or one of --continue, --skip and --abort" in refused_rebase(
        larder, *words, code=2
    )


# The proof


def test_conflict_resolved_to_nothing_is_not_absorbed(conflict):
    before = conflict.content()
    stopped(conflict)
    conflict.git("checkout", "--ours", PRICES)
    conflict.git("add", PRICES)
    words = refused_rebase(conflict, "--continue")
    assert (
        "replayed, but not proven:\ntwo-digits is broken: no hunk of it is left, which does not make it absorbed; "
        in words
    )
    assert "next: fix it (git commit --amend) in " in words
    assert "or --skip, which leaves two-digits out; or --abort" in words
    assert "two-digits is broken" in refused_rebase(conflict, "--continue")
    assert conflict.content() == before
    (conflict.tree / PRICES).write_text(
        (conflict.tree / PRICES).read_text().replace("/ 100}", "/ 100:.2f}")
    )
    conflict.git("commit", "-qa", "--amend", "--no-edit")
    rebase(conflict, "--continue")
    assert (live_patch_names(conflict), conflict.status().code) == (
        ["trim-headings", "two-digits"],
        0,
    )


def test_patch_that_lost_its_hunks_stops_also_where_another_one_covers_it(larder):
    larder.apply_situation("conflict")
    larder.patch(
        "all-digits",
        [
            (
                "larder/twins.py",
                "def right",
                "import larder.prices\n\nlarder.prices.price = '{:.2f}'.format\n\n\ndef right",
            )
        ],
        "from larder import prices, twins\n\n\ndef test_price():\n    assert prices.price(2.5) == '2.50'\n",
    )
    larder.write(
        "tests/probes/test_two_digits.py",
        "from larder import prices, twins\n\n\ndef test_price():\n    assert '2.50' in (prices.price(2.5), prices.price(250)[:4])\n",
    )
    stopped(larder)
    larder.git("checkout", "--ours", PRICES)
    larder.git("add", PRICES)
    assert (
        "two-digits is redundant: no hunk of it is left, which does not make it absorbed; "
        in refused_rebase(larder, "--continue")
    )
    rebase(larder, "--skip")
    assert live_patch_names(larder) == ["trim-headings", "all-digits"]


def test_patch_that_is_broken_on_the_target_can_be_left_out(larder):
    larder.apply_situation("broken")
    larder.apply_situation("conflict")
    stopped(larder)
    larder.resolve()
    words = refused_rebase(larder, "--continue")
    assert (
        "replayed, but not proven:\nround-weights is broken: fails with the series applied: "
        in words
    )
    rebase(larder, "--skip")
    assert live_patch_names(larder) == ["trim-headings", "two-digits"]


SUITE = """
[suite]
files = ["tests"]
tests = ["tests"]
command = ["{python}", "-m", "pytest", "-c", "/dev/null", "--rootdir", "{folder}", "-p", "no:cacheprovider", "--report-log", "{log}"]
"""


def test_patch_that_breaks_upstreams_own_tests_stops_the_rebase(conflict):
    conflict.append("fork.toml", SUITE)
    stopped(conflict)
    conflict.resolve(new='    return f"{cents / 100:.2f} EUR"\n')
    words = refused_rebase(conflict, "--continue")
    assert (
        "upstream's own tests fail that pass without the patches:\n"
        "tests/test_prices.py::test_currency_comes_first (default, plain): "
    ) in words
    (conflict.tree / PRICES).write_text(
        (conflict.tree / PRICES)
        .read_text()
        .replace("{cents / 100:.2f} EUR", "EUR {cents / 100:.2f}")
    )
    conflict.git("commit", "-qa", "--amend", "--no-edit")
    rebase(conflict, "--continue")
    assert live_patch_names(conflict) == ["trim-headings", "two-digits"]


def test_proof_is_kept_when_a_stopped_rebase_is_killed(conflict):
    stopped(conflict)
    conflict.git("checkout", "--ours", PRICES)
    conflict.git("add", PRICES)
    refused_rebase(conflict, "--continue")
    assert conflict.run("rebase", "--skip", kill_at="replayed").code == -9
    told = " ".join(conflict.run("status").stdout.split())
    assert told.startswith(
        "A rebase to 2.0 is under way, killed or still at work (--abort is the other way). "
    )
    assert " next: nox -s rebase -- --continue " in told
    assert "did not stop at a live patch" in refused_rebase(conflict, "--skip", code=2)
    rebase(conflict, "--continue")
    assert live_patch_names(conflict) == ["trim-headings"]
    with pytest.raises(ValueError, match="not enough values"):
        retired_patch_text(conflict, "two-digits")
