"""The faults: each does something to the servers or the processes of a place, waits, and takes it back.

A fault may have a *bound*: how old an answer may be while it is under way or has just ended, in the words of docs/cache.md. A violation
within it is reported apart. `database` faults are those whose exceptions plain Django has, too.
"""

import signal
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
import redis
from redis.crc import key_slot

from tests.chaos.places import OUTBOX_SECONDS
from tests.chaos.steps import STEPS
from tests.support.redis_proxy import HUNG, REFUSED, RESET, WORKING
from tests.support.servers import text, until

ENTRY_SECONDS = 2
"""How long the entry of a writer that died lasts in a run, so that caching is back before the next fault."""


@dataclass(frozen=True)
class Bound:
    """How old an answer may be during a fault and for so many seconds after it, in the words of docs/cache.md.

    `age` is in seconds (None: any). With `since_move` it may only be read so many seconds after the last time that the fault
    led processes to another server, or that server to other keys.
    """

    age: float | None
    after: float
    words: str
    since_move: float | None = None
    others_only: bool = False  # what a process wrote itself it never reads outdated
    slack: float = 1.0  # seconds by which it is exceeded before that counts: a process may wait for a processor


@dataclass(frozen=True)
class Fault:
    """A kind of fault: where it can happen, what it does, and how long what it leaves behind keeps results out of the cache."""

    name: str
    places: tuple[str, ...]
    act: Callable
    settle: float = 1.0
    bound: Bound | None = None
    database: bool = False
    options: tuple = ()

    def __call__(self, stage):
        self.act(stage, *self.options)


FAULTS: dict[str, Fault] = {}


def fault(name, *places, options=(), **more):
    def register(act):
        FAULTS[name] = Fault(name, places, act, options=options, **more)
        return act

    return register


_MISSED = "a process that did not see the move reads what is outdated for at most CACHEOPS_ROVER_IDENTITY_SECONDS after it"
IDENTITY = Bound(None, 2, _MISSED, since_move=1)
MOVING = Bound(None, 1, _MISSED, since_move=0, slack=0.2)
UNKNOWN = Bound(
    None, 1, "a COMMIT that hangs longer than its writer's entry lives can leave stale results"
)
AWAY = Bound(
    None,
    3,
    "others read what is outdated until the writer's process asks Redis again",
    others_only=True,
)
_LOOK = (
    "nobody reads what is outdated for longer than CACHEOPS_ROVER_OUTBOX_SECONDS, plus the one look"
)
OUTBOX = Bound(OUTBOX_SECONDS, 3, _LOOK, others_only=True)
SENTINEL = Bound(None, 3, _MISSED, since_move=1)
REGISTRIES = ("*reg:*",)
EVERYWHERE = ("single", "proxied", "outbox", "sentinel", "cluster")


# Writers that are killed, or halt


def _trap(stage, step, hold=0):
    victim = stage.random.choice(stage.crew.writers())
    before = stage.crew.state(victim)
    stage.board.set_trap(victim, STEPS.index(step) + 1, hold)
    try:
        stage.needs(lambda: not stage.board.has_trap, "nobody came by")
        stage.wait(hold / 1000)
        if not hold:
            stage.wait_until(lambda: stage.crew.is_replaced(victim, before), 20)
    finally:
        stage.board.set_trap(-1, 0)


for _step in STEPS:
    _name = f"kill-writer-{_step.replace(' ', '-').lower()}"
    fault(_name, "single", options=(_step,), settle=ENTRY_SECONDS + 1)(_trap)
    _name = f"halt-writer-{_step.replace(' ', '-').lower()}"
    fault(_name, "single", options=(_step, 1000 * ENTRY_SECONDS + 700), settle=1)(_trap)


@fault("kill-writer", *EVERYWHERE, settle=ENTRY_SECONDS + 1)
def _(stage):
    victim = stage.random.choice(stage.crew.writers())
    before = stage.crew.state(victim)
    stage.crew.send(victim, signal.SIGKILL)
    stage.wait_until(lambda: stage.crew.is_replaced(victim, before), 20)


@fault("stop-writer", "single", settle=ENTRY_SECONDS + 1)
def _(stage):
    victim = stage.random.choice(stage.crew.writers())
    stage.crew.send(victim, signal.SIGSTOP)
    try:
        stage.wait(stage.random.choice([0.3, ENTRY_SECONDS + 0.7]))
    finally:
        stage.crew.send(victim, signal.SIGCONT)


@contextmanager
def _alone(stage, kind=None):
    """Have one thread alone write, perhaps in one kind: others that commit would keep results of the same tables out of the cache."""
    victim = stage.random.choice(
        [number for number in stage.crew.writers() if len(stage.crew.members[number].threads) == 1]
    )
    stage.board.only_writer(
        stage.crew.members[victim].threads[0], None if kind is None else stage.kinds.index(kind)
    )
    try:
        stage.wait(0.4)
        yield victim
    finally:
        stage.board.only_writer(None)


@contextmanager
def _commits_stuck(stage):
    """Have every COMMIT wait for a standby that is not there."""
    with stage.sql() as sql:
        sql.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        sql.execute("SELECT pg_reload_conf()")
        try:
            yield sql
        finally:
            sql.execute("ALTER SYSTEM RESET synchronous_standby_names")
            sql.execute("SELECT pg_reload_conf()")


def _kill_in_commit(stage, seconds):
    with _alone(stage) as victim:
        before = stage.crew.state(victim)
        with _commits_stuck(stage) as sql:
            stuck = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = %s"
            stage.needs(
                lambda: sql.execute(stuck, [f"chaos {victim}"]).fetchone(),
                "nobody came to a COMMIT",
            )
            stage.crew.send(victim, signal.SIGKILL)
            stage.wait(seconds)
        stage.wait_until(lambda: stage.crew.is_replaced(victim, before), 20)
    if seconds > ENTRY_SECONDS:
        stage.wait(0.5)
        stage.flush()  # what is outdated within the bound is not to be met later


fault("kill-writer-in-commit", "single", options=(0.8,), settle=ENTRY_SECONDS + 1, database=True)(
    _kill_in_commit
)
fault(
    "kill-writer-in-long-commit",
    "single",
    options=(ENTRY_SECONDS + 1.5,),
    settle=ENTRY_SECONDS + 1,
    bound=UNKNOWN,
    database=True,
)(_kill_in_commit)


@fault("halt-writer-that-saw-no-registries", "single")
def _(stage):
    """Have a writer see empty registries, and halt for longer than its entry lives: readers store under what it does not know of."""
    with _alone(stage) as victim:
        stage.board.set_trap(victim, STEPS.index("after announce") + 1, 1000 * ENTRY_SECONDS + 1500)
        try:
            stage.needs(
                lambda: stage.delete(*REGISTRIES) or not stage.board.has_trap, "nobody came by"
            )
            stage.wait(ENTRY_SECONDS + 1.5)
        finally:
            stage.board.set_trap(-1, 0)
        stage.wait(0.5)


def _cut_stuck(stage, words, kind=None):
    """Cut a connection while PostgreSQL works on its COMMIT, which succeeds later."""
    with _alone(stage, kind), _commits_stuck(stage):
        _cut_on(stage, words, stage.random.choice([0.5, ENTRY_SECONDS + 1.5]))


def _cut_on(stage, words, seconds=0.5):
    database = stage.place.for_database
    before, database.cutting = database.cuts, words
    try:
        stage.needs(lambda: database.cuts > before, "nobody came to a COMMIT")
    finally:
        database.cutting = None
    stage.wait(seconds)


_COMMIT, _RAW = b"COMMIT", b"UPDATE facts_fact SET"  # the ORM quotes the names of tables
fault(
    "cut-commit", "proxied", "outbox", options=(_COMMIT,), settle=ENTRY_SECONDS + 2, database=True
)(_cut_stuck)
fault(
    "cut-raw-statement", "proxied", options=(_RAW, "raw"), settle=ENTRY_SECONDS + 2, database=True
)(_cut_stuck)
fault("cut-quick-commit", "proxied", options=(_COMMIT,), settle=ENTRY_SECONDS + 2, database=True)(
    _cut_on
)


# PostgreSQL


def _end_backends(stage, function):
    """End, or cancel, what some or all of the processes have on the database."""
    with stage.sql() as sql:
        for _ in range(stage.random.randrange(1, 6)):
            name = stage.random.choice(
                ["%", *(f"chaos {number}" for number in range(len(stage.crew.members)))]
            )
            sql.execute(
                f"SELECT {function}(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
                [name if name != "%" else "chaos %"],
            )
            stage.wait(0.15)


fault(
    "terminate-backends",
    *EVERYWHERE,
    options=("pg_terminate_backend",),
    settle=ENTRY_SECONDS + 1,
    database=True,
)(_end_backends)
fault("cancel-statements", "single", options=("pg_cancel_backend",), database=True)(_end_backends)


@fault("deadlocks", "single", settle=ENTRY_SECONDS, database=True)
def _(stage):
    """Lock rows against the order in which writers do, until some deadlocks were broken."""
    for _ in range(6):
        with stage.sql() as sql, suppress(psycopg.Error), sql.transaction():
            sql.execute(
                "SET LOCAL deadlock_timeout = '2s'"
            )  # the writers are the ones that are ended
            for number in range(16, 0, -1):
                sql.execute("SELECT 1 FROM facts_fact WHERE id = %s FOR UPDATE", [number])
                stage.wait(0.02)
            sql.execute("SELECT 1 FROM facts_mark ORDER BY id DESC FOR UPDATE")


@fault("timeouts", "single", settle=ENTRY_SECONDS, database=True)
def _(stage):
    """Lock a table for longer than `lock_timeout` of some and `statement_timeout` of others."""
    table = stage.random.choice(["facts_fact", "facts_mark", "facts_group"])
    mode = stage.random.choice(["ACCESS EXCLUSIVE", "SHARE"])  # with the second, reads go on
    with stage.sql() as sql, sql.transaction():
        sql.execute(f"LOCK TABLE {table} IN {mode} MODE")
        stage.wait(3)


# One Redis


@fault("kill-redis-old-dump", "single")
def _(stage):
    server = stage.place.main
    with server.client() as client:
        client.save()
    stage.wait(stage.random.uniform(0.5, 1.5))
    server.kill()
    stage.wait(stage.random.uniform(0, 0.6))
    server.start()


@fault("kill-redis-empty", "single", "sentinel")
def _(stage):
    server = stage.master()
    (server.folder / "dump.rdb").unlink(missing_ok=True)
    server.kill()
    stage.wait(stage.random.uniform(0, 0.6))
    server.start()


@fault("stop-redis", "single", "cluster", bound=AWAY)
def _(stage):
    with stage.stopped(stage.master()):
        stage.wait(stage.random.uniform(0.3, 2.5))


@fault("client-pause", "single", bound=AWAY)
def _(stage):
    seconds = stage.random.uniform(0.2, 2.5)
    with stage.place.main.client() as client:
        client.execute_command(
            "CLIENT PAUSE", int(seconds * 1000), stage.random.choice(["ALL", "WRITE"])
        )
    stage.wait(seconds)


@fault("busy-script", "single", bound=AWAY)
def _(stage):
    with stage.place.main.client(socket_timeout=0.5) as client, stage.place.main.client() as other:
        client.config_set("lua-time-limit", 50)
        with suppress(redis.RedisError):
            client.eval("while true do end", 0)
        stage.wait(stage.random.uniform(0.2, 1.5))
        other.execute_command("SCRIPT KILL")


@fault("no-replicas", "single", bound=AWAY)
def _(stage):
    with stage.setting("min-replicas-to-write", 1, 0):
        stage.wait(stage.random.uniform(0.3, 2))


@fault("no-info", "single", bound=AWAY)
def _(stage):
    """Take the right from the user by which a server is told apart."""
    with stage.place.main.client() as client:
        client.execute_command("ACL SETUSER default -@dangerous +acl +client +config")
        try:
            client.client_kill_filter(_type="normal", skipme=True)
            stage.wait(stage.random.uniform(0.5, 1.5))
        finally:
            client.execute_command("ACL SETUSER default +@all")


def _memory(stage, policy):
    with (
        stage.place.main.client() as client,
        stage.setting("maxmemory-policy", policy, "noeviction"),
    ):
        used = client.info("memory")["used_memory"]
        with stage.setting("maxmemory", int(used * stage.random.choice([0.5, 0.95, 1.02])), 0):
            stage.wait(stage.random.uniform(0.5, 2))


for _policy in (
    "noeviction allkeys-lru allkeys-lfu allkeys-random volatile-lru volatile-lfu volatile-random volatile-ttl".split()  # noqa: SIM905 - as Redis lists them
):
    fault(f"memory-{_policy}", "single", options=(_policy,))(_memory)


@fault("flushall", *EVERYWHERE)
def _(stage):
    for _ in range(stage.random.randrange(1, 4)):
        stage.flush()
        stage.wait(stage.random.uniform(0, 0.3))


def _delete(stage, *patterns):
    end = time.monotonic() + stage.random.uniform(0.3, 1.5)
    while time.monotonic() < end:
        stage.delete(*patterns, share=0.5)
        stage.wait(0.05)


for _kind, _patterns in {
    "random": ("*",),
    "stamps": ("*stamp:*",),
    "registries": REGISTRIES,
    "pending": ("*pending:*", "*writers:*"),
    "results": ("*q:*",),
}.items():
    fault(f"delete-{_kind}", "single", "cluster", options=_patterns)(_delete)


@fault("replicaof", "single", bound=IDENTITY, settle=2)
def _(stage):
    """Make the server a replica of one that has what it had before, and a master again."""
    main, spare = stage.place.main, stage.place.spare
    with main.client() as client, spare.client() as other:
        other.replicaof("127.0.0.1", main.port)
        until(lambda: other.info("replication")["master_link_status"] == "up", "no replication")
        other.replicaof("NO", "ONE")
        stage.wait(stage.random.uniform(0.2, 0.8))
        client.replicaof("127.0.0.1", spare.port)
        until(
            lambda: client.info("replication").get("master_link_status") in {"up", None},
            "no replication",
        )
        stage.moved()
        stage.wait(stage.random.uniform(0, 0.5))
        client.replicaof("NO", "ONE")
        stage.moved()


# An address, and networks


@fault("address-a-b-a", "proxied", "outbox", bound=MOVING, settle=2)
def _(stage):
    """Lead everybody to another server, wait until all of them were there, and lead them back."""
    for server in (stage.place.spare, stage.place.main):
        _move(stage, server)
        stage.everybody_does(3)
        stage.wait(stage.random.uniform(0, 1))


@fault("address-half-a-b-a", "proxied", bound=IDENTITY, settle=2)
def _(stage):
    """Do the same, but those who only read hear of it later."""
    for server in (stage.place.spare, stage.place.main):
        _move(stage, server, later=stage.random.uniform(0.1, 0.8))
        stage.wait(stage.random.uniform(0.5, 1))


def _move(stage, server, later=0.0):
    """Have writers move first: no one of them invalidates what readers have left already."""
    stage.place.for_writers.move(server.port)
    stage.moved()
    if later:
        stage.wait(later)
    stage.place.for_readers.move(server.port)
    stage.moved()


def _cut(stage, mode):
    """Cut off the writers alone."""
    stage.place.for_writers.fault(mode)
    try:
        stage.wait(stage.random.uniform(0.3, 2.5))
    finally:
        stage.place.for_writers.fault(WORKING)


for _name, _bound in {"proxied": AWAY, "outbox": OUTBOX}.items():
    _more = "-with-outbox" if _name == "outbox" else ""
    for _mode in (REFUSED, HUNG, RESET):
        fault(f"writers-{_mode}{_more}", _name, options=(_mode,), bound=_bound, settle=2)(_cut)


def _flush_and_cut(stage):
    """Take entries away that were announced, then Redis from their writers before they can leave."""
    victim = stage.random.choice(stage.crew.writers())
    stage.board.set_trap(victim, STEPS.index("after announce") + 1, 400)
    try:
        stage.needs(lambda: not stage.board.has_trap, "nobody came by")
        stage.flush()
        _cut(stage, REFUSED)
    finally:
        stage.board.set_trap(-1, 0)


fault("flush-then-cut", "proxied", bound=AWAY, settle=2)(_flush_and_cut)
fault("flush-then-cut-with-outbox", "outbox", bound=OUTBOX, settle=2)(_flush_and_cut)


# Sentinel


@fault("failover", "sentinel", bound=SENTINEL, settle=4)
def _(stage):
    _fail_over(stage)


@fault("two-failovers", "sentinel", bound=SENTINEL, settle=4)
def _(stage):
    for _ in range(2):
        _fail_over(stage)


def _fail_over(stage):
    sentinel = stage.place.sentinel
    before = sentinel.master()
    with suppress(redis.ResponseError):  # one is under way, or no replica is good enough
        sentinel.fail_over()
        stage.wait_until(lambda: sentinel.master() != before, 10)
        stage.moved()
    stage.wait(stage.random.uniform(0, 2))


# A cluster


@fault("slots-move", "cluster", settle=2)
def _(stage):
    """Move slots with their keys from one master to another, as a resharding does."""
    source, target = stage.shuffled(stage.masters())[:2]
    ids = {node: stage.place.cluster.id_of(node) for node in (source, target)}
    with source.client() as giver, target.client() as taker:
        slots = sorted({key_slot(key) for key in giver.keys("*")})
        for slot in stage.shuffled(slots)[:40]:
            taker.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
            giver.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
            stage.wait(0)
            keys = giver.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
            if keys:
                giver.execute_command(
                    "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys
                )
            for client in (taker, giver):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])


@fault("node-dies", "cluster", settle=4, bound=AWAY)
def _(stage):
    """Kill a master; its replica takes over, and it comes back as the replica's."""
    master = stage.random.choice(stage.masters())
    with master.client() as client:
        name = client.execute_command("CLUSTER MYID")
    replica = next(
        node
        for node in stage.place.servers()
        if node is not master and stage.follows(node, text(name))
    )
    master.kill()
    stage.wait(stage.random.uniform(0, 1))
    with replica.client() as client:
        client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
    stage.wait(stage.random.uniform(0.2, 1))
    master.start()
    with master.client() as client:
        stage.wait_until(lambda: client.info("replication")["role"] == "slave", 15)


def kinds_of(place, names=()):
    """Return the faults that happen in a place, of those names if some are given."""
    return [
        found
        for found in FAULTS.values()
        if place in found.places and (not names or found.name in names)
    ]
