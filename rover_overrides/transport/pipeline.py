"""Commands to Redis: a server, a Sentinel's master or a cluster.

Each reply has the identity of the server that returned it.

Every command has one key, so that a cluster accepts it. `run` sends all commands of a server at
once and then reads all replies: one round trip, and in a cluster one to each server in parallel.
Any command may be sent twice, so callers use only idempotent ones.

A server's identity changes when it restarts and when it becomes the master, because its data may
be older then than before. The identity is queried on the first use of each TCP connection, in the
same pipeline. After `CACHEOPS_ROVER_IDENTITY_SECONDS` the connection is reopened, because the
address may lead elsewhere by now; a node of a cluster is only queried again. If the identity
differs from the one that the process saw last, no reply is trusted until the epochs of that
server are deleted (see `epochs`).

The wait is bounded by `socket_connect_timeout` and `socket_timeout` in `CACHEOPS_REDIS` (redis-py
has no limit unless they are set), and by `retry` there: redis-py's own default, which waits
seconds for a server that refuses, is replaced. After a failure callers check `circuit_is_open` and
do without Redis for a moment (see `circuit_breaker`).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from rover_overrides.transport import epochs
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.transport.epochs import ServerState
from rover_overrides.transport.refusals import (
    MissingPermissionError,
    is_refusal,
    unwrap_script_error,
)
from rover_overrides.transport.sentinel import follow_master

Command = tuple[Any, ...]
Result = TypeVar("Result")

MAX_KEYS_PER_PIPELINE = 1000  # maximum number of keys that one pipeline unlinks

_RETRY_PAUSES = (0.1, 0.2, 0.4)  # seconds between the attempts of `run_with_retries`
_RETRY_SECONDS = 1.0  # after which no further attempt begins
_MAX_SWITCHES = 4  # attempts to send a pipeline while each one switches to another server
_MAX_CLUSTER_ATTEMPTS = 3  # the reply for a key that is being moved may be MOVED and then ASK
_REDIRECTED = (AskError, ClusterDownError, TryAgainError)
_SCRIPTS = frozenset({"EVAL", "EVALSHA"})
_LIBRARY_RETRY = inspect.signature(redis.Redis.__init__).parameters["retry"].default

_identities: WeakKeyDictionary[Any, _ConnectionIdentity] = WeakKeyDictionary()
_stale_clusters: WeakSet[Any] = WeakSet()  # clients of clusters of which a node timed out


class _ConnectionIdentity(NamedTuple):
    """The server at the other end of a socket; without an identity it must be queried."""

    socket: Any
    identity: bytes
    queried_at: float
    valid_until: float
    switch_number: int  # `ServerState.switch_number` when it was queried


class Reply(NamedTuple):
    """The value that a command returned, and the identity of the server that returned it."""

    value: Any
    identity: bytes


# Makes a reply from its tuple without a call of a Python function.
_new_reply: Callable[[tuple[Any, bytes]], Reply] = partial(tuple.__new__, Reply)


def run(
    commands: Sequence[Command],
    *,
    first: Sequence[Command] = (),
    get_keys: Sequence[str] = (),
    unlink_keys: Sequence[Any] = (),
) -> list[Reply]:
    """Run commands `(name, key, *arguments)` and return their replies in the same order.

    The values of `get_keys` come first in the replies. Before that, the commands in `first` are
    run and then the keys in `unlink_keys` are unlinked; neither have replies. On one server these
    unlinks are one command, and so are the reads: one reply is parsed faster than many.

    Raise redis.ConnectionError or redis.TimeoutError if a server is away or refuses for now,
    MissingPermissionError (a ConnectionError) if the user lacks a permission, and the ResponseError
    of a command that is wrong.
    """
    if not (commands or first or get_keys or unlink_keys):
        return []
    if circuit.has_failed:
        circuit.record_attempt()
    try:
        replies = _run(commands, first, get_keys, unlink_keys)
    except (MissingPermissionError, ResponseError):
        # The server is there. Callers decide whether to go on without a missing permission.
        circuit.record_success()
        raise
    except BaseException:  # a caller that waits for Redis may be interrupted
        circuit.record_failure()
        raise
    if circuit.has_failed:
        circuit.record_success()
    return replies


def unlink(keys: Sequence[Any], then: Sequence[Command] = ()) -> list[Reply]:
    """Unlink keys, at most `MAX_KEYS_PER_PIPELINE` in a pipeline, and return the replies to `then`.

    The commands in `then` are sent in the last pipeline. All commands may be sent twice.
    """
    replies: list[Reply] = []
    for start in range(0, len(keys) or 1, MAX_KEYS_PER_PIPELINE):  # at least once, to send `then`
        commands = then if start + MAX_KEYS_PER_PIPELINE >= len(keys) else ()
        replies = run(commands, unlink_keys=keys[start : start + MAX_KEYS_PER_PIPELINE])
    return replies


def run_with_retries(work: Callable[[], Result]) -> Result:
    """Return the result of `work`, which is tried up to four times while Redis cannot be reached.

    This takes about a second. A timeout is not retried, because it was a wait already; nor is a
    missing permission, because it will still be missing.
    """
    end = time.monotonic() + _RETRY_SECONDS
    for pause in _RETRY_PAUSES:
        try:
            return work()
        except redis.AuthenticationError:
            raise
        except redis.ConnectionError:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)
    return work()


def circuit_is_open() -> bool:
    """Return whether Redis failed recently, so that the caller should not wait for it again."""
    return circuit.is_open()


def _run(
    commands: Sequence[Command],
    first: Sequence[Command],
    get_keys: Sequence[str],
    unlink_keys: Sequence[Any],
) -> list[Reply]:
    try:
        return _run_on(client(), commands, first, get_keys, unlink_keys)
    except (RedisClusterException, ResponseError) as error:  # of a command, or of the handshake
        if isinstance(error, NoPermissionError):
            raise MissingPermissionError(str(error)) from error
        if is_refusal(error):
            raise redis.ConnectionError(str(error)) from error
        raise


def _run_on(
    redis_client: Any,
    commands: Sequence[Command],
    first: Sequence[Command],
    get_keys: Sequence[str],
    unlink_keys: Sequence[Any],
) -> list[Reply]:
    """Send unlinks and reads key by key to a cluster, or as one command each to a server.

    To unlink keys the server must be the master, so the Sentinels are queried first.
    """
    if hasattr(redis_client, "get_node_from_key"):  # a cluster
        each = [
            *first,
            *(("UNLINK", key) for key in unlink_keys),
            *(("GET", key) for key in get_keys),
            *commands,
        ]
        return _run_on_cluster(redis_client, each)[len(first) + len(unlink_keys) :]
    if unlink_keys:
        follow_master(redis_client.connection_pool, at_once=True)
    before = [*first, ("UNLINK", *unlink_keys)] if unlink_keys else first
    joined = [("MGET", *get_keys)] if get_keys else []
    replies = _run_on_server(redis_client.connection_pool, [*before, *joined, *commands])
    if unlink_keys:
        epochs.server_of(redis_client.connection_pool).last_deletion = time.monotonic()
    if before:
        del replies[: len(before)]
    if get_keys:
        found, identity = replies[0]
        replies[:1] = map(_new_reply, zip(found, repeat(identity)))
    return replies


def client() -> Any:
    """Return the client that cacheops uses; it is created on first use."""
    from cacheops.redis import redis_client

    return redis_client


def master_clients() -> list[Any]:
    """Return a client for each master."""
    redis_client = client()
    return (
        [redis_client.get_redis_connection(node) for node in redis_client.get_primaries()]
        if is_cluster(redis_client)
        else [redis_client]
    )


def is_cluster(redis_client: Any = None) -> bool:
    """Return whether keys are spread over the nodes of a cluster."""
    return hasattr(client() if redis_client is None else redis_client, "get_node_from_key")


def _run_on_server(pool: Any, commands: Sequence[Command]) -> list[Reply]:
    """Send commands and return their replies.

    If the server turns out to be another one, delete its epochs and send the commands again.
    """
    server = epochs.servers_by_pool.get(pool) or epochs.server_of(pool)  # saves a call at every hit
    for _ in range(_MAX_SWITCHES):
        switch_number = server.switch_number
        outdated = list(server.outdated_prefixes) if server.outdated_prefixes else ()
        replies = _exchange_with_retry(
            pool, [*_epoch_deletions(outdated), *commands] if outdated else commands
        )
        if replies[0].identity != server.identity or switch_number != server.switch_number:
            _switch_server(pool, server, replies[0].identity)
            continue
        for value, _ in replies:
            if isinstance(value, Exception):
                raise value
        if outdated:
            server.record_deleted_epochs(outdated)
            return replies[len(_epoch_deletions(outdated)) :]
        return replies
    raise redis.ConnectionError("the address keeps leading to other servers")


def _switch_server(pool: Any, server: ServerState, identity: bytes) -> None:
    """Delete the epochs of a server that the process switches to, and trust it.

    Do not trust it if another server answers in the meantime.
    """
    prefixes = server.begin_switch(identity)
    if prefixes:
        replies = _exchange_with_retry(pool, _epoch_deletions(prefixes))
        if _raise_error_reply(replies[0]).identity != identity:
            return
        for reply in replies:
            _raise_error_reply(reply)
    server.complete_switch(identity, prefixes)


def _epoch_deletions(prefixes: Sequence[str]) -> list[Command]:
    keys = [epochs.epoch_key(prefix) for prefix in prefixes]
    return [
        ("UNLINK", *keys[at : at + MAX_KEYS_PER_PIPELINE])
        for at in range(0, len(keys), MAX_KEYS_PER_PIPELINE)
    ]


def _exchange_with_retry(pool: Any, commands: Sequence[Command]) -> list[Reply]:
    """Send commands, and send them again on another connection if the first one fails.

    The server may have closed the first connection while it was idle.
    """
    try:
        (replies,) = _exchange([(pool, commands)])
    except (redis.AuthenticationError, MasterNotFoundError):  # waited for every Sentinel
        raise
    except redis.ConnectionError:
        (replies,) = _exchange([(pool, commands)])
    return replies


def _run_on_cluster(client: Any, commands: Sequence[Command]) -> list[Reply]:
    done: dict[int, Reply] = {}
    ask_errors: dict[int, Any] = {}
    failure: Exception = redis.ConnectionError("the cluster keeps moving keys")
    if _stale_clusters and client in _stale_clusters:
        client.nodes_manager.initialize()
        _stale_clusters.discard(client)
    for _ in range(_MAX_CLUSTER_ATTEMPTS):
        try:
            replies = _cluster_round(
                client, {n: c for n, c in enumerate(commands) if n not in done}, ask_errors
            )
            ask_errors = {
                n: reply.value for n, reply in replies.items() if type(reply.value) is AskError
            }
            done.update(
                (n, reply)
                for n, reply in replies.items()
                if not isinstance(reply.value, _REDIRECTED)
            )
            if len(done) == len(commands):
                return [_raise_error_reply(done[n]) for n in range(len(commands))]
            failure = next(
                reply.value for reply in replies.values() if isinstance(reply.value, _REDIRECTED)
            )
        except redis.TimeoutError:
            _stale_clusters.add(client)  # querying the nodes now would be a second wait
            raise
        except (redis.ConnectionError, RedisClusterException) as error:
            failure = error
        client.nodes_manager.initialize()
    raise redis.ConnectionError(str(failure)) from failure


def _cluster_round(
    client: Any, commands: dict[int, Command], ask_errors: dict[int, Any]
) -> dict[int, Reply]:
    """Send each command to the node of its key, or the one that ASK named.

    Return the replies by number.
    """
    # Another thread may read the cluster's nodes anew meanwhile, so a node is looked up only once.
    nodes: dict[str, Any] = {}
    batches: dict[str, list[tuple[int, Command]]] = {}
    for number, command in commands.items():
        ask = ask_errors.get(number)
        node = (
            client.get_node(host=ask.host, port=ask.port)
            if ask
            else client.get_node_from_key(_key_of(command))
        )
        if node is None:
            raise redis.ConnectionError(f"the cluster names a node that it does not list: {ask}")
        # The reply to ASKING has no number, so it is left out below.
        sent = [(-1, ("ASKING",)), (number, command)] if ask else [(number, command)]
        nodes.setdefault(node.name, node)
        batches.setdefault(node.name, []).extend(sent)
    pools = [client.get_redis_connection(node).connection_pool for node in nodes.values()]
    for pool in pools:
        epochs.server_of(pool).is_cluster_node = True
    replies = _exchange(
        [(pool, [c for _, c in batch]) for pool, batch in zip(pools, batches.values())]
    )
    pairs = [
        (n, reply)
        for batch, got in zip(batches.values(), replies)
        for (n, _), reply in zip(batch, got)
    ]
    return {number: reply for number, reply in pairs if number >= 0}


def _key_of(command: Command) -> Any:
    # In a script's command the script and the number of keys precede the key.
    return command[3] if command[0] in _SCRIPTS else command[1]


def _exchange(batches: Sequence[tuple[Any, Sequence[Command]]]) -> list[list[Reply]]:
    """Send every server its commands, then read all replies; an error is the value of its reply."""
    if len(batches) > 1:
        return _exchange_with_many(batches)
    # One server, as at nearly every hit, without the cost of context managers.
    ((pool, commands),) = batches
    server = epochs.servers_by_pool.get(pool) or epochs.server_of(pool)
    connection = _borrow_connection(pool, server)
    try:
        return [_receive(connection, commands, server, _send(connection, commands, server))]
    except BaseException:  # replies may be left unread in it
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _exchange_with_many(batches: Sequence[tuple[Any, Sequence[Command]]]) -> list[list[Reply]]:
    with ExitStack() as stack:
        lent = [
            (stack.enter_context(_lend_connection(pool)), commands, epochs.server_of(pool))
            for pool, commands in batches
        ]
        sent = [_send(*each) for each in lent]
        return [_receive(*each, known) for each, known in zip(lent, sent)]


@contextmanager
def _lend_connection(pool: Any) -> Iterator[Any]:
    """Lend a connection of the pool; close it after any failure, as it may have unread replies."""
    connection = _borrow_connection(pool, epochs.server_of(pool))
    try:
        yield connection
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _borrow_connection(pool: Any, server: ServerState) -> Any:
    if not server.has_adjusted_retries:
        server.has_adjusted_retries = True
        _disable_library_retries(pool)
    if hasattr(pool, "get_master_address"):
        follow_master(pool)
    try:
        try:  # without a function of its own, because every hit gets here
            return pool.get_connection()
        except TypeError:  # redis-py before 5.3
            return pool.get_connection("_")
    except RedisError:
        raise
    except BaseException:
        # A signal handler raised in the handshake of a new connection, and redis-py keeps that
        # connection as if the handshake were done. Its replies would be read as other values.
        pool.disconnect(inuse_connections=False)
        raise


def _disable_library_retries(pool: Any) -> None:
    """Replace redis-py's default retries, but not those that the application configured.

    Nothing is sent again after a timeout: that would be a second wait.
    """
    once = Retry(NoBackoff(), 1, (redis.ConnectionError,))
    is_library_default = (
        _LIBRARY_RETRY is not None and pool.connection_kwargs.get("retry") == _LIBRARY_RETRY
    )
    if is_library_default:
        pool.connection_kwargs["retry"] = once
    # These were opened by code that used the client directly, at an unknown time.
    for connection in getattr(pool, "_available_connections", ()):
        _identities[connection] = _ConnectionIdentity(
            getattr(connection, "_sock", None), b"", 0.0, 0.0, 0
        )
        if is_library_default:
            connection.retry = once


def _send(connection: Any, commands: Sequence[Command], server: ServerState) -> _ConnectionIdentity:
    """Send the commands, and before them the query for the server's identity unless it is known.

    Return what is known of the server.
    """
    now = time.monotonic()
    known = _identities.get(connection)
    if known is not None and (
        now >= known.valid_until or known.switch_number != server.switch_number
    ):
        if not server.is_cluster_node and known.socket is getattr(connection, "_sock", None):
            connection.disconnect()
            connection.connect()
        known = None
    connection.check_health()  # may reconnect, so it comes before the socket is read
    socket = getattr(connection, "_sock", None)
    if known is None or known.socket is not socket or socket is None:
        known = _ConnectionIdentity(
            socket, b"", now, now + epochs.identity_seconds(), server.switch_number
        )
    connection.send_packed_command(
        _pack_commands(
            connection, commands if known.identity else [*epochs.IDENTITY_COMMANDS, *commands]
        ),
        check_health=False,
    )
    return known


def _pack_commands(connection: Any, commands: Sequence[Command]) -> Any:
    """Encode commands in the Redis protocol, at three times the speed of redis-py's own encoder.

    Commands with `bytes` are left to redis-py, which does not copy large values.
    """
    encoder = getattr(connection, "encoder", None)
    if encoder is None:
        return connection.pack_commands(list(commands))
    encoding, errors = encoder.encoding, encoder.encoding_errors
    parts: list[bytes] = []
    # No functions are called in the loop, because every hit and every write gets here.
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            if type(word) is bytes:
                return connection.pack_commands(list(commands))
            encoded = (word if type(word) is str else str(word)).encode(encoding, errors)
            parts.append(b"$%d\r\n%s\r\n" % (len(encoded), encoded))
    return [b"".join(parts)]


def _receive(
    connection: Any, commands: Sequence[Command], server: ServerState, known: _ConnectionIdentity
) -> list[Reply]:
    identity = known.identity
    if not identity:
        report = epochs.parse_report(
            [_read_reply(connection) for _ in epochs.IDENTITY_COMMANDS], known.queried_at
        )
        server.record_report(report)
        identity = report.identity
        _identities[connection] = known._replace(identity=identity)
    replies: list[Reply] = []
    for _ in commands:
        try:
            value = connection.read_response()
        except ResponseError as error:
            value = unwrap_script_error(error)
            if isinstance(value, (MovedError, ReadOnlyError)):  # its role has changed
                _identities[connection] = known._replace(valid_until=0.0)
        replies.append(_new_reply((value, identity)))
    return replies


def _read_reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return unwrap_script_error(error)


def _raise_error_reply(reply: Reply) -> Reply:
    if isinstance(reply.value, Exception):
        raise reply.value
    return reply
