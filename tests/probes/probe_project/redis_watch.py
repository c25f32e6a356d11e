"""What the Redis server ran, seen with MONITOR, commands inside Lua scripts included.

Probes count commands and keys with it, so they need neither clocks nor the text of anybody's scripts.
"""

import re
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from uuid import uuid4

_LINE = re.compile(r"\d+\.\d+ \[\d+ (?P<source>[^\]]*)\] (?P<words>.*)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|(.))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b"}

_SCRIPTS = {"EVAL", "EVALSHA", "FCALL"}


class Command(NamedTuple):
    """A command with its arguments; `source` is "lua" inside a script, else a client's address."""

    source: str
    name: str
    args: tuple[str, ...]


def masters(client):
    """Return a client for the server of `client`, or one for each master where that is a cluster."""
    if not hasattr(client, "get_primaries"):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_primaries()]


@contextmanager
def watching(client):
    """Collect the commands that the server of `client` runs inside the block, or those of a cluster, master after master.

    The list that this yields is filled when the block ends. Bytes beyond ASCII come out as latin-1.
    """
    commands = []
    with ExitStack() as stack:
        each = [stack.enter_context(_watching(master)) for master in masters(client)]
        yield commands
    commands.extend(command for found in each for command in found)


@contextmanager
def _watching(client):
    monitor = client.connection_pool.make_connection()
    try:
        monitor.connect()
        monitor.send_command("MONITOR")
        monitor.read_response()
        commands = []
        yield commands
        # MONITOR reports in order, so all of the block is in when this arrives.
        end = Command("", "ECHO", (uuid4().hex,))
        client.echo(end.args[0])
        commands.extend(_until(monitor, end))
    finally:
        monitor.disconnect()


def units(commands):
    """Split commands into what Redis runs without serving anybody else.

    A script is one unit with all the commands it runs, a MULTI to EXEC is one, any other command is one by itself.
    """
    parts, in_transaction = [], False
    for command in commands:
        if parts and (
            in_transaction or (command.source == "lua" and parts[-1][0].name in _SCRIPTS)
        ):
            parts[-1].append(command)
        else:
            parts.append([command])
        # Clients on a socket share an address. A probe has one thread, so its transactions do not overlap.
        in_transaction = command.name == "MULTI" or (
            in_transaction and command.name not in {"EXEC", "DISCARD"}
        )
    return parts


def freed_keys(commands):
    """Return the keys that DEL and UNLINK name in `commands`."""
    return {
        key for command in commands if command.name in {"DEL", "UNLINK"} for key in command.args
    }


def _until(monitor, end):
    while True:
        command = _parse(monitor.read_response().decode("latin-1"))
        if command[1:] == end[1:]:
            return
        yield command


def _parse(line):
    match = _LINE.match(line)
    assert match, "MONITOR said what this module cannot read: " + line
    name, *args = (_ESCAPE.sub(_unescape, word) for word in _WORD.findall(match.group("words")))
    return Command(match.group("source"), name.upper(), tuple(args))


def _unescape(match):
    code, char = match.groups()
    return chr(int(code, 16)) if code else _ESCAPED.get(char, char)
