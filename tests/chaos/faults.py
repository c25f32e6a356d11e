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

from tests.chaos.commit_steps import STEPS
from tests.chaos.places import OUTBOX_SECONDS
from tests.support.redis_proxy import HUNG, REFUSED, RESET, WORKING
from tests.support.redis_servers import decoded, wait_until

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
    halts_writer: bool = False  # which may hold row locks meanwhile
    options: tuple = ()

    def __call__(self, context):
        self.act(context, *self.options)


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


def _trap_writer(context, step, hold=0):
    victim = context.random.choice(context.workers.writers())
    before = context.workers.state(victim)
    context.board.set_trap(victim, STEPS.index(step) + 1, hold)
    try:
        context.wait_for(lambda: not context.board.has_trap, "nobody came by")
        context.wait(hold / 1000)
        if not hold:
            context.wait_until(lambda: context.workers.is_replaced(victim, before), 20)
    finally:
        context.board.set_trap(-1, 0)


for _step in STEPS:
    _name = f"kill-writer-{_step.replace(' ', '-').lower()}"
    fault(_name, "single", options=(_step,), settle=ENTRY_SECONDS + 1)(_trap_writer)
    _name = f"halt-writer-{_step.replace(' ', '-').lower()}"
    fault(
        _name, "single", options=(_step, 1000 * ENTRY_SECONDS + 700), settle=1, halts_writer=True
    )(_trap_writer)


@fault("kill-writer", *EVERYWHERE, settle=ENTRY_SECONDS + 1)
def _(context):
    victim = context.random.choice(context.workers.writers())
    before = context.workers.state(victim)
    context.workers.send(victim, signal.SIGKILL)
    context.wait_until(lambda: context.workers.is_replaced(victim, before), 20)


@fault("stop-writer", "single", settle=ENTRY_SECONDS + 1, halts_writer=True)
def _(context):
    victim = context.random.choice(context.workers.writers())
    context.workers.send(victim, signal.SIGSTOP)
    try:
        context.wait(context.random.choice([0.3, ENTRY_SECONDS + 0.7]))
    finally:
        context.workers.send(victim, signal.SIGCONT)


@contextmanager
def _single_writer(context, kind=None):
    """Have one thread alone write, perhaps in one kind: others that commit would keep results of the same tables out of the cache."""
    victim = context.random.choice(
        [
            number
            for number in context.workers.writers()
            if len(context.workers.specs[number].threads) == 1
        ]
    )
    context.board.only_writer(
        context.workers.specs[victim].threads[0],
        None if kind is None else context.kinds.index(kind),
    )
    try:
        context.wait(0.4)
        yield victim
    finally:
        context.board.only_writer(None)


@contextmanager
def _commits_stuck(context):
    """Have every COMMIT wait for a standby that is not there."""
    with context.sql() as sql:
        sql.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        sql.execute("SELECT pg_reload_conf()")
        try:
            yield sql
        finally:
            sql.execute("ALTER SYSTEM RESET synchronous_standby_names")
            sql.execute("SELECT pg_reload_conf()")


def _kill_in_commit(context, seconds):
    with _single_writer(context) as victim:
        before = context.workers.state(victim)
        with _commits_stuck(context) as sql:
            stuck = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = %s"
            context.wait_for(
                lambda: sql.execute(stuck, [f"chaos {victim}"]).fetchone(),
                "nobody came to a COMMIT",
            )
            context.workers.send(victim, signal.SIGKILL)
            context.wait(seconds)
        context.wait_until(lambda: context.workers.is_replaced(victim, before), 20)
    if seconds > ENTRY_SECONDS:
        context.wait(0.5)
        context.flush()  # what is outdated within the bound is not to be met later


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
def _(context):
    """Have a writer see empty registries, and halt for longer than its entry lives: readers store under what it does not know of."""
    with _single_writer(context) as victim:
        context.board.set_trap(
            victim, STEPS.index("after announce") + 1, 1000 * ENTRY_SECONDS + 1500
        )
        try:
            context.wait_for(
                lambda: context.delete(*REGISTRIES) or not context.board.has_trap, "nobody came by"
            )
            context.wait(ENTRY_SECONDS + 1.5)
        finally:
            context.board.set_trap(-1, 0)
        context.wait(0.5)


def _cut_stuck_commit(context, words, kind=None):
    """Cut a connection while PostgreSQL works on its COMMIT, which succeeds later."""
    with _single_writer(context, kind), _commits_stuck(context):
        _cut_connection(context, words, context.random.choice([0.5, ENTRY_SECONDS + 1.5]))


def _cut_connection(context, words, seconds=0.5):
    database = context.place.for_database
    before, database.cutting = database.cuts, words
    try:
        context.wait_for(lambda: database.cuts > before, "nobody came to a COMMIT")
    finally:
        database.cutting = None
    context.wait(seconds)


_COMMIT, _RAW = b"COMMIT", b"UPDATE facts_fact SET"  # the ORM quotes the names of tables
fault(
    "cut-commit", "proxied", "outbox", options=(_COMMIT,), settle=ENTRY_SECONDS + 2, database=True
)(_cut_stuck_commit)
fault(
    "cut-raw-statement", "proxied", options=(_RAW, "raw"), settle=ENTRY_SECONDS + 2, database=True
)(_cut_stuck_commit)
fault("cut-quick-commit", "proxied", options=(_COMMIT,), settle=ENTRY_SECONDS + 2, database=True)(
    _cut_connection
)


# PostgreSQL


def _end_database_sessions(context, function):
    """End, or cancel, what some or all of the processes have on the database."""
    with context.sql() as sql:
        for _ in range(context.random.randrange(1, 6)):
            name = context.random.choice(
                ["%", *(f"chaos {number}" for number in range(len(context.workers.specs)))]
            )
            sql.execute(
                f"SELECT {function}(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
                [name if name != "%" else "chaos %"],
            )
            context.wait(0.15)


fault(
    "terminate-backends",
    *EVERYWHERE,
    options=("pg_terminate_backend",),
    settle=ENTRY_SECONDS + 1,
    database=True,
)(_end_database_sessions)
fault("cancel-statements", "single", options=("pg_cancel_backend",), database=True)(
    _end_database_sessions
)


@fault("deadlocks", "single", settle=ENTRY_SECONDS, database=True)
def _(context):
    """Lock rows against the order in which writers do, until some deadlocks were broken."""
    for _ in range(6):
        with context.sql() as sql, suppress(psycopg.Error), sql.transaction():
            sql.execute(
                "SET LOCAL deadlock_timeout = '2s'"
            )  # the writers are the ones that are ended
            for number in range(16, 0, -1):
                sql.execute("SELECT 1 FROM facts_fact WHERE id = %s FOR UPDATE", [number])
                context.wait(0.02)
            sql.execute("SELECT 1 FROM facts_mark ORDER BY id DESC FOR UPDATE")


@fault("timeouts", "single", settle=ENTRY_SECONDS, database=True)
def _(context):
    """Lock a table for longer than `lock_timeout` of some and `statement_timeout` of others."""
    table = context.random.choice(["facts_fact", "facts_mark", "facts_group"])
    mode = context.random.choice(["ACCESS EXCLUSIVE", "SHARE"])  # with the second, reads go on
    with context.sql() as sql, sql.transaction():
        sql.execute(f"LOCK TABLE {table} IN {mode} MODE")
        context.wait(3)


# One Redis


@fault("kill-redis-old-dump", "single")
def _(context):
    server = context.place.main
    with server.client() as client:
        client.save()
    context.wait(context.random.uniform(0.5, 1.5))
    server.kill()
    context.wait(context.random.uniform(0, 0.6))
    server.start()


@fault("kill-redis-empty", "single", "sentinel")
def _(context):
    server = context.master()
    (server.folder / "dump.rdb").unlink(missing_ok=True)
    server.kill()
    context.wait(context.random.uniform(0, 0.6))
    server.start()


@fault("stop-redis", "single", "cluster", bound=AWAY)
def _(context):
    with context.paused_server(context.master()):
        context.wait(context.random.uniform(0.3, 2.5))


@fault("client-pause", "single", bound=AWAY)
def _(context):
    seconds = context.random.uniform(0.2, 2.5)
    with context.place.main.client() as client:
        client.execute_command(
            "CLIENT PAUSE", int(seconds * 1000), context.random.choice(["ALL", "WRITE"])
        )
    context.wait(seconds)


@fault("busy-script", "single", bound=AWAY)
def _(context):
    with (
        context.place.main.client(socket_timeout=0.5) as client,
        context.place.main.client() as other,
    ):
        client.config_set("lua-time-limit", 50)
        with suppress(redis.RedisError):
            client.eval("while true do end", 0)
        context.wait(context.random.uniform(0.2, 1.5))
        other.execute_command("SCRIPT KILL")


@fault("no-replicas", "single", bound=AWAY)
def _(context):
    with context.changed_setting("min-replicas-to-write", 1, 0):
        context.wait(context.random.uniform(0.3, 2))


@fault("no-info", "single", bound=AWAY)
def _(context):
    """Take the right from the user by which a server is told apart."""
    with context.place.main.client() as client:
        client.execute_command("ACL SETUSER default -@dangerous +acl +client +config")
        try:
            client.client_kill_filter(_type="normal", skipme=True)
            context.wait(context.random.uniform(0.5, 1.5))
        finally:
            client.execute_command("ACL SETUSER default +@all")


def _limit_memory(context, policy):
    with (
        context.place.main.client() as client,
        context.changed_setting("maxmemory-policy", policy, "noeviction"),
    ):
        used = client.info("memory")["used_memory"]
        with context.changed_setting(
            "maxmemory", int(used * context.random.choice([0.5, 0.95, 1.02])), 0
        ):
            context.wait(context.random.uniform(0.5, 2))


for _policy in (
    "noeviction allkeys-lru allkeys-lfu allkeys-random volatile-lru volatile-lfu volatile-random volatile-ttl".split()  # noqa: SIM905 - as Redis lists them
):
    fault(f"memory-{_policy}", "single", options=(_policy,))(_limit_memory)


@fault("flushall", *EVERYWHERE)
def _(context):
    for _ in range(context.random.randrange(1, 4)):
        context.flush()
        context.wait(context.random.uniform(0, 0.3))


def _delete(context, *patterns):
    end = time.monotonic() + context.random.uniform(0.3, 1.5)
    while time.monotonic() < end:
        context.delete(*patterns, share=0.5)
        context.wait(0.05)


for _kind, _patterns in {
    "random": ("*",),
    "stamps": ("*stamp:*",),
    "registries": REGISTRIES,
    "pending": ("*pending:*", "*writers:*"),
    "results": ("*q:*",),
}.items():
    fault(f"delete-{_kind}", "single", "cluster", options=_patterns)(_delete)


@fault("replicaof", "single", bound=IDENTITY, settle=2)
def _(context):
    """Make the server a replica of one that has what it had before, and a master again."""
    main, spare = context.place.main, context.place.spare
    with main.client() as client, spare.client() as other:
        other.replicaof("127.0.0.1", main.port)
        wait_until(
            lambda: other.info("replication")["master_link_status"] == "up", "no replication"
        )
        other.replicaof("NO", "ONE")
        context.wait(context.random.uniform(0.2, 0.8))
        client.replicaof("127.0.0.1", spare.port)
        wait_until(
            lambda: client.info("replication").get("master_link_status") in {"up", None},
            "no replication",
        )
        context.note_move()
        context.wait(context.random.uniform(0, 0.5))
        client.replicaof("NO", "ONE")
        context.note_move()


# An address, and networks


@fault("address-a-b-a", "proxied", "outbox", bound=MOVING, settle=2)
def _(context):
    """Lead everybody to another server, wait until all of them were there, and lead them back."""
    for server in (context.place.spare, context.place.main):
        _move_address(context, server)
        context.wait_for_operations(3)
        context.wait(context.random.uniform(0, 1))


@fault("address-half-a-b-a", "proxied", bound=IDENTITY, settle=2)
def _(context):
    """Do the same, but those who only read hear of it later."""
    for server in (context.place.spare, context.place.main):
        _move_address(context, server, later=context.random.uniform(0.1, 0.8))
        context.wait(context.random.uniform(0.5, 1))


def _move_address(context, server, later=0.0):
    """Have writers move first: no one of them invalidates what readers have left already."""
    context.place.for_writers.move(server.port)
    context.note_move()
    if later:
        context.wait(later)
    context.place.for_readers.move(server.port)
    context.note_move()


def _cut_writers_off(context, mode, least=0.3, most=2.5):
    """Cut off the writers alone."""
    context.place.for_writers.set_mode(mode)
    try:
        context.wait(context.random.uniform(least, most))
    finally:
        context.place.for_writers.set_mode(WORKING)


for _name, _bound in {"proxied": AWAY, "outbox": OUTBOX}.items():
    _more = "-with-outbox" if _name == "outbox" else ""
    for _mode in (REFUSED, HUNG, RESET):
        fault(f"writers-{_mode}{_more}", _name, options=(_mode,), bound=_bound, settle=2)(
            _cut_writers_off
        )


def _flush_and_cut(context):
    """Take entries away that were announced, then Redis from their writers before they can leave."""
    victim = context.random.choice(context.workers.writers())
    context.board.set_trap(victim, STEPS.index("after announce") + 1, 400)
    try:
        context.wait_for(lambda: not context.board.has_trap, "nobody came by")
        context.flush()
        _cut_writers_off(context, REFUSED)
    finally:
        context.board.set_trap(-1, 0)


fault("flush-then-cut", "proxied", bound=AWAY, settle=2)(_flush_and_cut)
fault("flush-then-cut-with-outbox", "outbox", bound=OUTBOX, settle=2)(_flush_and_cut)


@fault("outbox-role-limit", "outbox", bound=OUTBOX, settle=2, database=True)
def _(context):
    """Have PostgreSQL refuse new connections, so that readers without one cannot look, while Redis hears nothing of writes."""
    readers = [n for n, spec in enumerate(context.workers.specs) if not spec.is_writer]
    ending = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ANY(%s)"
    )
    with context.sql() as sql:
        sql.execute(f"ALTER ROLE {context.place.role} CONNECTION LIMIT 0")
        try:
            sql.execute(ending, [[f"chaos {number}" for number in readers]])
            _cut_writers_off(context, REFUSED, 1, 2)
        finally:
            sql.execute(f"ALTER ROLE {context.place.role} CONNECTION LIMIT -1")


@fault("outbox-pool-empty", "outbox", bound=OUTBOX, settle=2, database=True)
def _(context):
    """Have others use all connections of the pools, so that a reader cannot look, while Redis hears nothing of writes."""
    context.board.take_pools(1)
    try:
        _cut_writers_off(context, REFUSED, 1.5, 2.5)
    finally:
        context.board.take_pools(0)


# Sentinel


@fault("failover", "sentinel", bound=SENTINEL, settle=4)
def _(context):
    _fail_over(context)


@fault("two-failovers", "sentinel", bound=SENTINEL, settle=4)
def _(context):
    for _ in range(2):
        _fail_over(context)


def _fail_over(context):
    sentinel = context.place.sentinel
    before = sentinel.master()
    with suppress(redis.ResponseError):  # one is under way, or no replica is good enough
        sentinel.fail_over()
        context.wait_until(lambda: sentinel.master() != before, 10)
        context.note_move()
    context.wait(context.random.uniform(0, 2))


# A cluster


@fault("slots-move", "cluster", settle=2)
def _(context):
    """Move slots with their keys from one master to another, as a resharding does."""
    source, target = context.shuffled(context.masters())[:2]
    ids = {node: context.place.cluster.id_of(node) for node in (source, target)}
    with source.client() as giver, target.client() as taker:
        slots = sorted({key_slot(key) for key in giver.keys("*")})
        for slot in context.shuffled(slots)[:40]:
            taker.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
            giver.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
            context.wait(0)
            keys = giver.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
            if keys:
                giver.execute_command(
                    "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys
                )
            for client in (taker, giver):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])


@fault("node-dies", "cluster", settle=4, bound=AWAY)
def _(context):
    """Kill a master; its replica takes over, and it comes back as the replica's."""
    master = context.random.choice(context.masters())
    with master.client() as client:
        name = client.execute_command("CLUSTER MYID")
    replica = next(
        node
        for node in context.place.servers()
        if node is not master and context.is_replica_of(node, decoded(name))
    )
    master.kill()
    context.wait(context.random.uniform(0, 1))
    with replica.client() as client:
        client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
    context.wait(context.random.uniform(0.2, 1))
    master.start()
    with master.client() as client:
        context.wait_until(lambda: client.info("replication")["role"] == "slave", 15)


def faults_of_place(place, names=()):
    """Return the faults that happen in a place, of those names if some are given."""
    return [
        found
        for found in FAULTS.values()
        if place in found.places and (not names or found.name in names)
    ]
