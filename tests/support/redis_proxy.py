"""A proxy on loopback in front of a Redis, that can be told to fail in the ways that networks and servers do."""

import socket
import struct
import threading
from contextlib import suppress

REFUSALS = {
    "BUSY": "BUSY Redis is busy running a script.",
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "MISCONF": "MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.",
    "READONLY": "READONLY You can't write against a read only replica.",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
}
WORKING, REFUSED, HUNG, RESET, OOM = "working", "refused", "hung", "reset", "OOM"
FAULTS = [REFUSED, HUNG, RESET, *REFUSALS]


class Proxy:
    """Relays to a port, or does what `fault` says, to connections that are open too; `connections` counts new ones."""

    def __init__(self, port):
        self._target = port
        self._mode = WORKING
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.chunks_received = 0

    def __enter__(self):
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._close_listener()
        self._reset_connections()

    def set_mode(self, mode):
        """Fail from now on, or work again."""
        before, self._mode, self.connections, self.chunks_received = self._mode, mode, 0, 0
        if mode == REFUSED:
            self._close_listener()
        elif before == REFUSED:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        if mode in (REFUSED, WORKING):
            self._reset_connections()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with (
            suppress(OSError),
            client,
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            self._open.add(server)
            threading.Thread(target=self._relay_answers, args=(server, client), daemon=True).start()
            while sent := client.recv(65536):
                self.chunks_received += 1
                if self._mode in (WORKING, RESET):
                    server.sendall(sent)
                elif self._mode in REFUSALS:
                    client.sendall(f"-{REFUSALS[self._mode]}\r\n".encode() * count_commands(sent))

    def _relay_answers(self, server, client):
        with suppress(OSError):
            while said := server.recv(65536):
                if self._mode == WORKING:
                    client.sendall(said)
                elif self._mode == RESET:
                    client.sendall(said[: len(said) // 2])
                    reset(client)

    def _close_listener(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _reset_connections(self):
        while self._open:
            with suppress(OSError):
                reset(self._open.pop())


def count_commands(sent):
    """Return how many commands a chunk holds; those of the tests come in one."""
    count, rest = 0, sent
    while rest.startswith(b"*"):
        head, _, rest = rest.partition(b"\r\n")
        for _ in range(int(head[1:])):
            length, _, rest = rest.partition(b"\r\n")
            rest = rest[int(length[1:]) + 2 :]
        count += 1
    assert not rest, rest
    return count


def reset(connection):
    """Close a connection so that the other side gets an error."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()
