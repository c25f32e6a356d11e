"""Forks of two real packages, from the machine's own index: what upstream did when is known from its changelogs."""

import re
import subprocess

import pytest

from tests.support.harness import SITUATIONS, make_fork

# A letter a release, and what `bisect` has to say. What upstream did when is from the changelogs; the words are the tool's.

TABULATE = {
    "blank-as-dash": ("needed", "NNNNNNN", ["not absorbed up to 0.10.0"]),
    "none-as-dash": ("redundant", "NNNNrNN", ["not absorbed up to 0.10.0"]),
    "column-width": (
        "needed",
        "NNNNNaa",
        ["absorbed in 0.9.0; confirmed in plain, where 0.8.9 fails"],
    ),
    "keep-spaces": (
        "configurable",
        "NcccccN",
        [
            "not absorbed up to 0.10.0",
            "configurable from 0.8.1 to 0.9.0, not in 0.10.0; confirmed in plain, where 0.7.7 fails",
        ],
    ),
    "colon-grid": (
        "needed",
        "NNNNNNa",
        ["absorbed in 0.10.0; confirmed in plain, where 0.9.0 fails"],
    ),
    "plain-commas": (
        "absorbed",
        "---Naaa",
        [
            "absorbed up to 0.8.3, not in 0.8.8; absorbed in 0.8.9; confirmed in plain, where 0.8.8 fails"
        ],
    ),
    "grouped-integers": ("needed", "NNNNNNN", ["not absorbed up to 0.10.0"]),
    "rows-in-order": (
        "unproven",
        "???????",
        ["its probes pass on the bare tree of every release, so they prove nothing"],
    ),
    "wide-letters": ("untested", ".......", ["no cell here can say"]),
    "github-tables": (
        "absorbed",
        "NNaaaaa",
        ["absorbed in 0.8.3; confirmed in plain, where 0.8.1 fails"],
    ),
}
JINJA2 = {
    "initials": ("needed", "NNNN", ["not absorbed up to 3.1.4"]),
    "items-filter": (
        "needed",
        "NNNa",
        ["absorbed in 3.1.4; confirmed in plain, where 3.0.3 fails"],
    ),
    "keep-newline": (
        "configurable",
        "cccc",
        ["not absorbed up to 3.1.4", "configurable in 2.10.3 already, the first of them"],
    ),
}
LETTERS = {
    "needed": "N",
    "redundant": "r",
    "absorbed": "a",
    "configurable": "c",
    "not needed": "-",
    "unproven": "?",
    "untested": ".",
}


def make_other_fork(folder, name):
    """Return a fork whose releases are pinned and here."""
    fork = make_fork(SITUATIONS / name, folder / name)
    for verb in ("pin", "vendor"):
        done = fork.run(verb)
        assert done.code == 0, done.stderr
    assert (
        fork.read("upstream/lock.toml") == (SITUATIONS / name / "upstream/lock.toml").read_text()
    ), "the ids are every machine's"
    return fork


def terminal_report(fork, done):
    """Return what `status` and `bisect` say of each patch, in the form of the tables above."""
    lines = [line.partition(": ") for line in fork.run("bisect").stdout.splitlines()]
    return {
        name: (
            patch["verdict"],
            "".join(LETTERS[at["verdict"]] for at in patch["releases"].values()),
            [words for patch_id, _, words in lines if patch_id == name],
        )
        for name, patch in done.features.items()
    }


def test_tabulate_gets_the_verdicts_of_its_changelog(tmp_path):
    fork = make_other_fork(tmp_path, "tabulate_fork")
    done = fork.status()
    assert terminal_report(fork, done) == TABULATE, done.stderr
    assert done.code == 20, "a probe that fails nowhere wants somebody to look"
    since = {
        name: (patch["absorbed_in"], patch["configurable_since"])
        for name, patch in done.features.items()
    }
    assert {name: found for name, found in since.items() if any(found)} == {
        "column-width": ("0.9.0", None),
        "keep-spaces": (None, "0.8.1"),
        "colon-grid": ("0.10.0", None),
        "plain-commas": ("0.8.9", None),
        "github-tables": ("0.8.3", None),
    }
    assert done.features["keep-spaces"]["configurable_until"] == "0.9.0"
    assert (
        "keep-spaces: configurable from 0.8.1 to 0.9.0, no longer in 0.10.0"
        in fork.run("status").stdout
    )
    assert fork.status().probe_processes_run == 0


def test_jinja2_is_followed_into_src(tmp_path):
    fork = make_other_fork(tmp_path, "jinja2_fork")
    done = fork.status()
    assert (done.code, terminal_report(fork, done)) == (0, JINJA2), done.stderr
    moved = fork.status("--upstream", "2.11.3", "--patch", "initials")
    cell = moved.cell("initials", "2.11.3")
    assert [cell[name] for name in ("bare", "series", "without")] == [
        "failed",
        "passed",
        "failed",
    ], moved.stdout


# Rebases


CONFLICT = re.compile(
    r"^<<<<<<< [^\n]*\n(.*?)^=======\n.*?^>>>>>>> [^\n]*\n", re.DOTALL | re.MULTILINE
)


def resolve(fork, file, *edits):
    """Return each conflict of a file in the work tree what an edit makes of the target's side."""
    tree, left = fork.root / ".fork/rebase/tree", list(edits)
    text = CONFLICT.sub(lambda found: left.pop(0)(found[1]), (tree / file).read_text())
    assert not left
    (tree / file).write_text(text)
    subprocess.run(["git", "add", file], cwd=tree, check=True)


def rebase(fork, *words, code=0):
    done = fork.run("rebase", *words)
    assert done.code == code, done.stdout + done.stderr
    return done


def swap(old, new):
    """Return an edit that replaces a text, which must be there once."""

    def edit(text):
        assert text.count(old) == 1, text
        return text.replace(old, new)

    return edit


def import_dash(text):
    return text + "from tabulate_overrides.dash import DASH, is_blank\n"


def group(text):
    return '    if valtype is int:\n        return format(int(val), "_")\n' + text


DASHES = (
    import_dash,
    swap('_DEFAULT_MISSINGVAL = ""', "_DEFAULT_MISSINGVAL = DASH"),
    swap("if val is None:", "if is_blank(val):"),
)
WAIVE = ("--waive", "rows-in-order=kept as a reminder")


def test_tabulate_is_rebased_to_where_its_module_is_a_package_and_back(tmp_path):
    fork = make_other_fork(tmp_path, "tabulate_fork")
    package = "tabulate/__init__.py"
    plan = rebase(fork, "0.10.0", "--dry-run", *WAIVE, code=20).stdout
    assert plan.startswith("3 retire, 3 replay cleanly, 3 conflict\n")
    went = f"tabulate.py moved to {package} (47 % alike)"
    for name in ("blank-as-dash", "none-as-dash", "grouped-integers"):
        assert f"\n{name}: conflict {went}; {package}: line " in plan
    assert f"\nkeep-spaces: three-way {went}\n" in plan

    done = rebase(fork, "0.10.0", *WAIVE, code=20)
    assert f"blank-as-dash conflicts with 0.10.0: {went}" in done.stderr
    resolve(fork, package, *DASHES)
    done = rebase(fork, "--continue", code=20)
    assert f"none-as-dash conflicts with 0.10.0: {went}" in done.stderr
    done = rebase(fork, "--skip", code=20)
    assert f"grouped-integers conflicts with 0.10.0: {went}" in done.stderr
    resolve(fork, package, group)
    done = rebase(fork, "--continue", code=20)
    assert "keep-spaces is broken: fails with the series applied" in done.stderr, (
        "0.10.0 does not read the setting any more"
    )
    done = rebase(fork, "--skip")
    assert done.stdout.startswith(
        "moved from 0.8.9 to 0.10.0\n"
        "  retire column-width: 0.9.0; absorbed, the probes pass bare on 0.10.0; 0.10.0@plain\n"
        "  retire colon-grid: 0.10.0; absorbed, the probes pass bare on 0.10.0; 0.10.0@plain\n"
        "  retire plain-commas: 0.8.9; absorbed, the probes pass bare on 0.10.0; 0.10.0@plain\n"
    )
    verdicts = fork.status().verdicts
    assert {name: verdict for name, verdict in verdicts.items() if verdict != "absorbed"} == {
        "blank-as-dash": "needed",
        "grouped-integers": "needed",
        "rows-in-order": "unproven",
        "wide-letters": "untested",
    }

    done = rebase(fork, "0.8.9", *WAIVE, code=20)
    assert (
        f"blank-as-dash conflicts with 0.8.9: {package} moved to tabulate.py (47 % alike)"
        in done.stderr
    )
    resolve(fork, "tabulate.py", *DASHES)
    rebase(fork, "--continue", code=20)
    resolve(fork, "tabulate.py", group)
    done = rebase(fork, "--continue")
    assert (
        "  take back column-width: needed again on 0.8.9\n  take back colon-grid: needed again on 0.8.9\n"
        in done.stdout
    )
    verdicts = fork.status().verdicts
    assert {name for name, verdict in verdicts.items() if verdict == "needed"} == {
        "blank-as-dash",
        "column-width",
        "colon-grid",
        "grouped-integers",
    }


@pytest.fixture
def jinja2(tmp_path):
    return make_other_fork(tmp_path, "jinja2_fork")


def test_jinja2_is_rebased_into_src_and_back_to_the_same_patches(jinja2):
    before = {
        name: jinja2.read(f"patches/{name}")
        for name in ("0001-initials.patch", "0002-items-filter.patch")
    }
    went = "initials: conflict ambiguous: jinja2/filters.py moved to src/jinja2/filters.py (32 % alike); its hunks fit in more than"
    assert went in rebase(jinja2, "3.1.4", "--dry-run", code=20).stdout
    rebase(jinja2, "3.1.4", code=20)
    done = rebase(jinja2, "--continue")
    assert (
        "\n  retire items-filter: 3.1.4; absorbed, the probes pass bare on 3.1.4; 3.1.4@plain\n"
        in done.stdout
    )
    assert "+++ b/src/jinja2/filters.py\n" in jinja2.read("patches/0001-initials.patch")
    after = jinja2.status()
    assert (after.code, after.verdicts) == (
        0,
        {"initials": "needed", "items-filter": "absorbed", "keep-newline": "configurable"},
    )

    rebase(jinja2, "2.10.3", code=20)
    done = rebase(jinja2, "--continue")
    assert "\n  take back items-filter: needed again on 2.10.3\n" in done.stdout
    assert {name: jinja2.read(f"patches/{name}") for name in before} == before
    assert jinja2.status().verdicts == {
        "initials": "needed",
        "items-filter": "needed",
        "keep-newline": "configurable",
    }


def test_settings_that_no_profile_takes_are_refused_before_anything_is_replayed(jinja2):
    jinja2.replace("fork.toml", 'profile = "profile.py"\n', "")
    for words in (["--dry-run"], []):
        done = rebase(jinja2, "3.1.4", *words, code=2)
        assert done.stderr.endswith(
            "error: settings replace a feature, and fork.toml names no profile to put them into\n"
            '  next: write SETTINGS = {} to jinja2_overrides/profile.py, and profile = "profile.py" to [overrides] in fork.toml\n'
        )
    assert not (jinja2.root / ".fork/rebase").exists()
