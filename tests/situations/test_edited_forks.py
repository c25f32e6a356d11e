"""What somebody does to a fork by mistake, or to make a verdict look better: each is named for what it is."""

PATCH = "patches/0001-trim-headings.patch"
PROBE = "tests/probes/test_trim_headings.py"
RETIRED = "patches/retired/0001-count-hits.patch"


def unproven(done, patch="trim-headings"):
    """Assert that a patch is unproven, and return the words that say why."""
    assert done.code == 20, done.stderr
    assert done.verdicts[patch] == "unproven"
    return done.cell(patch)["detail"]


# The patch


def test_hunk_that_lacks_a_line_is_unreadable(fork):
    fork.replace(PATCH, "-    return line.capitalize()\n", "")
    done = fork.status()
    assert (done.code, done.stdout) == (2, "")
    assert f"  - {PATCH}: its diff is unreadable: Hunk is shorter than expected" in done.stderr


def test_hunk_that_lacks_a_line_and_counts_right_is_a_conflict(fork):
    fork.replace(PATCH, "-    return line.capitalize()\n", "")
    fork.replace(PATCH, "@@ -4,2 +7,2 @@", "@@ -4,1 +7,2 @@")
    done = fork.status()
    assert (done.code, done.verdicts["trim-headings"]) == (20, "conflict")
    assert done.cell("trim-headings")["detail"].startswith(
        "does not apply exactly on its own base 1.1: error: "
    )
    assert "error: patch failed: larder/labels.py:4" in done.cell("trim-headings")["detail"]


def test_hunk_without_its_effect_is_broken(fork):
    fork.replace(PATCH, "+    return trim(line).capitalize()\n", "+    return line.capitalize()\n")
    done = fork.status()
    assert (done.code, done.verdicts["trim-headings"]) == (20, "broken")


def test_override_without_its_effect_is_broken(fork):
    fork.replace("larder_overrides/trim.py", "text.strip()", "text")
    done = fork.status()
    assert (done.code, done.verdicts["trim-headings"]) == (20, "broken")


def test_patch_that_breaks_the_control_probe_is_broken(fork):
    fork.apply_situation("cache_off")
    fork.replace(
        "patches/0008-no-nones.patch",
        "+        if found is not None:",
        "+        if found is not found:",
    )
    done = fork.status()
    assert (done.code, done.verdicts["no-nones"]) == (20, "broken")
    assert done.cell("no-nones")["detail"].startswith(
        "fails with the series applied: the control probe does not pass: failed: "
    )


def test_broken_trailer_names_file_and_line(fork):
    fork.replace(PATCH, "Forwarded: no", "Forwarded no")
    done = fork.status()
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the patches are not in order:\n"
        f"  - {PATCH}: the last paragraph must be trailers (`Name: value`), this line is none: 'Forwarded no'\n"
        "      fix: write `Forwarded: no` in the patch file\n"
        "       or: if it is text, move it into the paragraph before the trailers\n"
        f"  - {PATCH}: the trailer `Forwarded:` is missing\n"
        "      fix: add `Forwarded: no` in the patch file\n"
        "  next: do what stands below each of them, then `nox -s lint`\n"
    )


# The probe


def test_inverted_probe_has_no_teeth(fork):
    fork.replace(PROBE, '== "Bread"', '!= "Bread"')
    assert (
        unproven(fork.status())
        == "its probes pass on the bare tree of every release, so they prove nothing"
    )


def test_inverted_probe_has_no_teeth_on_one_release_either(fork):
    fork.replace(PROBE, '== "Bread"', '!= "Bread"')
    assert unproven(fork.status("--upstream", "2.0")).startswith(
        "its probes pass on the bare tree of every release"
    )


def test_empty_probe_file_collects_nothing(fork):
    fork.write(PROBE, "")
    assert (
        unproven(fork.status())
        == f"no usable result in the bare column: nothing collected from {PROBE}"
    )


def test_skipped_probe_says_nothing(fork):
    fork.replace(
        PROBE,
        "def test_heading_has",
        'import pytest\n\n\n@pytest.mark.skip(reason="not today")\ndef test_heading_has',
    )
    words = "a skip in the bare column: test_trim_headings.py::test_heading_has_no_space_around_it: Skipped: not today"
    assert unproven(fork.status()) == words


def test_expected_failure_is_no_pass(fork):
    fork.replace(
        PROBE, "def test_heading_has", "import pytest\n\n\n@pytest.mark.xfail\ndef test_heading_has"
    )
    assert unproven(fork.status()).startswith("a skip in the bare column: ")


def test_error_in_a_fixture_is_no_failure(fork):
    fork.append(
        PROBE,
        '\n\nimport pytest\n\n\n@pytest.fixture(autouse=True)\ndef oven():\n    raise OSError("cold")\n',
    )
    assert unproven(fork.status()).endswith("OSError: cold")


def test_probe_that_cannot_be_imported_is_named_and_takes_no_other_with_it(fork):
    fork.append(PROBE, "\nimport larder.of_tomorrow\n")
    done = fork.status("--fresh")
    assert (
        unproven(done)
        == "an error in the bare column: ModuleNotFoundError: No module named 'larder.of_tomorrow'"
    )
    assert (done.verdicts["count-hits"], done.verdicts["fold-names"]) == (
        "absorbed",
        "configurable",
    )


def test_flaky_probe_is_named(fork, tmp_path):
    flag = tmp_path / "flag"
    fork.append(
        PROBE,
        f"\n\ndef test_of_moods():\n    __import__('pathlib').Path({str(flag)!r}).touch(exist_ok=False)\n",
    )
    words = "flaky: two runs of the series column differ: test_trim_headings.py::test_of_moods: passed, then failed: "
    assert unproven(fork.status()).startswith(words)


def test_probe_that_leans_on_another_one_is_flaky(fork):
    fork.append(PROBE, LEANING)
    words = "flaky: two runs of the series column differ: test_trim_headings.py::test_second: passed, then failed: "
    assert unproven(fork.status()).startswith(words)


LEANING = """

SEEN = []


def test_first():
    SEEN.append(1)


def test_second():
    assert SEEN.pop()
"""


def test_probe_that_leaves_the_feature_off_takes_no_other_with_it(fork):
    fork.append(PROBE, "\n\ndef test_leaks():\n    __import__('larder').configure(ENABLED=False)\n")
    done = fork.status("--fresh")
    assert (done.code, done.verdicts["trim-headings"]) == (0, "needed")
    assert (done.verdicts["count-hits"], done.verdicts["fold-names"]) == (
        "absorbed",
        "configurable",
    )


def test_probe_that_hangs_runs_into_the_timeout(fork):
    fork.replace("fork.toml", "[probes]\n", "[probes]\ntimeout = 3\n")
    fork.append(PROBE, "\n\ndef test_forever():\n    __import__('threading').Event().wait()\n")
    done = fork.status("--fresh")
    assert unproven(done).startswith(
        "an error in the series column: the process ran into its timeout"
    )
    assert (done.verdicts["count-hits"], done.verdicts["fold-names"]) == (
        "absorbed",
        "configurable",
    )


def test_probe_that_ends_its_process_takes_no_other_with_it(fork):
    fork.append(PROBE, "\n\ndef test_crash():\n    __import__('os')._exit(7)\n")
    done = fork.status("--fresh")
    assert unproven(done).startswith("an error in the series column: the process ended with 7")
    assert (done.verdicts["count-hits"], done.verdicts["fold-names"]) == (
        "absorbed",
        "configurable",
    )


def test_control_probe_that_fails_on_bare_says_nothing_of_any_patch(fork):
    fork.append("tests/probes/test_control.py", "\n\ndef test_never():\n    assert 0\n")
    done = fork.status()
    assert set(done.verdicts.values()) == {"unsupported"}
    assert (
        done.report["answer"]["text"]
        == "Not known: nothing could be run on made-up-larder 2.0 here."
    )
    assert done.report["answer"]["bare_is_enough"] is False


# Upstream's source


def test_edited_source_is_reported_and_not_used(fork):
    fork.replace("upstream/src/larder/labels.py", "line.capitalize()", "line.strip().capitalize()")
    done = fork.run("status")
    assert done.code == 20
    warning = "upstream/src/ was edited and is not used, the pinned 2.0 is: M larder/labels.py; see `nox -s vendor`"
    assert warning in done.stdout
    assert fork.status().verdicts["trim-headings"] == "needed"


# Retired patches


def test_retired_patch_that_no_longer_works_on_its_base_is_broken(fork):
    fork.replace(RETIRED, "+            self.hits += 1", "+            self.hits += 2")
    done = fork.status()
    assert (done.code, done.verdicts["count-hits"]) == (20, "broken")
    words = "fails on its base: test_count_hits.py::test_hits_are_counted: AssertionError: assert 2 == 1"
    assert done.cell("count-hits", "1.1")["detail"].startswith(words)


def test_retired_patch_that_no_longer_applies_on_its_base_is_broken(fork):
    fork.replace(RETIRED, "\n         if SETTINGS", "\n         if SETTING")
    done = fork.status()
    assert (done.code, done.verdicts["count-hits"]) == (20, "broken")
    assert done.cell("count-hits", "1.1")["detail"].startswith(
        "does not apply on its base: does not apply exactly"
    )


def test_retired_patch_without_its_profile_entry_regressed(fork):
    fork.replace("larder_overrides/profile.py", '{"fold-names": {"FOLD": True}}', "{}")
    done = fork.status()
    assert (done.code, done.verdicts["fold-names"]) == (20, "regressed")
    words = "bare upstream under the profile no longer has the feature: test_fold_names.py::"
    assert done.cell("fold-names")["detail"].startswith(words)
    assert done.report["answer"]["in_the_way"] == ["trim-headings", "fold-names"]


# What is not here


def test_missing_interpreter_skips_its_cells_and_says_how_to_get_it(fork):
    fork.append(
        "fork.toml", '\n[[environments]]\nid = "future"\npython = "3.99"\nreleases = ">=2"\n'
    )
    done = fork.run("status")
    assert done.code == 0, done.stderr
    line = (
        "not tried here: 2.0@future: Python 3.99 is not here; get it with `uv python install 3.99`"
    )
    assert line in done.stdout
    cells = fork.status().features["trim-headings"]["releases"]["2.0"]["cells"]
    assert {name: cell["verdict"] for name, cell in cells.items()} == {
        "2.0@plain": "needed",
        "2.0@future": "untested",
    }


def test_missing_server_skips_its_cells_and_says_how_to_get_it(fork):
    fork.replace("fork.toml", "[[environments]]", SERVER)
    fork.append("fork.toml", 'servers = ["cellar"]\n')
    done = fork.run("status")
    assert done.code == 0, done.stderr
    assert "the server cellar is not here: install cellar-server" in done.stdout
    assert set(fork.status().verdicts.values()) == {"untested"}


SERVER = """[[servers]]
id = "cellar"
command = ["cellar-server", "{socket}"]
url = "unix://{socket}"

[[environments]]"""


def test_retired_patch_may_go_without_a_trace(fork):
    (fork.root / RETIRED).unlink()
    done = fork.status()
    assert (done.code, list(done.verdicts), done.probe_processes_run) == (
        0,
        ["trim-headings", "fold-names"],
        0,
    )
