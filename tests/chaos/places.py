"""Where a run takes place: the servers of one kind in one arrangement, a database, and how processes reach them."""

import socket
import threading
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.support.redis_proxy import Proxy, reset
from tests.support.redis_servers import Cluster, RedisServer, Sentinel, wait_until

TIMEOUT_SECONDS = 1
_WAITS = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
OUTBOX_SECONDS = 1


class MovableAddress(Proxy):
    """An address that can move from one server to another."""

    def move(self, port):
        """Lead to another server from now on; connections that are open end."""
        self._target = port
        self._reset_connections()


class DatabaseProxy(Proxy):
    """Leads to PostgreSQL's socket, and can cut the connection that sends what is in `cutting` next."""

    def __init__(self, path):
        super().__init__(path)
        self.cuts = 0
        self.cutting = None

    def _serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._target)
            self._open |= {client, server}
            threading.Thread(target=self._relay_answers, args=(server, client), daemon=True).start()
            while sent := client.recv(65536):
                server.sendall(sent)
                if self.cutting and self.cutting in sent:
                    self.cuts += 1
                    self.cutting = None
                    reset(client)
                    break
        except OSError:
            pass
        finally:
            with suppress(OSError):
                server.shutdown(
                    socket.SHUT_RDWR
                )  # close() alone tells nobody while another thread reads from it
            client.close()
            server.close()


class Place(ABC):
    """The servers of one arrangement (a topology), of one kind."""

    topology = ""
    settings: dict = {}

    def __init__(self, kind, folder, database):
        self.kind, self.folder = kind, folder
        parts = urlsplit(database)
        self.database = parts.path[1:]
        self.user, self.host = parts.username, parse_qs(parts.query)["host"][0]
        self._stack = ExitStack()

    def __enter__(self):
        self._begin()
        return self

    def __exit__(self, *_):
        self._stack.close()

    @abstractmethod
    def _begin(self):
        """Start the servers."""

    def _server(self, name):
        (self.folder / name).mkdir()
        return self._stack.enter_context(
            RedisServer(self.kind, self.folder / name, "--repl-diskless-sync-delay", "0")
        )

    @abstractmethod
    def redis(self, _number, _spec):
        """Return the settings of a process that say where Redis is."""

    @abstractmethod
    def servers(self):
        """Return the servers that have keys."""

    def direct_connection(self):
        """Return how to connect to the database past all proxies."""
        return {"host": self.host, "dbname": self.database, "user": self.user}

    def databases(self, number, spec):
        """Return DATABASES of a process."""
        limit = f" -c {spec.limit}" if spec.limit else ""
        options = {
            "application_name": f"chaos {number}",
            "options": f"-c synchronous_commit=on -c deadlock_timeout=100{limit}",
        }
        more = {}
        pool = self._pool(spec)
        if pool:
            options["pool"] = pool
            more["CONN_HEALTH_CHECKS"] = True
        else:
            more["CONN_MAX_AGE"] = None
        if spec.style == "repeatable read":
            options["isolation_level"] = 3
        at = {"NAME": self.database, "USER": self.user, **self._database_at()}
        return {
            "default": {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options, **at, **more}
        }

    def _pool(self, spec):
        """Return the options of a process's connection pool, None if it has none."""
        return {"min_size": 1, "max_size": 4, "timeout": 5} if spec.style == "pool" else None

    def _database_at(self):
        return {"HOST": self.host}


class Single(Place):
    """A server, and one to spare that may become its master for a while."""

    topology = "single"

    def _begin(self):
        self.main, self.spare = self._server("main"), self._server("spare")

    def redis(self, _number, _spec):
        return {"CACHEOPS_REDIS": {"host": "127.0.0.1", "port": self.main.port, **_WAITS}}

    def servers(self):
        return [self.main]


class Proxied(Place):
    """Two servers behind an address for those that write and one for those that only read; and the database behind one."""

    topology = "proxied"

    def _begin(self):
        self.main, self.spare = self._server("main"), self._server("spare")
        self.for_writers = self._stack.enter_context(MovableAddress(self.main.port))
        self.for_readers = self._stack.enter_context(MovableAddress(self.main.port))
        self.for_database = self._stack.enter_context(DatabaseProxy(f"{self.host}/.s.PGSQL.5432"))

    def redis(self, _number, spec):
        address = self.for_writers if spec.is_writer else self.for_readers
        return {"CACHEOPS_REDIS": {"host": "127.0.0.1", "port": address.port, **_WAITS}}

    def servers(self):
        return [self.main, self.spare]

    def _database_at(self):
        return {"HOST": "127.0.0.1", "PORT": self.for_database.port}


class WithOutbox(Proxied):
    """The same, with an outbox in the database, whose connections can be limited.

    Processes log in as a role that is no superuser, for whom PostgreSQL has no limit. The reader has a pool of one connection.
    """

    topology = "outbox"
    settings = {"CACHEOPS_ROVER_OUTBOX": True, "CACHEOPS_ROVER_OUTBOX_SECONDS": OUTBOX_SECONDS}
    role = "application"

    def _begin(self):
        super()._begin()
        with psycopg.connect(**self.direct_connection(), autocommit=True) as connection:
            known = "SELECT 1 FROM pg_roles WHERE rolname = %s"
            if not connection.execute(known, [self.role]).fetchone():  # of an earlier round
                connection.execute(f"CREATE ROLE {self.role} LOGIN")
                connection.execute(f"GRANT SET ON PARAMETER deadlock_timeout TO {self.role}")
            connection.execute(f"ALTER DATABASE {self.database} OWNER TO {self.role}")

    def _pool(self, spec):
        if spec.style == "plain" and not spec.is_writer:
            return {"min_size": 1, "max_size": 1, "timeout": 1}
        return super()._pool(spec)

    def _database_at(self):
        return {**super()._database_at(), "USER": self.role}


class WithSentinel(Place):
    """A master, a replica, and a Sentinel."""

    topology = "sentinel"

    def _begin(self):
        self.first, self.second = self._server("first"), self._server("second")
        with self.second.client() as client:
            client.replicaof("127.0.0.1", self.first.port)
            wait_until(
                lambda: client.info("replication")["master_link_status"] == "up", "no replication"
            )
        (self.folder / "sentinel").mkdir()
        self.sentinel = self._stack.enter_context(
            Sentinel(self.first, self.folder / "sentinel", self.kind)
        )
        wait_until(self.sentinel.sees_replica, "the Sentinel does not see the replica")

    def redis(self, _number, _spec):
        at = {
            "locations": [["127.0.0.1", self.sentinel.port]],
            "service_name": Sentinel.NAME,
            "db": 0,
            **_WAITS,
        }
        return {"CACHEOPS_SENTINEL": at}

    def servers(self):
        return [self.first, self.second]


class Clustered(Place):
    """Three masters with a replica each."""

    topology = "cluster"
    settings = {"CACHEOPS_CLIENT_CLASS": "redis.cluster.RedisCluster"}

    def _begin(self):
        self.cluster = self._stack.enter_context(
            Cluster(self.folder, replicas=True, kind=self.kind)
        )

    def redis(self, _number, _spec):
        return {
            "CACHEOPS_REDIS": {"host": "127.0.0.1", "port": self.cluster.nodes[0].port, **_WAITS}
        }

    def servers(self):
        return [*self.cluster.nodes, *self.cluster.replicas]


PLACES = {place.topology: place for place in (Single, Proxied, WithOutbox, WithSentinel, Clustered)}
