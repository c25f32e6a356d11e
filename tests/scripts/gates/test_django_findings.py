"""What the gate makes of the logs of Django's own tests, and how it divides them."""

from pathlib import Path

import pytest

from scripts.core.errors import UsageError
from scripts.gates.django import as_json, summary_line
from scripts.gates.django_excuses import Excuse, read_excuses, unexcused, unused_excuses
from scripts.gates.django_findings import (
    WHOLE_RUN,
    DjangoPlace,
    PlaceSummary,
    ShardRun,
    WrongValue,
    first_of_each,
    new_failures,
    read_run,
)
from scripts.gates.django_plan import labels_of, match_labels, select_share, shards
from scripts.gates.django_run import databases

PLACE = DjangoPlace("5.2", "sqlite", "committing")
DONE = {"figures": {"hits": 3}, "done": True}


def ran(**outcomes):
    return ShardRun(
        outcomes,
        {test: "AssertionError: no" for test, outcome in outcomes.items() if outcome == "failed"},
    )


def wrong(test, kind="count", difference=": 1 in place of 2"):
    return WrongValue(test, kind, "at once", difference)


def summed(plain, tried, place=PLACE):
    summary = PlaceSummary(place, "5.2.1")
    summary.add(plain, tried)
    return summary


# Logs


def test_a_log_is_summed_up_by_test():
    log = [
        {"start": "a"},
        {
            "wrong": "a",
            "kind": "count",
            "when": "at once",
            "difference": ": 1 in place of 2",
            "sql": "SELECT",
            "model": "x.Y",
        },
        {"test": "a", "outcome": "failed", "words": "AssertionError: no", "trace": "..."},
        {"start": "b"},
        {"test": "b", "outcome": "passed"},
        {"test": "c", "outcome": "skipped", "words": "not on SQLite"},
        DONE,
    ]
    expected = ShardRun(
        {"a": "failed", "b": "passed", "c": "skipped"},
        {"a": "AssertionError: no"},
        (WrongValue("a", "count", "at once", ": 1 in place of 2", "SELECT"),),
        {"hits": 3},
    )
    assert read_run(log, "ended with 0") == expected


def test_a_test_that_failed_in_a_subtest_has_failed():
    log = [
        {"test": "a", "outcome": "failed", "words": "first"},
        {"test": "a", "outcome": "failed", "words": "second"},
        DONE,
    ]
    assert read_run([*log, {"test": "a", "outcome": "passed"}], "") == ShardRun(
        {"a": "failed"}, {"a": "first"}, (), {"hits": 3}
    )


def test_a_log_without_an_end_names_the_test_that_was_running():
    found = read_run(
        [{"start": "a"}, {"test": "a", "outcome": "passed"}, {"start": "b"}], "ran into its timeout"
    )
    assert found.words == {WHOLE_RUN: "ran into its timeout (in b)"}
    assert read_run([], "ended with 1: no word").words == {
        WHOLE_RUN: "ended with 1: no word (before the first test)"
    }


def test_a_run_survives_being_kept():
    run = ShardRun({"a": "failed"}, {"a": "no"}, (wrong("a"),), {"hits": 3})
    assert ShardRun.of(run.record()) == run


# New failures


def test_only_what_fails_with_the_cache_alone_is_new():
    plain, tried = ran(a="passed", b="failed", c="passed"), ran(a="failed", b="failed", c="passed")
    assert new_failures(plain, tried) == {"a": "AssertionError: no"}


def test_a_test_that_is_gone_or_skipped_is_a_failure():
    found = new_failures(ran(a="passed", b="passed"), ran(b="skipped"))
    assert found == {"a": "it passes without the cache and did not run", "b": "it was skipped"}


def test_a_class_whose_fixture_fails_is_one_failure():
    plain = ShardRun({"app.tests.One.test_a": "passed", "app.tests.One.test_b": "passed"})
    tried = ShardRun(
        {"setUpClass (app.tests.One)": "failed"}, {"setUpClass (app.tests.One)": "TypeError"}
    )
    assert new_failures(plain, tried) == {"setUpClass (app.tests.One)": "TypeError"}


def test_a_run_that_did_not_come_to_its_end_is_a_failure_on_either_side():
    broken = ShardRun({WHOLE_RUN: "failed"}, {WHOLE_RUN: "ran into its timeout"})
    assert new_failures(ran(a="passed"), broken) == {WHOLE_RUN: "ran into its timeout"}
    said = "nothing can be compared: without the cache it ran into its timeout"
    assert new_failures(broken, ran(a="passed")) == {WHOLE_RUN: said}


# Excuses


def excuse(*tests, **more):
    return Excuse(reason="counts the queries", tests=tests, **more)


def test_an_excuse_takes_failures_by_name_and_no_wrong_values():
    summary = summed(
        ran(a="passed", b="passed"),
        ShardRun({"a": "failed", "b": "failed"}, {"a": "x", "b": "y"}, (wrong("a"),)),
    )
    assert unexcused(summary, [excuse("a")]) == ({"b": "y"}, [wrong("a")])
    assert unexcused(summary, [excuse("[ab]", values=True)]) == ({}, [])
    assert unexcused(summary, [excuse("a", values=True, failures=False)]) == (
        {"a": "x", "b": "y"},
        [],
    )


@pytest.mark.parametrize(
    "elsewhere",
    [{"modes": ("as-they-are",)}, {"djangos": ("6.*",)}, {"databases": ("postgresql",)}],
)
def test_an_excuse_for_another_place_excuses_nothing(elsewhere):
    summary = summed(ran(a="passed"), ran(a="failed"))
    assert unexcused(summary, [excuse("a", **elsewhere)])[0] == {"a": "AssertionError: no"}
    assert unused_excuses([summary], [excuse("a", **elsewhere)]) == []


def test_an_excuse_that_nothing_needs_any_more_is_named():
    summary = summed(ran(a="passed", b="passed"), ran(a="failed", b="passed"))
    assert unused_excuses([summary], [excuse("a", "b", "never.run")]) == ["b"]


def test_the_file_of_excuses_is_checked(tmp_path):
    path = tmp_path / "excused.toml"
    path.write_text(
        '[[excused]]\nreason = "counts the queries"\ntests = ["a.*"]\ndjangos = ["5.*"]\n'
    )
    assert read_excuses(path) == (
        Excuse(reason="counts the queries", tests=("a.*",), djangos=("5.*",)),
    )
    path.write_text('[[excused]]\nreason = ""\ntest = ["a"]\n')
    with pytest.raises(UsageError, match=r"reason.*\n.*tests.*\n.*test"):
        read_excuses(path)


def test_the_repositorys_own_excuses_can_be_read():
    from scripts.core.repository import Repository

    repo = Repository(Path(__file__).parents[3])
    assert read_excuses(repo.root / repo.config.django.excused)


# Labels and shards


def test_labels_are_folders_with_tests(tmp_path):
    for name, text in {
        "update": "class T:\n    def test_a():\n    def test_b():\n",
        "empty_package": "",
        "data": None,
    }.items():
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "__init__.py").touch()
            (tmp_path / name / "tests.py").write_text(text)
    assert labels_of(tmp_path) == {"update": 2}


def test_labels_are_chosen_by_pattern_and_tests_by_name():
    labels = ["m2m_regress", "m2m_through", "update"]
    assert match_labels(labels, ["m2m_*", "update.tests.SimpleTest"]) == [
        "m2m_regress",
        "m2m_through",
        "update.tests.SimpleTest",
    ]
    with pytest.raises(UsageError, match="no label 'updates'"):
        match_labels(labels, ["updates"])


def test_shards_hold_about_so_many_tests_in_the_order_of_the_labels():
    assert shards({"a": 60, "b": 30, "c": 20, "d": 300, "e": 1}, 100) == [
        ("a", "b"),
        ("c",),
        ("d",),
        ("e",),
    ]


def test_every_shard_is_in_one_share():
    every = [(str(number),) for number in range(10)]
    assert select_share(every, "2/3") == [("1",), ("4",), ("7",)]
    assert sorted(
        label for share in ("1/3", "2/3", "3/3") for label in select_share(every, share)
    ) == sorted(every)
    for words in ("0/3", "4/3", "3", "a/b"):
        with pytest.raises(UsageError, match="not a share"):
            select_share(every, words)


# Reports


def test_a_line_gives_the_figures_of_a_place():
    tried = ShardRun(
        {"a": "failed", "b": "passed"},
        {"a": "x"},
        (wrong("a"),),
        {"hits": 9, "reads": 8, "second hits": 6, "comparisons": 9},
    )
    summary = summed(ran(a="passed", b="passed", c="skipped"), tried)
    assert summary_line(summary, [excuse("a")]) == (
        "Django 5.2, sqlite, committing (5.2.1): 2 tests, 9 hits (75.0 % of 8 reads made twice), 9 comparisons, 1 wrong values, "
        "0 new failures (1 more excused); 0 fail without the cache, too"
    )


def test_the_json_has_what_counts_beside_all_that_was_found():
    summary = summed(
        ran(a="passed", b="passed"),
        ShardRun({"a": "failed", "b": "failed"}, {"a": "x", "b": "y"}, (wrong("b"),), {}),
    )
    found = as_json([summary], [excuse("a")], "the series")
    (place,) = found["places"]
    assert (found["subject"], found["idle"]) == ("the series", [])
    assert place["failures"] == {"a": "x", "b": "y"}
    assert place["counting"] == {"failures": ["b"], "wrong": 1}


def test_wrong_values_of_a_kind_are_shown_once():
    every = [wrong("a"), wrong("a", difference="other"), wrong("b")]
    assert first_of_each(every) == [(wrong("a"), 2), (wrong("b"), 1)]


def test_two_databases_are_on_the_server_or_in_memory():
    assert databases("") == {
        alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in ("default", "other")
    }
    found = databases("postgresql://probes@/lease1?host=/tmp/x")
    assert [item["NAME"] for item in found.values()] == ["lease1", "lease1_other"]
    assert {(item["HOST"], item["USER"]) for item in found.values()} == {("/tmp/x", "probes")}
