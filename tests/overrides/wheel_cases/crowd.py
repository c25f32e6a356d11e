"""Processes that share a database and a server: a reader, writers that die, and workers."""

import os
import signal
import time

from django.db import connection, transaction
from probe_project.models import Article
from watch import fill, kept

from rover_overrides import jobs
from rover_overrides.cache import results
from rover_overrides.invalidation import rq_queue


def titled(pages):
    return lambda: list(Article.objects.filter(pages=pages).values_list("title", flat=True))


def forked(child):
    """Run a child process and return how it ended; it has connections of its own."""
    connection.close()
    pid = os.fork()
    if not pid:
        try:
            child()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def killed(at):
    """Return a child that renames an article and is killed before or after the COMMIT."""

    def child():
        connection.ensure_connection()
        commit = connection._commit

        def dying():
            if at == "after":
                commit()
            os.kill(os.getpid(), signal.SIGKILL)

        with transaction.atomic():
            Article.objects.filter(pk=2).update(title="Omega")
            connection._commit = dying

    return child


def case_writer_killed_after_its_commit_leaves_nothing_stale():
    assert fill(titled(2)) == ["Beta"]
    assert fill(titled(1)) == ["Alpha"]
    assert os.WTERMSIG(forked(killed("after"))) == signal.SIGKILL
    assert titled(2)() == ["Omega"]
    assert titled(2)() == ["Omega"]
    assert kept(titled(1)), "what it did not touch is kept"


def case_writer_killed_before_its_commit_leaves_what_was():
    assert fill(titled(2)) == ["Beta"]
    assert os.WTERMSIG(forked(killed("before"))) == signal.SIGKILL
    assert titled(2)() == ["Beta"]


def case_entry_of_a_dead_writer_ends_by_itself():
    from cacheops.redis import redis_client

    from rover_overrides.cache import pending_writes

    def entries():
        return [
            name("", "probe_project_article")
            for name in (pending_writes.key, pending_writes.previous_wheel_key)
        ]

    fill(titled(2))
    forked(killed("after"))
    titled(2)()
    assert not kept(titled(2)), "while it is entered nothing is stored"
    ends = [end for key in entries() for _, end in redis_client.zrange(key, 0, -1, withscores=True)]
    assert max(ends) <= time.time() + pending_writes.SECONDS
    redis_client.delete(*entries())  # they count no more then
    assert fill(titled(2)) == ["Omega"]


def case_other_format_serves_nobody_and_sees_writes():
    """Two wheels on one server during a rolling deploy: the child speaks another format of results."""
    assert fill(titled(2)) == ["Beta"]

    def child():
        results.FORMAT = "r0"
        assert not kept(titled(2)), "it takes no result of the other"
        assert fill(titled(2)) == ["Beta"]
        fill(titled(3))
        Article.objects.filter(pk=2).update(title="Omega")

    assert forked(child) == 0
    assert titled(2)() == ["Omega"], "its write is seen"
    assert not kept(titled(3)), "its results are not"
    fill(titled(3))
    fill(titled(1))
    Article.objects.filter(pk=1).update(title="Aleph")

    def reader():
        results.FORMAT = "r0"
        assert titled(1)() == ["Aleph"]
        assert titled(2)() == ["Omega"]

    assert forked(reader) == 0


def work():
    """Let a real worker do what is in the queue, in processes of its own."""
    from rq import Worker

    worker = Worker(["work"], connection=rq_queue._connection())
    return forked(lambda: worker.work(burst=True, logging_level="WARNING"))


def case_jobs_run_in_a_worker_twice_and_in_any_order():
    for pages in (1, 2, 3):
        fill(titled(pages))
    Article.objects.filter(pk=2).update(title="Omega")
    from rq import Queue

    queue = Queue("work", connection=rq_queue._connection())
    for name, args in (
        ("reclaim", ()),
        ("retry", ("default", ["probe_project_article"])),
        ("reclaim", ()),
        ("reclaim", ()),
    ):
        queue.enqueue(f"rover_overrides.jobs.{name}", *args, result_ttl=60)
    assert work() == 0
    assert queue.count == 0
    assert queue.failed_job_registry.count == 0
    assert not kept(titled(1)), "its table was dropped"
    jobs.reclaim()
    assert fill(titled(2)) == ["Omega"]
