"""Writes of which Redis could not be told before their COMMIT: their tables are in the database, and come with it.

`CACHEOPS_ROVER_OUTBOX = True` (or a tuple of aliases; True is the default database) has a writer whose announcement failed
insert the names of its tables into the table `rover_outbox`, in the same transaction. Whoever reaches Redis drops all
results of them: a process that reads looks once every `CACHEOPS_ROVER_OUTBOX_SECONDS` (5), before it asks Redis, and so does
`manage.py drainoutbox`. Thus nobody reads what such a write has outdated for longer than that. `manage.py migrate` makes the
table.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any

from django.apps.registry import Apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections, models
from django.db.models.signals import post_migrate

from rover_overrides import commits, drops, owed, snapshots, storage
from rover_overrides.switches import on, stated

TABLE = "rover_outbox"
STEP = 500  # rows that are read and deleted at a time: SQLite takes 999 parameters

_INSERT = f"INSERT INTO {TABLE} (name, made) VALUES (%s, %s)"  # noqa: S608 - a name of ours
_SELECT = f"SELECT id, name FROM {TABLE} ORDER BY id"  # noqa: S608 - as above

_next_look = 0.0
_present: set[str] = set()


def install() -> None:
    """Have writers use it where Redis does not hear them, and readers look into it."""
    if _write not in commits.unannounced:
        commits.unannounced.append(_write)
        commits.unheard.append(_unheard)
        storage.before_read.append(_before_read)
        post_migrate.connect(_create, dispatch_uid="rover_outbox")


def drain(using: str) -> int:
    """Drop all results of the tables that wait in a database, and return how many rows there were."""
    drained = 0
    with _apart(connections[using]) as connection:
        while rows := _rows(connection):
            drops.drop_tables(using, {name for _, name in rows})
            drained += len(rows)
            if not _delete(connection, [number for number, _ in rows]) or len(rows) < STEP:
                break
    return drained


def aliases() -> tuple[str, ...]:
    """Return the aliases of the databases that have an outbox."""
    wanted = getattr(settings, "CACHEOPS_ROVER_OUTBOX", False) if on("outbox") else False
    return (DEFAULT_DB_ALIAS,) if wanted is True else tuple(wanted or ())


def _before_read() -> None:
    """Pay what this process owes, and look whether others left something, once every few seconds."""
    global _next_look  # noqa: PLW0603 - of the process
    owed.pay()
    if not stated("CACHEOPS_ROVER_OUTBOX", default=False):
        return
    now = time.monotonic()
    if now < _next_look:
        return
    before, _next_look = _next_look, now + getattr(settings, "CACHEOPS_ROVER_OUTBOX_SECONDS", 5)
    looked = False
    try:
        looked = False not in [_look(using) for using in aliases()]
    finally:
        if not looked:
            _next_look = before


def _look(using: str) -> bool:
    """Drain a database unless it is empty; tell whether what others have committed was seen."""
    connection = connections[using]
    if connection.needs_rollback or snapshots.may_lack_commits(using):
        return False
    try:
        if _is_present(connection) and _rows(connection):
            drain(using)
    except Error as error:  # what is in the cache may be read although the database is away
        warnings.warn(f"The outbox of {using} cannot be read: {error}", RuntimeWarning, stacklevel=2)
    return True


def _write(connection: Any, tables: Collection[str]) -> None:
    """Insert tables in the transaction that is about to commit; one that cannot goes on without."""
    if connection.alias not in aliases():
        return
    savepoint = connection.savepoint()
    try:
        _insert(connection, tables)
    except Error as error:
        connection.savepoint_rollback(savepoint)
        warnings.warn(f"The outbox of {connection.alias} cannot be written: {error}", RuntimeWarning, stacklevel=2)
    else:
        connection.savepoint_commit(savepoint)


def _unheard(using: str, tables: Collection[str]) -> None:
    """Note what Redis did not hear after the COMMIT either; what had no transaction is inserted now."""
    if not on("outbox"):
        return
    owed.note(using, tables)
    connection = connections[using]
    if using in aliases() and connection.get_autocommit() and not connection.in_atomic_block:
        _insert(connection, tables)


def _insert(connection: Any, tables: Collection[str]) -> None:
    now = int(time.time())
    with _cursor(connection) as cursor:
        for table in sorted(tables):
            cursor.execute(_INSERT, (table, now))


def _rows(connection: Any) -> list[tuple[int, str]]:
    with _cursor(connection) as cursor:
        cursor.execute(_SELECT)
        return [(number, name) for number, name in cursor.fetchmany(STEP)]


def _delete(connection: Any, numbers: Collection[int]) -> bool:
    """Delete rows; not inside a transaction, whose end others would have to wait for."""
    if connection.in_atomic_block or not connection.get_autocommit():
        return False
    places = ", ".join(["%s"] * len(numbers))
    with _cursor(connection) as cursor:
        cursor.execute(f"DELETE FROM {TABLE} WHERE id IN ({places})", tuple(numbers))  # noqa: S608 - placeholders
    return True


@contextmanager
def _apart(connection: Any) -> Iterator[Any]:
    """Give a connection beside the thread's own, which may be in a transaction; SQLite's two would wait for each other."""
    if connection.vendor == "sqlite":
        yield connection
        return
    beside = connection.copy()
    try:
        yield beside
    finally:
        beside.close()


@contextmanager
def _cursor(connection: Any) -> Iterator[Any]:
    """Give the backend's cursor: what goes through it is no query of the application's."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.create_cursor()) as cursor:
        yield cursor


def _is_present(connection: Any) -> bool:
    if connection.alias not in _present and TABLE in connection.introspection.table_names():
        _present.add(connection.alias)
    return connection.alias in _present


def _create(using: str, **_: Any) -> None:
    """Make the table after `migrate`."""
    connection = connections[using]
    if using in aliases() and not _is_present(connection):
        with connection.schema_editor() as editor:
            editor.create_model(_model())


def _model() -> Any:
    """Return the table as a model, of no application, for which nobody makes migrations."""
    fields: dict[str, Any] = {
        "id": models.BigAutoField(primary_key=True),
        "name": models.CharField(max_length=255),
        "made": models.BigIntegerField(),
    }
    meta = type("Meta", (), {"apps": Apps(), "app_label": "rover", "db_table": TABLE})
    return type("Outbox", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
