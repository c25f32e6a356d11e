"""An editor saves and reloads: how long until the change shows, with the invalidation in the request and in a queue of RQ.

`python -m tests.benchmarks.reload` in the tests' environment. It prints what docs/running.md shows: p50 and p99 from the call of
save() to the end of the first reload that shows it, as multiples of the time that the page itself takes from the cache, all in one run.
"""

import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

SAVES = 200
ROWS = 50
PAGE = "{% for x in articles %}<h2>{{ x.title }}</h2><p>{{ x.section.name }} {{ x.pages }} {{ x.body|linebreaks }}</p>{% endfor %}"


def main():
    """Measure both ways on one server, one after the other."""
    import tests.support

    sys.path.append(str(Path("upstream/src").resolve()))
    from django.conf import settings

    settings.configure()
    from tests.support import engine_redis, wheel_process

    del tests
    with (
        tempfile.TemporaryDirectory() as folder,
        engine_redis.RedisServer("valkey9", folder) as server,
    ):
        at = {"host": "127.0.0.1", "port": server.port}
        database = {
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}
        }
        for name, queue in (("in the request", None), ("queued", "work")):
            more = {
                "CACHEOPS_ROVER_QUEUE": queue,
                "CACHEOPS_ROVER_QUEUE_REDIS": {**at, "db": 1},
                "DATABASES": database,
            }
            said, _ = wheel_process.start(program=__file__, redis=at, **more).communicate(
                timeout=300
            )
            sys.stdout.write(f"{name}: {said}")


def edit():
    """Save and reload, in a process that has the cache as Rover installs it."""
    import django

    django.setup()
    from django.conf import settings
    from django.template import Context, Engine
    from probe_project import rows
    from probe_project.models import Article

    rows.create_tables()
    rows.recreate()
    Article.objects.bulk_create(
        Article(pk=100 + n, title=f"T{n}", slug="s", body="text " * 50, pages=5, section_id=1)
        for n in range(ROWS)
    )
    worker = _worker() if settings.CACHEOPS_ROVER_QUEUE else None
    template = Engine().from_string(PAGE)

    def page():
        return template.render(
            Context(
                {
                    "articles": Article.objects.filter(pages=5)
                    .select_related("section")
                    .order_by("pk")
                }
            )
        )

    page()
    shown, rendered = [], []
    article = Article.objects.nocache().get(pk=100)
    for number in range(SAVES):
        rendered.append(_timed(page))
        article.title = f"New {number}"
        shown.append(_timed(lambda: _save_and_reload(article, page)))
    if worker:
        os.kill(worker, signal.SIGKILL)
    unit = statistics.median(rendered)
    cuts = statistics.quantiles(shown, n=100)
    found = {
        "p50": round(cuts[49] / unit, 1),
        "p99": round(cuts[98] / unit, 1),
        "page_ms": round(1000 * unit, 1),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _save_and_reload(article, page):
    article.save()
    while f"<h2>{article.title}<" not in page():
        time.sleep(0.001)


def _timed(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _worker():
    """Start a worker that waits for jobs."""
    from django.db import connection
    from rq import Worker

    from rover_overrides.invalidation import rq_queue

    connection.close()
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        Worker([rq_queue.queue("work")], connection=rq_queue._connection()).work(
            logging_level="WARNING"
        )
        os._exit(0)
    return pid


if __name__ == "__main__":
    edit() if "PROBE_SETTINGS" in os.environ else main()
