"""Forks of two real packages, from the machine's own index: what upstream did when is known from its changelogs."""

from tests.situations.harness import HERE, make_fork

# A letter a release, and what `bisect` has to say. What upstream did when is from the changelogs; the words are the tool's.

TABULATE = {
    "blank-as-dash": ("needed", "NNNNNNN", ["not absorbed up to 0.10.0"]),
    "none-as-dash": ("redundant", "NNNNrNN", ["not absorbed up to 0.10.0"]),
    "column-width": ("needed", "NNNNNaa", ["absorbed in 0.9.0; confirmed in plain, where 0.8.9 fails"]),
    "keep-spaces": (
        "configurable",
        "NcccccN",
        [
            "not absorbed up to 0.10.0",
            "configurable from 0.8.1 to 0.9.0, not in 0.10.0; confirmed in plain, where 0.7.7 fails",
        ],
    ),
    "colon-grid": ("needed", "NNNNNNa", ["absorbed in 0.10.0; confirmed in plain, where 0.9.0 fails"]),
    "plain-commas": (
        "absorbed",
        "---Naaa",
        ["absorbed up to 0.8.3, not in 0.8.8; absorbed in 0.8.9; confirmed in plain, where 0.8.8 fails"],
    ),
    "grouped-integers": ("needed", "NNNNNNN", ["not absorbed up to 0.10.0"]),
    "rows-in-order": (
        "unproven",
        "???????",
        ["no teeth: it passes on the bare tree of every release, so it proves nothing"],
    ),
    "wide-letters": ("untested", ".......", ["no cell here can say"]),
    "github-tables": ("absorbed", "NNaaaaa", ["absorbed in 0.8.3; confirmed in plain, where 0.8.1 fails"]),
}
JINJA2 = {
    "initials": ("needed", "NNNN", ["not absorbed up to 3.1.4"]),
    "items-filter": ("needed", "NNNa", ["absorbed in 3.1.4; confirmed in plain, where 3.0.3 fails"]),
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


def made(folder, name):
    """Return a fork whose releases are pinned and here."""
    fork = make_fork(HERE / name, folder / name)
    for verb in ("pin", "vendor"):
        done = fork.run(verb)
        assert done.code == 0, done.stderr
    assert fork.read("upstream/lock.toml") == (HERE / name / "upstream/lock.toml").read_text(), "the ids are every machine's"
    return fork


def told(fork, done):
    """Return what `status` and `bisect` say of each patch, in the form of the tables above."""
    lines = [line.partition(": ") for line in fork.run("bisect").stdout.splitlines()]
    return {
        name: (
            patch["verdict"],
            "".join(LETTERS[at["verdict"]] for at in patch["releases"].values()),
            [words for patch_id, _, words in lines if patch_id == name],
        )
        for name, patch in done.patches.items()
    }


def test_tabulate_gets_the_verdicts_of_its_changelog(tmp_path):
    fork = made(tmp_path, "tabulate_fork")
    done = fork.status()
    assert told(fork, done) == TABULATE, done.stderr
    assert done.code == 20, "a probe that fails nowhere wants somebody to look"
    since = {name: (patch["absorbed_in"], patch["configurable_since"]) for name, patch in done.patches.items()}
    assert {name: found for name, found in since.items() if any(found)} == {
        "column-width": ("0.9.0", None),
        "keep-spaces": (None, "0.8.1"),
        "colon-grid": ("0.10.0", None),
        "plain-commas": ("0.8.9", None),
        "github-tables": ("0.8.3", None),
    }
    assert done.patches["keep-spaces"]["configurable_until"] == "0.9.0"
    assert "keep-spaces: configurable from 0.8.1 to 0.9.0, no longer in 0.10.0" in fork.run("status").stdout
    assert fork.status().ran == 0


def test_jinja2_is_followed_into_src(tmp_path):
    fork = made(tmp_path, "jinja2_fork")
    done = fork.status()
    assert (done.code, told(fork, done)) == (0, JINJA2), done.stderr
    moved = fork.status("--upstream", "2.11.3", "--patch", "initials")
    cell = moved.cell("initials", "2.11.3")
    assert [cell[name] for name in ("bare", "series", "without")] == ["failed", "passed", "failed"], moved.stdout
