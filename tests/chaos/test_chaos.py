"""The gate in short: the wheel comes through it, and it sees an engine that is broken, and bare upstream."""

import json
import sys
from collections import Counter
from random import Random

import pytest

from scripts.core.repository import Repository
from scripts.gates.django_plan import subject_of
from tests.chaos.board import BUCKETS, Board, bucket, bucket_limit, version_index
from tests.chaos.faults import ENTRY_SECONDS, FAULTS
from tests.chaos.judge import InjectedFault, Round, judge, quantile
from tests.chaos.places import PLACES
from tests.chaos.report import is_clean, text
from tests.chaos.run import SHORT_RUN, RunOptions, _is_enough, plan, run
from tests.chaos.worker_pool import SMALL_POOL
from tests.support.redis_servers import ROOT

pytestmark = pytest.mark.xdist_group("chaos")

SEED = 14
FEW = 0.35  # of hits between faults: so few that writers must keep results out of the cache


def play_short_run(*, upstream=False, **words):
    subject = subject_of(Repository(ROOT), upstream=upstream)
    given = {**SHORT_RUN, **words}
    options = RunOptions(
        python=sys.executable,
        tree=subject.folder,
        settings=dict(subject.settings),
        servers=("valkey9",),
        seed=SEED,
        **given,
    )
    return run(options)


def test_short_run_of_the_wheel_is_clean():
    rounds = play_short_run()
    (found,) = rounds
    assert found.violations == [], text(rounds, SEED, "the wheel")
    assert found.exceptions == [], text(rounds, SEED, "the wheel")
    assert found.failed_faults == []
    assert {fault.name for fault in found.faults} == set(SHORT_RUN["faults"])
    assert found.hit_rate > FEW
    assert found.counts["writes"] > 0


def test_bare_upstream_is_seen_to_be_wrong():
    (found,) = play_short_run(upstream=True, seconds=10, faults=("terminate-backends",))
    assert found.violations


def test_an_engine_that_drops_nothing_is_seen():
    (found,) = play_short_run(sabotage="no drops", seconds=8, faults=("flushall",))
    assert found.violations


def test_an_engine_whose_writers_never_leave_is_seen():
    (found,) = play_short_run(sabotage="no leave", seconds=12, faults=("flushall",))
    assert found.violations == []
    assert 0 < found.hit_rate < FEW
    assert found.problems


def test_the_checker_finds_nothing_where_nothing_is_cached():
    (found,) = play_short_run(sabotage="uncached", seconds=9, faults=("terminate-backends",))
    assert (found.violations, found.within_bound, found.exceptions) == ([], [], [])
    assert found.counts["hits"] == 0
    assert found.hit_rate == 0


# The plan


def options(**words):
    return RunOptions(
        python="",
        tree=ROOT,
        settings={},
        servers=("valkey9",),
        **{"seconds": 600, "seed": 1, **words},
    )


def planned_faults(number, **words):
    faults = plan(options(**words), "single")
    return [(name, random.random()) for name, random in (next(faults) for _ in range(number))]


def test_a_seed_repeats_its_faults():
    assert planned_faults(100, seed=7) == planned_faults(100, seed=7)
    assert planned_faults(100, seed=7) != planned_faults(100, seed=8)


def test_every_kind_of_fault_is_as_frequent_as_any_other():
    kinds = [name for name, fault in FAULTS.items() if "single" in fault.places]
    assert Counter(name for name, _ in planned_faults(3 * len(kinds))) == dict.fromkeys(kinds, 3)


def test_every_fault_happens_somewhere_and_every_place_has_faults():
    assert {place for fault in FAULTS.values() for place in fault.places} == set(PLACES)
    assert sum(seconds for _, _, seconds in options().scheduled_rounds()) == pytest.approx(600)


def test_a_fault_that_is_chosen_happens_in_one_place():
    assert [place for _, place, _ in options(faults=("flushall",)).scheduled_rounds()] == ["single"]
    assert [
        place for _, place, _ in options(faults=("flushall", "failover")).scheduled_rounds()
    ] == [
        "single",
        "sentinel",
    ]
    assert {
        next(plan(options(faults=("flushall", "failover"), seed=seed), "sentinel"))[0]
        for seed in range(9)
    } == {"failover"}


def test_a_run_goes_on_until_each_fault_happened_often_enough_or_was_tried_thrice_as_often():
    wanted = options(faults=("flushall", "deadlocks"), times=2)
    made = [
        InjectedFault(number, name, 0, 0)
        for number, name in enumerate(["flushall", "deadlocks", "flushall"])
    ]
    found = Round("valkey9", "single", faults=list(made))
    assert not _is_enough(wanted, found)
    found.faults.append(InjectedFault(4, "deadlocks", 0, 0))
    assert _is_enough(wanted, found)
    found.faults = made + [
        InjectedFault(number, "deadlocks", 0, 0, is_made=False) for number in range(9)
    ]
    assert _is_enough(wanted, found)
    assert found.failed_faults == ["deadlocks: it happened 1 times of 2"]
    assert found.problems[0] == "1 faults could not be made"


# The board


def test_board_is_shared_by_path_and_takes_the_newest_version_of_all_threads(tmp_path):
    board, other = Board(tmp_path / "board"), Board(tmp_path / "board")
    board.publish(0, version_index("fact", 3), 7)
    board.publish(2, version_index("fact", 3), 9)
    board.intend(1, version_index("tags", 15), 4)
    assert other.published()[version_index("fact", 3)] == 9
    assert other.published_by([0])[version_index("fact", 3)] == 7
    assert other.intended()[version_index("tags", 15)] == 4
    assert sum(other.published()) == 9


def test_trap_takes_its_victim_once(tmp_path):
    board = Board(tmp_path / "board")
    board.set_trap(1, 2)
    assert [
        board.spring_trap(0, 2),
        board.spring_trap(1, 1),
        board.spring_trap(1, 2),
        board.spring_trap(1, 2),
    ] == [
        False,
        False,
        True,
        False,
    ]


def test_times_are_counted_in_steps_that_are_a_fifth_wide():
    random = Random(1)
    for seconds in (random.expovariate(100) for _ in range(100)):
        assert seconds <= bucket_limit(bucket(seconds)) <= max(1.2 * seconds, 1e-5)
    times = [0] * BUCKETS
    times[bucket(0.001)], times[bucket(0.1)] = 99, 1
    assert quantile(times, 0.5) == bucket_limit(bucket(0.001))
    assert quantile(times, 1) == bucket_limit(bucket(0.1))


# The judge


def judge_line(tmp_path, fault, line, *, moves=()):
    found = Round("valkey9", "single", faults=[InjectedFault(1, fault, 1_000, 3_000, moves)])
    full = {
        "fault": 1,
        "noted": 2,
        "got": 1,
        "most": 3,
        "age": 0.5,
        "own": False,
        "at": 2_500,
        "what": "violation",
        "process": 1,
        **line,
    }
    judge(found, Board(tmp_path / "board"), 0, [json.dumps(full)], [], [])
    return "counts" if found.violations or found.exceptions else "apart"


@pytest.mark.parametrize(
    ("fault", "line", "outcome"),
    [
        ("flushall", {}, "counts"),
        ("client-pause", {}, "apart"),
        ("client-pause", {"own": True}, "counts"),
        ("client-pause", {"at": 60_000, "age": 59}, "counts"),
        ("client-pause", {"at": 20_000, "age": 1}, "counts"),
        ("client-pause", {"got": 9}, "counts"),
        ("writers-refused-with-outbox", {"age": 1.5}, "apart"),
        ("writers-refused-with-outbox", {"age": 2.5}, "counts"),
    ],
)
def test_violation_is_set_apart_only_within_the_bound_of_its_fault(tmp_path, fault, line, outcome):
    assert judge_line(tmp_path, fault, line) == outcome


@pytest.mark.parametrize(
    ("moves", "outcome"),
    [((1_500,), "apart"), ((1_100,), "apart"), ((1_001, 2_600), "apart"), ((), "apart")],
)
def test_read_soon_after_a_move_is_within_its_bound(tmp_path, moves, outcome):
    assert judge_line(tmp_path, "address-half-a-b-a", {}, moves=moves) == outcome


@pytest.mark.parametrize(
    ("process", "at", "line", "outcome"),
    [
        (2, 2_000, {}, "apart"),
        (1, 2_000, {}, "counts"),
        (2, 2_600, {}, "counts"),
        (2, 500, {}, "counts"),
        (2, 2_000, {"own": True}, "counts"),
        (2, 2_000, {"at": 9_000, "age": 7}, "counts"),
    ],
)
def test_what_another_process_says_that_redis_did_not_hear_may_be_outdated_for_a_while(
    tmp_path, process, at, line, outcome
):
    found = Round("valkey9", "single", faults=[InjectedFault(1, "flushall", 1_000, 3_000)])
    full = {
        "fault": 1,
        "noted": 2,
        "got": 1,
        "most": 3,
        "age": 0.5,
        "own": False,
        "at": 2_500,
        "process": 1,
        **line,
    }
    lines = [
        {**full, "what": "violation"},
        {"what": "unheard", "process": process, "at": at, "fault": 1},
    ]
    judge(found, Board(tmp_path / "board"), 0, map(json.dumps, lines), [], [])
    assert ("counts" if found.violations else "apart") == outcome


def test_read_long_after_a_move_counts(tmp_path):
    assert (
        judge_line(tmp_path, "address-half-a-b-a", {"at": 4_200}, moves=(1_100, 2_000)) == "counts"
    )
    assert judge_line(tmp_path, "address-a-b-a", {"at": 2_500}, moves=(1_100, 2_000)) == "counts"


@pytest.mark.parametrize(
    ("fault", "kind", "at", "outcome"),
    [
        ("terminate-backends", "django.db.utils.OperationalError", 2_000, "apart"),
        ("terminate-backends", "django.db.utils.OperationalError", 60_000, "counts"),
        ("terminate-backends", "redis.exceptions.ConnectionError", 2_000, "counts"),
        ("flushall", "django.db.utils.OperationalError", 2_000, "counts"),
    ],
)
def test_exception_is_plain_djangos_only_after_a_fault_of_the_database(
    tmp_path, fault, kind, at, outcome
):
    assert judge_line(tmp_path, fault, {"what": "exception", "kind": kind, "at": at}) == outcome


@pytest.mark.parametrize(
    ("fault", "words", "outcome"),
    [
        ("stop-writer", "canceling statement due to lock timeout\nCONTEXT: ...", "apart"),
        ("halt-writer-before-commit", "canceling statement due to lock timeout", "apart"),
        ("halt-writer-before-commit", "current transaction is aborted", "counts"),
        ("kill-writer", "canceling statement due to lock timeout", "counts"),
    ],
)
def test_lock_timeout_is_plain_djangos_while_a_writer_halts(tmp_path, fault, words, outcome):
    kind = "django.db.utils.OperationalError"
    line = {"what": "exception", "kind": kind, "at": 2_000, "words": words}
    assert judge_line(tmp_path, fault, line) == outcome


def test_too_few_hits_between_faults_are_a_problem():
    found = Round(
        "valkey9",
        "single",
        counts=Counter({"reads": 9, "writes": 1, "reads between": 4, "hits between": 1}),
    )
    assert found.problems == ["a hit rate of 25 % between faults"]
    assert not is_clean([found])


def test_caching_is_back_before_the_next_fault():
    killing = [fault for name, fault in FAULTS.items() if name.startswith("kill-writer")]
    assert killing
    assert all(fault.settle > ENTRY_SECONDS for fault in killing)
    assert SMALL_POOL
