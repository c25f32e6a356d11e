"""Another fork of another real package, from the machine's own index: nothing in the tools knows what is forked."""

from tests.support.harness import SITUATIONS, make_fork


def test_tiny_fork_gets_its_verdicts(tmp_path):
    fork = make_fork(SITUATIONS / "tiny_fork", tmp_path / "tiny_fork")
    for verb in ("pin", "vendor"):
        done = fork.run(verb)
        assert done.code == 0, done.stderr
    assert (
        fork.read("upstream/lock.toml") == (SITUATIONS / "tiny_fork/upstream/lock.toml").read_text()
    ), "the ids are every machine's"
    assert (fork.root / "upstream/src/inflection/__init__.py").exists()

    done = fork.status("--check")
    assert done.code == 10, done.stderr
    assert done.verdicts == {"passersby": "absorbed", "uncountable-phrases": "needed"}
    assert done.features["passersby"]["absorbed_in"] == "0.5.1"
    cells = {
        name: [done.cell(name, release) for release in ("0.3.1", "0.5.1")] for name in done.features
    }
    columns = {
        name: [[cell[name] for name in ("bare", "series", "without")] for cell in found]
        for name, found in cells.items()
    }
    assert columns == {
        "passersby": [["failed", None, None], ["passed", None, None]],
        "uncountable-phrases": [["failed", None, None], ["failed", "passed", "failed"]],
    }
    assert done.features["uncountable-phrases"]["releases"]["0.5.1"]["applies"] == "three-way", (
        "upstream moved the file"
    )
    assert done.report["smallest_series"] == ["uncountable-phrases"]
    assert done.report["answer"] == {
        "release": "0.5.1",
        "bare_is_enough": False,
        "settings": {},
        "in_the_way": ["uncountable-phrases"],
        "text": "No: bare inflection 0.5.1 is not enough; 1 feature stands in the way: uncountable-phrases.",
    }

    done = fork.run("lint")
    assert (done.code, done.stderr) == (
        0,
        "2 live and 0 retired patches are in order; the live ones touch 5 upstream lines\n",
    )
