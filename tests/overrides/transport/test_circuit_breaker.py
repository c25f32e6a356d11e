"""After a failure Redis is left alone; then one caller tries, and what is worth repeating is repeated whole."""

import threading
from threading import get_ident

import pytest
import redis
from django.test import override_settings

from rover_overrides.invalidation import two_phase
from rover_overrides.transport import circuit_breaker, pipeline
from rover_overrides.transport.circuit_breaker import CircuitBreaker
from tests.support import engine_redis


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(circuit_breaker, "time", clock)
    monkeypatch.setattr(pipeline, "time", clock)
    return clock


def in_thread(call):
    said = []
    thread = threading.Thread(target=lambda: said.append(call()))
    thread.start()
    thread.join()
    return said[0]


def test_failure_opens_it_for_the_retry_seconds(clock):
    circuit = CircuitBreaker()
    assert not circuit.is_open()
    circuit.record_failure()
    clock.now += 0.9
    assert circuit.is_open()
    clock.now += 0.2
    assert not circuit.is_open()


def test_success_closes_it(clock):
    circuit = CircuitBreaker()
    circuit.record_failure()
    circuit.record_success()
    assert not circuit.is_open()


@override_settings(CACHEOPS_ROVER_RETRY_SECONDS=0)
def test_without_retry_seconds_it_never_opens(clock):
    circuit = CircuitBreaker()
    circuit.record_failure()
    assert not circuit.is_open()


def test_one_caller_tries_while_the_others_rest(clock):
    circuit = CircuitBreaker()
    circuit.record_failure()
    clock.now += 1.1
    assert not circuit.is_open()
    circuit.record_attempt()
    assert in_thread(circuit.is_open), "another one would wait too"
    clock.now += 20  # it hangs
    assert in_thread(circuit.is_open)
    assert not circuit.is_open(), "the caller whose turn it is asks twice"
    circuit.record_failure()
    assert circuit.is_open()
    clock.now += 1.1
    assert not in_thread(circuit.is_open)


def test_attempt_that_works_ends_the_rest_of_all(clock):
    circuit = CircuitBreaker()
    circuit.record_failure()
    clock.now += 1.1
    assert not circuit.is_open()
    circuit.record_attempt()
    circuit.record_success()
    assert not in_thread(circuit.is_open)


def test_turn_that_nobody_uses_passes_to_another(clock):
    circuit = CircuitBreaker()
    circuit.record_failure()
    clock.now += 1.1
    assert not circuit.is_open()
    clock.now += 1.1
    assert not in_thread(circuit.is_open)
    assert circuit.is_open()


def test_attempt_of_which_nothing_is_heard_bounds_the_rest(clock):
    circuit = CircuitBreaker()
    circuit.record_failure()
    clock.now += 1.1
    assert not circuit.is_open()
    circuit.record_attempt()
    clock.now += 29.9
    assert in_thread(circuit.is_open)
    clock.now += 0.2
    assert not in_thread(circuit.is_open)


def test_many_threads_make_one_attempt(clock):
    circuit = CircuitBreaker()
    circuit.record_failure()
    clock.now += 1.1
    barrier, tried = threading.Barrier(16), []

    def caller():
        barrier.wait()
        if not circuit.is_open():
            tried.append(get_ident())

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tried) == 1


def test_exchange_that_works_closes_it_and_one_that_fails_opens_it(server, monkeypatch):
    circuit_breaker.circuit.record_failure()
    pipeline.run([("GET", "a")])
    assert not pipeline.circuit_is_open()
    engine_redis.use_client(
        monkeypatch, redis.Redis(host="127.0.0.1", port=engine_redis.free_port())
    )
    with pytest.raises(redis.ConnectionError):
        pipeline.run([("GET", "a")])
    assert pipeline.circuit_is_open()


def test_wrong_command_shows_that_the_server_is_there(server):
    circuit_breaker.circuit.record_failure()
    with pytest.raises(redis.ResponseError):
        pipeline.run([("HGET", "a")])
    assert not pipeline.circuit_is_open()


def test_interrupted_exchange_opens_it_for_no_longer_than_one_that_failed(server, monkeypatch):
    monkeypatch.setattr(pipeline, "_exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run([("GET", "a")])
    assert pipeline.circuit_is_open()
    with override_settings(CACHEOPS_ROVER_RETRY_SECONDS=0), pytest.raises(KeyboardInterrupt):
        pipeline.run([("GET", "a")])
    assert not pipeline.circuit_is_open()


def interrupted(batches):
    raise KeyboardInterrupt


def failing(times, error, done):
    def work():
        done.append(1)
        if len(done) <= times:
            raise error
        return "done"

    return work


@pytest.mark.parametrize("times", range(4))
def test_work_is_repeated_up_to_four_times_where_nobody_answers(clock, times):
    done = []
    assert pipeline.run_with_retries(failing(times, redis.ConnectionError(), done)) == "done"
    assert len(done) == times + 1


def test_fifth_attempt_is_none(clock):
    done = []
    with pytest.raises(redis.ConnectionError):
        pipeline.run_with_retries(failing(9, redis.ConnectionError(), done))
    assert len(done) == 4
    assert clock.now - Clock.now == pytest.approx(0.7)


def test_slow_attempts_are_fewer(clock):
    done = []

    def work():
        done.append(1)
        clock.now += 0.5
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        pipeline.run_with_retries(work)
    assert len(done) == 2


@pytest.mark.parametrize(
    "error", [redis.TimeoutError, redis.AuthenticationError, redis.ResponseError]
)
def test_what_was_waited_for_and_what_will_not_change_are_not_repeated(clock, error):
    done = []
    with pytest.raises(error):
        pipeline.run_with_retries(failing(1, error(), done))
    assert len(done) == 1


@pytest.mark.parametrize(("has_failed", "attempts"), [(False, 4), (True, 1)])
def test_writer_repeats_nothing_while_redis_has_not_answered_since_a_failure(
    clock, monkeypatch, has_failed, attempts
):
    monkeypatch.setattr(circuit_breaker.circuit, "has_failed", has_failed)
    done = []
    with pytest.raises(redis.ConnectionError):
        two_phase._run_with_retry(failing(9, redis.ConnectionError(), done))
    assert len(done) == attempts
