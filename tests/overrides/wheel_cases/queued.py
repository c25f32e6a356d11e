"""Whole invalidations in RQ: the setting hands them over, and a worker does them."""

import os

import redis
from cacheops import invalidate_obj
from django.db import connection, transaction
from django.test import override_settings
from probe_project.models import Article
from watch import fill, kept

from rover_overrides.invalidation import rq_queue, unsent
from rover_overrides.transport import pipeline


def titled(pages):
    return lambda: list(Article.objects.filter(pages=pages).values_list("title", flat=True))


def work():
    from rq import Worker

    connection.close()
    pid = os.fork()
    if not pid:
        Worker([rq_queue.queue("work")], connection=rq_queue._connection()).work(
            burst=True, logging_level="WARNING"
        )
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert rq_queue.queue("work").failed_job_registry.count == 0


def case_save_shows_when_a_worker_has_done_it():
    fill(titled(2))
    fill(titled(1))
    with transaction.atomic():
        Article.objects.filter(pk=2).update(title="Omega")
        Article.objects.create(pk=9, title="Eta", slug="", body="", pages=2)
    assert rq_queue.queue("work").count == 1
    assert titled(2)() == ["Beta"], "not before"
    work()
    assert titled(2)() == ["Omega", "Eta"]
    assert kept(titled(1))


def case_invalidate_obj_too():
    fill(titled(2))
    invalidate_obj(Article.objects.nocache().get(pk=2))
    assert kept(titled(2))
    work()
    assert not kept(titled(2))


def case_jobs_may_run_twice_and_in_any_order():
    fill(titled(2))
    Article.objects.filter(pk=2).update(title="Omega")
    Article.objects.filter(pk=2).update(title="Psi")
    queue = rq_queue.queue("work")
    waiting = queue.jobs
    queue.empty()
    for job in [*reversed(waiting), *waiting]:
        queue.enqueue(job.func_name, *job.args, result_ttl=0)
    work()
    assert fill(titled(2)) == ["Psi"]


def case_where_the_queue_is_away_it_is_done_at_once():
    fill(titled(2))
    real = rq_queue._connection
    nobody = redis.Redis(port=1, retry=None)
    rq_queue._connection = lambda: nobody
    try:
        Article.objects.filter(pk=2).update(title="Omega")
    finally:
        rq_queue._connection = real
        rq_queue._circuit.record_success()
    assert titled(2)() == ["Omega"]


def case_worker_retries_what_a_process_that_died_was_not_heard_with():
    fill(titled(2))
    run = pipeline._run

    def unheard(*args):
        raise redis.ConnectionError("nobody hears this")

    pipeline._run = unheard
    try:
        with override_settings(CACHEOPS_ROVER_QUEUE=None, CACHEOPS_ROVER_RETRY_QUEUE="work"):
            Article.objects.filter(pk=2).update(title="Omega")
    finally:
        unsent._unsent.clear()  # as if the process had died
        pipeline._run = run
        pipeline.circuit.record_success()
    assert titled(2)() == ["Beta"]
    work()
    assert titled(2)() == ["Omega"]
