"""A fork that goes back to an older release and forward again, and patches that retire and come back by hand."""

import json

import pytest

from tests.support.rebasing import live_patch_names, rebase, refused_rebase, retired_patch_text

HELPER = '"""Adds."""\n\n\ndef add(number):\n    """Add one."""\n    return number + 1\n'
SHELF = "larder/shelf.py"
COUNTED = "            self.hits = add(self.hits)\n            return self.jars[name]\n"


@pytest.fixture
def bare(larder):
    """Return a fork on 1.1 in which nothing is retired."""
    for path in (larder.root / "patches" / "retired").iterdir():
        path.unlink()
    larder.write(
        "larder_overrides/profile.py", '"""None."""\n\nSETTINGS = {\n    "trim-headings": {},\n}\n'
    )
    assert larder.run("lint", "--write").code == 0
    return larder


@pytest.fixture
def linked(bare):
    """Return a fork on 1.1 whose patches lean on each other, one with a module of its own and one that a setting replaces."""
    bare.apply_situation("configurable")
    bare.patch(
        "hits",
        [
            (
                SHELF,
                "from larder import SETTINGS\n",
                "from larder_overrides.helper import add\nfrom larder import SETTINGS\n",
            ),
            (SHELF, "        self.jars = {}\n", "        self.jars = {}\n        self.hits = 0\n"),
            (SHELF, "            return self.jars[name]\n", COUNTED),
            (
                "larder/labels.py",
                "trim(line).capitalize()",
                "trim(line).capitalize()  # counted elsewhere",
            ),
        ],
        modules={"helper": HELPER},
        Probes="tests/probes/test_count_hits.py",
    )
    bare.patch(
        "loud-left",
        [
            (
                "larder/twins.py",
                '    """Return the left jar."""\n',
                '    """Return the left jar."""\n    return "PLUM"\n',
            )
        ],
        "from larder.twins import left\n\n\ndef test_left_is_loud():\n    assert left() == 'PLUM'\n",
    )
    for name, depends in (("0004-hits", "trim-headings"), ("0005-loud-left", "hits")):
        bare.replace(f"patches/{name}.patch", "\nDrop-When:", f"\nDepends: {depends}\nDrop-When:")
    assert bare.run("lint", "--write").code == 0
    return bare


@pytest.fixture
def on_2(larder):
    """Return a fork whose patches stand on 1.1 while 2.0 is locked, with two that 2.0 made unnecessary."""
    larder.replace("upstream/lock.toml", 'locked = "1.1"', 'locked = "2.0"')
    assert larder.run("vendor").code == 0
    for situation in ("absorbed", "configurable"):
        larder.apply_situation(situation)
    listing = "# Head\n0001-trim-headings.patch\n\n# hits\n0002-hits.patch  # inline\n# Units\n0003-long-units.patch\n# end\n"
    larder.write("patches/series", listing)
    assert larder.run("lint", "--write").code == 0
    return larder


# By rebase


def test_forward_back_and_forward_again_is_the_same_each_time(linked):
    old = linked.content()
    rebase(linked)
    new = linked.content()
    assert live_patch_names(linked) == ["trim-headings", "loud-left"]
    trial = rebase(linked, "1.1", "--dry-run").stdout
    assert trial.startswith(
        "2 come back, 2 replay cleanly\nwould move from 2.0 to 1.1\n"
        "  take back long-units: needed again on 1.1\n  take back hits: needed again on 1.1\n"
        "  replay trim-headings\n  replay loud-left\n"
    )
    assert trial.endswith("\nnext: nox -s rebase -- 1.1\n")
    assert linked.content() == new
    rebase(linked, "1.1")
    assert (linked.content(), linked.leftovers()) == (old, [])
    rebase(linked)
    assert (linked.content(), linked.leftovers()) == (new, [])


def test_patch_whose_file_says_no_place_comes_back_at_the_end(larder):
    rebase(larder)
    done = rebase(larder, "1.1")
    assert (
        "  take back count-hits: needed again on 1.1\n  take back fold-names: needed again on 1.1\n"
        in done.stdout
    )
    listing = ["0001-trim-headings.patch", "0002-count-hits.patch", "0003-fold-names.patch"]
    assert larder.read("patches/series").splitlines() == listing
    assert "FOLD" not in larder.read("larder_overrides/profile.py")
    assert (larder.status().code, larder.run("lint").code, larder.leftovers()) == (0, 0, [])


@pytest.fixture
def changed(linked):
    """Return that fork on 2.0, where a patch was changed that a retired one holds, so that going back is a conflict."""
    rebase(linked)
    assert linked.run("import").code == 0
    place = linked.root / ".fork" / "series"
    text = (place / "larder/labels.py").read_text()
    (place / "larder/labels.py").write_text(
        text.replace("trim(line).capitalize()", "trim(line).lower().capitalize()")
    )
    linked.git("commit", "-qa", "--fixup=:/Trim headings", at=place)
    linked.git("-c", "sequence.editor=true", "rebase", "-q", "-i", "--autosquash", "2.0", at=place)
    assert linked.run("export").code == 0
    assert "hits conflicts with 1.1: larder/labels.py: line " in refused_rebase(linked, "1.1")
    return linked


def test_change_of_a_patch_that_a_retired_one_holds_is_not_taken_back_with_it(changed):
    changed.resolve(
        "larder/labels.py", new="    return trim(line).lower().capitalize()  # counted elsewhere\n"
    )
    rebase(changed, "--continue")
    assert "+    return trim(line).lower().capitalize()\n" in changed.read(
        "patches/0001-trim-headings.patch"
    )
    assert (changed.status().code, changed.run("lint").code) == (0, 0)


def test_patch_that_would_come_back_can_be_left_out(changed):
    done = rebase(changed, "--skip")
    assert "\nhits was skipped, so its features are gone: " in done.stdout
    assert (live_patch_names(changed), changed.leftovers()) == (
        ["trim-headings", "long-units", "loud-left"],
        [],
    )
    assert not list((changed.root / "patches" / "retired").glob("*hits*"))
    assert (changed.status().code, changed.run("lint").code) == (0, 0)


def test_patch_that_no_older_release_needs_retires_there_and_comes_back(bare):
    rebase(bare)
    bare.patch(
        "currency-last",
        [("larder/prices.py", 'f"EUR {cents / 100}"', 'f"{cents / 100} EUR"')],
        "from larder.prices import price\n\n\ndef test_currency_is_last():\n    assert price(250).endswith(' EUR')\n",
    )
    assert bare.run("lint", "--write").code == 0
    before = bare.content()
    done = rebase(bare, "1.1")
    assert (
        "  retire currency-last: 1.1; not needed, the probes pass bare on 1.1; 1.1@plain\n"
        in done.stdout
    )
    assert (live_patch_names(bare), bare.run("status").code) == (["trim-headings"], 0)
    rebase(bare)
    assert (bare.content(), bare.leftovers()) == (before, [])


# By hand


def test_retired_by_hand_and_taken_back_every_byte_is_as_it_was(on_2):
    before = on_2.content()
    done = on_2.run("retire", "hits", "--dry-run")
    assert (done.code, on_2.content(), on_2.leftovers()) == (0, before, []), done.stderr
    assert done.stdout.startswith("1 retires, 2 replay cleanly\n  retire hits: 2.0; absorbed, ")
    assert done.stdout.endswith("\nnext: nox -s retire -- hits\n")
    done = on_2.run("retire", "hits")
    assert done.code == 0, done.stderr
    after = on_2.content()
    assert live_patch_names(on_2)[1] == "trim-headings"
    assert "\nBase: 1.1\n" in on_2.read("patches/0003-long-units.patch"), (
        "the others stay on their release"
    )
    assert "\nPlace: 0002\nApplied-Upstream: 2.0; absorbed, " in retired_patch_text(on_2, "hits")
    for verb, content in (("unretire", before), ("retire", after), ("unretire", before)):
        assert on_2.run(verb, "hits").code == 0
        assert (on_2.content(), on_2.leftovers()) == (content, []), verb


def test_taken_back_in_another_clone_it_is_what_it_was(on_2):
    before = on_2.content()
    assert on_2.run("retire", "hits", "long-units").code == 0
    (on_2.root / ".fork" / "by-hand.json").unlink()
    done = on_2.run("unretire", "long-units", "hits")
    assert done.code == 0, done.stderr
    assert "  take back hits: by hand\n" in done.stdout
    written = {
        name: what
        for name, what in on_2.content().items()
        if name not in ("patches/series", PROFILE)
    }
    assert written == {
        name: what for name, what in before.items() if name not in ("patches/series", PROFILE)
    }
    names = [
        line
        for line in on_2.read("patches/series").splitlines()
        if line and not line.startswith("#")
    ]
    assert names == ["0001-trim-headings.patch", "0002-hits.patch", "0003-long-units.patch"]
    assert "long-units" not in on_2.read(PROFILE)


PROFILE = "larder_overrides/profile.py"


def test_what_was_edited_since_is_not_undone(on_2):
    assert on_2.run("retire", "hits").code == 0
    on_2.append("larder_overrides/trim.py", "\n# mine\n")
    done = on_2.run("unretire", "hits")
    assert done.code == 0, done.stderr
    assert on_2.read("larder_overrides/trim.py").endswith("# mine\n")
    assert "0002-hits.patch" in on_2.read("patches/series")


@pytest.mark.parametrize(
    ("words", "code", "said", "following"),
    [
        (
            ["retire", "trim-headings"],
            20,
            "trim-headings is needed on 2.0: bare upstream fails: ",
            "status -- --patch trim-headings",
        ),
        (
            ["retire", "hit"],
            2,
            "there is no live feature or patch hit; did you mean hits?",
            "nox -s status",
        ),
        (["unretire", "hits"], 2, "there is no retired feature or patch hits", "nox -s status"),
    ],
)
def test_step_by_hand_that_cannot_be_is_refused(on_2, words, code, said, following):
    before = on_2.content()
    done = on_2.run(*words)
    assert (done.code, on_2.content(), on_2.leftovers()) == (code, before, [])
    assert said in done.stderr
    assert following in done.stderr.partition("  next: ")[2]


@pytest.mark.parametrize("step", ["planned", "replaying", "exported", "deciding"])
def test_step_by_hand_that_is_killed_leaves_the_old_repository(on_2, step):
    before = on_2.content()
    assert on_2.run("retire", "hits", kill_at=step).code == -9
    assert on_2.content() == before
    state = json.loads(on_2.read(".fork/rebase/state.json"))
    assert state["by_hand"]
    done = on_2.run("rebase", "--continue")
    assert (done.code, on_2.leftovers()) == (0, []), done.stderr
    assert "Applied-Upstream: 2.0" in retired_patch_text(on_2, "hits")
