"""A process of an application: it makes all queries and all kinds of writes, and compares each answer with the board."""

import json
import os
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from random import Random

from board import FACTS, GROUPS, SHARED, Board, now, version_index

OPTIONS = json.loads(os.environ["CHAOS"])

SHARES = 0.006, 0.05, 0.3
"""How much of what a writer does are writes, between faults, during them, and where one waits for a write."""

HISTORY_MS, SAMPLE_MS = 120_000, 100
GRACE_MS = 300
REQUEST = 20  # reads and writes, after which an application's connections may be closed
MOST_LINES = 4000  # of a process

_TABLES = {
    "fact": ("facts_fact", "id", 1),
    "group": ("facts_group", "id", 1),
    "mark": ("facts_mark", "number", 0),
}


def configure():
    """Set Django up as the application has it."""
    from django.conf import settings

    settings.configure(
        SECRET_KEY="chaos",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["cacheops", "facts"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        CACHEOPS={"facts.*": {"ops": "all", "timeout": 60}},
        CACHEOPS_DEGRADE_ON_FAILURE=True,
        CACHEOPS_ENABLED=OPTIONS["sabotage"] != "uncached",
        **OPTIONS["settings"],
    )
    import django

    django.setup()


class Log:
    """Lines of JSON in a file, each whole though others write too."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._left = MOST_LINES

    def write(self, **line):
        if self._left > 0:
            self._left -= 1
            os.write(
                self._file,
                (
                    json.dumps({"process": OPTIONS["number"], "style": OPTIONS["style"], **line})
                    + "\n"
                ).encode(),
            )


def contexts(error):
    """Yield the exceptions that were handled when an error was raised, the last one first."""
    while (error := error.__context__) is not None:
        yield error


class Reads(threading.local):
    """What became of the reads of a thread, as cacheops says it."""

    hits = misses = 0

    def receive(self, hit, **_):
        self.hits += bool(hit)
        self.misses += not hit


reads = Reads()


class WorkerThread:
    """What a thread does until the board says stop."""

    def __init__(self, board, log, thread):
        import reads as read_queries
        import writes as write_kinds

        self.board, self.log, self.thread = board, log, thread
        self.process = OPTIONS["number"]
        self.random = Random(f"{OPTIONS['seed']} {thread} {OPTIONS['restarts']}")
        self.shared = SHARED
        self.is_writer = OPTIONS["writers"] > 0 and thread < OPTIONS["writers"]
        self._kinds, self._queries = (
            list(write_kinds.KINDS.items()),
            list(read_queries.QUERIES.items()),
        )
        self._timed, self._question = read_queries.TIMED, read_queries.Question
        self._own = [
            n for n in range(SHARED, FACTS) if self.is_writer and n % OPTIONS["writers"] == thread
        ]
        self._groups = [
            n for n in range(GROUPS) if self.is_writer and n % OPTIONS["writers"] == thread
        ]
        self._known = {}
        cells = [(channel, n) for channel in ("fact", "mark", "tags") for n in self._own] + [
            ("group", n) for n in self._groups
        ]
        self._unsettled = set(cells)
        self._begun = []
        self._raw = None
        self._history = deque()

    def run(self):
        """Read and write until the end."""
        from django.db import close_old_connections

        done = 0
        while not self.board.is_stopped:
            if self._unsettled and not self._settle():
                time.sleep(0.05)
            share = self.board.write_share(self.thread, *SHARES)
            if self.is_writer and not self._unsettled and self.random.random() < share:
                self._write()
            else:
                self._read()
            self.board.count(self.process, "done")
            time.sleep(self.random.expovariate(1 / OPTIONS["think_seconds"]))
            done += 1
            if not done % REQUEST:
                close_old_connections()

    # What kinds of writes ask for

    def pick_fact(self):
        return self.random.choice(self._own)

    def pick_facts(self, most):
        return sorted(self.random.sample(self._own, min(most, len(self._own))))

    def pick_group(self):
        return self.random.choice(self._groups) if self._groups else None

    def next_version(self, channel, number):
        return self.version_after(channel, number, self._known[version_index(channel, number)])

    def version_after(self, channel, number, before):
        self.board.intend(self.thread, version_index(channel, number), before + 1)
        self._begun.append((channel, number, before + 1))
        return before + 1

    def _write(self):
        number = self.board.only_kind
        if number is None:
            number = self.random.randrange(len(self._kinds))
        name, write = self._kinds[number]
        self._begun = []
        done = self._timed_call(name, lambda: write(self), is_write=True)
        for channel, which, version in self._begun:
            if done:
                self._known[version_index(channel, which)] = version
                self.board.publish(self.thread, version_index(channel, which), version)
            elif channel != "fact" or which >= SHARED:
                self._unsettled.add((channel, which))
        self.board.count(self.process, "writes")
        self.board.count_name(self.process, True, number)

    def _timed_call(self, name, call, *, is_write):
        in_fault = not self.board.is_quiet
        start = time.monotonic()
        try:
            call()
        except Exception as error:
            self._failed(name, error, is_write=is_write, seconds=time.monotonic() - start)
            return False
        finally:
            self.board.count_time(
                self.process, time.monotonic() - start, is_write=is_write, in_fault=in_fault
            )
        return True

    def _failed(self, name, error, *, is_write, seconds):
        from django.db import close_old_connections

        kind = type(error)
        frames = [
            f"{Path(f.filename).name}:{f.lineno} {f.name}"
            for f in traceback.extract_tb(error.__traceback__)[-6:]
        ]
        self.board.count(self.process, "exceptions")
        self.log.write(
            what="exception",
            name=name,
            kind=f"{kind.__module__}.{kind.__qualname__}",
            words=str(error)[:300],
            cause=repr(error.__cause__)[:200],
            before=[repr(one)[:200] for one in contexts(error)],
            frames=frames,
            is_write=is_write,
            seconds=round(seconds, 3),
            **self._when(),
        )
        close_old_connections()  # as at the end of a request

    # Reads

    def _read(self):
        number = self.random.randrange(len(self._queries))
        name, read = self._queries[number]
        noted = self.board.published()
        self._remember(noted)
        which = int(FACTS * self.random.random() ** 3)
        question = self._question(which, noted, self.random, self.board.intended)
        quiet = self.board.is_quiet
        reads.hits = reads.misses = 0
        answers = []
        if not self._timed_call(name, lambda: answers.extend(read(question)), is_write=False):
            return
        is_hit = reads.hits > 0 and not reads.misses
        self.board.count(self.process, "reads")
        self.board.count(self.process, "hits", is_hit)
        self.board.count_name(self.process, False, number, is_hit=is_hit)
        if quiet and self.board.is_quiet:
            self.board.count(self.process, "reads between")
            self.board.count(self.process, "hits between", is_hit)
        intended = self.board.intended()
        for key, got, of in answers:
            least, most = of(noted), of(intended)
            if not least <= got <= most:
                self._violated(name, key, got, least, most, of, is_hit)

    def _violated(self, name, key, got, least, most, of, is_hit):
        own = of(self.board.published_by(OPTIONS["threads"])) > got
        age = max((now() - at for at, noted in self._history if of(noted) > got), default=0)
        if got <= most and name in self._timed and age <= self._timed[name] * 1000 + GRACE_MS:
            return
        self.board.count(self.process, "violations")
        self.log.write(
            what="violation",
            query=name,
            key=key,
            noted=least,
            got=got,
            most=most,
            hit=is_hit,
            own=own,
            age=age / 1000,
            **self._when(),
        )

    def log_unanswered_write(self):
        """Note that Redis did not hear of a write of this process."""
        self.log.write(what="unheard", **self._when())

    def _when(self):
        fault, started, ended = self.board.fault
        at = now()
        return {
            "fault": fault,
            "since": (at - started) / 1000,
            "after": (at - ended) / 1000 if ended else 0,
            "at": at,
        }

    def _remember(self, noted):
        at = now()
        if not self._history or at - self._history[-1][0] >= SAMPLE_MS:
            self._history.append((at, noted))
            while at - self._history[0][0] > HISTORY_MS:
                self._history.popleft()

    # What a writer does not know of its own versions, the database says

    def _settle(self):
        """Learn which versions were committed, where a write did not say it, and publish them; return whether all are known."""
        import psycopg

        try:
            if self._raw is None or self._raw.closed:
                self._raw = psycopg.connect(
                    **OPTIONS["raw"], autocommit=True, options="-c lock_timeout=400"
                )
            for channel, number in sorted(self._unsettled):
                version = self._committed(channel, number)
                if version is not None:
                    where = version_index(channel, number)
                    self._known[where] = version
                    self.board.intend(self.thread, where, version)
                    self.board.publish(self.thread, where, version)
                    self._unsettled.discard((channel, number))
        except psycopg.Error:
            if self._raw is not None:
                self._raw.close()
        return not self._unsettled

    def _committed(self, channel, number):
        """Return a version that no COMMIT under way can change: who has the lock has seen its end."""
        with self._raw.transaction():
            if channel == "tags":
                self._raw.execute("LOCK TABLE facts_fact_tags IN SHARE MODE")
                sql = "SELECT coalesce(sum(1 << (tag_id - 1)::int), 0) FROM facts_fact_tags WHERE fact_id = %s"
                return int(self._raw.execute(sql, [number + 1]).fetchone()[0])
            table, column, more = _TABLES[channel]
            sql = f"SELECT version FROM {table} WHERE {column} = %s FOR UPDATE"
            found = self._raw.execute(sql, [number + more]).fetchone()
            return found and found[0]


def prepare():
    """Make the tables and the rows."""
    from django.core.management import call_command
    from facts.models import Fact, Group, Mark, Tag
    from reads import BITS, QUERIES, name
    from writes import KINDS

    with Path("names").open("w") as file:
        json.dump([list(QUERIES), list(KINDS)], file)
    call_command("migrate", run_syncdb=True, verbosity=0)
    Group.objects.bulk_create([Group(pk=n + 1, name=f"Group {n}") for n in range(GROUPS)])
    Tag.objects.bulk_create([Tag(pk=n + 1, slug=f"bit{n}") for n in range(BITS)])
    Fact.objects.bulk_create(
        [
            Fact(pk=n + 1, name=name(n), label="Label 0", group_id=n % GROUPS + 1)
            for n in range(FACTS)
        ]
    )
    Mark.objects.bulk_create([Mark(number=n, fact_id=n + 1) for n in range(FACTS)])


def run_threads(board):
    """Run the threads of this process to their end."""
    import commit_steps

    log = Log(OPTIONS["log"])
    commit_steps.install(board, OPTIONS["number"])
    board.set_pid(OPTIONS["number"], os.getpid())
    workers = [WorkerThread(board, log, n) for n in OPTIONS["threads"]]
    commit_steps.on_unanswered_write(workers[0].log_unanswered_write)
    if "pool" in OPTIONS["settings"]["DATABASES"]["default"]["OPTIONS"]:
        threading.Thread(target=_take_pool, args=(board,), daemon=True).start()
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _take_pool(board):
    """Take all connections of the pool while the board says so, as other threads of a busy process do."""
    import psycopg
    from django.db import connections

    pool = connections["default"].pool
    taken = []
    while not board.is_stopped:
        if board.are_pools_taken and len(taken) < pool.max_size:
            with suppress(psycopg.Error):  # all are in use
                taken.append(pool.getconn(timeout=0.05))
        elif not board.are_pools_taken:
            while taken:
                pool.putconn(taken.pop())
        time.sleep(0.01)


def _end_with(parent):
    """End when the parent has: nothing stays behind, whatever became of it."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.3)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def prefork(board):
    """Fork after use, as application servers do, and again whenever a child was killed."""
    from django.db import connections
    from facts.models import Fact

    parent = os.getppid()
    for _ in range(2):
        list(Fact.objects.filter(pk=1))
    while not board.is_stopped:
        connections.close_all()
        me = os.getpid()
        child = os.fork()
        if not child:
            _end_with(me)
            run_threads(board)
            os._exit(0)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if os.getppid() != parent:
                os._exit(0)  # and the child with it
            time.sleep(0.02)
        OPTIONS["restarts"] += 1000


def main():
    """Prepare the database, or live."""
    sys.path.insert(0, str(Path(__file__).parent))
    os.nice(OPTIONS["nice"])
    configure()
    import commit_steps
    from cacheops.signals import cache_read

    cache_read.connect(reads.receive)
    if OPTIONS["style"] == "prepare":
        prepare()
        return
    commit_steps.shorten_entries(OPTIONS["entry_seconds"])
    commit_steps.sabotage(OPTIONS["sabotage"] if OPTIONS["sabotage"] != "uncached" else "")
    board = Board(OPTIONS["board"])
    if OPTIONS["style"] == "prefork":
        prefork(board)  # without another thread: it forks
    else:
        _end_with(os.getppid())
        run_threads(board)


if __name__ == "__main__":
    main()
