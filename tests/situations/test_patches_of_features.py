"""A patch of two features: each feature has its own verdict, retires and comes back by itself, and the file is the patch's."""

import json

import pytest

from tests.support.rebasing import live_patch_names, rebase, refused_rebase, retired_patch_text

APART = "patches/0011-shelf-and-jars.patch"
MIDDLE_JAR = "tests/probes/test_middle_jar.py"
COUNT_DROPS = "tests/probes/test_count_drops.py"
HITS = "tests/probes/test_number_of_hits.py"
UNITS = "tests/probes/test_whole_unit_names.py"
PROFILE = "larder_overrides/profile.py"
TWINS = "larder/twins.py"
MODULE_PROBE = """

from importlib.util import find_spec


def test_module_is_there():
    assert find_spec("larder_overrides") and find_spec("larder_overrides.drops")
"""
PROOF = "Applied-Upstream: 2.0; absorbed, the probes pass bare on 2.0; 2.0@plain\n"
PROOF_WITH_SETTINGS = (
    "Applied-Upstream: 2.0; configurable, the probes pass bare on 2.0 "
    "with MILLILITRE='millilitres'; 2.0@plain\n"
)


@pytest.fixture
def bare(larder):
    """Return a fork on 1.1 in which nothing is retired."""
    for path in (larder.root / "patches" / "retired").iterdir():
        path.unlink()
    larder.write(PROFILE, '"""None."""\n\nSETTINGS = {\n    "trim-headings": {},\n}\n')
    return larder


@pytest.fixture
def apart(bare):
    """Return a fork on 1.1 with a patch of two features, of which 2.0 does the first by itself."""
    bare.apply_situation("features_apart")
    assert bare.run("lint", "--write").code == 0
    return bare


@pytest.fixture
def together(bare):
    """Return a fork on 1.1 with a patch of two features, both of which 2.0 does, one with a setting."""
    bare.apply_situation("features_together")
    assert bare.run("lint", "--write").code == 0
    return bare


def lock_2(fork):
    """Lock 2.0, while the patches stay on 1.1."""
    fork.replace("upstream/lock.toml", 'locked = "1.1"', 'locked = "2.0"')
    assert fork.run("vendor").code == 0
    return fork


def succeed(fork, *words):
    """Run a verb that must work."""
    done = fork.run(*words)
    assert done.code == 0, done.stderr
    return done


def states(fork):
    """Return each feature's state and verdict, of a fork in which nobody must look at anything."""
    done = fork.status()
    assert done.code == 0, done.stderr
    return {name: (item["state"], item["verdict"]) for name, item in done.features.items()}


# Status


def test_features_of_a_patch_have_verdicts_of_their_own(apart):
    lock_2(apart)
    done = apart.status("--check")
    assert done.code == 10, "one of the features can go"
    assert done.verdicts == {
        "trim-headings": "needed",
        "middle-jar": "absorbed",
        "count-drops": "needed",
    }
    assert done.features["middle-jar"]["absorbed_in"] == "2.0"
    assert {item["id"]: item["features"] for item in done.report["patches"]} == {
        "trim-headings": ["trim-headings"],
        "shelf-and-jars": ["middle-jar", "count-drops"],
    }
    assert done.report["answer"]["in_the_way"] == ["trim-headings", "count-drops"]
    assert done.report["smallest_series"] == ["trim-headings", "shelf-and-jars"]
    shown = apart.run("status")
    assert shown.code == 0, "without --check a feature that can go is no reason to stop"
    assert shown.stdout.startswith(
        "1 feature can go on 2.0: middle-jar (absorbed in 2.0); 1 patch can be refreshed on 2.0, "
        "where upstream has moved the lines: shelf-and-jars.\nnext: nox -s rebase -- 2.0 --dry-run\n"
    )
    table = shown.stdout.partition("active features")[2].partition("retired features")[0]
    assert [line.split("N")[0].split() for line in table.splitlines()[1:5]] == [
        ["trim-headings", "needed"],
        ["shelf-and-jars"],
        ["middle-jar", "absorbed", "in", "2.0"],
        ["count-drops", "needed"],
    ]
    trial = succeed(apart, "rebase", "2.0", "--dry-run").stdout
    assert trial.startswith("1 retires, 2 replay cleanly\n"), "the advice is true"
    assert "  retire middle-jar: 2.0; absorbed, " in trial
    # By the id of a feature, and by that of its patch.
    assert list(apart.status("--patch", "count-drops").features) == ["count-drops"]
    done = apart.status("--patch", "shelf-and-jars")
    assert list(done.features) == ["middle-jar", "count-drops"]


# By rebase


def test_rebase_retires_the_feature_and_keeps_the_patch(apart):
    old, other = apart.content(), apart.read(COUNT_DROPS)
    record = apart.read(MIDDLE_JAR)
    done = rebase(apart)
    assert (
        "  retire middle-jar: 2.0; absorbed, the probes pass bare on 2.0; 2.0@plain\n"
        "  replay trim-headings\n  replay shelf-and-jars\n"
    ) in done.stdout
    assert live_patch_names(apart) == ["trim-headings", "shelf-and-jars"]
    assert "\nBase: 2.0\n" in apart.read(APART)
    assert "\nFeatures: middle-jar, count-drops\n" in apart.read(APART)
    assert apart.read(MIDDLE_JAR) == record.replace('jar\n"""\n', f'jar\n{PROOF}"""\n')
    assert apart.read(COUNT_DROPS) == other
    assert "| middle-jar (retired: 2.0) | Give the middle jar |" in apart.read("README.md")
    new = apart.content()
    after = apart.run("status", "--check")
    assert after.code == 0, after.stderr
    assert after.stdout.startswith(
        "Nothing to do: all features are needed on 2.0; 1 is retired.\nnext: nox -s watch\n"
    )
    assert (
        "\nretired features" in after.stdout.partition("count-drops")[2].partition("middle-jar")[0]
    )
    cells = {name: apart.status().cell(name) for name in ("middle-jar", "count-drops")}
    assert {name: (cell["bare"], cell["series"]) for name, cell in cells.items()} == {
        "middle-jar": ("passed", "passed"),
        "count-drops": ("failed", "passed"),
    }
    assert (apart.run("lint").code, apart.leftovers()) == (0, [])
    back = rebase(apart, "1.1")
    assert "  take back middle-jar: needed again on 1.1\n" in back.stdout
    assert (apart.content(), apart.leftovers()) == (old, [])
    rebase(apart)
    assert (apart.content(), apart.leftovers()) == (new, [])


def test_aborted_rebase_leaves_both_records_as_they_were(apart):
    before = apart.content()
    assert apart.run("rebase", "2.0", kill_at="deciding").code == -9
    state = json.loads(apart.read(".fork/rebase/state.json"))
    assert ([item["id"] for item in state["settled"]], state["retire"]) == (["middle-jar"], [])
    assert PROOF in apart.read(f".fork/rebase/stage/{MIDDLE_JAR}")
    succeed(apart, "rebase", "--abort")
    assert (apart.content(), apart.leftovers()) == (before, [])


LIKE_UPSTREAM = (
    'def middle():\n    """Return the middle jar."""\n    jar = "plum"\n    return jar\n\n\n'
)


def write_like_upstream(fork):
    """Give the patch the middle jar as 2.0 writes it, so that a replay to 2.0 leaves nothing of it."""
    assert fork.run("import").code == 0
    place = fork.root / ".fork" / "series"
    original = fork.git("show", f"HEAD^:{TWINS}", at=place)
    (place / TWINS).write_text(LIKE_UPSTREAM + original)
    fork.git("commit", "-qa", "--amend", "--no-edit", at=place)
    succeed(fork, "export")


def test_lines_that_upstream_has_too_are_wanted_back(apart):
    write_like_upstream(apart)
    assert apart.run("lint", "--write").code == 0
    old = apart.content()
    rebase(apart)
    assert f"b/{TWINS}" not in apart.read(APART)
    assert states(apart)["middle-jar"] == ("retired", "absorbed")
    words = refused_rebase(apart, "1.1")
    assert "middle-jar is broken: fails with the series applied: " in words
    (apart.tree / TWINS).write_text(LIKE_UPSTREAM + (apart.tree / TWINS).read_text())
    apart.git("commit", "-qa", "--amend", "--no-edit")
    rebase(apart, "--continue")
    assert apart.content() == old


def test_patch_that_keeps_only_its_module_is_not_lost_to_the_retired_feature(apart):
    write_like_upstream(apart)
    text = apart.read(APART)
    shelf = text.index("diff --git a/larder/shelf.py")
    without_shelf = text[:shelf] + text[text.index(f"diff --git a/{TWINS}") :]
    apart.write(APART, without_shelf.replace("\nFeatures:", "\nOverrides: drops\nFeatures:"))
    apart.write("larder_overrides/drops.py", '"""Counts drops."""\n')
    apart.write(COUNT_DROPS, apart.read(COUNT_DROPS).partition("\n\nfrom ")[0] + MODULE_PROBE)
    assert apart.run("lint", "--write").code == 0
    rebase(apart)
    assert "diff --git" not in apart.read(APART)
    assert states(apart) == {
        "trim-headings": ("active", "needed"),
        "middle-jar": ("retired", "absorbed"),
        "count-drops": ("active", "needed"),
    }


def test_patch_whose_features_are_all_absorbed_retires_as_a_whole(together):
    old, profile = together.content(), together.read(PROFILE)
    done = rebase(together)
    assert (
        "  retire plain-figures: 2.0; its features went: number-of-hits, whole-unit-names; 2.0@plain\n"
        in done.stdout
    )
    assert live_patch_names(together) == ["trim-headings"]
    assert not (together.root / "patches/0012-plain-figures.patch").exists()
    text = retired_patch_text(together, "plain-figures")
    assert "\nFeatures: number-of-hits, whole-unit-names\n" in text
    assert "\nBase: 1.1\n" in text
    assert PROOF in together.read(HITS)
    assert PROOF_WITH_SETTINGS in together.read(UNITS)
    assert '    "whole-unit-names": {"MILLILITRE": "millilitres"},\n' in together.read(PROFILE)
    assert states(together) == {
        "trim-headings": ("active", "needed"),
        "number-of-hits": ("retired", "absorbed"),
        "whole-unit-names": ("retired", "configurable"),
    }
    assert (together.run("lint").code, together.leftovers()) == (0, [])
    new = together.content()
    back = rebase(together, "1.1").stdout
    for name in ("plain-figures", "number-of-hits", "whole-unit-names"):
        assert f"  take back {name}: needed again on 1.1\n" in back
    assert together.read(PROFILE) == profile
    assert (together.content(), together.leftovers()) == (old, [])
    rebase(together)
    assert together.content() == new


def test_skipped_patch_takes_its_features_and_their_settings_along(together):
    together.append(
        HITS,
        """

def test_currency_comes_last():
    from larder.prices import price

    assert price(250).endswith("EUR"), "so 2.0 does only one of the features"
""",
    )
    assert "plain-figures conflicts with 2.0: larder/volumes.py: " in refused_rebase(
        together, "2.0"
    )
    state = json.loads(together.read(".fork/rebase/state.json"))
    assert [item["id"] for item in state["settled"]] == ["whole-unit-names"]
    done = rebase(together, "--skip")
    assert "\nplain-figures was skipped, so its features are gone: " in done.stdout
    assert "retire whole-unit-names" not in done.stdout
    assert live_patch_names(together) == ["trim-headings"]
    assert "MILLILITRE" not in together.read(PROFILE)
    assert "Applied-Upstream" not in together.read(UNITS)
    assert states(together) == {"trim-headings": ("active", "needed")}


def test_waiver_names_a_feature(apart):
    apart.write(
        COUNT_DROPS,
        apart.read(COUNT_DROPS).partition("\n\nfrom ")[0] + "\n\n\ndef test_nothing():\n    pass\n",
    )
    said = refused_rebase(apart, "2.0")
    assert "count-drops is unproven: its probes pass on the bare tree of every release" in said
    assert "nox -s rebase -- 2.0 --waive count-drops=REASON\n" in said
    said = refused_rebase(apart, "2.0", "--waive", "shelf-and-jars=so", code=2)
    assert "--waive names shelf-and-jars, which is no feature" in said
    done = rebase(apart, "2.0", "--waive", "count-drops=REASON")
    assert "\ncount-drops is not proven, waived: REASON\n" in done.stdout
    assert PROOF in apart.read(MIDDLE_JAR)
    assert live_patch_names(apart) == ["trim-headings", "shelf-and-jars"]


# By hand


def test_feature_retires_by_hand_and_is_taken_back(apart):
    before = lock_2(apart).content()
    done = apart.run("retire", "shelf-and-jars")
    assert (done.code, apart.content(), apart.leftovers()) == (20, before, [])
    assert "so they stay:\ncount-drops is needed on 2.0: bare upstream fails: " in done.stderr
    trial = succeed(apart, "retire", "middle-jar", "--dry-run").stdout
    assert (apart.content(), trial.partition("\n")[0]) == (before, "1 retires, 2 replay cleanly")
    succeed(apart, "retire", "middle-jar")
    after = apart.content()
    changed = {name for name in before if before[name] != after[name]}
    assert (changed, after.keys()) == ({MIDDLE_JAR, "README.md"}, before.keys())
    assert PROOF in apart.read(MIDDLE_JAR)
    assert states(apart)["middle-jar"] == ("retired", "absorbed")
    succeed(apart, "unretire", "middle-jar")
    assert apart.content() == before
    succeed(apart, "retire", "middle-jar")
    done = succeed(apart, "unretire", "shelf-and-jars")
    assert "  take back middle-jar: by hand\n" in done.stdout
    assert (apart.content(), apart.leftovers()) == (before, [])


def test_feature_that_has_its_patches_id_retires_when_the_other_one_is_gone(apart):
    lock_2(apart)
    apart.write(APART, apart.read(APART).replace("shelf-and-jars", "count-drops"))
    (apart.root / APART).rename(apart.root / "patches/0011-count-drops.patch")
    apart.replace("patches/series", "0011-shelf-and-jars", "0011-count-drops")
    assert apart.run("lint", "--write").code == 0
    succeed(apart, "retire", "middle-jar")
    done = apart.run("retire", "count-drops")
    assert done.code == 20
    assert "so they stay:\ncount-drops is needed on 2.0: " in done.stderr
    assert "middle-jar is" not in done.stderr


def test_patch_retires_by_hand_with_its_last_feature(together):
    before = lock_2(together).content()
    succeed(together, "retire", "plain-figures")
    assert live_patch_names(together) == ["trim-headings"]
    whole = together.content()
    succeed(together, "unretire", "plain-figures")
    assert together.content() == before
    succeed(together, "retire", "whole-unit-names")
    assert live_patch_names(together) == ["trim-headings", "plain-figures"]
    done = succeed(together, "retire", "number-of-hits")
    assert "  retire plain-figures: 2.0; its features went: " in done.stdout
    assert together.content().keys() == whole.keys()
    done = succeed(together, "unretire", "plain-figures")
    assert "  take back whole-unit-names: by hand\n" in done.stdout
    assert (together.content(), together.leftovers()) == (before, [])


def test_feature_that_stays_retired_keeps_its_settings(together):
    lock_2(together)
    succeed(together, "retire", "plain-figures")
    done = succeed(together, "unretire", "number-of-hits")
    assert (
        "  take back plain-figures: by hand\n  take back number-of-hits: by hand\n" in done.stdout
    )
    assert live_patch_names(together) == ["trim-headings", "plain-figures"]
    assert "MILLILITRE" in together.read(PROFILE)
    assert PROOF_WITH_SETTINGS in together.read(UNITS)
    assert "Applied-Upstream" not in together.read(HITS)
    assert states(together) == {
        "trim-headings": ("active", "needed"),
        "number-of-hits": ("active", "absorbed"),
        "whole-unit-names": ("retired", "configurable"),
    }
